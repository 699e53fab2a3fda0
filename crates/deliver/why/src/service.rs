//! A Service: what it selects, its ports, and whether anything serves.

use objects::selector::LabelSelector;
use objects::{Value, meta};

use crate::generic::{by_health, deleting};
use crate::pod::{group, is_ready};
use crate::reading::{array, number, text};
use crate::tree::{Node, State};
use crate::{Path, Target};

pub(crate) fn service(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(node) = deleting(target, object) {
        return node;
    }
    let mut node = by_health(target, object);
    if node.own > State::Healthy {
        node = node
            .waiting("no address")
            .with_message("it is of type LoadBalancer, and nothing gave it an address");
    }
    if text(object, "/spec/type") == "ExternalName" {
        return node.with_status(format!("leads to {}", text(object, "/spec/externalName")));
    }
    let selector = &object["spec"]["selector"];
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        return without_selector(path, node, target);
    }
    let pods = path.facts.list("", "Pod", &target.namespace);
    if let Some(reason) = pods.failed {
        return node.with(Node::new("Pods").unread(reason));
    }
    if !pods.known {
        return node;
    }
    let matching = LabelSelector::from_map(selector);
    let chosen: Vec<&Value> =
        pods.items.iter().filter(|pod| matching.matches_object(pod) && !is_done(pod)).collect();
    if chosen.is_empty() {
        return nothing_selected(path, node, target, &matching, selector);
    }
    node.children.extend(ports(object, &chosen));
    let ready = chosen.iter().filter(|pod| is_ready(pod)).count();
    node.status = format!("{ready} of {} Pods ready", chosen.len());
    if ready == 0 {
        node = node.in_state(State::Waiting);
        // Within an application they are explained below what makes them.
        if !path.in_application() {
            node.children.extend(group(path, &chosen));
        }
    }
    node
}

fn is_done(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn without_selector(path: &Path<'_>, node: Node, target: &Target) -> Node {
    let slices = path.facts.list("discovery.k8s.io", "EndpointSlice", &target.namespace);
    let own = slices
        .items
        .iter()
        .filter(|slice| meta::label(slice, "kubernetes.io/service-name") == Some(target.name.as_str()));
    let addresses: usize = own.map(|slice| array(slice, "/endpoints").len()).sum();
    if slices.known && addresses == 0 {
        return node
            .blocked("no endpoints")
            .with_message("it has no selector, and no EndpointSlice names an address for it");
    }
    node.with_status(format!("{addresses} endpoints"))
}

fn nothing_selected(
    path: &Path<'_>,
    node: Node,
    target: &Target,
    matching: &LabelSelector,
    selector: &Value,
) -> Node {
    for (group, kind) in [("apps", "Deployment"), ("apps", "StatefulSet"), ("argoproj.io", "Rollout")] {
        let workloads = path.facts.list(group, kind, &target.namespace);
        for workload in workloads.items {
            let labels = workload.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
            if !matching.matches(labels) {
                continue;
            }
            let name = meta::name(workload);
            if workload.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) {
                return node.with_status(format!("no endpoints: {kind} {name} is scaled to zero"));
            }
            let of = Target::new(group, kind, &target.namespace, name);
            let below = node.waiting(format!("no endpoints: {kind} {name} has no Pod yet"));
            return if path.in_application() { below } else { below.with(crate::object(path, &of)) };
        }
    }
    let terms: Vec<String> = selector
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    node.blocked("no endpoints").with_message(format!(
        "its selector {} matches no Pod in namespace {}",
        terms.join(","),
        target.namespace
    ))
}

/// Named target ports that no chosen Pod has.
fn ports(service: &Value, pods: &[&Value]) -> Vec<Node> {
    let mut known: Vec<&str> = pods
        .iter()
        .flat_map(|pod| array(pod, "/spec/containers").iter().chain(array(pod, "/spec/initContainers")))
        .flat_map(|container| array(container, "/ports"))
        .filter_map(|port| port["name"].as_str())
        .collect();
    known.sort_unstable();
    known.dedup();
    let missing = array(service, "/spec/ports").iter().filter_map(|port| {
        let name = port["targetPort"].as_str()?;
        if known.contains(&name) {
            return None;
        }
        let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Some(
            Node::new(format!("port {}", number(port, "/port")))
                .blocked(format!("targetPort {name:?} is no port of its Pods"))
                .with_message(format!("named ports of its Pods: {there}")),
        )
    });
    missing.collect()
}

/// Whether a Service has a port of this name or number.
pub(crate) fn has_port(service: &Value, port: &Value) -> bool {
    array(service, "/spec/ports").iter().any(|one| {
        port["number"].as_i64().is_some_and(|number| one["port"].as_i64() == Some(number))
            || port["name"].as_str().is_some_and(|name| one["name"] == name)
    })
}
