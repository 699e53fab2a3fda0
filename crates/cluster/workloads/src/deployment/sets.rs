//! A Deployment and its ReplicaSets: counts, ages, revisions.

use jiff::Timestamp;
use objects::int_or_string::{Round, scaled};
use objects::meta;
use serde_json::{Value, json};

use crate::template;

pub(super) const HASH_LABEL: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

pub(super) fn replicas(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

pub(super) fn status_count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

pub(super) fn total<'a>(sets: impl IntoIterator<Item = &'a Value>) -> i64 {
    sets.into_iter().map(replicas).sum()
}

pub(super) fn total_status<'a>(sets: impl IntoIterator<Item = &'a Value>, field: &str) -> i64 {
    sets.into_iter().map(|set| status_count(set, field)).sum()
}

pub(super) fn is_rolling(deployment: &Value) -> bool {
    deployment["spec"]["strategy"]["type"] != "Recreate"
}

/// How many pods may exist above, and be missing below, the wanted number: (surge, unavailable). Surge rounds up, unavailable down,
/// and both zero would block every update, so unavailable is then 1.
pub(super) fn fenceposts(deployment: &Value) -> (i64, i64) {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let value = |field: &str| rolling.get(field).filter(|v| !v.is_null()).cloned().unwrap_or(json!("25%"));
    let wanted = replicas(deployment);
    let surge = scaled(&value("maxSurge"), wanted, Round::Up).unwrap_or(0).max(0);
    let unavailable = scaled(&value("maxUnavailable"), wanted, Round::Down).unwrap_or(0).max(0);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

pub(super) fn max_surge(deployment: &Value) -> i64 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

pub(super) fn max_unavailable(deployment: &Value) -> i64 {
    if !is_rolling(deployment) || replicas(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(replicas(deployment))
}

/// Number in an annotation of a ReplicaSet.
pub(super) fn annotated(set: &Value, annotation: &str) -> Option<i64> {
    meta::annotation(set, annotation)?.parse().ok()
}

pub(super) fn revision(set: &Value) -> i64 {
    annotated(set, REVISION).unwrap_or(0)
}

fn age(set: &Value) -> (Timestamp, &str) {
    (meta::created_at(set).unwrap_or(Timestamp::UNIX_EPOCH), meta::name(set))
}

/// Oldest first.
pub(super) fn by_age(sets: &mut [Value]) {
    sets.sort_by(|a, b| age(a).cmp(&age(b)));
}

/// Splits into the set of the current template (the oldest, if several) and all others, oldest first.
pub(super) fn split(deployment: &Value, mut sets: Vec<Value>) -> (Option<Value>, Vec<Value>) {
    by_age(&mut sets);
    let wanted = &deployment["spec"]["template"];
    let place = sets.iter().position(|set| template::same(&set["spec"]["template"], wanted, HASH_LABEL));
    let new = place.map(|place| sets.remove(place));
    (new, sets)
}

/// Sets the counts that later scaling reads from a ReplicaSet's annotations; says whether that changed anything.
pub(super) fn annotate_replicas(set: &mut Value, desired: i64, max: i64) -> bool {
    let mut changed = false;
    for (annotation, value) in [(DESIRED_REPLICAS, desired), (MAX_REPLICAS, max)] {
        let value = value.to_string();
        if meta::annotation(set, annotation) != Some(&value) {
            meta::set_annotation(set, annotation, Some(&value));
            changed = true;
        }
    }
    changed
}

/// Copies the Deployment's annotations and moves the set to `new_revision` if that is newer, remembering the old one; says
/// whether that changed anything. An existing set keeps its own value of an annotation it already has only until the
/// Deployment's differs, which is how `kubernetes.io/change-cause` follows.
pub(super) fn annotate_revision(
    deployment: &Value,
    set: &mut Value,
    new_revision: i64,
    exists: bool,
) -> bool {
    let mut changed = false;
    for (key, value) in meta::annotations(deployment).into_iter().flatten() {
        let Some(value) = value.as_str() else { continue };
        if NOT_COPIED.contains(&key.as_str()) || meta::annotation(set, key) == Some(value) {
            continue;
        }
        meta::set_annotation(set, key, Some(value));
        changed = true;
    }
    let old = meta::annotation(set, REVISION).map(str::to_owned);
    if revision(set) < new_revision {
        meta::set_annotation(set, REVISION, Some(&new_revision.to_string()));
        changed = true;
        if let Some(old) = old.filter(|old| exists && *old != new_revision.to_string()) {
            let history = match meta::annotation(set, REVISION_HISTORY) {
                Some(history) if !history.is_empty() => format!("{history},{old}"),
                _ => old,
            };
            meta::set_annotation(set, REVISION_HISTORY, Some(&history));
        }
    }
    changed
}
