//! `status.conditions` as built-in controllers write them.

use jiff::Timestamp;
use objects::meta::format_time;
use serde_json::{Value, json};

/// A condition to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    pub reason: String,
    pub message: String,
}

impl Condition {
    /// A condition of this type, status, reason and message.
    pub fn new(
        kind: &'static str,
        status: &'static str,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Condition {
        Condition { kind, status, reason: reason.into(), message: message.into() }
    }
}

/// The condition of this type in a `status` object.
pub fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether the condition of this type is `True`.
pub fn is_true(status: &Value, kind: &str) -> bool {
    find(status, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Writes a condition with `lastUpdateTime`, as Deployments and Rollouts have it. Unchanged status and reason make this a no-op
/// (a changed message alone is not written, as upstream); `lastTransitionTime` moves only with the status.
pub fn set(status: &mut Value, condition: &Condition, now: Timestamp) {
    let current = find(status, condition.kind);
    let same_status = current.is_some_and(|current| current["status"] == condition.status);
    if same_status && current.is_some_and(|current| current["reason"] == condition.reason.as_str()) {
        return;
    }
    let now = json!(format_time(now));
    let transition = current.filter(|_| same_status).map(|current| current["lastTransitionTime"].clone());
    let entry = json!({
        "type": condition.kind,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastUpdateTime": now,
        "lastTransitionTime": transition.unwrap_or(now),
    });
    put(status, condition.kind, entry);
}

/// Writes a condition without `lastUpdateTime`, as most kinds have it; a changed reason or message is written too.
pub fn set_plain(status: &mut Value, condition: &Condition, now: Timestamp) {
    let current = find(status, condition.kind);
    let same_status = current.is_some_and(|current| current["status"] == condition.status);
    let transition = current.filter(|_| same_status).map(|current| current["lastTransitionTime"].clone());
    let mut entry = json!({
        "type": condition.kind,
        "status": condition.status,
        "lastTransitionTime": transition.unwrap_or_else(|| json!(format_time(now))),
    });
    if let Some(probed) = current.and_then(|current| current.get("lastProbeTime")) {
        entry["lastProbeTime"] = probed.clone();
    }
    for (field, text) in [("reason", &condition.reason), ("message", &condition.message)] {
        if !text.is_empty() {
            entry[field] = json!(text);
        }
    }
    put(status, condition.kind, entry);
}

/// Removes the condition of this type; an emptied list disappears.
pub fn remove(status: &mut Value, kind: &str) {
    let Some(list) = status.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    list.retain(|condition| condition["type"] != kind);
    if list.is_empty()
        && let Some(map) = status.as_object_mut()
    {
        map.remove("conditions");
    }
}

fn put(status: &mut Value, kind: &str, entry: Value) {
    if !status.is_object() {
        *status = json!({});
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let list = status["conditions"].as_array_mut().expect("made an array just above");
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        Some(place) => *place = entry,
        None => list.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_moves_only_with_the_status() {
        let (first, later) =
            ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T00:01:00Z".parse().unwrap());
        let mut status = json!({});
        set(&mut status, &Condition::new("Progressing", "True", "A", "a"), first);
        set(&mut status, &Condition::new("Progressing", "True", "A", "other"), later);
        assert_eq!(status["conditions"][0]["message"], "a");
        set(&mut status, &Condition::new("Progressing", "True", "B", "b"), later);
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(status["conditions"][0]["lastUpdateTime"], "2026-01-01T00:01:00Z");
        set_plain(&mut status, &Condition::new("Progressing", "False", "B", "c"), later);
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "2026-01-01T00:01:00Z");
        assert!(!is_true(&status, "Progressing"));
        remove(&mut status, "Progressing");
        assert_eq!(status, json!({}));
    }
}
