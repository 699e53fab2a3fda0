//! Any kind, by its health, its conditions and the Events about it.

use objects::{Value, meta};
use sync::HealthStatus;
use sync::health::{Health, assess};

use crate::reading::{array, condition_text};
use crate::tree::{Node, State};
use crate::{Path, Target};

/// The state that a health means.
pub(crate) fn state_of(health: HealthStatus) -> State {
    match health {
        HealthStatus::Healthy => State::Healthy,
        HealthStatus::Progressing | HealthStatus::Suspended => State::Waiting,
        HealthStatus::Missing | HealthStatus::Degraded => State::Blocked,
        HealthStatus::Unknown => State::Unknown,
    }
}

/// A node with the health of an object: its word and what it says.
pub(crate) fn by_health(target: &Target, object: &Value) -> Node {
    match assess(object) {
        Some(Health { status, message }) => {
            Node::of(target).in_state(state_of(status)).with_status(status.as_str()).with_message(message)
        }
        None => Node::of(target),
    }
}

/// What deletes and does not get there.
pub(crate) fn deleting(target: &Target, object: &Value) -> Option<Node> {
    if !meta::is_deleting(object) {
        return None;
    }
    let finalizers: Vec<&str> = meta::finalizers(object).collect();
    let node = Node::of(target).waiting("being deleted");
    Some(if finalizers.is_empty() {
        node
    } else {
        node.with_message(format!("waits for its finalizers: {}", finalizers.join(", ")))
    })
}

pub(crate) fn generic(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(mut node) = deleting(target, object) {
        for condition in array(object, "/status/conditions") {
            // Of a Namespace: what keeps it from going away.
            if condition["status"] == "True" {
                node.say(condition_text(condition));
            }
        }
        return node;
    }
    let mut node = by_health(target, object);
    if node.own > State::Healthy {
        for condition in array(object, "/status/conditions").iter().filter(|one| one["status"] != "True") {
            node.say(condition_text(condition));
        }
        add_warnings(path, target, &mut node);
    }
    node
}

/// The last Events that warn.
pub(crate) fn add_warnings(path: &Path<'_>, target: &Target, node: &mut Node) {
    let warnings = path.facts.warnings(target);
    for warning in warnings.iter().rev().take(3).rev() {
        let known = node.messages.iter().any(|message| message.contains(&warning.message));
        if !known {
            node.say(warning.text());
        }
    }
}
