//! Strategic merge patches, as `k8s.io/apimachinery/pkg/util/strategicpatch` applies them.

use serde_json::{Map, Value};

use super::PatchError;
use super::order::{Positions, normalize};
use crate::gvk::GroupVersionKind;
use crate::typing::{Patch, Typing};

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const SET_ORDER: &str = "$setElementOrder/";
pub(super) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of a built-in kind; on an error `target` is left as it was.
///
/// # Errors
/// If the kind is not built in, a directive is unknown, or an item lacks its merge key.
pub fn strategic(target: &mut Value, patch: &Value, gvk: &GroupVersionKind) -> Result<(), PatchError> {
    let typing = Typing::of(gvk);
    if !typing.is_builtin() {
        return Err(PatchError::NoStrategy(gvk.to_string()));
    }
    let changes = patch
        .as_object()
        .ok_or_else(|| PatchError::Malformed("a strategic merge patch must be an object".to_owned()))?;
    let fields = target.as_object().cloned().unwrap_or_default();
    *target = Value::Object(merge_map(fields, changes, typing)?);
    Ok(())
}

fn merge_map(
    mut fields: Map<String, Value>,
    changes: &Map<String, Value>,
    typing: Typing<'static>,
) -> Result<Map<String, Value>, PatchError> {
    match changes.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("delete") => return Ok(Map::new()),
        Some("replace") => return Ok(without_directives_map(changes)),
        Some(other) => return Err(unknown_directive(other)),
    }
    if let Some(keep) = changes.get(RETAIN_KEYS) {
        retain_keys(&mut fields, changes, keep)?;
    }
    for (key, change) in changes {
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            let gone = Positions::of(as_list(change, key)?, None);
            if let Some(Value::Array(items)) = fields.get_mut(name) {
                items.retain(|item| !gone.has(item));
            }
        }
    }
    for (key, change) in changes {
        if let Some(name) = key.strip_prefix(SET_ORDER) {
            let order = as_list(change, key)?;
            merge_ordered(&mut fields, name, changes.get(name), order, typing.field(name))?;
        }
    }
    for (key, change) in changes {
        if key.starts_with('$') || changes.contains_key(&format!("{SET_ORDER}{key}")) {
            continue;
        }
        if change.is_null() {
            fields.remove(key);
            continue;
        }
        let merged = merge_value(fields.remove(key), change, typing.field(key))?;
        fields.insert(key.clone(), merged);
    }
    Ok(fields)
}

fn merge_value(present: Option<Value>, change: &Value, typing: Typing<'static>) -> Result<Value, PatchError> {
    let rules = typing.patch();
    match (present, change) {
        (Some(Value::Object(fields)), Value::Object(changes)) => {
            if rules.is_some_and(|rules| rules.replace) {
                return Ok(without_directives(change));
            }
            merge_map(fields, changes, typing).map(Value::Object)
        }
        (Some(Value::Array(items)), Value::Array(changes)) => match rules.filter(|rules| rules.merge) {
            Some(rules) => merge_list(items, changes, rules, typing).map(Value::Array),
            None => Ok(without_directives(change)),
        },
        _ => Ok(without_directives(change)),
    }
}

fn unknown_directive(directive: &str) -> PatchError {
    PatchError::Unmergeable(format!("unknown patch type: {directive} in map: map[$patch:{directive}]"))
}

fn as_list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value], PatchError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| PatchError::Malformed(format!("{key} must be a list")))
}

fn retain_keys(
    fields: &mut Map<String, Value>,
    changes: &Map<String, Value>,
    keep: &Value,
) -> Result<(), PatchError> {
    let keep = as_list(keep, RETAIN_KEYS)?;
    let listed = |key: &str| keep.iter().any(|kept| kept.as_str() == Some(key));
    if let Some(stray) =
        changes.iter().find(|(key, change)| !key.starts_with('$') && !change.is_null() && !listed(key))
    {
        return Err(PatchError::Malformed(format!(
            "{RETAIN_KEYS} directive must contain all the fields that the patch has: {} is missing",
            stray.0
        )));
    }
    fields.retain(|key, _| listed(key));
    Ok(())
}

fn merge_ordered(
    fields: &mut Map<String, Value>,
    name: &str,
    change: Option<&Value>,
    order: &[Value],
    typing: Typing<'static>,
) -> Result<(), PatchError> {
    let key = typing.patch().and_then(|rules| rules.key.as_deref());
    let present = fields.remove(name);
    let server = match &present {
        Some(Value::Array(items)) => items.clone(),
        _ => Vec::new(),
    };
    let merged = match change {
        Some(Value::Null) => return Ok(()),
        Some(change) => merge_value(present, change, typing)?,
        None => match present {
            Some(present) => present,
            None => return Ok(()),
        },
    };
    let merged = match merged {
        Value::Array(items) => Value::Array(normalize(items, order, &server, key)),
        other => other,
    };
    fields.insert(name.to_owned(), merged);
    Ok(())
}

fn merge_list(
    items: Vec<Value>,
    changes: &[Value],
    rules: &'static Patch,
    typing: Typing<'static>,
) -> Result<Vec<Value>, PatchError> {
    let server = items.clone();
    let Some(key) = rules.key.as_deref() else {
        let mut seen = Positions::of(&[], None);
        let mut merged: Vec<Value> = items.into_iter().chain(changes.iter().cloned()).collect();
        merged.retain(|item| seen.insert(item, 0));
        return Ok(normalize(merged, changes, &server, None));
    };
    let (mut plain, mut gone, mut replace) = (Vec::new(), Vec::new(), false);
    for change in changes {
        let directive = change.get(PATCH).map(|directive| directive.as_str().unwrap_or_default());
        match directive {
            None => plain.push(change.clone()),
            Some("replace") => replace = true,
            Some("delete") => {
                required_identity(change, key)?;
                gone.push(change.clone());
            }
            Some(other) => return Err(unknown_directive(other)),
        }
    }
    if replace {
        return Ok(plain.iter().map(without_directives).collect());
    }
    let gone = Positions::of(&gone, Some(key));
    let mut merged: Vec<Value> = items.into_iter().filter(|item| !gone.has(item)).collect();
    let mut places = Positions::of(&merged, Some(key));
    for change in &plain {
        required_identity(change, key)?;
        match places.get(change) {
            Some(place) => {
                let fields = merged[place].as_object().cloned().unwrap_or_default();
                let changes = change.as_object().cloned().unwrap_or_default();
                merged[place] = Value::Object(merge_map(fields, &changes, typing.items())?);
            }
            None => {
                places.insert(change, merged.len());
                merged.push(without_directives(change));
            }
        }
    }
    Ok(normalize(merged, &plain, &server, Some(key)))
}

fn required_identity<'a>(item: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    item.get(key).ok_or_else(|| {
        // The item may hold a secret value, so only its field names are shown.
        let names: Vec<&str> =
            item.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        PatchError::Unmergeable(format!(
            "map with fields {names:?} does not contain declared merge key: {key}"
        ))
    })
}

/// A value as it enters the object: no directives, no nulls in maps. Of lists, deletions and the item that says that the
/// list is replaced are left out.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives_map(map)),
        Value::Array(items) => items
            .iter()
            .filter(|item| {
                item.get(PATCH).is_none_or(|directive| directive != "delete" && directive != "replace")
            })
            .map(without_directives)
            .filter(|item| !item.is_null())
            .collect(),
        other => other.clone(),
    }
}

fn without_directives_map(map: &Map<String, Value>) -> Map<String, Value> {
    if map.get(PATCH).is_some_and(|directive| directive == "delete") {
        return Map::new();
    }
    map.iter()
        .filter(|(key, value)| {
            let directive = *key == PATCH
                || *key == RETAIN_KEYS
                || key.starts_with(SET_ORDER)
                || key.starts_with(DELETE_FROM);
            !directive && !value.is_null()
        })
        .map(|(key, value)| (key.clone(), without_directives(value)))
        .collect()
}
