//! Affinity between Pods: whom a Pod must, must not, would or would not be near.

use std::collections::BTreeSet;

use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Map, Value};

use crate::cluster::{Cluster, Node};
use crate::request::array;

/// One affinity term, with its selectors read.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    topology_key: String,
    selector: LabelSelector,
    namespaces: BTreeSet<String>,
    /// Namespaces by label, besides those named.
    namespace_selector: Option<LabelSelector>,
}

impl Term {
    /// The required terms of `podAffinity` or `podAntiAffinity`.
    pub(crate) fn required(pod: &Value, kind: &str) -> Vec<Term> {
        let terms = &pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"];
        array(terms).map(|term| Term::read(term, pod)).collect()
    }

    /// The preferred terms with their weights.
    fn preferred(pod: &Value, kind: &str) -> Vec<(i64, Term)> {
        let terms = &pod["spec"]["affinity"][kind]["preferredDuringSchedulingIgnoredDuringExecution"];
        array(terms)
            .map(|term| (term["weight"].as_i64().unwrap_or(0), Term::read(&term["podAffinityTerm"], pod)))
            .collect()
    }

    fn read(term: &Value, pod: &Value) -> Term {
        let mut namespaces: BTreeSet<String> =
            array(&term["namespaces"]).filter_map(|name| name.as_str().map(str::to_owned)).collect();
        let by_label = term.get("namespaceSelector").filter(|selector| !selector.is_null());
        if namespaces.is_empty() && by_label.is_none() {
            namespaces.extend(meta::namespace(pod).map(str::to_owned));
        }
        let read = |selector: &Value| match selector.is_null() {
            // An absent selector selects no pods, an empty one all.
            true => LabelSelector::nothing(),
            false => LabelSelector::from_object(selector).unwrap_or_else(|_| LabelSelector::nothing()),
        };
        Term {
            topology_key: term["topologyKey"].as_str().unwrap_or("").to_owned(),
            selector: read(&with_label_keys(term, pod)),
            namespaces,
            namespace_selector: by_label.map(read),
        }
    }

    /// Whether a Pod with these labels in this namespace is meant.
    fn selects(&self, cluster: &Cluster, namespace: &str, labels: &Map<String, Value>) -> bool {
        let there = self.namespaces.contains(namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|selector| selector.matches(cluster.namespaces.get(namespace)));
        there && self.selector.matches(Some(labels))
    }

    /// Whether a Pod that is meant runs in the node's topology domain.
    fn met(&self, cluster: &Cluster, node: &Node) -> bool {
        let Some(domain) = node.label(&self.topology_key) else { return false };
        cluster.pods.iter().any(|(key, placed)| {
            let other = cluster.nodes.get(&placed.node);
            other.and_then(|other| other.label(&self.topology_key)) == Some(domain)
                && self.selects(cluster, key.namespace_str(), &placed.labels)
        })
    }

    fn met_anywhere(&self, cluster: &Cluster) -> bool {
        cluster.nodes.values().any(|node| self.met(cluster, node))
    }
}

/// The term's selector with the Pod's own values of `matchLabelKeys` and `mismatchLabelKeys`.
fn with_label_keys(term: &Value, pod: &Value) -> Value {
    let mut selector = term["labelSelector"].clone();
    if selector.is_null() {
        return selector;
    }
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in array(&term[field]).filter_map(Value::as_str) {
            if let Some(value) = meta::label(pod, key) {
                let expression = serde_json::json!({ "key": key, "operator": operator, "values": [value] });
                match selector["matchExpressions"].as_array_mut() {
                    Some(list) => list.push(expression),
                    None => selector["matchExpressions"] = serde_json::json!([expression]),
                }
            }
        }
    }
    selector
}

/// Why a Pod cannot be on this node because of Pods, if so.
pub(crate) fn refusal(cluster: &Cluster, pod: &Value, node: &Node) -> Option<&'static str> {
    let namespace = meta::namespace(pod).unwrap_or("");
    let labels = meta::labels(pod).cloned().unwrap_or_default();
    for term in Term::required(pod, "podAffinity") {
        // The first Pod of a group that wants to be near itself has to be allowed somewhere.
        let first = term.selects(cluster, namespace, &labels) && !term.met_anywhere(cluster);
        if node.label(&term.topology_key).is_none() || !first && !term.met(cluster, node) {
            return Some("node(s) didn't match pod affinity rules");
        }
    }
    if Term::required(pod, "podAntiAffinity").iter().any(|term| term.met(cluster, node)) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let repelled = cluster.pods.values().any(|placed| {
        let theirs = cluster.nodes.get(&placed.node);
        placed.repels.iter().any(|term| {
            let domain = node.label(&term.topology_key);
            domain.is_some()
                && theirs.and_then(|theirs| theirs.label(&term.topology_key)) == domain
                && term.selects(cluster, namespace, &labels)
        })
    });
    repelled.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

/// Weights of preferred affinity that is met, less those of preferred anti-affinity that is broken.
pub(crate) fn preference(cluster: &Cluster, pod: &Value, node: &Node) -> i64 {
    let sum = |kind: &str| -> i64 {
        let terms = Term::preferred(pod, kind);
        terms.iter().filter(|(_, term)| term.met(cluster, node)).map(|(weight, _)| weight).sum()
    };
    sum("podAffinity") - sum("podAntiAffinity")
}
