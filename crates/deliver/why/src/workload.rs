//! What makes Pods: Deployments, StatefulSets, DaemonSets, ReplicaSets, Rollouts, Jobs, CronJobs.

use objects::{Value, meta};
use sync::HealthStatus;
use sync::health::assess;

use crate::generic::{add_warnings, by_health, deleting};
use crate::pod::group;
use crate::reading::{array, condition, condition_text, key_of, number, owned_by, text};
use crate::tree::{Node, State};
use crate::{Path, Target};

const REVISION: [&str; 2] = ["deployment.kubernetes.io/revision", "rollout.argoproj.io/revision"];

pub(crate) fn workload(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(node) = deleting(target, object) {
        return node;
    }
    let mut node = by_health(target, object);
    let counts = counts(target, object);
    if node.own == State::Healthy {
        return node.with_status(counts);
    }
    node.status = format!("{}, {counts}", node.status);
    if object["spec"]["paused"] == true {
        node.say("spec.paused is set");
    }
    if meta::generation(object) > observed(object) {
        node.say("its controller has not looked at its newest generation yet");
    }
    for condition in array(object, "/status/conditions") {
        let (kind, status) = (&condition["type"], &condition["status"]);
        let bad = match kind.as_str() {
            Some("ReplicaFailure" | "InvalidSpec" | "Degraded") => status == "True",
            Some("Paused" | "Completed") => false,
            _ => status != "True",
        };
        if bad {
            node.say(condition_text(condition));
        }
    }
    let makers = makers(path, target, object);
    let pods = path.facts.list("", "Pod", &target.namespace);
    if let Some(reason) = pods.failed {
        return node.with(Node::new("Pods").unread(reason));
    }
    let owners: Vec<&str> = if makers.is_empty() {
        vec![meta::uid(object)]
    } else {
        makers.iter().map(|set| meta::uid(set)).collect()
    };
    let own: Vec<&Value> =
        pods.items.iter().filter(|pod| owners.iter().any(|owner| owned_by(pod, owner))).collect();
    for set in &makers {
        if let Some(failure) = condition(set, "ReplicaFailure").filter(|one| one["status"] == "True") {
            let target = key_of("apps", "ReplicaSet", set);
            node.children
                .push(Node::of(&target).blocked("cannot create Pods").with_message(condition_text(failure)));
        }
    }
    node.children.extend(group(path, &own));
    if node.so_far() < State::Blocked || own.is_empty() {
        for set in &makers {
            add_warnings(path, &key_of("apps", "ReplicaSet", set), &mut node);
        }
        add_warnings(path, target, &mut node);
        if own.is_empty() && node.messages.iter().any(|message| message.starts_with("FailedCreate")) {
            node = node.in_state(State::Blocked);
        }
    }
    node
}

/// `1/3 available`.
fn counts(target: &Target, object: &Value) -> String {
    let desired = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(1);
    match target.kind.as_str() {
        "DaemonSet" => {
            let wanted = number(object, "/status/desiredNumberScheduled");
            format!("{}/{wanted} available", number(object, "/status/numberAvailable"))
        }
        "StatefulSet" => {
            format!("{}/{} ready", number(object, "/status/readyReplicas"), desired("/spec/replicas"))
        }
        _ => {
            format!("{}/{} available", number(object, "/status/availableReplicas"), desired("/spec/replicas"))
        }
    }
}

/// The ReplicaSet that the Pods of now come from; empty for what makes Pods itself.
fn makers<'a>(path: &Path<'a>, target: &Target, object: &Value) -> Vec<&'a Value> {
    if !matches!(target.kind.as_str(), "Deployment" | "Rollout") {
        return Vec::new();
    }
    let sets = path.facts.list("apps", "ReplicaSet", &target.namespace);
    let revision = |object: &Value| {
        let text = REVISION.iter().find_map(|name| meta::annotation(object, name));
        text.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0)
    };
    let owned = sets.items.iter().filter(|set| owned_by(set, meta::uid(object)));
    owned.max_by_key(|set| revision(set)).into_iter().collect()
}

pub(crate) fn job(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(node) = deleting(target, object) {
        return node;
    }
    let is_true = |kind: &str| condition(object, kind).filter(|one| one["status"] == "True");
    if is_true("Complete").is_some() {
        return Node::of(target).with_status("Complete");
    }
    let pods = path.facts.list("", "Pod", &target.namespace);
    let own: Vec<&Value> = pods.items.iter().filter(|pod| owned_by(pod, meta::uid(object))).collect();
    if let Some(failed) = is_true("Failed") {
        let mut node = Node::of(target).blocked("Failed").with_message(condition_text(failed));
        // The last one tells as much as all of them.
        let last = own.iter().max_by_key(|pod| meta::creation_timestamp(pod).unwrap_or_default().to_owned());
        node.children.extend(last.into_iter().flat_map(|pod| group(path, &[pod])));
        if own.is_empty() {
            node.say("its Pods are gone, and their logs with them");
            add_warnings(path, target, &mut node);
        }
        return node;
    }
    if object["spec"]["suspend"] == true {
        return Node::of(target).waiting("suspended").with_message("spec.suspend is set");
    }
    let failures = number(object, "/status/failed");
    let mut node = Node::of(target).waiting("running");
    if failures > 0 {
        let limit = object.pointer("/spec/backoffLimit").and_then(Value::as_i64).unwrap_or(6);
        node.say(format!("{failures} Pods failed; it gives up after {}", limit + 1));
    }
    node.children.extend(group(path, &own));
    if own.is_empty() {
        add_warnings(path, target, &mut node);
    }
    node
}

pub(crate) fn cron_job(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(node) = deleting(target, object) {
        return node;
    }
    let schedule = text(object, "/spec/schedule");
    if object["spec"]["suspend"] == true {
        return Node::of(target).with_status("suspended");
    }
    let mut node = Node::of(target).with_status(format!("runs at {schedule:?}"));
    let jobs = path.facts.list("batch", "Job", &target.namespace);
    let own = jobs.items.iter().filter(|job| owned_by(job, meta::uid(object)));
    let last = own.max_by_key(|job| meta::creation_timestamp(job).unwrap_or_default().to_owned());
    if let Some(last) = last {
        let last = crate::known(path, &key_of("batch", "Job", last), last);
        // One that runs is what a CronJob is for.
        if last.so_far() > State::Waiting {
            node.children.push(last);
        }
    }
    let unhealthy = assess(object).filter(|health| health.status == HealthStatus::Degraded);
    if let Some(health) = unhealthy.filter(|_| node.children.is_empty()) {
        node = node.blocked("Degraded").with_message(health.message);
        add_warnings(path, target, &mut node);
    }
    node
}

/// The generation that the controller has looked at; a Rollout's is a text.
fn observed(object: &Value) -> i64 {
    let observed = &object["status"]["observedGeneration"];
    observed.as_str().and_then(|text| text.parse().ok()).or_else(|| observed.as_i64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_generation_of_a_rollout_is_a_text() {
        for (generation, seen) in [(json!("7"), 7), (json!(7), 7), (Value::Null, 0)] {
            assert_eq!(observed(&json!({"status": {"observedGeneration": generation}})), seen);
        }
    }
}
