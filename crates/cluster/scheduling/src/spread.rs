//! Topology spread constraints.

use std::collections::BTreeMap;

use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Node};
use crate::request::array;
use crate::selector;

/// Why the Pod cannot be on this node because of its hard spread constraints, if so.
pub(crate) fn refusal(cluster: &Cluster, pod: &Value, node: &Node) -> Option<&'static str> {
    for constraint in constraints(pod, "DoNotSchedule") {
        let key = constraint["topologyKey"].as_str().unwrap_or("");
        let Some(domain) = node.label(key) else {
            return Some("node(s) didn't match pod topology spread constraints (missing required label)");
        };
        let counts = counts(cluster, pod, constraint, key);
        let domains = i64::try_from(counts.len()).unwrap_or(i64::MAX);
        let least = match constraint["minDomains"].as_i64() {
            Some(wanted) if domains < wanted => 0,
            _ => counts.values().copied().min().unwrap_or(0),
        };
        let own = i64::from(selects(constraint, pod));
        let here = counts.get(domain).copied().unwrap_or(0);
        if here + own - least > constraint["maxSkew"].as_i64().unwrap_or(1) {
            return Some("node(s) didn't match pod topology spread constraints");
        }
    }
    None
}

/// The soft constraints' view: how many like Pods are in the node's domains already, negated.
pub(crate) fn preference(cluster: &Cluster, pod: &Value, node: &Node) -> i64 {
    constraints(pod, "ScheduleAnyway")
        .filter_map(|constraint| {
            let key = constraint["topologyKey"].as_str()?;
            Some(-counts(cluster, pod, constraint, key).get(node.label(key)?).copied().unwrap_or(0))
        })
        .sum()
}

fn constraints<'a>(pod: &'a Value, action: &'static str) -> impl Iterator<Item = &'a Value> {
    array(&pod["spec"]["topologySpreadConstraints"]).filter(move |constraint| {
        constraint["whenUnsatisfiable"].as_str().unwrap_or("DoNotSchedule") == action
    })
}

/// Like Pods by domain, over the nodes the Pod may run on by selector and affinity.
fn counts<'a>(cluster: &'a Cluster, pod: &Value, constraint: &Value, key: &str) -> BTreeMap<&'a str, i64> {
    let selector = like(constraint, pod);
    let mut counts = BTreeMap::new();
    for (name, node) in &cluster.nodes {
        let Some(domain) = node.label(key) else { continue };
        let honoured = constraint["nodeAffinityPolicy"] != "Ignore";
        if honoured && !selector::wanted_by_pod(pod, &node.selected(name)) {
            continue;
        }
        let here = cluster.on_node(name).filter(|(key, placed)| {
            !placed.leaving
                && key.namespace.as_deref() == meta::namespace(pod)
                && selector.matches(Some(&placed.labels))
        });
        *counts.entry(domain).or_default() += i64::try_from(here.count()).unwrap_or(i64::MAX);
    }
    counts
}

fn selects(constraint: &Value, pod: &Value) -> bool {
    like(constraint, pod).matches_object(pod)
}

fn like(constraint: &Value, pod: &Value) -> LabelSelector {
    let mut selector = constraint["labelSelector"].clone();
    if selector.is_null() {
        return LabelSelector::nothing();
    }
    for key in array(&constraint["matchLabelKeys"]).filter_map(Value::as_str) {
        if let Some(value) = meta::label(pod, key) {
            let expression = json!({ "key": key, "operator": "In", "values": [value] });
            match selector["matchExpressions"].as_array_mut() {
                Some(list) => list.push(expression),
                None => selector["matchExpressions"] = json!([expression]),
            }
        }
    }
    LabelSelector::from_object(&selector).unwrap_or_else(|_| LabelSelector::nothing())
}
