//! What a Pod asks of a node: resources and host ports.

use std::collections::{BTreeMap, BTreeSet};

use objects::quantity::Quantity;
use serde_json::Value;

/// Amounts by resource name: CPU in thousandths of a core, everything else in whole units (bytes for memory).
pub type Requests = BTreeMap<String, i64>;

/// A port of the node that a container wants: protocol, address (empty for all), port.
pub(crate) type HostPort = (String, String, i64);

/// What the scheduler counts for a Pod: the larger of what its containers need together and what any init container needs
/// beside the sidecars started before it; requests of the Pod as a whole win; overhead is added.
pub fn requests(pod: &Value) -> Requests {
    let spec = &pod["spec"];
    let mut running = Requests::new();
    for container in array(&spec["containers"]) {
        add(&mut running, &amounts(&container["resources"]["requests"]));
    }
    let mut sidecars = Requests::new();
    let mut starting = Requests::new();
    for container in array(&spec["initContainers"]) {
        let own = amounts(&container["resources"]["requests"]);
        let mut needed = own.clone();
        add(&mut needed, &sidecars);
        if container["restartPolicy"] == "Always" {
            add(&mut sidecars, &own);
            add(&mut running, &own);
        }
        maximise(&mut starting, &needed);
    }
    maximise(&mut running, &starting);
    for (name, amount) in amounts(&spec["resources"]["requests"]) {
        running.insert(name, amount);
    }
    add(&mut running, &amounts(&spec["overhead"]));
    running
}

/// Quantities by name. What cannot be parsed was refused by validation; here it counts as nothing.
pub(crate) fn amounts(list: &Value) -> Requests {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), amount(name, value)?))).collect()
}

fn amount(name: &str, value: &Value) -> Option<i64> {
    let quantity = Quantity::from_value(value).ok()?;
    Some(if name == "cpu" { quantity.as_milli() } else { quantity.as_units() })
}

fn add(total: &mut Requests, more: &Requests) {
    for (name, amount) in more {
        let entry = total.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

fn maximise(total: &mut Requests, other: &Requests) {
    for (name, amount) in other {
        let entry = total.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

pub(crate) fn host_ports(pod: &Value) -> BTreeSet<HostPort> {
    let spec = &pod["spec"];
    array(&spec["containers"])
        .chain(array(&spec["initContainers"]).filter(|container| container["restartPolicy"] == "Always"))
        .flat_map(|container| array(&container["ports"]))
        .filter_map(|port| {
            let number = port["hostPort"].as_i64().filter(|number| *number > 0)?;
            let address = port["hostIP"].as_str().filter(|address| *address != "0.0.0.0").unwrap_or("");
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            Some((protocol.to_owned(), address.to_owned(), number))
        })
        .collect()
}

/// Two wishes for a port exclude each other unless they name different addresses.
pub(crate) fn conflict(a: &HostPort, b: &HostPort) -> bool {
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || a.1.is_empty() || b.1.is_empty())
}

pub(crate) fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_and_sidecars_count_as_upstream() {
        let container = |cpu: &str| json!({ "resources": { "requests": { "cpu": cpu } } });
        let mut sidecar = container("200m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = |inits: Vec<Value>| {
            json!({ "spec": { "containers": [container("300m"), container("100m")],
            "initContainers": inits, "overhead": { "cpu": "10m" } } })
        };
        assert_eq!(requests(&pod(vec![]))["cpu"], 410);
        assert_eq!(requests(&pod(vec![container("1")]))["cpu"], 1010);
        assert_eq!(requests(&pod(vec![sidecar.clone()]))["cpu"], 610);
        assert_eq!(requests(&pod(vec![sidecar, container("500m")]))["cpu"], 710);
        let whole = json!({ "spec": { "containers": [container("300m")],
            "resources": { "requests": { "cpu": "2", "memory": "1Gi" } } } });
        assert_eq!(requests(&whole), Requests::from([("cpu".into(), 2000), ("memory".into(), 1 << 30)]));
    }

    #[test]
    fn ports_conflict_by_address() {
        let port = |address: &str| ("TCP".to_owned(), address.to_owned(), 80);
        assert!(conflict(&port(""), &port("10.0.0.1")));
        assert!(conflict(&port("10.0.0.1"), &port("10.0.0.1")));
        assert!(!conflict(&port("10.0.0.2"), &port("10.0.0.1")));
        assert!(!conflict(&port(""), &("UDP".to_owned(), String::new(), 80)));
    }
}
