//! What one object uses of what quotas limit.

use std::collections::{BTreeMap, BTreeSet};

use objects::meta;
use objects::quantity::Quantity;
use serde_json::Value;

use super::Amounts;
use crate::admission::{amounts, quality, whole};

/// Resources of containers that a quota limits under their own name as well.
const PLAIN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Kinds of the core that are counted under their own name as well.
const COUNTED: [&str; 7] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];

/// Where what a quota limits is found: the resource, with its group before it.
pub(super) fn counted_in(what: &str) -> String {
    if let Some(name) = what.strip_prefix("count/") {
        return match name.split_once('.') {
            Some((plural, group)) => format!("{group}/{plural}"),
            None => name.to_owned(),
        };
    }
    if what.starts_with("services.") {
        return "services".to_owned();
    }
    if what.ends_with("requests.storage") || what.ends_with("/persistentvolumeclaims") {
        return "persistentvolumeclaims".to_owned();
    }
    if COUNTED.contains(&what) { what.to_owned() } else { "pods".to_owned() }
}

/// What an object uses, by the names in `spec.hard`.
pub(super) fn of(group: &str, plural: &str, object: &Value) -> Amounts {
    let one = Quantity::from_units(1);
    let dotted = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    let mut used = BTreeMap::from([(format!("count/{dotted}"), one)]);
    if !group.is_empty() {
        return used;
    }
    let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if COUNTED.contains(&plural) && !(plural == "pods" && ended) {
        used.insert(plural.to_owned(), one);
    }
    match plural {
        "pods" if !ended => used.extend(asked(&whole(object, "requests"), &whole(object, "limits"))),
        "services" => service(object, &mut used),
        "persistentvolumeclaims" => claim(object, &mut used),
        _ => {}
    }
    used
}

/// Requests and limits under the names that quotas have for them.
fn asked(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (what, amount) in requests {
        if PLAIN.contains(&what.as_str()) {
            used.insert(what.clone(), *amount);
        }
        used.insert(format!("requests.{what}"), *amount);
    }
    for (what, amount) in limits.iter().filter(|(what, _)| PLAIN.contains(&what.as_str())) {
        used.insert(format!("limits.{what}"), *amount);
    }
    used
}

fn service(object: &Value, used: &mut Amounts) {
    let spec = &object["spec"];
    let ports = i64::try_from(spec["ports"].as_array().map_or(0, Vec::len)).unwrap_or(i64::MAX);
    let kind = spec["type"].as_str().unwrap_or_default();
    if kind == "LoadBalancer" {
        used.insert("services.loadbalancers".to_owned(), Quantity::from_units(1));
    }
    if kind == "NodePort" || (kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false) {
        used.insert("services.nodeports".to_owned(), Quantity::from_units(ports));
    }
}

fn claim(object: &Value, used: &mut Amounts) {
    let storage = amounts(&object["spec"]["resources"]["requests"]).get("storage").copied();
    let annotated = meta::annotation(object, "volume.beta.kubernetes.io/storage-class");
    let class = annotated.or(object["spec"]["storageClassName"].as_str());
    let prefix = class.map(|class| format!("{class}.storageclass.storage.k8s.io/"));
    if let Some(prefix) = &prefix {
        used.insert(format!("{prefix}persistentvolumeclaims"), Quantity::from_units(1));
    }
    if let Some(storage) = storage {
        used.insert("requests.storage".to_owned(), storage);
        if let Some(prefix) = &prefix {
            used.insert(format!("{prefix}requests.storage"), storage);
        }
    }
}

/// What containers have to say and do not: a quota on it could not be kept otherwise.
pub(super) fn unsaid(hard: &Amounts, pod: &Value) -> Option<String> {
    let required = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
    let required: Vec<&str> = required.into_iter().filter(|what| hard.contains_key(*what)).collect();
    let mut missing: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let resources = &container["resources"];
            let said = asked(&amounts(&resources["requests"]), &amounts(&resources["limits"]));
            for what in required.iter().filter(|what| !said.contains_key(**what)) {
                let name = container["name"].as_str().unwrap_or_default();
                missing.entry(what).or_default().insert(name.to_owned());
            }
        }
    }
    let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(",");
    let parts: Vec<String> =
        missing.iter().map(|(what, who)| format!("{what} for: {}", names(who))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether a quota of this specification is about some Pods only.
pub(super) fn is_scoped(spec: &Value) -> bool {
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    some(&spec["scopes"]) || some(&spec["scopeSelector"]["matchExpressions"])
}

/// Whether a Pod is one of those.
pub(super) fn in_scope(spec: &Value, pod: &Value) -> bool {
    let named = spec["scopes"].as_array().into_iter().flatten();
    let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    named.filter_map(Value::as_str).all(|scope| matches(scope, &Value::Null, pod))
        && selected.into_iter().all(|rule| matches(rule["scopeName"].as_str().unwrap_or_default(), rule, pod))
}

fn matches(scope: &str, rule: &Value, pod: &Value) -> bool {
    let ends = pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => quality(pod) == "BestEffort",
        "NotBestEffort" => quality(pod) != "BestEffort",
        "CrossNamespacePodAffinity" => ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
            [
                "requiredDuringSchedulingIgnoredDuringExecution",
                "preferredDuringSchedulingIgnoredDuringExecution",
            ]
            .iter()
            .flat_map(|list| pod["spec"]["affinity"][*kind][*list].as_array().into_iter().flatten())
            .map(|term| if term["podAffinityTerm"].is_object() { &term["podAffinityTerm"] } else { term })
            .any(|term| {
                term["namespaces"].as_array().is_some_and(|list| !list.is_empty())
                    || term["namespaceSelector"].is_object()
            })
        }),
        "PriorityClass" => {
            let class = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
            let listed = rule["values"].as_array().into_iter().flatten().any(|value| value == class);
            match rule["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("DoesNotExist") => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(used: Amounts) -> Vec<String> {
        used.into_iter().map(|(what, amount)| format!("{what}={amount}")).collect()
    }

    #[test]
    fn objects_use_what_they_ask_for() {
        let pod = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1", "example.com/gpu": "2"}, "limits": {"memory": "1Gi"}}}]}});
        assert_eq!(
            shown(of("", "pods", &pod)),
            [
                "count/pods=1",
                "cpu=1",
                "limits.memory=1Gi",
                "pods=1",
                "requests.cpu=1",
                "requests.example.com/gpu=2"
            ]
        );
        let ended = json!({"spec": pod["spec"], "status": {"phase": "Failed"}});
        assert_eq!(shown(of("", "pods", &ended)), ["count/pods=1"]);
        assert_eq!(shown(of("apps", "deployments", &json!({}))), ["count/deployments.apps=1"]);
        let service = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}});
        assert_eq!(
            shown(of("", "services", &service)),
            ["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=2"]
        );
        let claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}});
        assert!(
            of("", "persistentvolumeclaims", &claim)
                .contains_key("fast.storageclass.storage.k8s.io/requests.storage")
        );
    }

    #[test]
    fn every_limit_says_where_it_is_counted() {
        for (what, place) in [
            ("count/deployments.apps", "apps/deployments"),
            ("count/pods", "pods"),
            ("limits.cpu", "pods"),
            ("requests.example.com/gpu", "pods"),
            ("requests.storage", "persistentvolumeclaims"),
            ("fast.storageclass.storage.k8s.io/persistentvolumeclaims", "persistentvolumeclaims"),
            ("services.nodeports", "services"),
            ("secrets", "secrets"),
        ] {
            assert_eq!(counted_in(what), place, "{what}");
        }
    }

    #[test]
    fn scopes_choose_pods() {
        let class = |operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}});
        let pod = json!({"spec": {"priorityClassName": "high", "activeDeadlineSeconds": 5}});
        assert!(in_scope(&class("In"), &pod) && !in_scope(&class("NotIn"), &pod));
        assert!(in_scope(&json!({"scopes": ["Terminating", "BestEffort"]}), &pod));
        assert!(!in_scope(&json!({"scopes": ["NotTerminating"]}), &pod));
        assert!(!is_scoped(&json!({"scopes": []})));
    }
}
