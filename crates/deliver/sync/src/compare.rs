//! Whether a live object is what its manifest asks for.
//!
//! The question is always "would applying the manifest change anything": the manifest is merged into the live object
//! as an apply would, and the result compared with the live object. So what Git does not mention is never a
//! difference, and what it stopped mentioning is one only if an earlier apply recorded it.

mod ignore;
mod jq;
mod normalise;
mod paths;

use jiff::Timestamp;
use objects::apply::{self, OnConflict, Writer};
use objects::typing::Typing;
use objects::{GroupVersionKind, Value, kinds, meta, patch};

pub use ignore::{IgnoreError, IgnoreRules};
pub use normalise::{without_managed, without_status};

use crate::FIELD_MANAGER;
use crate::annotations::LAST_APPLIED;
use normalise::normalise;

/// How a manifest is merged into the live object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As `kubectl apply` does, with what the live object records as last applied.
    ClientSide,
    /// As the field manager `argocd-controller` would with server-side apply.
    ServerSide,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Whether applying the manifest would change the live object.
    pub modified: bool,
    /// What the object would become, without bookkeeping and in canonical form; shown as a diff against
    /// [`Comparison::live`].
    pub predicted: Value,
    /// The live object in the same form.
    pub live: Value,
}

/// Compares a manifest with the live object of the same key.
#[must_use]
pub fn compare(target: &Value, live: &Value, rules: &IgnoreRules, method: Method) -> Comparison {
    let Some(gvk) = GroupVersionKind::of(target) else {
        return Comparison { modified: true, predicted: target.clone(), live: live.clone() };
    };
    let target_clean = prepared(target, live, &gvk);
    let live_clean = prepared(live, live, &gvk);
    let original = last_applied(live).map(|original| prepared(&original, live, &gvk));
    let ignored = rules.paths(&gvk, live, [Some(&target_clean), Some(&live_clean), original.as_ref()]);
    let strip = |mut object: Value| {
        ignored.remove(&mut object);
        object
    };
    let target_clean = strip(target_clean);
    let predicted = match method {
        Method::ClientSide => {
            let original = original.map(strip);
            merged(original.as_ref(), &target_clean, &strip(live_clean.clone()), &gvk)
        }
        Method::ServerSide => strip(prepared(&applied(&target_clean, live, &gvk), live, &gvk)),
    };
    let predicted = normalise(predicted, &gvk);
    let live_clean = normalise(strip(live_clean), &gvk);
    Comparison { modified: predicted != live_clean, predicted, live: live_clean }
}

/// What the annotation of the last client-side apply records.
#[must_use]
pub fn last_applied(live: &Value) -> Option<Value> {
    serde_json::from_str(meta::annotation(live, LAST_APPLIED)?).ok()
}

/// The manifest as it is applied where ignored differences are to be respected: the live value of every ignored field
/// is put into it, so that applying it leaves them alone.
#[must_use]
pub fn respecting_ignored(target: &Value, live: &Value, rules: &IgnoreRules) -> Value {
    let mut target = target.clone();
    if let Some(gvk) = GroupVersionKind::of(&target) {
        let ignored = rules.paths(&gvk, live, [Some(&target), Some(live), None]);
        ignored.copy(live, &mut target);
    }
    target
}

/// An object as it takes part in a merge: without what the server alone writes, in the form it is stored in.
fn prepared(object: &Value, live: &Value, gvk: &GroupVersionKind) -> Value {
    let mut object = normalise::stored_form(object.clone(), gvk);
    normalise::leave_to_controllers(&mut object, live, gvk);
    object
}

/// The live object after a client-side apply. What cannot be merged is a difference that only an apply can explain.
fn merged(original: Option<&Value>, target: &Value, live: &Value, gvk: &GroupVersionKind) -> Value {
    let Ok(patch) = patch::three_way(original, target, live, gvk) else { return target.clone() };
    let mut predicted = live.clone();
    if !kinds::is_builtin(gvk) {
        patch::merge(&mut predicted, &patch);
    } else if patch::strategic(&mut predicted, &patch, gvk).is_err() {
        return target.clone();
    }
    predicted
}

/// The live object after a server-side apply by our manager.
fn applied(target: &Value, live: &Value, gvk: &GroupVersionKind) -> Value {
    // When a field was last written does not take part in a comparison.
    let writer = Writer { manager: FIELD_MANAGER, subresource: "", now: Timestamp::UNIX_EPOCH };
    let applied = apply::apply(Some(live), target, writer, OnConflict::Force, Typing::of(gvk));
    applied.unwrap_or_else(|_| target.clone())
}

#[cfg(test)]
mod tests;
