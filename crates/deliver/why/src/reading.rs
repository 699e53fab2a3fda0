//! Small readings of objects that several kinds share.

use objects::{Value, meta};

use crate::Target;

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(crate) fn array<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    array(object, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

/// `Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.`
pub(crate) fn condition_text(condition: &Value) -> String {
    let part = |field: &str| condition[field].as_str().unwrap_or_default();
    let mut line = format!("{}={}", part("type"), part("status"));
    if !part("reason").is_empty() {
        line.push_str(&format!(" {}", part("reason")));
    }
    if !part("message").is_empty() {
        line.push_str(&format!(": {}", part("message")));
    }
    line
}

/// A reason with its message, as far as there are any.
pub(crate) fn reason(object: &Value) -> String {
    match (object["reason"].as_str().unwrap_or_default(), object["message"].as_str().unwrap_or_default()) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// Whether an object is owned by the one with this uid.
pub(crate) fn owned_by(object: &Value, uid: &str) -> bool {
    !uid.is_empty()
        && array(object, "/metadata/ownerReferences").iter().any(|reference| reference["uid"] == uid)
}

pub(crate) fn in_namespace(group: &str, kind: &str, of: &Target, name: &str) -> Target {
    Target::new(group, kind, &of.namespace, name)
}

pub(crate) fn key_of(group: &str, kind: &str, object: &Value) -> Target {
    Target::new(group, kind, meta::namespace(object).unwrap_or_default(), meta::name(object))
}
