//! Maps.

use super::Type::{Any, Map as Dict, Str as Text};
use super::strings::to_str;
use super::{Function, fixed, map, text, variadic};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::{List, ListKind, Map, MapKind, Str, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("dict", &[], Any, dict),
    fixed("get", &[Dict, Text], |_, args| Ok(map(args, 0).get(text(args, 1)).unwrap_or_else(|| "".into()))),
    fixed("set", &[Dict, Text, Any], set),
    fixed("unset", &[Dict, Text], |_, args| {
        map(args, 0).remove(text(args, 1));
        Ok(args[0].clone())
    }),
    fixed("hasKey", &[Dict, Text], |_, args| Ok(Value::Bool(map(args, 0).contains_key(text(args, 1))))),
    variadic("pluck", &[Text], Dict, |_, args| {
        let found = (1..args.len()).filter_map(|index| map(args, index).get(text(args, 0)));
        Ok(Value::List(List::appended(ListKind::Any, found.collect())))
    }),
    variadic("keys", &[], Dict, |_, args| {
        let keys = (0..args.len()).flat_map(|index| map(args, index).keys()).map(Value::Str);
        Ok(Value::List(List::appended(ListKind::Strings, keys.collect())))
    }),
    fixed("values", &[Dict], |_, args| {
        let values = map(args, 0).entries().values().cloned().collect();
        Ok(Value::List(List::appended(ListKind::Any, values)))
    }),
    variadic("pick", &[Dict], Text, |_, args| Ok(filtered(args, true))),
    variadic("omit", &[Dict], Text, |_, args| Ok(filtered(args, false))),
    variadic("merge", &[Dict], Dict, |_, args| merged(args, false)),
    variadic("mustMerge", &[Dict], Dict, |_, args| merged(args, false)),
    variadic("mergeOverwrite", &[Dict], Dict, |_, args| merged(args, true)),
    variadic("mustMergeOverwrite", &[Dict], Dict, |_, args| merged(args, true)),
    variadic("dig", &[], Any, dig),
];

fn dict(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let pairs = args.chunks(2);
    let entries = pairs.map(|pair| (to_str(&pair[0]), pair.get(1).cloned().unwrap_or_else(|| "".into())));
    Ok(entries.collect())
}

fn set(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let Some(map) = args[0].as_map() else {
        return Err("assignment to entry in nil map".into());
    };
    if map.kind().is_nil() {
        return Err("assignment to entry in nil map".into());
    }
    // A map inside itself would never end when it is printed, copied or encoded.
    if contains(&args[2], map) {
        return Err("a map cannot hold itself".into());
    }
    map.insert(text(args, 1).clone(), args[2].clone());
    Ok(args[0].clone())
}

fn contains(value: &Value, sought: &Map) -> bool {
    match value {
        Value::Map(map) => map.is_same(sought) || map.entries().values().any(|value| contains(value, sought)),
        Value::List(list) => list.items().iter().any(|value| contains(value, sought)),
        _ => false,
    }
}

fn filtered(args: &[Value], keep: bool) -> Value {
    let named = |key: &Str| args[1..].iter().any(|name| name.as_str() == Some(key));
    let entries = map(args, 0).to_vec().into_iter().filter(|(key, _)| named(key) == keep);
    Value::Map(Map::from_entries(MapKind::Any, entries))
}

fn merged(args: &[Value], overwrite: bool) -> Result<Value, Error> {
    let target = map(args, 0);
    for index in 1..args.len() {
        merge_into(&target, &map(args, index), overwrite)?;
    }
    Ok(Value::Map(target))
}

/// mergo's rules: maps are merged in place, a value is taken where there is none, an empty one, or where
/// overwriting is asked for; a null in the source counts only when overwriting.
fn merge_into(target: &Map, source: &Map, overwrite: bool) -> Result<(), Error> {
    if target.is_same(source) {
        return Ok(());
    }
    if target.kind().is_strings() && !source.kind().is_strings() && !source.is_empty() {
        let text = "reflect.Value.SetMapIndex: value of type interface {} is not assignable to type string";
        return Err(text.into());
    }
    for (key, value) in source.to_vec() {
        let old = target.get(&key);
        if value.is_nil() {
            if overwrite {
                target.insert(key, Value::Nil);
            }
            continue;
        }
        if let (Value::Map(inner), Some(Value::Map(old_inner))) = (&value, &old) {
            merge_into(old_inner, inner, overwrite)?;
            if !old_inner.is_empty() {
                continue;
            }
        }
        let takes = overwrite || old.as_ref().is_none_or(super::defaults::is_empty);
        if takes && !contains(&value, target) {
            target.insert(key, value);
        }
    }
    Ok(())
}

fn dig(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let [path @ .., default, last] = args else { return Err("dig needs at least three arguments".into()) };
    if path.is_empty() {
        return Err("dig needs at least three arguments".into());
    }
    let not_map = |value: &Value| -> Error {
        let found = if value.is_nil() { "nil" } else { value.type_name() };
        format!("interface conversion: interface {{}} is {found}, not map[string]interface {{}}").into()
    };
    let mut current = last.clone();
    // All of the path is looked at first, as Go converts it before it starts.
    if !matches!(&current, Value::Map(map) if map.kind().is_any()) {
        return Err(not_map(&current));
    }
    for key in path {
        if key.as_str().is_none() {
            let found = if key.is_nil() { "nil" } else { key.type_name() };
            return Err(format!("interface conversion: interface {{}} is {found}, not string").into());
        }
    }
    for key in path {
        let map = match &current {
            Value::Map(map) if map.kind().is_any() => map.clone(),
            other => return Err(not_map(other)),
        };
        match map.get(key.as_str().expect("keys were checked to be strings")) {
            Some(value) => current = value,
            None => return Ok(default.clone()),
        }
    }
    Ok(current)
}
