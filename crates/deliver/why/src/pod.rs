//! A Pod: scheduling, its node, its volumes, its containers.

use objects::{Value, meta};

use crate::facts::Found;
use crate::generic::add_warnings;
use crate::pod_container;
use crate::reading::{array, condition, condition_text, in_namespace, reason, text};
use crate::tree::{Node, State};
use crate::{Path, Target};

pub(crate) fn pod(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if meta::is_deleting(object) {
        return deleting(path, target, object);
    }
    match text(object, "/status/phase") {
        "Succeeded" => return Node::of(target).with_status("Succeeded"),
        "Failed" => return failed(path, target, object),
        _ => {}
    }
    if is_ready(object) {
        return Node::of(target).with_status("Ready");
    }
    let mut node = Node::of(target).waiting(phase(object));
    if let Some(scheduling) = scheduling(path, target, object) {
        node.children.push(scheduling);
        return node;
    }
    node.children.extend(machine(path, object));
    node.children.extend(volumes(path, target, object));
    node.children.extend(pod_container::containers(path, target, object));
    if node.so_far() < State::Blocked {
        for gate in array(object, "/spec/readinessGates") {
            let kind = gate["conditionType"].as_str().unwrap_or_default();
            match condition(object, kind) {
                Some(one) if one["status"] == "True" => {}
                Some(one) => node.say(condition_text(one)),
                None => node.say(format!("its readiness gate {kind} has no condition yet")),
            }
        }
        add_warnings(path, target, &mut node);
    }
    node
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Whether there is nothing to say about it: it serves, or did what it was for.
pub(crate) fn is_well(pod: &Value) -> bool {
    !meta::is_deleting(pod) && (is_ready(pod) || text(pod, "/status/phase") == "Succeeded")
}

fn phase(pod: &Value) -> &'static str {
    match text(pod, "/status/phase") {
        "Running" => "running, not ready",
        "Pending" | "" => "Pending",
        _ => "Unknown",
    }
}

fn deleting(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    let mut node = Node::of(target).waiting("being deleted");
    let finalizers: Vec<&str> = meta::finalizers(object).collect();
    if !finalizers.is_empty() {
        node.say(format!("waits for its finalizers: {}", finalizers.join(", ")));
    }
    node.children.extend(machine(path, object));
    node
}

fn failed(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    let mut node = Node::of(target).blocked("Failed").with_message(reason(&object["status"]));
    node.children.extend(
        pod_container::containers(path, target, object)
            .into_iter()
            .filter(|child| child.so_far() == State::Blocked),
    );
    node
}

/// Why no node takes it; `None` if one did.
fn scheduling(path: &Path<'_>, target: &Target, object: &Value) -> Option<Node> {
    if !text(object, "/spec/nodeName").is_empty() {
        return None;
    }
    let scheduled = condition(object, "PodScheduled");
    let mut node = Node::new("scheduling");
    match scheduled.filter(|condition| condition["status"] == "False") {
        Some(condition) if condition["reason"] == "SchedulingGated" => {
            node = node.waiting("gated").with_message(text(condition, "/message"));
        }
        Some(condition) => {
            let status = condition["reason"].as_str().unwrap_or("Unschedulable").to_owned();
            let message = text(condition, "/message");
            node = node.blocked(status).with_message(message);
            if message.starts_with("no nodes available") {
                node = node.with_hint("start a node: without one (`mainstay up --no-node`) no Pod runs");
            }
        }
        None => {
            node = node.waiting("no scheduler has looked at it yet");
            // Where there is no node there may be no scheduler either.
            let nodes = path.facts.list("", "Node", "");
            if nodes.known && nodes.items.is_empty() {
                node = node
                    .blocked("the cluster has no node")
                    .with_hint("start a node: without one (`mainstay up --no-node`) no Pod runs");
            }
        }
    }
    // A claim that is not bound keeps a Pod from being placed.
    node.children.extend(volumes(path, target, object));
    if node.children.is_empty() && node.messages.is_empty() {
        add_warnings(path, target, &mut node);
    }
    Some(node)
}

/// The node it was given to, if it does not do well.
fn machine(path: &Path<'_>, pod: &Value) -> Option<Node> {
    let name = text(pod, "/spec/nodeName");
    if name.is_empty() {
        return None;
    }
    let target = Target::new("", "Node", "", name);
    match path.facts.object(&target) {
        Found::There(machine) => {
            let ready = condition(machine, "Ready");
            if ready.is_some_and(|ready| ready["status"] == "True") {
                return None;
            }
            let message = ready.map(condition_text).unwrap_or_default();
            Some(Node::of(&target).blocked("not ready").with_message(message))
        }
        Found::Absent => Some(Node::of(&target).blocked("not found")),
        Found::Failed(reason) => {
            Some(Node::of(&target).unread(reason)).filter(|_| !reason.contains("forbidden"))
        }
        Found::UnknownKind | Found::NotYet => None,
    }
}

/// What its volumes come from, as far as it is missing or not ready.
fn volumes(path: &Path<'_>, target: &Target, pod: &Value) -> Vec<Node> {
    let mut found = Vec::new();
    for volume in array(pod, "/spec/volumes") {
        let name = meta_name(volume);
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        let ephemeral = volume["ephemeral"].is_object().then(|| format!("{}-{name}", target.name));
        let claim = ephemeral.unwrap_or_else(|| claim.to_owned());
        if !claim.is_empty() {
            let target = in_namespace("", "PersistentVolumeClaim", target, &claim);
            found.push(crate::object(path, &target));
        }
        let sources = array(volume, "/projected/sources").iter().chain(std::iter::once(volume));
        for source in sources {
            for (field, name_field, kind) in [
                ("secret", "secretName", "Secret"),
                ("secret", "name", "Secret"),
                ("configMap", "name", "ConfigMap"),
            ] {
                let Some(name) = source[field][name_field].as_str() else { continue };
                if source[field]["optional"] != true {
                    found.extend(missing(
                        path,
                        &in_namespace("", kind, target, name),
                        &format!("volume {}", meta_name(volume)),
                    ));
                }
            }
        }
    }
    found.retain(|node| node.so_far() > State::Healthy);
    found
}

fn meta_name(volume: &Value) -> &str {
    volume["name"].as_str().unwrap_or_default()
}

/// Something that is named and not there.
pub(crate) fn missing(path: &Path<'_>, target: &Target, used_by: &str) -> Option<Node> {
    match path.facts.object(target) {
        Found::Absent => {
            Some(Node::of(target).blocked("not found").with_message(format!("{used_by} needs it")))
        }
        _ => None,
    }
}

/// Pods of a workload: those that are well in one line, those that suffer from the same only once.
pub(crate) fn group(path: &Path<'_>, pods: &[&Value]) -> Vec<Node> {
    let (well, ill): (Vec<&Value>, Vec<&Value>) = pods.iter().copied().partition(|pod| is_well(pod));
    let mut nodes: Vec<Node> = Vec::new();
    // A few tell what is wrong; each one asks for logs and Events.
    const LOOKED_AT: usize = 5;
    for pod in ill.iter().take(LOOKED_AT) {
        let target = in_namespace(
            "",
            "Pod",
            &Target::new("", "", meta::namespace(pod).unwrap_or_default(), ""),
            meta::name(pod),
        );
        let node = crate::known(&path.below(&target), &target, pod);
        match nodes.iter_mut().find(|before| same_trouble(before, &node)) {
            Some(before) => before.say(format!("{} suffers from the same", node.subject)),
            None => nodes.push(node),
        }
    }
    if ill.len() > LOOKED_AT {
        nodes.push(Node::new(format!("{} more Pods", ill.len() - LOOKED_AT)).waiting("not ready"));
    }
    if !well.is_empty() {
        nodes.push(Node::new(format!("{} Pods", well.len())).with_status("ready"));
    }
    nodes
}

/// Whether two Pods lack the same, names and counts aside.
fn same_trouble(left: &Node, right: &Node) -> bool {
    let shape = |node: &Node| -> Vec<(String, String)> {
        let mut parts = Vec::new();
        collect(node, &mut parts);
        parts
    };
    fn collect(node: &Node, parts: &mut Vec<(String, String)>) {
        for child in &node.children {
            parts.push((child.subject.clone(), child.status.clone()));
            collect(child, parts);
        }
    }
    left.status == right.status && shape(left) == shape(right)
}
