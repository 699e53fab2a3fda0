//! What a Deployment's status says: counts, conditions, and whether the update makes progress.

use std::time::Duration;

use client::conditions::{self, Condition};
use jiff::{SignedDuration, Timestamp};
use objects::meta;
use serde_json::{Value, json};

use super::sets::{max_unavailable, replicas, status_count, total_status};

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The deadline for progress, unless there is none (absent, or the largest 32-bit number).
pub(super) fn deadline(deployment: &Value) -> Option<Duration> {
    let seconds = deployment["spec"]["progressDeadlineSeconds"].as_i64()?;
    (seconds != i64::from(i32::MAX)).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Counts and the conditions that follow from counts alone.
pub(super) fn counts(deployment: &Value, new: Option<&Value>, old: &[Value], now: Timestamp) -> Value {
    let all = || old.iter().chain(new);
    let available = total_status(all(), "availableReplicas");
    let wanted_total: i64 = all().map(replicas).sum();
    let mut status = json!({ "observedGeneration": meta::generation(deployment) });
    for field in ["collisionCount", "conditions"] {
        if let Some(value) = deployment["status"].get(field).filter(|value| !value.is_null()) {
            status[field] = value.clone();
        }
    }
    let fields = [
        ("replicas", total_status(all(), "replicas")),
        ("updatedReplicas", new.map_or(0, |new| status_count(new, "replicas"))),
        ("readyReplicas", total_status(all(), "readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (wanted_total - available).max(0)),
    ];
    for (field, count) in fields {
        crate::set_count(&mut status, field, usize::try_from(count).unwrap_or(0));
    }
    let condition = if available >= replicas(deployment) - max_unavailable(deployment) {
        Condition::new(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        let message = "Deployment does not have minimum availability.";
        Condition::new("Available", "False", "MinimumReplicasUnavailable", message)
    };
    conditions::set(&mut status, &condition, now);
    status
}

/// The whole status of an update that goes on.
pub(super) fn rollout(deployment: &Value, new: Option<&Value>, old: &[Value], now: Timestamp) -> Value {
    let mut status = counts(deployment, new, old, now);
    progress(deployment, new, &mut status, now);
    copy_failure(new, old, &mut status);
    status
}

fn progress(deployment: &Value, new: Option<&Value>, status: &mut Value, now: Timestamp) {
    if deadline(deployment).is_none() {
        conditions::remove(status, PROGRESSING);
        return;
    }
    let current = conditions::find(&deployment["status"], PROGRESSING);
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let ended = current.is_some_and(|current| current["reason"] == "NewReplicaSetAvailable");
    if ended && count("replicas") == count("updatedReplicas") {
        return;
    }
    let subject = new.map_or_else(
        || format!("Deployment \"{}\"", meta::name(deployment)),
        |new| format!("ReplicaSet \"{}\"", meta::name(new)),
    );
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions::set(status, &Condition::new(PROGRESSING, "True", "NewReplicaSetAvailable", message), now);
    } else if is_progressing(deployment, status) {
        let message = format!("{subject} is progressing.");
        let transition = current
            .filter(|current| current["status"] == "True")
            .map(|current| current["lastTransitionTime"].clone());
        // Written anew even if it stays the same: its update time is what the deadline counts from.
        conditions::remove(status, PROGRESSING);
        conditions::set(status, &Condition::new(PROGRESSING, "True", "ReplicaSetUpdated", message), now);
        if let Some(transition) = transition
            && let Some(list) = status["conditions"].as_array_mut()
            && let Some(condition) = list.iter_mut().find(|condition| condition["type"] == PROGRESSING)
        {
            condition["lastTransitionTime"] = transition;
        }
    } else if is_timed_out(deployment, now) {
        let message = format!("{subject} has timed out progressing.");
        conditions::set(status, &Condition::new(PROGRESSING, "False", TIMED_OUT, message), now);
    }
}

/// Everything is updated and available, and nothing else runs.
pub(super) fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = replicas(deployment);
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    count("updatedReplicas") == wanted
        && count("replicas") == wanted
        && count("availableReplicas") == wanted
        && count("observedGeneration") >= meta::generation(deployment)
}

fn is_progressing(deployment: &Value, status: &Value) -> bool {
    let before = |field: &str| status_count(deployment, field);
    let after = |field: &str| status[field].as_i64().unwrap_or(0);
    let old_before = before("replicas") - before("updatedReplicas");
    let old_after = after("replicas") - after("updatedReplicas");
    after("updatedReplicas") > before("updatedReplicas")
        || old_after < old_before
        || after("readyReplicas") > before("readyReplicas")
        || after("availableReplicas") > before("availableReplicas")
}

fn is_timed_out(deployment: &Value, now: Timestamp) -> bool {
    let condition = conditions::find(&deployment["status"], PROGRESSING);
    match condition.and_then(|condition| condition["reason"].as_str()) {
        None | Some("NewReplicaSetAvailable") => false,
        Some(TIMED_OUT) => true,
        Some(_) => until_timeout(deployment, now).is_some_and(|left| left.is_zero()),
    }
}

/// How long until the deadline for progress passes; `None` when nothing is awaited.
pub(super) fn until_timeout(deployment: &Value, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let condition = conditions::find(&deployment["status"], PROGRESSING)?;
    if condition["reason"] == "NewReplicaSetAvailable" || condition["reason"] == TIMED_OUT {
        return None;
    }
    let updated: Timestamp = condition["lastUpdateTime"].as_str()?.parse().ok()?;
    let due = updated + SignedDuration::try_from(deadline).ok()?;
    Some(Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// A set that cannot make its pods is shown on the Deployment, the new set's trouble first.
fn copy_failure(new: Option<&Value>, old: &[Value], status: &mut Value) {
    let failure = |set: &Value| conditions::find(&set["status"], "ReplicaFailure").cloned();
    conditions::remove(status, "ReplicaFailure");
    if let Some(mut failure) = new.and_then(failure).or_else(|| old.iter().find_map(failure)) {
        if failure.get("lastUpdateTime").is_none() {
            failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
        }
        if let Some(list) = status["conditions"].as_array_mut() {
            list.push(failure);
        }
    }
}
