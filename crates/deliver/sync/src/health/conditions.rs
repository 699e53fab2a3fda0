//! `status.conditions` and the checks that only read them.

use objects::Value;

use super::{Health, HealthStatus, degraded, progressing};

pub(super) struct Conditions<'a>(Vec<Condition<'a>>);

#[derive(Clone, Copy)]
pub(super) struct Condition<'a>(&'a Value);

impl<'a> Conditions<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        Self::in_list(&object["status"]["conditions"])
    }

    pub(super) fn in_list(list: &'a Value) -> Self {
        Self(list.as_array().into_iter().flatten().map(Condition).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Condition<'a>> {
        self.0.iter().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn named(&self, kind: &str) -> Option<Condition<'a>> {
        self.iter().find(|condition| condition.kind() == kind)
    }
}

impl<'a> Condition<'a> {
    fn text(self, field: &str) -> &'a str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(super) fn kind(self) -> &'a str {
        self.text("type")
    }

    pub(super) fn is(self, status: &str) -> bool {
        self.text("status") == status
    }

    pub(super) fn reason(self) -> &'a str {
        self.text("reason")
    }

    pub(super) fn message(self) -> &'a str {
        self.text("message")
    }

    pub(super) fn observed_generation(self) -> Option<i64> {
        self.0["observedGeneration"].as_i64()
    }
}

/// False is Degraded, True is Healthy, anything else Progressing.
pub(super) fn ready(object: &Value, name: &str, waiting: &str) -> Health {
    match Conditions::of(object).named(name) {
        Some(condition) if condition.is("False") => degraded(condition.message()),
        Some(condition) if condition.is("True") => Health::new(HealthStatus::Healthy, condition.message()),
        _ => progressing(waiting),
    }
}
