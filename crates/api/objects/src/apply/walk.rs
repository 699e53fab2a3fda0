//! Walking typed values: which fields a value sets, merging, comparing and pruning. The rules are those of
//! `structured-merge-diff`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::{Entry, FieldSet, Step};
use crate::typing::{Lists, Typing};

/// Why an object cannot be walked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WalkError(pub(super) String);

impl WalkError {
    /// The same error, seen from one field further out: `.spec.containers: duplicate entries …`.
    fn below(self, field: &str) -> WalkError {
        let separator = if self.0.starts_with('.') || self.0.starts_with('[') { "" } else { ": " };
        WalkError(format!(".{field}{separator}{}", self.0))
    }
}

/// The step that leads to a list's item.
fn item_step(item: &Value, index: usize, lists: &Lists<'_>, items: Typing<'_>) -> Result<Step, WalkError> {
    match lists {
        Lists::Atomic => Ok(Step::Index(u64::try_from(index).unwrap_or(u64::MAX))),
        Lists::Set => Ok(Step::Item(item.to_string())),
        Lists::Map(keys) => {
            let mut identity = Map::new();
            for key in *keys {
                match item.get(key) {
                    Some(value) if !value.is_null() => {
                        identity.insert(key.clone(), value.clone());
                    }
                    _ => {
                        // An optional key without a default is left out of the identity.
                        if let Some(default) = items.key_default(key) {
                            identity.insert(key.clone(), default);
                        }
                    }
                }
            }
            if identity.is_empty() {
                let names = keys.join(", ");
                return Err(WalkError(format!(
                    "associative list with keys has an element that omits key field {names:?} (and doesn't have \
                     default value)"
                )));
            }
            Ok(Step::Key(Value::Object(identity).to_string()))
        }
    }
}

/// The items of an associative list with their steps; a duplicate is an error.
fn steps<'v>(items: &'v [Value], typing: Typing<'_>) -> Result<Vec<(Step, &'v Value)>, WalkError> {
    let (lists, below) = (typing.lists(), typing.items());
    let mut found: Vec<(Step, &Value)> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let step = item_step(item, index, &lists, below)?;
        found.push((step, item));
    }
    Ok(found)
}

fn refuse_duplicates(found: &[(Step, &Value)]) -> Result<(), WalkError> {
    let mut seen = BTreeSet::new();
    match found.iter().find(|(step, _)| !seen.insert(step)) {
        None => Ok(()),
        Some((step, _)) => Err(WalkError(format!("duplicate entries for key {step}"))),
    }
}

/// Whether two values of this typing are taken or left as one.
fn is_leaf(value: &Value, typing: Typing<'_>) -> bool {
    match value {
        Value::Object(map) => map.is_empty() || typing.is_atomic_map(),
        Value::Array(items) => items.is_empty() || typing.lists() == Lists::Atomic,
        _ => true,
    }
}

/// The set of fields an applied object sets.
pub(super) fn field_set(value: &Value, typing: Typing<'_>) -> Result<FieldSet, WalkError> {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                let below = typing.field(key);
                let entry = set.entry(Step::field(key));
                entry.member = is_leaf(child, below) || !typing.declares(key);
                if !is_leaf(child, below) {
                    entry.below = field_set(child, below).map_err(|error| error.below(key))?;
                }
            }
        }
        Value::Array(items) => {
            let found = steps(items, typing)?;
            refuse_duplicates(&found)?;
            for (step, item) in found {
                let entry = set.entry(step);
                entry.member = true;
                if !is_leaf(item, typing.items()) {
                    entry.below = field_set(item, typing.items())?;
                }
            }
        }
        _ => {}
    }
    Ok(set)
}

/// The live value with the applied one laid over it.
pub(super) fn merge(live: Option<Value>, applied: &Value, typing: Typing<'_>) -> Result<Value, WalkError> {
    match (live, applied) {
        (Some(Value::Object(mut fields)), Value::Object(changes)) if !typing.is_atomic_map() => {
            for (key, change) in changes {
                let merged = merge(fields.remove(key), change, typing.field(key))?;
                fields.insert(key.clone(), merged);
            }
            Ok(Value::Object(fields))
        }
        (Some(Value::Array(items)), Value::Array(changes)) if typing.lists() != Lists::Atomic => {
            merge_lists(&items, changes, typing).map(Value::Array)
        }
        _ => Ok(applied.clone()),
    }
}

/// Items that only the live list has keep their place, items that both have come in the applied order, and new ones
/// follow what stands before them in the applied list.
fn merge_lists(live: &[Value], applied: &[Value], typing: Typing<'_>) -> Result<Vec<Value>, WalkError> {
    let (old, new) = (steps(live, typing)?, steps(applied, typing)?);
    refuse_duplicates(&new)?;
    let (places, wanted) = (by_step(&old), by_step(&new));
    let mut merged = Vec::with_capacity(old.len() + new.len());
    let mut taken: BTreeSet<&Step> = BTreeSet::new();
    let mut shared = new.iter().map(|(step, _)| step).filter(|step| places.contains_key(*step)).peekable();
    let (mut left, mut right) = (0, 0);
    while left < old.len() || right < new.len() {
        if let (Some((old_step, _)), Some((new_step, _))) = (old.get(left), new.get(right)) {
            let is_next = shared.peek().is_none_or(|next| *next == old_step);
            if old_step != new_step && wanted.contains_key(old_step) && !is_next {
                // Both have it, but it is not this one's turn.
                left += 1;
                continue;
            }
        }
        if let Some((step, item)) = old.get(left) {
            if !wanted.contains_key(step) {
                merged.push((*item).clone());
                left += 1;
                continue;
            }
            if taken.contains(step) {
                left += 1;
                continue;
            }
        }
        if let Some((step, change)) = new.get(right) {
            taken.insert(step);
            merged.push(match places.get(step) {
                Some(&place) => merge(Some(old[place].1.clone()), change, typing.items())?,
                None => (*change).clone(),
            });
            right += 1;
            if shared.peek().is_some_and(|next| *next == step) {
                shared.next();
            }
        }
    }
    Ok(merged)
}

/// Where each item stands; of equal ones the first.
fn by_step<'s>(list: &'s [(Step, &Value)]) -> BTreeMap<&'s Step, usize> {
    let mut places = BTreeMap::new();
    for (index, (step, _)) in list.iter().enumerate() {
        places.entry(step).or_insert(index);
    }
    places
}

/// A merging list with `modified` laid over `current`, without the items that only `original` and `current` have.
/// Items are told apart by all their keys.
pub(crate) fn merge_items(
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    typing: Typing<'_>,
) -> Result<Vec<Value>, WalkError> {
    let (before, after) = (steps(original, typing)?, steps(modified, typing)?);
    let (before, after) = (by_step(&before), by_step(&after));
    let merged = merge_lists(current, modified, typing)?;
    let gone = |step: &Step| before.contains_key(step) && !after.contains_key(step);
    Ok(steps(&merged, typing)?
        .into_iter()
        .filter(|(step, _)| !gone(step))
        .map(|(_, item)| item.clone())
        .collect())
}

/// How two objects differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// What a manager comes to own by the change.
    pub(super) fn set(&self) -> FieldSet {
        self.modified.union(&self.added)
    }
}

/// How two objects differ. What is compared with the zero object of its type appeared as a whole, but not the structs
/// that are always there.
pub(super) fn compare(old: &Value, new: &Value, typing: Typing<'_>) -> Result<Comparison, WalkError> {
    let mut found = Comparison::default();
    compare_children(old, new, typing, &mut found)?;
    found.added.tidy();
    found.modified.tidy();
    found.removed.tidy();
    Ok(found)
}

/// The items of two lists, or the fields of two maps; a null is an empty one.
fn compare_children(
    old: &Value,
    new: &Value,
    typing: Typing<'_>,
    found: &mut Comparison,
) -> Result<(), WalkError> {
    let nothing = Map::new();
    match (old, new) {
        (Value::Object(_), _) | (_, Value::Object(_)) => {
            let (old, new) = (old.as_object().unwrap_or(&nothing), new.as_object().unwrap_or(&nothing));
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            for key in new.keys().chain(gone) {
                let pair = (old.get(key), new.get(key));
                compare_at(&Step::field(key), pair, typing.field(key), found)?;
            }
        }
        (Value::Array(_), _) | (_, Value::Array(_)) => {
            let (old, new) = (items(old), items(new));
            let (old, new) = (steps(old, typing)?, steps(new, typing)?);
            let (before, after) = (by_step(&old), by_step(&new));
            let gone = before.keys().filter(|step| !after.contains_key(*step));
            for &step in after.keys().chain(gone) {
                let pair = (before.get(step).map(|at| old[*at].1), after.get(step).map(|at| new[*at].1));
                compare_at(step, pair, typing.items(), found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn compare_at(
    step: &Step,
    (old, new): (Option<&Value>, Option<&Value>),
    typing: Typing<'_>,
    found: &mut Comparison,
) -> Result<(), WalkError> {
    match (old, new) {
        (Some(old), Some(new)) if old == new => Ok(()),
        (Some(old), Some(new)) => {
            let comparable = matches!(
                (old, new),
                (Value::Object(_) | Value::Null, Value::Object(_))
                    | (Value::Array(_) | Value::Null, Value::Array(_))
                    | (Value::Object(_) | Value::Array(_), Value::Null)
            );
            let both_leaves = is_leaf(old, typing) && is_leaf(new, typing);
            let atomic = match if new.is_null() { old } else { new } {
                Value::Object(_) => typing.is_atomic_map(),
                Value::Array(_) => typing.lists() == Lists::Atomic,
                _ => true,
            };
            if !comparable || both_leaves || atomic {
                found.modified.entry(step.clone()).member = true;
                return Ok(());
            }
            let mut below = Comparison::default();
            compare_children(old, new, typing, &mut below)?;
            found.added.entry(step.clone()).below = below.added;
            found.modified.entry(step.clone()).below = below.modified;
            found.removed.entry(step.clone()).below = below.removed;
            Ok(())
        }
        (None, Some(value)) => one_sided(step, value, typing, &mut found.added),
        (Some(value), None) => one_sided(step, value, typing, &mut found.removed),
        (None, None) => Ok(()),
    }
}

/// A value that appeared or went as a whole is in the set with everything below it.
fn one_sided(step: &Step, value: &Value, typing: Typing<'_>, set: &mut FieldSet) -> Result<(), WalkError> {
    let below = if is_leaf(value, typing) { FieldSet::default() } else { all_paths(value, typing)? };
    *set.entry(step.clone()) = Entry { member: true, below };
    Ok(())
}

/// Every path of a value, inner maps and lists included.
fn all_paths(value: &Value, typing: Typing<'_>) -> Result<FieldSet, WalkError> {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                one_sided(&Step::field(key), child, typing.field(key), &mut set)?;
            }
        }
        Value::Array(items) => {
            for (step, item) in steps(items, typing)? {
                one_sided(&step, item, typing.items(), &mut set)?;
            }
        }
        _ => {}
    }
    Ok(set)
}

/// A copy of the set in which every struct field on the way to a member is a member too.
pub(super) fn with_named_fields(set: &FieldSet, typing: Typing<'_>) -> FieldSet {
    let mut all = FieldSet::default();
    for (step, entry) in set.steps() {
        let (named, below) = match step {
            Step::Field(name) => (typing.declares(name), typing.field(name)),
            _ => (false, typing.items()),
        };
        let copy = all.entry(step.clone());
        copy.member = entry.member || (named && !entry.below.is_empty());
        copy.below = with_named_fields(&entry.below, below);
    }
    all
}

/// What becomes of a map or list that removing leaves empty.
#[derive(Clone, Copy)]
pub(super) enum Emptied<'a> {
    /// It stays, so that it still counts as a field while ownership is worked out.
    Keep,
    /// It goes, unless it is in this set of owned fields.
    DropUnless(&'a FieldSet),
}

impl<'a> Emptied<'a> {
    fn below(self, step: &Step) -> Self {
        static NOTHING: std::sync::OnceLock<FieldSet> = std::sync::OnceLock::new();
        match self {
            Self::Keep => Self::Keep,
            Self::DropUnless(owned) => Self::DropUnless(
                owned.get(step).map_or_else(|| NOTHING.get_or_init(FieldSet::default), |entry| &entry.below),
            ),
        }
    }

    fn drops(self, step: &Step) -> bool {
        match self {
            Self::Keep => false,
            Self::DropUnless(owned) => !owned.get(step).is_some_and(|entry| entry.member),
        }
    }
}

/// The value without the paths of the set.
pub(super) fn remove(
    value: &Value,
    set: &FieldSet,
    typing: Typing<'_>,
    emptied: Emptied<'_>,
) -> Result<Value, WalkError> {
    match value {
        Value::Object(map) if !typing.is_atomic_map() => {
            let mut kept = Map::new();
            for (key, child) in map {
                let step = Step::field(key);
                let Some(entry) = set.get(&step) else {
                    kept.insert(key.clone(), child.clone());
                    continue;
                };
                if entry.member {
                    continue;
                }
                let rest = remove(child, &entry.below, typing.field(key), emptied.below(&step))?;
                if !(is_emptied(child, &rest) && emptied.drops(&step)) {
                    kept.insert(key.clone(), rest);
                }
            }
            Ok(Value::Object(kept))
        }
        Value::Array(items) if typing.lists() != Lists::Atomic => {
            let mut kept = Vec::new();
            for (step, item) in steps(items, typing)? {
                match set.get(&step) {
                    None => kept.push(item.clone()),
                    Some(entry) if entry.member => {}
                    Some(entry) => {
                        kept.push(remove(item, &entry.below, typing.items(), emptied.below(&step))?);
                    }
                }
            }
            Ok(Value::Array(kept))
        }
        other => Ok(other.clone()),
    }
}

/// Whether removing left nothing of a map or list that had something.
fn is_emptied(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => after.is_empty() && !before.is_empty(),
        (Value::Array(before), Value::Array(after)) => after.is_empty() && !before.is_empty(),
        _ => false,
    }
}
