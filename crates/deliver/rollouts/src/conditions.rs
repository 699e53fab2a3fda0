//! The list of conditions in a Rollout's status.

use jiff::Timestamp;
use objects::meta::format_time;
use serde_json::{Value, json};

/// Conditions by type, in the order in which they first appeared.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conditions(Vec<Value>);

/// A condition to be set. `status` is `True`, `False` or `Unknown`.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Conditions {
    pub(crate) fn read(status: &Value) -> Self {
        Self(status["conditions"].as_array().cloned().unwrap_or_default())
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Value> {
        self.0.iter().find(|condition| condition["type"] == kind)
    }

    /// Whether a condition has this reason.
    pub(crate) fn has_reason(&self, kind: &str, reason: &str) -> bool {
        self.get(kind).is_some_and(|condition| condition["reason"] == reason)
    }

    /// When a condition was last confirmed.
    pub(crate) fn updated(&self, kind: &str) -> Option<Timestamp> {
        self.get(kind)?["lastUpdateTime"].as_str()?.parse().ok()
    }

    /// Sets a condition. With the status and reason it has already nothing changes, its message and times included, as
    /// upstream; `Confirm::Anew` renews the time of update nevertheless.
    pub(crate) fn set(&mut self, condition: Condition, confirm: Confirm, now: Timestamp) {
        let Condition { kind, status, reason, message } = condition;
        let old = self.0.iter_mut().find(|condition| condition["type"] == kind);
        let same = old.as_ref().is_some_and(|old| old["status"] == status && old["reason"] == reason);
        if same && confirm == Confirm::Once {
            return;
        }
        let now = format_time(now);
        let transition = match &old {
            Some(old) if old["status"] == status => old["lastTransitionTime"].clone(),
            _ => now.as_str().into(),
        };
        let new = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": now, "lastTransitionTime": transition,
        });
        match old {
            Some(old) => *old = new,
            None => self.0.push(new),
        }
    }

    pub(crate) fn remove(&mut self, kind: &str) {
        self.0.retain(|condition| condition["type"] != kind);
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Array(self.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }
}

/// Whether a condition that holds already is confirmed with the present time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirm {
    Once,
    Anew,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_say_when_it_changed_and_when_it_was_confirmed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let condition =
            |status, reason| Condition { kind: "Progressing", status, reason, message: "m".to_owned() };
        let mut conditions = Conditions::default();
        conditions.set(condition("True", "ReplicaSetUpdated"), Confirm::Once, at(1));
        conditions.set(condition("True", "ReplicaSetUpdated"), Confirm::Once, at(2));
        assert_eq!(conditions.updated("Progressing"), Some(at(1)));
        conditions.set(condition("True", "ReplicaSetUpdated"), Confirm::Anew, at(3));
        assert_eq!(conditions.updated("Progressing"), Some(at(3)));
        let transition =
            |conditions: &Conditions| conditions.get("Progressing").unwrap()["lastTransitionTime"].clone();
        assert_eq!(transition(&conditions), format_time(at(1)));
        conditions.set(condition("False", "RolloutAborted"), Confirm::Once, at(4));
        assert_eq!(transition(&conditions), format_time(at(4)));
        conditions.remove("Progressing");
        assert_eq!(conditions, Conditions::default());
    }
}
