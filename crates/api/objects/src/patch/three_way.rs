//! What `kubectl apply` (and so Argo CD) sends: changes of `modified` against `current`, and removal of what
//! `original` had and `modified` has no more. What others added to `current` is left alone.

use serde_json::{Map, Value, json};

use super::order::{Positions, identity};
use super::strategic::{DELETE_FROM, PATCH, RETAIN_KEYS, SET_ORDER, strategic};
use super::{PatchError, merge};
use crate::apply::merge_items;
use crate::gvk::GroupVersionKind;
use crate::quantity::Quantity;
use crate::typing::{Patch, Shape, Slot, Typing};
use crate::{decode, defaults, kinds};

/// Computes the patch that brings `current` to `modified`: a strategic merge patch for a built-in kind, a JSON
/// merge patch for a custom one. `{}` if applying it would change nothing, also after defaulting.
///
/// `original` is what was applied last (the last-applied annotation), if known.
///
/// # Errors
/// If a list item of `modified` or `current` lacks its merge key.
pub fn three_way(
    original: Option<&Value>,
    modified: &Value,
    current: &Value,
    gvk: &GroupVersionKind,
) -> Result<Value, PatchError> {
    let empty = Map::new();
    let fields = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let original = fields(original);
    let sides = Sides {
        original: &original,
        modified: modified.as_object().unwrap_or(&empty),
        current: current.as_object().unwrap_or(&empty),
    };
    let builtin = kinds::is_builtin(gvk);
    let patch = Value::Object(if builtin {
        map_patch(sides, Typing::of(gvk), Retain::No)?
    } else {
        merge_patch(sides)
    });
    let mut patched = current.clone();
    if builtin {
        strategic(&mut patched, &patch, gvk)?;
    } else {
        merge(&mut patched, &patch);
    }
    Ok(if is_stored_as(patched, current) { json!({}) } else { patch })
}

#[derive(Clone, Copy)]
struct Sides<'a> {
    original: &'a Map<String, Value>,
    modified: &'a Map<String, Value>,
    current: &'a Map<String, Value>,
}

impl<'a> Sides<'a> {
    fn below(self, key: &str, modified: &'a Map<String, Value>, current: &'a Map<String, Value>) -> Self {
        Self { original: below(self.original, key), modified, current }
    }

    /// Fields that were applied before, are applied no more, and are still there.
    fn removed(self) -> impl Iterator<Item = &'a String> {
        let Self { original, modified, current } = self;
        original.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key).filter(|key| {
            !modified.contains_key(*key) && current.get(*key).is_some_and(|value| !value.is_null())
        })
    }
}

fn below<'a>(map: &'a Map<String, Value>, key: &str) -> &'a Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    map.get(key).and_then(Value::as_object).unwrap_or_else(|| EMPTY.get_or_init(Map::new))
}

/// Whether the server would store the patched object just as it is. A patch that only restates the object, or
/// removes what defaulting puts back, is none.
fn is_stored_as(mut patched: Value, current: &Value) -> bool {
    if patched == *current {
        return true;
    }
    let mut stored = current.clone();
    for object in [&mut patched, &mut stored] {
        if decode::decode(object).is_err() {
            return false;
        }
        defaults::apply(object);
    }
    patched == stored
}

/// Whether a map carries `$retainKeys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retain {
    Yes,
    No,
}

impl Retain {
    fn by(rules: Option<&Patch>) -> Self {
        if rules.is_some_and(|rules| rules.retain_keys) { Self::Yes } else { Self::No }
    }
}

fn merge_patch(sides: Sides<'_>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, modified) in sides.modified {
        match (modified, sides.current.get(key)) {
            // An explicit null says nothing of a custom resource, unless it used to be a value.
            (Value::Null, current) => {
                let was = sides.original.get(key).is_some_and(|value| !value.is_null());
                if was && current.is_some_and(|current| !current.is_null()) {
                    patch.insert(key.clone(), Value::Null);
                }
            }
            (Value::Object(modified), Some(Value::Object(current))) => {
                let inner = merge_patch(sides.below(key, modified, current));
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (modified, Some(current)) if modified == current => {}
            (modified, _) => {
                let mut added = Value::Null;
                merge(&mut added, modified);
                patch.insert(key.clone(), added);
            }
        }
    }
    for key in sides.removed() {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

fn map_patch(
    sides: Sides<'_>,
    typing: Typing<'static>,
    retain: Retain,
) -> Result<Map<String, Value>, PatchError> {
    let mut patch = Map::new();
    for (key, modified) in sides.modified {
        let field = typing.field(key);
        let rules = field.patch();
        match (modified, sides.current.get(key)) {
            (Value::Null, None | Some(Value::Null)) => {}
            (modified, None | Some(Value::Null)) => {
                patch.insert(key.clone(), modified.clone());
            }
            (Value::Object(modified), Some(Value::Object(current)))
                if !rules.is_some_and(|rules| rules.replace) =>
            {
                let inner = map_patch(sides.below(key, modified, current), field, Retain::by(rules))?;
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Value::Array(modified), Some(Value::Array(current)))
                if rules.is_some_and(|rules| rules.merge) =>
            {
                let original = sides.original.get(key).and_then(Value::as_array);
                let lists =
                    Lists { original: original.map(Vec::as_slice).unwrap_or_default(), modified, current };
                list_patch(key, lists, rules.expect("the guard saw the rules"), field, &mut patch)?;
            }
            (modified, Some(current)) => {
                if !same(modified, current, field) {
                    patch.insert(key.clone(), modified.clone());
                }
            }
        }
    }
    for key in sides.removed() {
        patch.insert(key.clone(), Value::Null);
    }
    let more_there =
        || sides.current.iter().any(|(key, value)| !value.is_null() && !sides.modified.contains_key(key));
    if retain == Retain::Yes && !sides.modified.is_empty() && (!patch.is_empty() || more_there()) {
        let keys: Vec<&String> =
            sides.modified.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key).collect();
        patch.insert(RETAIN_KEYS.to_owned(), json!(keys));
    }
    Ok(patch)
}

#[derive(Clone, Copy)]
struct Lists<'a> {
    original: &'a [Value],
    modified: &'a [Value],
    current: &'a [Value],
}

fn list_patch(
    name: &str,
    lists: Lists<'_>,
    rules: &'static Patch,
    typing: Typing<'static>,
    patch: &mut Map<String, Value>,
) -> Result<(), PatchError> {
    let key = rules.key.as_deref();
    for item in lists.modified.iter().chain(lists.current) {
        if identity(item, key).is_none() {
            return Err(PatchError::Malformed(format!(
                "map in {name} does not contain declared merge key: {}",
                key.unwrap_or_default()
            )));
        }
    }
    if key.is_some_and(|key| is_ambiguous(lists.modified, key) || is_ambiguous(lists.current, key)) {
        return replacing_patch(name, lists, typing, patch);
    }
    let (modified, current) = (Positions::of(lists.modified, key), Positions::of(lists.current, key));
    let mut changes = match key {
        Some(key) => changed_items(lists, key, Retain::by(Some(rules)), typing.items())?,
        None => lists.modified.iter().filter(|item| !current.has(item)).cloned().collect(),
    };
    let gone: Vec<&Value> =
        lists.original.iter().filter(|item| !modified.has(item) && current.has(item)).collect();
    match key {
        Some(key) => {
            changes.extend(gone.iter().filter_map(|item| {
                Some(Value::Object(Map::from_iter([
                    (key.to_owned(), item.get(key)?.clone()),
                    (PATCH.to_owned(), json!("delete")),
                ])))
            }));
        }
        None if !gone.is_empty() => {
            patch.insert(format!("{DELETE_FROM}{name}"), json!(gone));
        }
        None => {}
    }
    if !changes.is_empty() || !gone.is_empty() || !same_order(lists, key) {
        let order: Vec<Value> = lists
            .modified
            .iter()
            .filter_map(|item| match key {
                Some(key) => Some(json!({ key: item.get(key)? })),
                None => Some(item.clone()),
            })
            .collect();
        patch.insert(format!("{SET_ORDER}{name}"), Value::Array(order));
    }
    if !changes.is_empty() {
        patch.insert(name.to_owned(), Value::Array(changes));
    }
    Ok(())
}

/// Whether the merge key does not tell the items apart: a container's ports 53/TCP and 53/UDP.
fn is_ambiguous(list: &[Value], key: &str) -> bool {
    Positions::of(list, Some(key)).len() < list.len()
}

/// A list that cannot be merged by its merge key is merged here, by all the keys that tell its items apart, and
/// sent as a whole. (`kubectl` merges the wrong items in this case.)
fn replacing_patch(
    name: &str,
    lists: Lists<'_>,
    typing: Typing<'static>,
    patch: &mut Map<String, Value>,
) -> Result<(), PatchError> {
    let merged = merge_items(lists.original, lists.modified, lists.current, typing)
        .map_err(|error| PatchError::Malformed(format!("{name}: {error}")))?;
    if merged != lists.current {
        let replace = std::iter::once(json!({ PATCH: "replace" }));
        patch.insert(name.to_owned(), replace.chain(merged).collect());
    }
    Ok(())
}

fn changed_items(
    lists: Lists<'_>,
    key: &str,
    retain: Retain,
    typing: Typing<'static>,
) -> Result<Vec<Value>, PatchError> {
    let empty = Map::new();
    let (before, present) =
        (Positions::of(lists.original, Some(key)), Positions::of(lists.current, Some(key)));
    let mut changes = Vec::new();
    for item in lists.modified {
        let Some(current) = present.get(item).map(|place| &lists.current[place]) else {
            changes.push(item.clone());
            continue;
        };
        let sides = Sides {
            original: before.get(item).and_then(|place| lists.original[place].as_object()).unwrap_or(&empty),
            modified: item.as_object().unwrap_or(&empty),
            current: current.as_object().unwrap_or(&empty),
        };
        let mut change = map_patch(sides, typing, retain)?;
        if !change.is_empty() {
            change.insert(key.to_owned(), item[key].clone());
            changes.push(Value::Object(change));
        }
    }
    Ok(changes)
}

/// Whether the items of `modified` are in the same relative order in `current`.
fn same_order(lists: Lists<'_>, key: Option<&str>) -> bool {
    let mut rest = lists.current.iter();
    lists.modified.iter().all(|item| {
        let wanted = identity(item, key);
        rest.any(|other| identity(other, key) == wanted)
    })
}

/// Equal as the API server reads them: quantities by amount, times by instant.
fn same(a: &Value, b: &Value, typing: Typing<'static>) -> bool {
    if a == b {
        return true;
    }
    let Typing::Builtin(Slot { shape, .. }) = typing else { return false };
    match (shape, a, b) {
        (Shape::Quantity, a, b) => {
            matches!((Quantity::from_value(a), Quantity::from_value(b)), (Ok(a), Ok(b)) if a == b)
        }
        (Shape::Time | Shape::MicroTime, Value::String(a), Value::String(b)) => {
            matches!((a.parse::<jiff::Timestamp>(), b.parse::<jiff::Timestamp>()), (Ok(a), Ok(b)) if a == b)
        }
        (Shape::List(_), Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, typing.items()))
        }
        (Shape::Struct(_) | Shape::Map(_), Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, typing.field(key))))
        }
        _ => false,
    }
}
