//! Nodes, namespaces, priorities, runtimes, leases, disruption budgets, API services.

use std::collections::BTreeSet;

use objects::meta;
use serde_json::Value;

use super::field::Field;
use super::names::{self, Form};
use super::{Problems, addresses, pod, resources, selector, workload};

pub(super) fn namespace(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    if old.is_some() {
        return;
    }
    let root = Field::root(object);
    let spec = root.get("spec");
    let finalizers = spec.get("finalizers");
    for finalizer in finalizers.list() {
        let finalizer = finalizers.with(finalizer);
        finalizer.qualified(problems);
        let standard = matches!(finalizer.text(), "kubernetes" | "orphan" | "foregroundDeletion");
        if !standard && !finalizer.text().contains('/') {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            finalizer.invalid(detail, problems);
        }
    }
}

pub(super) fn node(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let (metadata, spec, status) = (root.get("metadata"), root.get("spec"), root.get("status"));
    // Upstream looks for taints below the metadata in its paths.
    let taints = metadata.child("taints");
    let taints = taints.with(spec.get("taints").value());
    self::taints(&taints, problems);
    node_resources(&status, problems);
    pod_networks(&spec.get("podCIDRs"), problems);
    let Some(old) = old else { return };
    let addresses = status.get("addresses");
    let mut seen = BTreeSet::new();
    for address in addresses.items() {
        let (kind, text) = (address.get("type").text(), address.get("address").text());
        if !seen.insert((kind, text)) {
            address.duplicate_shown(format!("{{\"Type\":{kind:?},\"Address\":{text:?}}}"), problems);
        }
    }
    let before = &old["spec"];
    let networks = spec.get("podCIDRs");
    let detail = |field: &str| format!("node updates may not change {field} except from \"\" to valid");
    let was = before["podCIDRs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !was.is_empty() && was != networks.list() {
        networks.forbidden(detail("podCIDR"), problems);
    }
    let provider = spec.get("providerID");
    let was = before["providerID"].as_str().unwrap_or_default();
    if !was.is_empty() && was != provider.text() {
        provider.forbidden(detail("providerID"), problems);
    }
}

fn taints(taints: &Field<'_, '_>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        key.with(&key.text().into()).qualified(problems);
        let wrong = names::value_problems(value.text());
        if !wrong.is_empty() {
            value.invalid(wrong.join(";"), problems);
        }
        if effect.need(problems) {
            effect.one_of(&selector::TAINT_EFFECTS, problems);
        }
        if !seen.insert((effect.text(), key.text())) {
            let shown = format!(
                "{{\"Key\":{:?},\"Value\":{:?},\"Effect\":{:?},\"TimeAdded\":{}}}",
                key.text(),
                value.text(),
                effect.text(),
                taint.get("timeAdded").value()
            );
            taint.duplicate_shown(shown, problems);
            if let Some(last) = problems.last_mut() {
                "taints must be unique by key and effect pair".clone_into(&mut last.detail);
            }
        }
    }
}

fn node_resources(status: &Field<'_, '_>, problems: &mut Problems) {
    for list in ["capacity", "allocatable"] {
        let amounts = status.get(list);
        for (name, amount) in amounts.entries() {
            let at = amounts.child(name);
            resources::quantity(&at.with(amount.value()), name, problems);
        }
    }
}

fn pod_networks(networks: &Field<'_, '_>, problems: &mut Problems) {
    for network in networks.items() {
        addresses::network(&network, network.text(), problems);
    }
    let v6 = networks.strings().filter(|network| network.contains(':')).count();
    let count = networks.list().len();
    if count > 1 && (count > 2 || v6 != 1) {
        networks.invalid("may specify no more than one CIDR for each IP family", problems);
    }
}

pub(super) fn priority_class(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    /// The most that is not the system's.
    const HIGHEST: i64 = 1_000_000_000;
    const SYSTEM: [(&str, i64); 2] =
        [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
    let root = Field::root(object);
    let (value, policy) = (root.get("value"), root.get("preemptionPolicy"));
    if let Some(old) = old {
        if old["value"] != *value.value() {
            value.forbidden("may not be changed in an update.", problems);
        }
        policy.fixed(&old["preemptionPolicy"], problems);
        return;
    }
    let name = meta::name(object);
    if name.starts_with("system-") {
        let known = SYSTEM.iter().find(|(known, _)| *known == name);
        let because = match known {
            None => format!("{name} is not a known system priority class"),
            Some((_, expected)) if value.number() != *expected => {
                format!("value of {name} PriorityClass must be {expected}")
            }
            Some(_) if root.get("globalDefault").is_true() => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => String::new(),
        };
        if !because.is_empty() {
            let metadata = root.get("metadata");
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {because}"
            );
            metadata.get("name").forbidden(detail, problems);
        }
    } else if value.number() > HIGHEST {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        value.forbidden(detail, problems);
    }
    policy.one_of(&["PreemptLowerPriority", "Never"], problems);
}

pub(super) fn runtime_class(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let handler = root.get("handler");
    if let Some(old) = old {
        handler.fixed(&old["handler"], problems);
        return;
    }
    handler.with(&handler.text().into()).name(Form::Label, problems);
    let overhead = root.get("overhead");
    if overhead.is_set() {
        pod::overhead(&overhead.with(overhead.get("podFixed").value()), problems);
    }
    let scheduling = root.get("scheduling");
    if !scheduling.is_set() {
        return;
    }
    selector::labels(&scheduling.get("nodeSelector"), problems);
    let tolerations = scheduling.get("tolerations");
    // Upstream's path says so twice.
    let inner = tolerations.child("tolerations");
    selector::tolerations(&inner, problems);
    let mut seen = BTreeSet::new();
    for toleration in tolerations.items() {
        let key = ["key", "operator", "value", "effect"].map(|field| toleration.get(field).text());
        if !seen.insert(key) {
            toleration.duplicate(problems);
        }
    }
}

pub(super) fn lease(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let duration = spec.get("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        duration.invalid("must be greater than 0", problems);
    }
    spec.get("leaseTransitions").not_negative(problems);
}

pub(super) fn budget(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    let (select, policy) = (spec.get("selector"), spec.get("unhealthyPodEvictionPolicy"));
    if least.is_set() && most.is_set() {
        let shown = format!(
            "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
            least.value(),
            selector::shown(select.value()),
            most.value(),
            policy.value()
        );
        spec.invalid_shown(shown, "minAvailable and maxUnavailable cannot be both set", problems);
    }
    for field in [least, most] {
        workload::count_or_percent(&field, problems);
        workload::at_most_all(&field, problems);
    }
    selector::label_selector(&select, problems);
    policy.one_of_if_set(&["AlwaysAllow", "IfHealthyBudget"], problems);
}

pub(super) fn api_service(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let (metadata, spec) = (root.get("metadata"), root.get("spec"));
    let (group, version) = (spec.get("group"), spec.get("version"));
    let expected = format!("{}.{}", version.text(), group.text());
    let name = metadata.get("name");
    if name.text() != expected {
        name.invalid(format!("must be `spec.version+\".\"+spec.group`: {expected:?}"), problems);
    }
    if group.text().is_empty() && version.text() != "v1" {
        group.required("only v1 may have an empty group and it better be legacy kube", problems);
    }
    group.name_if_given(Form::Subdomain, problems);
    version.with(&version.text().into()).name(Form::Label1035, problems);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.get(field);
        if !(1..=most).contains(&priority.number()) {
            let detail = format!("must be positive and less than {most}");
            priority.invalid_as(priority.number().into(), detail, problems);
        }
    }
    let (service, bundle) = (spec.get("service"), spec.get("caBundle"));
    let insecure = spec.get("insecureSkipTLSVerify");
    if !service.is_set() {
        if !bundle.text().is_empty() {
            let bytes = bundle.text().len() / 4 * 3;
            let detail = "local APIServices may not have a caBundle";
            bundle.invalid_as(format!("{bytes} bytes").into(), detail, problems);
        }
        if insecure.is_true() {
            insecure.invalid("local APIServices may not have insecureSkipTLSVerify", problems);
        }
        return;
    }
    service.get("namespace").need(problems);
    service.get("name").need(problems);
    let port = service.get("port");
    if port.is_set() && !(1..=65535).contains(&port.number()) {
        port.invalid("port is not valid: must be between 1 and 65535, inclusive", problems);
    }
    if insecure.is_true() && !bundle.text().is_empty() {
        insecure.invalid("may not be true if caBundle is present", problems);
    }
}
