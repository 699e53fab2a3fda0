//! Services.

use std::collections::BTreeSet;

use objects::meta;
use serde_json::{Value, json};

use super::field::Field;
use super::names::Form;
use super::{Problems, addresses, selector};

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// A Service as its type makes it.
struct Service<'v, 'p> {
    spec: Field<'v, 'p>,
    kind: &'v str,
    /// The first address, and all of them, once what a client left out is filled in.
    address: String,
    addresses: Value,
}

impl<'v, 'p> Service<'v, 'p> {
    fn new(spec: Field<'v, 'p>, old: Option<&Value>) -> Service<'v, 'p> {
        let kind = match spec.get("type").text() {
            "" => "ClusterIP",
            kind => kind,
        };
        // A Service that is a name has no address to keep.
        let old = old.map(|old| &old["spec"]).filter(|_| kind != "ExternalName");
        let (address, addresses) = addresses_of(spec.value(), old);
        Service { spec, kind, address, addresses }
    }

    fn is_headless(&self) -> bool {
        self.addresses == json!(["None"])
    }
}

/// Clients that know one address alone give and change that; the list follows it.
fn addresses_of(spec: &Value, old: Option<&Value>) -> (String, Value) {
    let given = |spec: &Value| {
        let first = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        let all = spec["clusterIPs"].as_array().cloned().unwrap_or_default();
        (first, all)
    };
    let (first, all) = given(spec);
    let (was, all_were) = old.map(given).unwrap_or_default();
    let all = match (first.is_empty(), all.is_empty()) {
        (true, true) => return (was, all_were.into()),
        (false, true) if old.is_some() && first == was => all_were,
        (false, _) if all.is_empty() || (first != was && all == all_were && old.is_some()) => {
            vec![first.as_str().into()]
        }
        (true, false) if all == all_were => Vec::new(),
        _ => all,
    };
    (first, all.into())
}

pub(super) fn service(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let service = Service::new(root.get("spec"), old);
    // Addresses are looked at before all else, because upstream allocates them first.
    let before = problems.len();
    cluster_addresses(&service, old, problems);
    if problems.len() > before {
        return;
    }
    if let Some(old) = old {
        update(&service, old, problems);
    }
    topology(&root, problems);
    by_type(&service, problems);
    ports(&service, problems);
    selector::labels(&service.spec.get("selector"), problems);
    affinity(&service, problems);
    external(&service, old, problems);
    service.spec.get("type").one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], problems);
    repeated_ports(&service, problems);
    source_ranges(&root, &service, problems);
    let allocate = service.spec.get("allocateLoadBalancerNodePorts");
    if allocate.is_set() && service.kind != "LoadBalancer" {
        allocate.forbidden("may only be used when `type` is 'LoadBalancer'", problems);
    }
    let class = service.spec.get("loadBalancerClass");
    if class.is_set() && service.kind == "LoadBalancer" {
        class.qualified(problems);
    } else if class.is_set() {
        class.forbidden("may only be used when `type` is 'LoadBalancer'", problems);
    }
    traffic(&service, problems);
}

fn topology(root: &Field<'_, '_>, problems: &mut Problems) {
    let metadata = root.get("metadata");
    let annotations = metadata.get("annotations");
    let (mode, hints) = (annotations.key(TOPOLOGY_MODE), annotations.key(TOPOLOGY_HINTS));
    if mode.is_set() && hints.is_set() && mode.text() != hints.text() {
        let detail = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        mode.invalid(detail, problems);
    }
}

fn by_type(service: &Service<'_, '_>, problems: &mut Problems) {
    let spec = &service.spec;
    let ports = spec.get("ports");
    if ports.list().is_empty() && !service.is_headless() && service.kind != "ExternalName" {
        ports.required("", problems);
    }
    match service.kind {
        "LoadBalancer" | "NodePort" if service.is_headless() => {
            let field = spec.get("clusterIPs");
            let detail = format!("may not be set to 'None' for {} services", service.kind);
            field.index(0).invalid_as("None".into(), detail, problems);
        }
        "ExternalName" => {
            const DETAIL: &str = "may not be set for ExternalName services";
            let given = !service.addresses.as_array().is_none_or(Vec::is_empty);
            for (field, given) in [
                ("clusterIPs", given),
                ("ipFamilies", !spec.get("ipFamilies").is_empty()),
                ("ipFamilyPolicy", spec.get("ipFamilyPolicy").is_set()),
            ] {
                if given {
                    spec.get(field).forbidden(DETAIL, problems);
                }
            }
            let name = spec.get("externalName");
            let text = name.text().strip_suffix('.').unwrap_or(name.text());
            name.with(&text.into()).needs_name(Form::Subdomain, problems);
        }
        _ => {}
    }
}

fn ports(service: &Service<'_, '_>, problems: &mut Problems) {
    let ports = service.spec.get("ports");
    let several = ports.list().len() > 1;
    let mut names = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.text().is_empty() {
            name.name(Form::Label, problems);
            if !names.insert(name.text()) {
                name.duplicate(problems);
            }
        } else if several {
            name.required("", problems);
        }
        addresses::port_number(&port.get("port"), problems);
        port.get("protocol").one_of(&addresses::PROTOCOLS, problems);
        let target = port.get("targetPort");
        if target.is_set() {
            addresses::port(&target, problems);
        }
        let protocol = port.get("appProtocol");
        if protocol.is_set() {
            protocol.qualified(problems);
        }
    }
}

fn repeated_ports(service: &Service<'_, '_>, problems: &mut Problems) {
    let ports = service.spec.get("ports");
    let key = |port: &Field<'_, '_>, number: i64| {
        let protocol = port.get("protocol").text();
        (if protocol.is_empty() { "TCP" } else { protocol }.to_owned(), number)
    };
    if service.kind == "ClusterIP" {
        for port in ports.items().filter(|port| port.get("nodePort").number() != 0) {
            port.get("nodePort").forbidden("may not be used when `type` is 'ClusterIP'", problems);
        }
    }
    let (mut on_nodes, mut own) = (BTreeSet::new(), BTreeSet::new());
    for port in ports.items() {
        let number = port.get("nodePort").number();
        if number != 0 && !on_nodes.insert(key(&port, number)) {
            port.get("nodePort").duplicate(problems);
        }
    }
    for port in ports.items() {
        let (protocol, number) = key(&port, port.get("port").number());
        let shown = format!(
            "{{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
        );
        if !own.insert((protocol, number)) {
            port.duplicate_shown(shown, problems);
        }
    }
}

fn affinity(service: &Service<'_, '_>, problems: &mut Problems) {
    const LONGEST: i64 = 86400;
    let kind = service.spec.get("sessionAffinity");
    kind.one_of(&["ClientIP", "None"], problems);
    let config = service.spec.get("sessionAffinityConfig");
    if kind.text() == "ClientIP" {
        let client = config.get("clientIP");
        let timeout = client.get("timeoutSeconds");
        let missing = [config, client, timeout].into_iter().find(|field| !field.is_set());
        if let Some(missing) = missing {
            missing.required("when session affinity type is ClientIP", problems);
        } else if !(1..=LONGEST).contains(&timeout.number()) {
            timeout.invalid(format!("must be greater than 0 and less than {LONGEST}"), problems);
        }
    } else if kind.text() == "None" && config.is_set() {
        config.forbidden("must not be set when session affinity is None", problems);
    }
}

fn external(service: &Service<'_, '_>, old: Option<&Value>, problems: &mut Problems) {
    let old = old.and_then(|old| old["spec"]["externalIPs"].as_array());
    let old = old.map(Vec::as_slice).unwrap_or_default();
    for address in service.spec.get("externalIPs").items() {
        if let Some(parsed) = addresses::address(&address, old, problems) {
            addresses::endpoint(&address, parsed, problems);
        }
    }
}

fn source_ranges(root: &Field<'_, '_>, service: &Service<'_, '_>, problems: &mut Problems) {
    const DETAIL: &str = "may only be used when `type` is 'LoadBalancer'";
    let ranges = service.spec.named("loadBalancerSourceRanges", "LoadBalancerSourceRanges");
    if !ranges.list().is_empty() {
        if service.kind != "LoadBalancer" {
            ranges.forbidden(DETAIL, problems);
        }
        for range in ranges.items() {
            addresses::network(&range, range.text().trim(), problems);
        }
        return;
    }
    let Some(text) = meta::annotation(root.value(), SOURCE_RANGES) else { return };
    let metadata = root.get("metadata");
    let annotations = metadata.get("annotations");
    let annotation = annotations.key(SOURCE_RANGES);
    if service.kind != "LoadBalancer" {
        annotation.forbidden(DETAIL, problems);
    }
    for range in text.trim().split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
        addresses::network(&annotation, range, problems);
    }
}

fn traffic(service: &Service<'_, '_>, problems: &mut Problems) {
    let spec = &service.spec;
    let reachable = matches!(service.kind, "NodePort" | "LoadBalancer")
        || (service.kind == "ClusterIP" && !spec.get("externalIPs").list().is_empty());
    let outside = spec.get("externalTrafficPolicy");
    if reachable {
        outside.one_of(&["Cluster", "Local"], problems);
    } else if !outside.text().is_empty() {
        outside.invalid("may only be set for externally-accessible services", problems);
    }
    let check = spec.get("healthCheckNodePort");
    let checked = service.kind == "LoadBalancer" && outside.text() == "Local";
    if check.number() != 0 && checked {
        addresses::port_number(&check, problems);
    } else if check.number() != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        check.invalid(detail, problems);
    }
    spec.get("internalTrafficPolicy").one_of_if_set(&["Cluster", "Local"], problems);
    let distribution = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    spec.get("trafficDistribution").one_of_if_set(&distribution, problems);
}

fn cluster_addresses(service: &Service<'_, '_>, old: Option<&Value>, problems: &mut Problems) {
    if service.kind == "ExternalName" {
        return;
    }
    let spec = &service.spec;
    let (families, policy) = (spec.get("ipFamilies"), spec.get("ipFamilyPolicy"));
    let all = spec.get("clusterIPs");
    let all = all.with(&service.addresses);
    if !service.address.is_empty() && *all.index(0).value() != service.address {
        all.invalid("first value must match `clusterIP`", problems);
    } else if service.address.is_empty() && !all.list().is_empty() {
        all.invalid("must be empty when `clusterIP` is not specified", problems);
    }
    let mut seen = BTreeSet::new();
    for family in families.items() {
        family.one_of_if_set(&["IPv4", "IPv6"], problems);
        if !seen.insert(family.text()) {
            family.duplicate(problems);
        }
    }
    policy.one_of_if_set(&["PreferDualStack", "RequireDualStack", "SingleStack"], problems);
    let old = old.and_then(|old| old["spec"]["clusterIPs"].as_array());
    let old = old.map(Vec::as_slice).unwrap_or_default();
    let mut unreadable = false;
    for (index, address) in all.items().enumerate() {
        if index > 0 || address.text() != "None" {
            unreadable |= addresses::address(&address, old, problems).is_none();
        } else if all.list().len() > 1 {
            all.invalid("'None' must be the first and only value", problems);
            unreadable = true;
        }
    }
    if all.list().len() > 2 {
        all.invalid("may only hold up to 2 values", problems);
    }
    if unreadable || service.is_headless() {
        return;
    }
    let is_v6 = |address: &Field<'_, '_>| address.text().contains(':');
    if all.list().len() > 1 && all.items().all(|address| is_v6(&address) == is_v6(&all.index(0))) {
        all.invalid("may specify no more than one IP for each IP family", problems);
    }
    for (index, (address, family)) in all.items().zip(families.strings()).enumerate() {
        if (family == "IPv6") != is_v6(&address) {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            address.invalid(detail, problems);
        }
    }
}

fn update(service: &Service<'_, '_>, old: &Value, problems: &mut Problems) {
    let before = &old["spec"];
    let before_kind = before["type"].as_str().unwrap_or("ClusterIP");
    let spec = &service.spec;
    let stays = service.kind != "ExternalName" && before_kind != "ExternalName";
    let (_, was) = addresses_of(before, None);
    if stays && (was != json!(["None"]) || !service.is_headless()) {
        let field = spec.get("clusterIPs");
        let now = service.addresses.as_array().map(Vec::as_slice).unwrap_or_default();
        let was = was.as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, (was, now)) in was.iter().zip(now).enumerate() {
            if was != now {
                let detail = "may not change once set";
                field.index(index).invalid_as(service.addresses.clone(), detail, problems);
            }
        }
    }
    if stays && !service.is_headless() && was != json!(["None"]) {
        let families = spec.get("ipFamilies");
        let (was, now) = (&before["ipFamilies"][0], families.index(0));
        if !was.is_null() && now.is_set() && was != now.value() {
            now.invalid_as(families.value().clone(), "may not change once set", problems);
        }
    }
    let class = spec.get("loadBalancerClass");
    if service.kind == "LoadBalancer"
        && before_kind == "LoadBalancer"
        && before["loadBalancerClass"] != *class.value()
    {
        class.invalid("may not change once set", problems);
    }
    let checks = |spec: &Value| spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
    let check = spec.get("healthCheckNodePort");
    if checks(before)
        && checks(spec.value())
        && check.is_set()
        && before["healthCheckNodePort"] != *check.value()
    {
        check.forbidden("field is immutable", problems);
    }
}
