//! The decision: hard rules node by node, then the best of what is left.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::cluster::{Cluster, Node};
use crate::request::{Requests, conflict, host_ports, requests};
use crate::selector::{self, any_term};
use crate::{interpod, spread, taint};

/// No node takes the Pod. Displays as kube-scheduler words it: `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods.`
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unschedulable {
    nodes: usize,
    /// How many nodes gave each reason.
    reasons: BTreeMap<String, usize>,
}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available", self.nodes)?;
        let mut reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        let separator = if reasons.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}.", reasons.join(", "))
    }
}

/// The node for a Pod. `volumes` are the node selectors (`nodeSelectorTerms`) of the volumes its claims are bound to.
pub fn choose(cluster: &Cluster, pod: &Value, volumes: &[Value]) -> Result<String, Unschedulable> {
    let wanted = Wanted { pod, requests: requests(pod), volumes };
    let mut unfit = Unschedulable { nodes: cluster.nodes.len(), reasons: BTreeMap::new() };
    let mut best: Option<(i64, &str)> = None;
    for (name, node) in &cluster.nodes {
        let reasons = refusals(cluster, &wanted, name, node);
        if reasons.is_empty() {
            let score = score(cluster, &wanted, name, node);
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, name));
            }
        }
        for reason in reasons {
            *unfit.reasons.entry(reason).or_default() += 1;
        }
    }
    best.map(|(_, name)| name.to_owned()).ok_or(unfit)
}

struct Wanted<'a> {
    pod: &'a Value,
    requests: Requests,
    volumes: &'a [Value],
}

/// Why this node does not take the Pod. As upstream, the first rule that refuses ends the question; only missing resources are
/// named all together.
fn refusals(cluster: &Cluster, wanted: &Wanted<'_>, name: &str, node: &Node) -> Vec<String> {
    let pod = wanted.pod;
    let one = |reason: &str| vec![reason.to_owned()];
    let unschedulable =
        serde_json::json!([{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }]);
    if node.unschedulable
        && unschedulable
            .as_array()
            .is_some_and(|taints| taint::untolerated(pod, taints, &["NoSchedule"]).is_some())
    {
        return one("node(s) were unschedulable");
    }
    let asked = pod["spec"]["nodeName"].as_str().unwrap_or("");
    if !asked.is_empty() && asked != name {
        return one("node(s) didn't match the requested node name");
    }
    if let Some(taint) = taint::untolerated(pod, &node.taints, &["NoSchedule", "NoExecute"]) {
        let text = |field: &str| taint[field].as_str().unwrap_or("");
        return vec![format!("node(s) had untolerated taint {{{}: {}}}", text("key"), text("value"))];
    }
    if !selector::wanted_by_pod(pod, &node.selected(name)) {
        return one("node(s) didn't match Pod's node affinity/selector");
    }
    let ports = host_ports(pod);
    let taken = cluster
        .on_node(name)
        .any(|(_, placed)| placed.ports.iter().any(|theirs| ports.iter().any(|ours| conflict(ours, theirs))));
    if taken {
        return one("node(s) didn't have free ports for the requested pod ports");
    }
    let missing = missing(cluster, wanted, name, node);
    if !missing.is_empty() {
        return missing;
    }
    if wanted.volumes.iter().any(|terms| !any_term(terms, &node.selected(name))) {
        return one("node(s) had volume node affinity conflict");
    }
    let refusal = spread::refusal(cluster, pod, node).or_else(|| interpod::refusal(cluster, pod, node));
    refusal.map(one).unwrap_or_default()
}

fn missing(cluster: &Cluster, wanted: &Wanted<'_>, name: &str, node: &Node) -> Vec<String> {
    let mut reasons = Vec::new();
    let pods = i64::try_from(cluster.on_node(name).count()).unwrap_or(i64::MAX);
    if node.allocatable.get("pods").is_some_and(|limit| pods + 1 > *limit) {
        reasons.push("Too many pods".to_owned());
    }
    for (resource, amount) in wanted.requests.iter().filter(|(_, amount)| **amount > 0) {
        let free = free(cluster, name, node, resource);
        if *amount > free {
            reasons.push(format!("Insufficient {resource}"));
        }
    }
    reasons
}

fn free(cluster: &Cluster, name: &str, node: &Node, resource: &str) -> i64 {
    let used: i64 =
        cluster.on_node(name).filter_map(|(_, placed)| placed.requests.get(resource)).copied().sum();
    node.allocatable.get(resource).copied().unwrap_or(0).saturating_sub(used)
}

/// Preferences first, then the emptier node; of equal ones the first by name.
fn score(cluster: &Cluster, wanted: &Wanted<'_>, name: &str, node: &Node) -> i64 {
    let pod = wanted.pod;
    let preferred = selector::preference(pod, &node.selected(name))
        + interpod::preference(cluster, pod, node)
        + spread::preference(cluster, pod, node) * 50
        - taint::unwelcome(pod, &node.taints) * 100;
    let room = |resource: &str| {
        let capacity = node.allocatable.get(resource).copied().unwrap_or(0).max(1);
        free(cluster, name, node, resource).saturating_mul(100) / capacity
    };
    preferred * 100 + room("cpu") + room("memory")
}

#[cfg(test)]
mod tests;
