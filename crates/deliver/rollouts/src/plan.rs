//! What to do about a Rollout: a function of the Rollout, its ReplicaSets and the time.

use std::time::Duration;

use jiff::Timestamp;
use objects::meta;
use serde_json::Value;

use crate::counts::{Counts, desired, step};
use crate::replica_set::{REVISION, ReplicaSet, make};
use crate::spec::{InvalidSpec, Spec};
use crate::status;
use crate::steps::{Moved, Position};

/// What to do, in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// A ReplicaSet to create. It comes alone: everything else follows once it is there.
    pub(crate) create: Option<Value>,
    /// The revision of the current ReplicaSet, where it must be set anew.
    pub(crate) revise: Option<Revise>,
    pub(crate) scale: Vec<Scale>,
    /// ReplicaSets beyond the history limit, by name.
    pub(crate) delete: Vec<String>,
    /// The whole status.
    pub(crate) status: Value,
    pub(crate) events: Vec<Event>,
    /// When to look again although nothing changed.
    pub(crate) look_again: Option<Duration>,
}

/// The current ReplicaSet is (again) the newest revision.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Revise {
    pub(crate) name: String,
    pub(crate) revision: i64,
    /// The revision it had before, if it had one.
    pub(crate) before: Option<i64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) name: String,
    pub(crate) revision: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// Something to tell people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Event {
    pub(crate) fn normal(reason: &'static str, message: String) -> Self {
        Self { warning: false, reason, message }
    }
}

/// The parts of the platform that a Rollout moves.
pub(crate) struct Sets<'a> {
    pub(crate) current: &'a ReplicaSet,
    /// The stable one, if it is another.
    pub(crate) stable: Option<&'a ReplicaSet>,
    /// All others, oldest first.
    pub(crate) older: Vec<&'a ReplicaSet>,
}

impl Sets<'_> {
    fn older_spec(&self) -> i64 {
        self.older.iter().map(|set| set.side.spec).sum()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.older.iter().copied().chain(self.stable).chain([self.current])
    }
}

pub(crate) fn plan(rollout: &Value, sets: &[ReplicaSet], now: Timestamp) -> Plan {
    let spec = match Spec::parse(rollout) {
        Ok(spec) => spec,
        Err(invalid) => return refuse(rollout, &invalid, now),
    };
    let newest = sets.iter().map(|set| set.revision).max().unwrap_or(0);
    // Of several of the same template the oldest counts, as upstream.
    let mut matching: Vec<&ReplicaSet> = sets.iter().filter(|set| set.is_of(&spec.template)).collect();
    matching.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
    let Some(current) = matching.first() else {
        let collisions =
            rollout["status"]["collisionCount"].as_u64().and_then(|count| u32::try_from(count).ok());
        let create = make(rollout, &spec, newest + 1, collisions);
        return Plan { create: Some(create), ..Plan::default() };
    };
    let mut moved = Vec::new();
    let mut position = Position::read(&rollout["status"], now);
    position.arrive(&spec, rollout, &current.hash, &mut moved);
    let sets = sides(current, &position, sets);
    if sets.stable.is_none() && !position.settled() {
        // What was stable is gone, so there is nothing to go back to or to share with.
        position.stable.clear();
        position.index = spec.steps.len();
    }
    advance(rollout, spec, position, &sets, newest, moved, now)
}

fn sides<'a>(current: &'a ReplicaSet, position: &Position, all: &'a [ReplicaSet]) -> Sets<'a> {
    let others = || all.iter().filter(|set| set.name != current.name);
    let stable = others().find(|set| !position.settled() && set.hash == position.stable);
    let mut older: Vec<&ReplicaSet> =
        others().filter(|set| stable.is_none_or(|stable| stable.name != set.name)).collect();
    older.sort_by_key(|set| set.revision);
    Sets { current, stable, older }
}

fn advance(
    rollout: &Value,
    spec: Spec,
    mut position: Position,
    sets: &Sets<'_>,
    newest: i64,
    mut moved: Vec<Moved>,
    now: Timestamp,
) -> Plan {
    if spec.deadline_aborts
        && position.aborted.is_none()
        && status::deadline_passed(rollout, &spec, sets, &position, now)
    {
        position.abort(now);
        moved.push(Moved::Aborted);
    }
    let target = desired(spec.bounds, position.weight(&spec));
    let scale = if spec.paused { Vec::new() } else { scale(&spec, target, sets) };
    let mut pause = None;
    if scale.is_empty() && !spec.paused && sets.stable.is_some() {
        pause = position.advance(&spec, reached(target, sets), now, &mut moved);
    }
    let proven = sets.current.side.available >= spec.bounds.replicas;
    if position.aborted.is_none()
        && position.index == spec.steps.len()
        && proven
        && position.stable != position.current
    {
        position.promote();
        moved.push(Moved::Completed);
    }
    let revise = (sets.current.revision < newest || sets.current.revision == 0).then(|| Revise {
        name: sets.current.name.clone(),
        revision: newest + 1,
        before: (sets.current.revision > 0).then_some(sets.current.revision),
    });
    let revision = revise.as_ref().map_or(sets.current.revision, |revise| revise.revision);
    let (status, deadline) = status::status(rollout, &spec, sets, &position, revision, now);
    let delete = beyond_history(&spec, sets, &position);
    let events = status::events(&spec, &moved, sets, revision, &scale);
    let look_again = [pause, deadline].into_iter().flatten().min();
    Plan { create: None, revise, scale, delete, status, events, look_again }
}

/// Whether what runs is what the weight asks for.
fn reached(target: Counts, sets: &Sets<'_>) -> bool {
    let canary = sets.current.side;
    canary.spec == target.canary
        && canary.available == target.canary
        && sets.stable.is_none_or(|stable| stable.side.spec == target.stable)
        && sets.older.iter().all(|set| set.side.available == 0)
}

fn scale(spec: &Spec, target: Counts, sets: &Sets<'_>) -> Vec<Scale> {
    let older = sets.older_spec();
    let Some(stable) = sets.stable else {
        let now = sets.current.side.spec;
        let all = spec.bounds.replicas;
        let room = (all + spec.bounds.surge - now - older).max(0);
        let to = if now >= all || older == 0 { all } else { now + room.min(all - now) };
        let mut scale = scale_to(sets.current, to);
        scale.extend(drain(spec, sets));
        return scale;
    };
    let next = step(spec.bounds, target, sets.current.side, stable.side, older);
    // The stable side comes first, and the canary only after it is seen to have changed: so the sum stays in bounds.
    let first = scale_to(stable, next.stable);
    if !first.is_empty() {
        return first;
    }
    let mut scale = scale_to(sets.current, next.canary);
    if scale.is_empty() {
        scale = drain(spec, sets);
    }
    scale
}

fn scale_to(set: &ReplicaSet, to: i64) -> Vec<Scale> {
    let from = set.side.spec;
    let scale = Scale { name: set.name.clone(), revision: set.revision, from, to };
    if from == to { Vec::new() } else { vec![scale] }
}

/// Takes away ReplicaSets of earlier templates: Pods that do not serve at once, the others as far as enough remain.
fn drain(spec: &Spec, sets: &Sets<'_>) -> Vec<Scale> {
    let available: i64 = sets.all().map(|set| set.side.available.min(set.side.spec)).sum();
    let mut spare = (available - (spec.bounds.replicas - spec.bounds.unavailable)).max(0);
    let mut scale = Vec::new();
    for set in &sets.older {
        let serving = set.side.available.min(set.side.spec);
        let taken = spare.min(serving);
        spare -= taken;
        scale.extend(scale_to(set, serving - taken));
    }
    scale
}

/// The oldest ReplicaSets without Pods that the history limit leaves no place for.
fn beyond_history(spec: &Spec, sets: &Sets<'_>, position: &Position) -> Vec<String> {
    let empty: Vec<&&ReplicaSet> = sets
        .older
        .iter()
        .filter(|set| set.side.spec == 0 && set.replicas == 0 && set.hash != position.stable)
        .collect();
    let many = empty.len().saturating_sub(spec.history_limit);
    empty[..many].iter().map(|set| set.name.clone()).collect()
}

fn refuse(rollout: &Value, invalid: &InvalidSpec, now: Timestamp) -> Plan {
    let status = status::refused(rollout, invalid, now);
    let already = rollout["status"]["message"] == status["message"];
    let message = format!("The Rollout \"{}\" is invalid: {invalid}", meta::name(rollout));
    let event = Event { warning: true, reason: "InvalidSpec", message };
    Plan { status, events: if already { Vec::new() } else { vec![event] }, ..Plan::default() }
}

/// The annotation by which a Rollout shows its revision, where it is not what it should be.
pub(crate) fn rollout_revision(rollout: &Value, plan: &Plan, sets: &[ReplicaSet]) -> Option<i64> {
    let newest = sets.iter().map(|set| set.revision).max().unwrap_or(0);
    let revision = plan.revise.as_ref().map_or(newest, |revise| revise.revision);
    let shown = meta::annotation(rollout, REVISION).and_then(|text| text.parse().ok());
    (revision > 0 && shown != Some(revision)).then_some(revision)
}

#[cfg(test)]
mod tests;
