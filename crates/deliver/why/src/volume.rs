//! Claims: the class, the volume, and what provisioning says.

use objects::{Value, meta};

use crate::generic::{add_warnings, deleting};
use crate::reading::text;
use crate::tree::Node;
use crate::{Path, Target};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

pub(crate) fn claim(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(node) = deleting(target, object) {
        return node;
    }
    match text(object, "/status/phase") {
        "Bound" => return Node::of(target).with_status("Bound"),
        "Lost" => {
            let volume = text(object, "/spec/volumeName");
            return Node::of(target)
                .blocked("Lost")
                .with_message(format!("the volume {volume} that it was bound to is gone"));
        }
        _ => {}
    }
    let mut node = Node::of(target).waiting("Pending");
    match object.pointer("/spec/storageClassName").and_then(Value::as_str) {
        // By hand: a volume has to be made for it.
        Some("") => node.say("no StorageClass: it waits for a PersistentVolume that suits it"),
        Some(name) => node.children.extend(class(path, name)),
        None => {
            let classes = path.facts.list("storage.k8s.io", "StorageClass", "");
            let is_default = |class: &&Value| meta::annotation(class, DEFAULT_CLASS) == Some("true");
            if classes.known && !classes.items.iter().any(|class| is_default(&class)) {
                node = node
                    .blocked("Pending")
                    .with_message("it names no StorageClass, and the cluster has none that is the default");
            }
        }
    }
    let volume = text(object, "/spec/volumeName");
    if !volume.is_empty() {
        let found = crate::object(path, &Target::new("", "PersistentVolume", "", volume));
        if found.so_far() > crate::State::Healthy {
            node.children.push(found);
        }
    }
    add_warnings(path, target, &mut node);
    if path.facts.warnings(target).iter().any(|warning| warning.reason == "ProvisioningFailed") {
        node = node.blocked("Pending");
    }
    if node.messages.is_empty() && node.children.is_empty() && waits_for_a_pod(path, object) {
        node.say("it waits for the first Pod that uses it (WaitForFirstConsumer)");
    }
    node
}

/// A class that is not there, with those that are.
fn class(path: &Path<'_>, name: &str) -> Option<Node> {
    let classes = path.facts.list("storage.k8s.io", "StorageClass", "");
    if !classes.known || classes.items.iter().any(|class| meta::name(class) == name) {
        return None;
    }
    let known: Vec<&str> = classes.items.iter().map(meta::name).collect();
    let there = if known.is_empty() {
        "the cluster has none".to_owned()
    } else {
        format!("the cluster has: {}", known.join(", "))
    };
    Some(
        Node::of(&Target::new("storage.k8s.io", "StorageClass", "", name))
            .blocked("not found")
            .with_message(there),
    )
}

fn waits_for_a_pod(path: &Path<'_>, claim: &Value) -> bool {
    let classes = path.facts.list("storage.k8s.io", "StorageClass", "");
    let wanted = claim.pointer("/spec/storageClassName").and_then(Value::as_str);
    classes.items.iter().any(|class| {
        let this = match wanted {
            Some(name) => meta::name(class) == name,
            None => meta::annotation(class, DEFAULT_CLASS) == Some("true"),
        };
        this && class["volumeBindingMode"] == "WaitForFirstConsumer"
    })
}
