//! Ingresses and their classes, addresses and ranges of Services.

use serde_json::Value;

use super::field::{Field, same};
use super::names::{self, Form};
use super::{Problems, addresses, job};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(super) fn ingress(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let (rules, backend) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.list().is_empty() && !backend.is_set() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        spec.invalid_as(rules.value().clone(), detail, problems);
    }
    if backend.is_set() {
        self::backend(&backend, problems);
    }
    for rule in rules.items() {
        host(&rule.get("host"), problems);
        let http = rule.get("http");
        if http.is_set() {
            paths(&http.get("paths"), problems);
        }
    }
    for tls in spec.get("tls").items() {
        for host in tls.get("hosts").items() {
            let form = if host.text().contains('*') { Form::Wildcard } else { Form::Subdomain };
            host.name(form, problems);
        }
        if old.is_none_or(|old| !has_wrong_secret(old)) {
            tls.get("secretName").name_if_given(Form::Subdomain, problems);
        }
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        class.name(Form::Subdomain, problems);
    }
    let annotation = objects::meta::annotation(object, CLASS_ANNOTATION);
    if let Some(named) = annotation.filter(|named| old.is_none() && class.is_set() && *named != class.text())
    {
        let annotations = root.child("annotations");
        let detail = "must match `ingressClassName` when both are specified";
        annotations.child(CLASS_ANNOTATION).invalid_as(named.into(), detail, problems);
    }
}

fn has_wrong_secret(ingress: &Value) -> bool {
    ingress["spec"]["tls"].as_array().into_iter().flatten().any(|tls| {
        let name = tls["secretName"].as_str().unwrap_or_default();
        !name.is_empty() && !names::problems(Form::Subdomain, name).is_empty()
    })
}

fn host(host: &Field<'_, '_>, problems: &mut Problems) {
    if host.text().is_empty() {
        return;
    }
    if addresses::parse(host.text()).is_some() {
        host.invalid("must be a DNS name, not an IP address", problems);
    }
    host.name(if host.text().contains('*') { Form::Wildcard } else { Form::Subdomain }, problems);
}

fn paths(paths: &Field<'_, '_>, problems: &mut Problems) {
    if paths.list().is_empty() {
        paths.required("", problems);
    }
    for entry in paths.items() {
        let (kind, path) = (entry.get("pathType"), entry.get("path"));
        if !kind.is_set() {
            kind.required("pathType must be specified", problems);
            continue;
        }
        match kind.text() {
            "Exact" | "Prefix" => exact_path(&path, problems),
            "ImplementationSpecific" => {
                if !path.text().is_empty() && !path.text().starts_with('/') {
                    path.invalid("must be an absolute path", problems);
                }
            }
            _ => kind.not_supported(&["Exact", "ImplementationSpecific", "Prefix"], problems),
        }
        backend(&entry.get("backend"), problems);
    }
}

fn exact_path(path: &Field<'_, '_>, problems: &mut Problems) {
    if !path.text().starts_with('/') {
        path.invalid_as(path.text().into(), "must be an absolute path", problems);
    }
    for part in ["//", "/./", "/../", "%2f", "%2F"] {
        if path.text().contains(part) {
            path.invalid(format!("must not contain '{part}'"), problems);
        }
    }
    for end in ["/..", "/."] {
        if path.text().ends_with(end) {
            path.invalid(format!("cannot end with '{end}'"), problems);
        }
    }
}

fn backend(backend: &Field<'_, '_>, problems: &mut Problems) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            backend.invalid_as("".into(), "cannot set both resource and service backends", problems);
        }
        (false, false) => {
            backend.invalid_as("".into(), "resource or service backend is required", problems);
        }
        (false, true) => reference(&resource, problems),
        (true, false) => {
            service.get("name").needs_name(Form::Label1035, problems);
            let port = service.get("port");
            let (name, number) = (port.get("name"), port.get("number"));
            match (name.text().is_empty(), number.number() == 0) {
                (false, false) => {
                    backend.invalid_as("".into(), "cannot set both port name & port number", problems);
                }
                (false, true) => name.name(Form::Port, problems),
                (true, false) => addresses::port_number(&number, problems),
                (true, true) => backend.required("port name or number is required", problems),
            }
        }
    }
}

/// A reference to an object of any kind.
fn reference(reference: &Field<'_, '_>, problems: &mut Problems) {
    let group = reference.get("apiGroup");
    if group.is_set() {
        group.name(Form::Subdomain, problems);
    }
    reference.get("kind").needs_name(Form::Segment, problems);
    reference.get("name").needs_name(Form::Segment, problems);
}

pub(super) fn class(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    const LONGEST: usize = 250;
    let root = Field::root(object);
    let spec = root.get("spec");
    let controller = spec.get("controller");
    if let Some(old) = old {
        controller.fixed(&old["spec"]["controller"], problems);
    }
    if controller.text().len() > LONGEST {
        controller.too_long(LONGEST, problems);
    }
    job::domain_path(&controller, problems);
    let parameters = spec.get("parameters");
    if !parameters.is_set() {
        return;
    }
    reference(&parameters, problems);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    match scope.text() {
        "" if !scope.is_set() => scope.required("", problems),
        "Namespace" if !namespace.is_set() => {
            namespace.required("`parameters.scope` is set to 'Namespace'", problems);
        }
        "Namespace" => namespace.name(Form::Label, problems),
        "Cluster" if namespace.is_set() => {
            namespace.forbidden("`parameters.scope` is set to 'Cluster'", problems);
        }
        "Cluster" => {}
        _ => scope.not_supported(&["Cluster", "Namespace"], problems),
    }
}

pub(super) fn address(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let parent = spec.get("parentRef");
    if let Some(old) = old {
        parent.fixed(&old["spec"]["parentRef"], problems);
        return;
    }
    if !parent.is_set() {
        parent.required("", problems);
        return;
    }
    parent.get("group").name_if_given(Form::Subdomain, problems);
    parent.get("resource").needs_name(Form::Segment, problems);
    parent.get("name").needs_name(Form::Segment, problems);
    parent.get("namespace").name_if_given(Form::Segment, problems);
}

pub(super) fn range(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let ranges = spec.get("cidrs");
    let Some(old) = old else {
        networks(&spec, &ranges, problems);
        return;
    };
    let before = old["spec"]["cidrs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let grows = before.len() == 1 && ranges.list().len() == 2;
    if !grows && before.len() != ranges.list().len() {
        ranges.invalid("field is immutable", problems);
        return;
    }
    for (range, before) in ranges.items().zip(before) {
        range.fixed(before, problems);
    }
    if grows {
        networks(&spec, &ranges, problems);
    }
}

fn networks(spec: &Field<'_, '_>, ranges: &Field<'_, '_>, problems: &mut Problems) {
    if ranges.list().is_empty() {
        ranges.required("at least one CIDR required", problems);
        return;
    }
    if ranges.list().len() > 2 {
        let shown = format!("{{\"CIDRs\":{}}}", ranges.value());
        ranges.with(spec.value()).invalid_shown(shown, "may only hold up to 2 values", problems);
        return;
    }
    for range in ranges.items() {
        let Some((address, prefix)) = addresses::network(&range, range.text(), problems) else { continue };
        let first = addresses::masked(address, prefix);
        if range.text().split('/').next().is_some_and(|text| text.parse::<std::net::IpAddr>().is_err()) {
            range.invalid("must not have leading 0s in IP or prefix length", problems);
        } else if first != address {
            range.invalid("must not have bits set beyond the prefix length", problems);
        } else if format!("{first}/{prefix}") != range.text() {
            range.invalid(format!("must be in canonical form (\"{first}/{prefix}\")"), problems);
        }
    }
    let families: Vec<Option<bool>> = ranges
        .strings()
        .map(|range| addresses::parse_network(range).map(|(address, _)| address.is_ipv4()))
        .collect();
    if let [Some(first), Some(second)] = families.as_slice()
        && first == second
    {
        let detail =
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        ranges.invalid(detail, problems);
    }
}

pub(super) fn network_policy(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    const TYPES: [&str; 2] = ["Ingress", "Egress"];
    let root = Field::root(object);
    let spec = root.get("spec");
    super::selector::label_selector(&spec.get("podSelector"), problems);
    let unchanged =
        |list: &str, at: usize| old.is_some_and(|old| same(&old["spec"][list][at], &spec.value()[list][at]));
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec.get(list).items().enumerate() {
            if unchanged(list, index) {
                continue;
            }
            rule.get("ports").items().for_each(|port| policy_port(&port, problems));
            rule.get(peers).items().for_each(|peer| policy_peer(&peer, problems));
        }
    }
    let types = spec.get("policyTypes");
    if types.list().len() > TYPES.len() {
        types.invalid("may not specify more than two policyTypes", problems);
        return;
    }
    types.items().for_each(|kind| kind.one_of_if_set(&TYPES, problems));
}

fn policy_port(port: &Field<'_, '_>, problems: &mut Problems) {
    port.get("protocol").one_of_if_set(&["TCP", "UDP", "SCTP"], problems);
    let (first, last) = (port.get("port"), port.get("endPort"));
    if !first.is_set() {
        if last.is_set() {
            last.invalid("may not be specified when `port` is not specified", problems);
        }
    } else if first.value().is_string() {
        if last.is_set() {
            last.invalid("may not be specified when `port` is non-numeric", problems);
        }
        first.name(Form::Port, problems);
    } else {
        addresses::port_number(&first, problems);
        if last.is_set() {
            if last.number() < first.number() {
                let detail = "must be greater than or equal to `port`";
                last.invalid_as(first.value().clone(), detail, problems);
            }
            addresses::port_number(&last, problems);
        }
    }
}

fn policy_peer(peer: &Field<'_, '_>, problems: &mut Problems) {
    let mut peers = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if peer.get(field).is_set() {
            peers += 1;
            super::selector::label_selector(&peer.get(field), problems);
        }
    }
    let block = peer.get("ipBlock");
    if block.is_set() {
        ip_block(&block, problems);
        if peers > 0 {
            peer.forbidden("may not specify both ipBlock and another peer", problems);
        }
    } else if peers == 0 {
        peer.required("must specify a peer", problems);
    }
}

fn ip_block(block: &Field<'_, '_>, problems: &mut Problems) {
    let cidr = block.get("cidr");
    if !cidr.need(problems) {
        return;
    }
    let Some((base, prefix)) = addresses::network(&cidr, cidr.text(), problems) else { return };
    for except in block.get("except").items() {
        let Some((address, length)) = addresses::network(&except, except.text(), problems) else { continue };
        let inside = address.is_ipv4() == base.is_ipv4()
            && addresses::masked(address, prefix) == addresses::masked(base, prefix);
        if !inside || prefix >= length {
            except.invalid("must be a strict subset of `cidr`", problems);
        }
    }
}
