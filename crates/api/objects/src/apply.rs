//! Server-side apply, and the record of who owns which field.
//!
//! Semantics are those of upstream's field managers on `structured-merge-diff`: an applier owns the fields it sends
//! and removes, when it sends them no more, those that nobody else owns; a changed field that another manager owns
//! is a conflict unless forced; a plain write moves the ownership of what it changed to its manager.

mod fields;
mod managers;
mod walk;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

pub use fields::{Entry, FieldSet, Step};
use managers::{Managers, Owner};
pub use managers::{Operation, keep_times, manager_names, owned_by};
pub use walk::WalkError;
pub(crate) use walk::merge_items;
use walk::{Emptied, compare, field_set, merge, remove, with_named_fields};

use crate::form;
use crate::typing::Typing;

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The `fieldManager` of the request, or what upstream derives from the user agent.
    pub manager: &'a str,
    /// `status`, `scale`, or empty for the object itself.
    pub subresource: &'a str,
    /// When, for the entry's `time`.
    pub now: Timestamp,
}

/// What to do about fields that other managers own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    Fail,
    /// Take the fields over.
    Force,
}

/// One field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager as upstream words it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`.
    pub field: String,
}

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// HTTP 409; each conflict is a cause of type `FieldManagerConflict`.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsSet,
    #[error(transparent)]
    Walk(#[from] WalkError),
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.field);
    }
    let mut lines = Vec::new();
    let mut last = "";
    for conflict in conflicts {
        if conflict.manager != last {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = &conflict.manager;
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Applies an object over the live one (`None`: it is created) and returns the new object with its managed fields.
/// Equal to the live object if nothing changes, but perhaps for the time of an entry ([`keep_times`]).
///
/// Defaulting, validation and what a subresource may change are the caller's, after this; when defaulting adds
/// fields, nobody owns them.
///
/// # Errors
/// On conflicts, if `applied` carries managed fields, or if a list item lacks its key.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    writer: Writer<'_>,
    on_conflict: OnConflict,
    typing: Typing<'_>,
) -> Result<Value, ApplyError> {
    let entries = applied.pointer("/metadata/managedFields").and_then(Value::as_array);
    if entries.is_some_and(|entries| !entries.is_empty()) {
        return Err(ApplyError::ManagedFieldsSet);
    }
    let applied = without_managed(applied);
    let before = live.map_or_else(|| form::zero(typing), without_managed);
    let mut managers = live.map(Managers::read).unwrap_or_default();
    if managers.is_empty() && live.is_some() {
        managers.own_before_first_apply(&before, typing, writer.now)?;
    }
    let owner = Owner::new(writer, Operation::Apply, &applied);

    let merged = merge(Some(before.clone()), &applied, typing)?;
    let mut set = field_set(&applied, typing)?;
    managers::strip_identity(&mut set);
    let last = managers.replace(&owner, set);
    let pruned = match last {
        Some(last) if !last.is_empty() => prune(&merged, &managers, &last, typing)?,
        _ => merged,
    };
    let changes = compare(&before, &pruned, typing)?;
    // An apply that changes nothing leaves the time of its entry as it was: none, if the entry is new.
    if live.is_none() || before != pruned {
        managers.stamp(&owner, writer.now);
    }
    let touched = changes.set();
    let conflicts = managers.conflicts(&owner, &touched);
    if on_conflict == OnConflict::Fail && !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    managers.take_from_others(&owner, &touched.union(&changes.removed));
    let mut result = pruned;
    keep_identity(&before, &mut result);
    managers.write(&mut result);
    Ok(result)
}

/// Manifests carry `creationTimestamp: null` and stale bookkeeping; what the server keeps is not the applier's to
/// change. A `uid` or `resourceVersion` that was applied is a precondition, which the server checks.
fn keep_identity(before: &Value, after: &mut Value) {
    for name in
        ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"]
    {
        let kept =
            before.get("metadata").and_then(|metadata| metadata.get(name)).cloned().unwrap_or_default();
        crate::meta::set(after, name, kept);
    }
}

/// Sets `new`'s managed fields after a plain write (create, update, patch): `writer` comes to own what it changed.
/// `old` is the object as stored, `None` on a create. A `new` that carries no managed fields keeps those of `old`;
/// exactly one empty entry resets them, as upstream has it.
///
/// # Errors
/// If a list item of a merging list lacks its key.
pub fn update_managed_fields(
    old: Option<&Value>,
    new: &mut Value,
    writer: Writer<'_>,
    typing: Typing<'_>,
) -> Result<(), WalkError> {
    let before = old.map_or_else(|| form::zero(typing), without_managed);
    // What is empty is written by nobody.
    let mut after = without_managed(new);
    form::canonical(&mut after);
    let given = if writer.subresource.is_empty() { managers::given(new) } else { managers::Given::None };
    let mut managers = match (given, old) {
        (managers::Given::Reset, _) => {
            Managers::default().write(new);
            return Ok(());
        }
        (managers::Given::Some, _) => Managers::read(new),
        (managers::Given::None, Some(old)) => Managers::read(old),
        (managers::Given::None, None) => Managers::default(),
    };
    if old.is_some() && managers.is_empty() {
        // Whoever cleared the entries does not want them: tracking begins again with the first apply.
        managers.write(new);
        return Ok(());
    }
    let owner = Owner::new(writer, Operation::Update, &after);
    let changes = compare(&before, &after, typing)?;
    let mut touched = changes.set();
    managers::strip_identity(&mut touched);
    managers.take_from_others(&owner, &touched.union(&changes.removed));
    managers.grow(&owner, &touched, &changes.removed, writer.now);
    managers.write(new);
    Ok(())
}

fn without_managed(object: &Value) -> Value {
    let mut copy = object.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    copy
}

/// Removes what this applier owned, applies no more, and nobody else owns.
fn prune(
    merged: &Value,
    managers: &Managers,
    last: &FieldSet,
    typing: Typing<'_>,
) -> Result<Value, WalkError> {
    let named = |set: &FieldSet| with_named_fields(set, typing);
    let (last, owned) = (named(last), managers.all());
    let everything = named(&field_set(merged, typing)?);
    let pruned = remove(merged, &last, typing, Emptied::Keep)?;
    // Put back what somebody (this applier included) still owns.
    let kept = named(&field_set(&pruned, typing)?).union(&named(&owned));
    let pruned = remove(merged, &everything.difference(&kept), typing, Emptied::Keep)?;
    // Put back what went along with it without having been this applier's.
    let kept = named(&field_set(&pruned, typing)?);
    let gone = everything.difference(&kept).intersection(&last);
    remove(merged, &gone, typing, Emptied::DropUnless(&owned))
}
