//! Services, endpoints, ingresses.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    AGE, NAME, Printer, at, created, items, joined, name, or_none, pairs, selector, string, text, wide,
};

pub(super) fn core(plural: &str) -> Option<Printer> {
    Some(match plural {
        "services" => Printer {
            columns: const {
                &[
                    NAME,
                    text("Type"),
                    text("Cluster-IP"),
                    text("External-IP"),
                    text("Port(s)"),
                    AGE,
                    wide("Selector"),
                ]
            },
            cells: service,
        },
        "endpoints" => Printer { columns: const { &[NAME, text("Endpoints"), AGE] }, cells: endpoints },
        _ => return None,
    })
}

pub(super) fn printer(plural: &str) -> Option<Printer> {
    Some(match plural {
        "ingresses" => Printer {
            columns: const { &[NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE] },
            cells: ingress,
        },
        "ingressclasses" => Printer {
            columns: const { &[NAME, text("Controller"), text("Parameters"), AGE] },
            cells: |object, now| {
                let parameters = at(object, "/spec/parameters");
                let shown = match (parameters["apiGroup"].as_str(), parameters["kind"].as_str()) {
                    (_, None) => String::new(),
                    (None, Some(kind)) => format!("{kind}/{}", string(parameters, "/name")),
                    (Some(group), Some(kind)) => format!("{kind}.{group}/{}", string(parameters, "/name")),
                };
                vec![
                    name(object),
                    string(object, "/spec/controller").into(),
                    or_none(&shown),
                    created(object, now),
                ]
            },
        },
        "networkpolicies" => Printer {
            columns: const { &[NAME, text("Pod-Selector"), AGE] },
            cells: |object, now| {
                vec![name(object), selector(at(object, "/spec/podSelector")), created(object, now)]
            },
        },
        "endpointslices" => Printer {
            columns: const { &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE] },
            cells: slice,
        },
        _ => return None,
    })
}

fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = string(object, "/spec/type");
    vec![
        name(object),
        kind.into(),
        or_none(string(object, "/spec/clusterIP")),
        external(object, kind).into(),
        ports(object),
        created(object, now),
        pairs(at(object, "/spec/selector")),
    ]
}

fn addresses(object: &Value) -> String {
    let list = items(object, "/status/loadBalancer/ingress");
    joined(list.iter().filter_map(|entry| entry["ip"].as_str().or_else(|| entry["hostname"].as_str())))
}

fn external(object: &Value, kind: &str) -> String {
    let given = joined(items(object, "/spec/externalIPs").iter().filter_map(Value::as_str));
    let none = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
    match kind {
        "LoadBalancer" => {
            let balancer = addresses(object);
            match (balancer.is_empty(), given.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (true, false) => given,
                (false, true) => balancer,
                (false, false) => format!("{balancer},{given}"),
            }
        }
        "ExternalName" => string(object, "/spec/externalName").to_owned(),
        _ => none(given),
    }
}

fn ports(object: &Value) -> Value {
    let list: Vec<String> = items(object, "/spec/ports")
        .iter()
        .map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
                _ => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    or_none(&list.join(","))
}

/// The first few, and how many more there are.
fn some(list: Vec<String>, most: usize) -> Value {
    let count = list.len();
    if count > most {
        return format!("{} + {} more...", list[..most].join(","), count - most).into();
    }
    or_none(&list.join(","))
}

fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    const SHOWN: usize = 3;
    let mut list = Vec::new();
    for subset in items(object, "/subsets") {
        let ports = items(subset, "/ports");
        for address in items(subset, "/addresses") {
            let ip = string(address, "/ip");
            if ports.is_empty() {
                list.push(ip.to_owned());
            }
            list.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
        }
    }
    vec![name(object), some(list, SHOWN), created(object, now)]
}

fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    const SHOWN: usize = 3;
    let ports: Vec<String> = items(object, "/ports")
        .iter()
        .map(|port| match (port["port"].as_i64(), port["name"].as_str()) {
            (Some(port), _) => port.to_string(),
            (None, Some(name)) if !name.is_empty() => name.to_owned(),
            _ => "*".to_owned(),
        })
        .collect();
    let ports = if ports.is_empty() { "<unset>".into() } else { some(ports, SHOWN) };
    let addresses = items(object, "/endpoints").iter().flat_map(|endpoint| items(endpoint, "/addresses"));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    let addresses = if addresses.is_empty() { "<unset>".into() } else { some(addresses, SHOWN) };
    vec![name(object), string(object, "/addressType").into(), ports, addresses, created(object, now)]
}

fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    const SHOWN: usize = 3;
    let hosts: Vec<String> = items(object, "/spec/rules")
        .iter()
        .filter_map(|rule| rule["host"].as_str())
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    let hosts = if hosts.is_empty() { "*".into() } else { some(hosts, SHOWN) };
    let secure = !items(object, "/spec/tls").is_empty();
    vec![
        name(object),
        or_none(string(object, "/spec/ingressClassName")),
        hosts,
        addresses(object).into(),
        if secure { "80, 443" } else { "80" }.into(),
        created(object, now),
    ]
}
