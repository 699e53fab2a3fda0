//! The status a Rollout shows: counts, conditions, phase, and the events that go with them.

use std::time::Duration;

use jiff::Timestamp;
use objects::meta;
use serde_json::{Value, json};

use crate::conditions::{Condition, Conditions, Confirm};
use crate::plan::{Event, Scale, Sets};
use crate::spec::{InvalidSpec, Spec};
use crate::steps::{Moved, Position};

const PROGRESSING: &str = "Progressing";

/// The counts over all ReplicaSets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Totals {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Totals {
    fn of(sets: &Sets<'_>) -> Self {
        Self {
            replicas: sets.all().map(|set| set.replicas).sum(),
            updated: sets.current.replicas,
            ready: sets.all().map(|set| set.ready).sum(),
            available: sets.all().map(|set| set.side.available).sum(),
        }
    }

    fn read(status: &Value) -> Self {
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        Self {
            replicas: number("replicas"),
            updated: number("updatedReplicas"),
            ready: number("readyReplicas"),
            available: number("availableReplicas"),
        }
    }
}

/// Whether the current template is stable and nothing else runs.
fn complete(spec: &Spec, totals: Totals, position: &Position) -> bool {
    let all = spec.bounds.replicas;
    position.stable == position.current
        && totals.updated == all
        && totals.replicas == all
        && totals.available >= all
}

/// Whether the rollout has stood still for longer than it may.
pub(crate) fn deadline_passed(
    rollout: &Value,
    spec: &Spec,
    sets: &Sets<'_>,
    position: &Position,
    now: Timestamp,
) -> bool {
    let conditions = Conditions::read(&rollout["status"]);
    left_until_deadline(rollout, spec, &conditions, Totals::of(sets), position, now) == Some(Duration::ZERO)
}

/// How long the rollout may still stand still; `None` if it may forever.
fn left_until_deadline(
    rollout: &Value,
    spec: &Spec,
    conditions: &Conditions,
    totals: Totals,
    position: &Position,
    now: Timestamp,
) -> Option<Duration> {
    if spec.paused
        || position.paused_since.is_some()
        || position.aborted.is_some()
        || complete(spec, totals, position)
    {
        return None;
    }
    if conditions.has_reason(PROGRESSING, "ProgressDeadlineExceeded")
        && !progressed(rollout, totals, position)
    {
        return Some(Duration::ZERO);
    }
    let since = conditions.updated(PROGRESSING)?;
    if progressed(rollout, totals, position) || !conditions.has_reason(PROGRESSING, "ReplicaSetUpdated") {
        return None;
    }
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(spec.progress_deadline.saturating_sub(passed))
}

/// Whether anything moved since the status was written.
fn progressed(rollout: &Value, totals: Totals, position: &Position) -> bool {
    let status = &rollout["status"];
    Totals::read(status) != totals
        || status["currentPodHash"] != position.current.as_str()
        || status["currentStepIndex"] != position.index
}

/// The whole status, and how long until the progress deadline has to be looked at.
pub(crate) fn status(
    rollout: &Value,
    spec: &Spec,
    sets: &Sets<'_>,
    position: &Position,
    revision: i64,
    now: Timestamp,
) -> (Value, Option<Duration>) {
    let totals = Totals::of(sets);
    let old = &rollout["status"];
    let mut conditions = Conditions::read(old);
    let left = left_until_deadline(rollout, spec, &conditions, totals, position, now);
    set_conditions(&mut conditions, rollout, spec, sets, position, revision, left, now);
    let selector = objects::selector::LabelSelector::from_object(&spec.selector);
    let mut status = json!({
        "observedGeneration": meta::generation(rollout).to_string(),
        "replicas": totals.replicas,
        "updatedReplicas": totals.updated,
        "readyReplicas": totals.ready,
        "availableReplicas": totals.available,
        "HPAReplicas": totals.replicas,
        "selector": selector.map(|selector| selector.to_string()).unwrap_or_default(),
        "blueGreen": {},
        "canary": {},
    });
    if !old["collisionCount"].is_null() {
        status["collisionCount"] = old["collisionCount"].clone();
    }
    position.write(&mut status);
    let (phase, message) = phase(&conditions, spec, totals, position);
    status["phase"] = phase.into();
    if !message.is_empty() {
        status["message"] = message.into();
    }
    status["conditions"] = conditions.into_value();
    let waiting = position.aborted.is_none() && !complete(spec, totals, position);
    let deadline = left.filter(|left| !left.is_zero()).or_else(|| waiting.then_some(spec.progress_deadline));
    (status, deadline)
}

#[expect(clippy::too_many_arguments, reason = "the one place that sees everything a condition may depend on")]
fn set_conditions(
    conditions: &mut Conditions,
    rollout: &Value,
    spec: &Spec,
    sets: &Sets<'_>,
    position: &Position,
    revision: i64,
    left: Option<Duration>,
    now: Timestamp,
) {
    let totals = Totals::of(sets);
    let complete = complete(spec, totals, position);
    let mut set = |kind, holds: bool, reason, message: &str| {
        let status = if holds { "True" } else { "False" };
        conditions.set(Condition { kind, status, reason, message: message.to_owned() }, Confirm::Once, now);
    };
    let enough = totals.available >= spec.bounds.replicas - spec.bounds.unavailable;
    let has = if enough { "has" } else { "does not have" };
    set("Available", enough, "AvailableReason", &format!("Rollout {has} minimum availability"));
    let healthy = if complete { "Rollout is healthy" } else { "Rollout is not healthy" };
    set("Healthy", complete, "RolloutHealthy", healthy);
    let paused = spec.paused || position.paused_since.is_some();
    set(
        "Paused",
        paused,
        "RolloutPaused",
        if paused { "Rollout is paused" } else { "Rollout is not paused" },
    );
    let hash = &position.current;
    let completed = if complete {
        format!(
            "Rollout completed update to revision {revision} ({hash}): Completed all {} canary steps",
            spec.steps.len()
        )
    } else {
        format!("Rollout not completed, started update to revision {revision} ({hash})")
    };
    set("Completed", complete, "RolloutCompleted", &completed);
    if let Some(failure) = &sets.current.failure {
        set("ReplicaFailure", true, "FailedCreate", failure);
    } else {
        conditions.remove("ReplicaFailure");
    }
    conditions.remove("InvalidSpec");

    let name = &sets.current.name;
    let progressing = |status, reason, message| Condition { kind: PROGRESSING, status, reason, message };
    let (condition, confirm) = if position.aborted.is_some() {
        (
            progressing("False", "RolloutAborted", format!("Rollout aborted update to revision {revision}")),
            Confirm::Once,
        )
    } else if paused {
        (progressing("Unknown", "RolloutPaused", "Rollout is paused".to_owned()), Confirm::Once)
    } else if complete {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        (progressing("True", "NewReplicaSetAvailable", message), Confirm::Once)
    } else if left == Some(Duration::ZERO) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        (progressing("False", "ProgressDeadlineExceeded", message), Confirm::Once)
    } else {
        let confirm = if progressed(rollout, totals, position) { Confirm::Anew } else { Confirm::Once };
        (progressing("True", "ReplicaSetUpdated", format!("ReplicaSet \"{name}\" is progressing.")), confirm)
    };
    conditions.set(condition, confirm, now);
}

/// The phase in a word, and why: the first that applies, in upstream's order.
fn phase(
    conditions: &Conditions,
    spec: &Spec,
    totals: Totals,
    position: &Position,
) -> (&'static str, String) {
    let failed = conditions.iter().find(|condition| {
        condition["reason"] == "RolloutAborted" || condition["reason"] == "ProgressDeadlineExceeded"
    });
    if let Some(failed) = failed {
        let text = |field: &str| failed[field].as_str().unwrap_or_default().to_owned();
        return ("Degraded", format!("{}: {}", text("reason"), text("message")));
    }
    let (phase, message) = if spec.paused {
        ("Paused", "manually paused")
    } else if position.paused_since.is_some() {
        ("Paused", "CanaryPauseStep")
    } else if totals.updated < spec.bounds.replicas {
        ("Progressing", "more replicas need to be updated")
    } else if totals.available < totals.updated {
        ("Progressing", "updated replicas are still becoming available")
    } else if totals.replicas > totals.updated {
        ("Progressing", "old replicas are pending termination")
    } else if position.stable != position.current {
        ("Progressing", "waiting for all steps to complete")
    } else {
        ("Healthy", "")
    };
    (phase, message.to_owned())
}

/// The status of a Rollout that cannot be acted upon: what it was, and why.
pub(crate) fn refused(rollout: &Value, invalid: &InvalidSpec, now: Timestamp) -> Value {
    let mut status = rollout["status"].as_object().cloned().map_or_else(|| json!({}), Value::Object);
    let mut conditions = Conditions::read(&status);
    let message = format!("The Rollout \"{}\" is invalid: {invalid}", meta::name(rollout));
    let same = conditions.get("InvalidSpec").is_some_and(|old| old["message"] == message.as_str());
    if !same {
        conditions.remove("InvalidSpec");
    }
    let condition =
        Condition { kind: "InvalidSpec", status: "True", reason: "InvalidSpec", message: message.clone() };
    conditions.set(condition, Confirm::Once, now);
    status["conditions"] = conditions.into_value();
    status["observedGeneration"] = meta::generation(rollout).to_string().into();
    status["phase"] = "Degraded".into();
    status["message"] = format!("InvalidSpec: {message}").into();
    status
}

pub(crate) fn events(
    spec: &Spec,
    moved: &[Moved],
    sets: &Sets<'_>,
    revision: i64,
    scale: &[Scale],
) -> Vec<Event> {
    let steps = spec.steps.len();
    let told = moved.iter().map(|moved| match moved {
        Moved::Updated => Event::normal("RolloutUpdated", format!("Rollout updated to revision {revision}")),
        Moved::StepCompleted(number) => {
            Event::normal("RolloutStepCompleted", format!("Rollout step {number}/{steps} completed"))
        }
        Moved::Paused => Event::normal("RolloutPaused", "Rollout is paused (CanaryPauseStep)".to_owned()),
        Moved::Resumed => Event::normal("RolloutResumed", "Rollout is resumed".to_owned()),
        Moved::Aborted => Event {
            warning: true,
            reason: "RolloutAborted",
            message: format!("Rollout aborted update to revision {revision}"),
        },
        Moved::Completed => Event::normal(
            "RolloutCompleted",
            format!("Rollout completed update to revision {revision} ({})", sets.current.hash),
        ),
    });
    let scaled = scale.iter().map(|scale| {
        let direction = if scale.to > scale.from { "up" } else { "down" };
        let Scale { name, revision, from, to } = scale;
        let message =
            format!("Scaled {direction} ReplicaSet {name} (revision {revision}) from {from} to {to}");
        Event::normal("ScalingReplicaSet", message)
    });
    told.chain(scaled).collect()
}
