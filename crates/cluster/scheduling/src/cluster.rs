//! The cluster, reduced to what placing a Pod needs.

use std::collections::{BTreeMap, BTreeSet};

use objects::meta::{self, Key};
use serde_json::{Map, Value};

use crate::interpod::Term;
use crate::request::{HostPort, Requests, amounts, host_ports, requests};
use crate::selector::Selected;

/// Nodes with what runs on them. Fed with objects as they change; keeps no object, only extracts.
#[derive(Debug, Default)]
pub struct Cluster {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) pods: BTreeMap<Key, Placed>,
    /// Labels of namespaces, for affinity terms that select namespaces by label.
    pub(crate) namespaces: BTreeMap<String, Map<String, Value>>,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) labels: Map<String, Value>,
    pub(crate) taints: Vec<Value>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Requests,
}

/// A Pod that holds resources of a node.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) node: String,
    pub(crate) labels: Map<String, Value>,
    pub(crate) requests: Requests,
    pub(crate) ports: BTreeSet<HostPort>,
    /// Whom this Pod does not want near it.
    pub(crate) repels: Vec<Term>,
    pub(crate) leaving: bool,
}

impl Node {
    pub(crate) fn selected<'a>(&'a self, name: &'a str) -> Selected<'a> {
        Selected { name, labels: &self.labels }
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)?.as_str()
    }
}

impl Cluster {
    /// An empty cluster.
    pub fn new() -> Cluster {
        Cluster::default()
    }

    /// Takes a Node object as it is now; says whether anything changed that placing a Pod looks at.
    pub fn set_node(&mut self, node: &Value) -> bool {
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let extract = Node {
            labels: meta::labels(node).cloned().unwrap_or_default(),
            taints,
            unschedulable: node["spec"]["unschedulable"] == true,
            allocatable: amounts(&node["status"]["allocatable"]),
        };
        let changed = self.nodes.get(meta::name(node)) != Some(&extract);
        self.nodes.insert(meta::name(node).to_owned(), extract);
        changed
    }

    /// The node is gone.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Takes a Namespace object as it is now.
    pub fn set_namespace(&mut self, namespace: &Value) {
        let labels = meta::labels(namespace).cloned().unwrap_or_default();
        self.namespaces.insert(meta::name(namespace).to_owned(), labels);
    }

    /// The namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Takes a Pod object as it is now: it counts while it is bound to a node and not finished. Says
    /// whether others may fit now that did not before.
    pub fn set_pod(&mut self, pod: &Value) -> bool {
        let key = Key::of(pod);
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
        let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if node.is_empty() || finished {
            return self.pods.remove(&key).is_some();
        }
        let placed = Placed {
            node: node.to_owned(),
            labels: meta::labels(pod).cloned().unwrap_or_default(),
            requests: requests(pod),
            ports: host_ports(pod),
            repels: Term::required(pod, "podAntiAffinity"),
            leaving: meta::is_deleting(pod),
        };
        // A new Pod can be what another one's affinity waited for.
        self.pods.insert(key, placed).is_none()
    }

    /// The Pod is gone; says whether it counted.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        self.pods.remove(key).is_some()
    }

    /// Drops what a complete list no longer names.
    pub fn retain_pods(&mut self, exists: impl Fn(&Key) -> bool) {
        self.pods.retain(|key, _| exists(key));
    }

    /// Drops nodes that a complete list no longer names.
    pub fn retain_nodes(&mut self, exists: impl Fn(&str) -> bool) {
        self.nodes.retain(|name, _| exists(name));
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn on_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a Key, &'a Placed)> {
        self.pods.iter().filter(move |(_, placed)| placed.node == node)
    }
}
