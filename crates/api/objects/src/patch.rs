//! The patch formats of the Kubernetes API, and the patch `kubectl apply` computes.
//!
//! JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch with all its directives, and the
//! three-way comparison of what was applied last, what is to be applied and what is there. Server-side apply is in
//! [`crate::apply`].

mod json;
mod order;
mod strategic;
mod three_way;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use json::json_patch;
pub use strategic::strategic;
pub use three_way::three_way;

/// What cannot be patched, worded as the API server does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object.
    #[error("{0}")]
    DoesNotApply(String),
    /// A JSON patch `test` failed.
    #[error("testing value {0} failed")]
    TestFailed(String),
    #[error("the patch has {0} operations, more than the {1} allowed")]
    TooManyOperations(usize, usize),
    /// `copy` operations would make the object too large.
    #[error("unable to copy, the accumulated size increase of copy is {0}, exceeding the limit {1}")]
    TooLarge(usize, usize),
    /// The patch names an item of a keyed list without its key, or an unknown directive.
    #[error("{0}")]
    Unmergeable(String),
    /// Strategic merge needs merge keys, which only built-in kinds have.
    #[error("strategic merge patch is not supported for {0}")]
    NoStrategy(String),
}

/// Applies a JSON merge patch: null removes, maps merge, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// The JSON merge patch that turns `from` into `to`; `{}` if they are equal.
#[must_use]
pub fn merge_diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return to.clone();
    };
    let mut changes = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(before) if before == value => {}
            Some(before) => {
                changes.insert(key.clone(), merge_diff(before, value));
            }
            None => {
                changes.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(changes)
}
