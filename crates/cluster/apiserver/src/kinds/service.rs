//! What of a Service belongs to its type: given by the server, and gone when an update changes the type.

use serde_json::{Map, Value};

/// An update that says nothing of what the server gave keeps it, and one that changes the type drops what the new type
/// has no place for, unless it names something else there: then validation refuses it.
pub(super) fn adapt(old: &Value, new: &mut Value) {
    let (before, after) = (Needs::of(old), Needs::of(new));
    let (Some(old), Some(new)) = (old["spec"].as_object(), new["spec"].as_object_mut()) else { return };
    if before.address && !after.address {
        for fields in [&["clusterIP", "clusterIPs"][..], &["ipFamilies"], &["ipFamilyPolicy"]] {
            drop_unchanged(old, new, fields);
        }
    }
    if before.ports && after.ports {
        keep_ports(old, new);
    }
    if before.ports && !after.ports && node_ports(old).eq(node_ports(new)) {
        for port in new.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().and_then(|port| port.remove("nodePort"));
        }
    }
    if before.ports && !after.ports {
        drop_unchanged(old, new, &["externalTrafficPolicy"]);
        drop_unchanged(old, new, &["healthCheckNodePort"]);
    }
    if before.balancer && !after.balancer {
        drop_unchanged(old, new, &["allocateLoadBalancerNodePorts"]);
        drop_unchanged(old, new, &["loadBalancerClass"]);
    }
}

/// What a type has a place for.
struct Needs {
    address: bool,
    ports: bool,
    balancer: bool,
}

impl Needs {
    fn of(service: &Value) -> Needs {
        let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
        Needs {
            address: kind != "ExternalName",
            ports: matches!(kind, "NodePort" | "LoadBalancer"),
            balancer: kind == "LoadBalancer",
        }
    }
}

fn drop_unchanged(old: &Map<String, Value>, new: &mut Map<String, Value>, fields: &[&str]) {
    if fields.iter().all(|field| old.get(*field) == new.get(*field)) {
        new.retain(|name, _| !fields.contains(&name.as_str()));
    }
}

fn ports(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    spec.get("ports").and_then(Value::as_array).into_iter().flatten()
}

fn node_ports(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    ports(spec).map(|port| &port["nodePort"])
}

/// A port that is still there keeps its node port.
fn keep_ports(old: &Map<String, Value>, new: &mut Map<String, Value>) {
    let named = |port: &Value| port["nodePort"].as_u64().filter(|given| *given != 0);
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let mut used: Vec<u64> = ports(new).filter_map(named).collect();
    for port in new.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if named(port).is_some() {
            continue;
        }
        let same =
            ports(old).find(|known| known["port"] == port["port"] && protocol(known) == protocol(port));
        if let Some(given) = same.and_then(named).filter(|given| !used.contains(given)) {
            used.push(given);
            port["nodePort"] = given.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn adapted(old: &Value, mut new: Value) -> Value {
        adapt(&json!({"spec": old}), &mut new);
        new["spec"].take()
    }

    #[test]
    fn what_the_type_has_no_place_for_goes() {
        let old = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
            "ports": [{"port": 80, "nodePort": 30001}]});
        let mut plain = old.clone();
        plain["type"] = "ClusterIP".into();
        let expected = json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"port": 80}]});
        assert_eq!(adapted(&old, json!({"spec": plain})), expected);
        plain["type"] = "ExternalName".into();
        assert_eq!(
            adapted(&old, json!({"spec": plain})),
            json!({"type": "ExternalName", "ports": [{"port": 80}]})
        );
        // What is asked for is refused later, not dropped.
        plain["ports"][0]["nodePort"] = 30002.into();
        assert_eq!(adapted(&old, json!({"spec": plain}))["ports"][0]["nodePort"], 30002);
    }

    #[test]
    fn what_was_given_stays() {
        let old = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]});
        let new = json!({"type": "NodePort", "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}, {"port": 80, "nodePort": 30009}]});
        let ports = adapted(&old, json!({"spec": new}))["ports"].take();
        let given: Vec<Option<u64>> =
            ports.as_array().unwrap().iter().map(|port| port["nodePort"].as_u64()).collect();
        assert_eq!(given, [Some(30053), None, Some(30009)]);
    }
}
