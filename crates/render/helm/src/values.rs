//! Values over values.

use serde_json::{Map, Number, Value};

use crate::chart::Chart;
use crate::dependencies::Node;

pub(crate) type Table = Map<String, Value>;

/// Puts `over` on top of `base`; maps are merged, everything else is replaced.
pub(crate) fn merge_maps(base: &mut Table, over: Table) {
    for (key, value) in over {
        if let Value::Object(inner) = value {
            if let Some(Value::Object(old)) = base.get_mut(&key) {
                merge_maps(old, inner);
                continue;
            }
            base.insert(key, Value::Object(inner));
        } else {
            base.insert(key, value);
        }
    }
}

/// What Helm reads from YAML has no integers: every number is a `float64`.
pub(crate) fn numbers_to_floats(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().and_then(Number::from_f64) {
                *number = float;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(numbers_to_floats),
        Value::Object(fields) => fields.values_mut().for_each(numbers_to_floats),
        _ => {}
    }
}

/// Whether nulls delete what they meet (`Coalesce`) or are kept (`Merge`, for imported values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Coalesce,
    Merge,
}

/// The values of a chart and its dependencies with `values` on top.
///
/// # Errors
/// With Helm's text, if the values of a dependency are no table.
pub(crate) fn coalesce(node: &Node, values: Table, mode: Mode) -> Result<Table, String> {
    let mut values = values;
    coalesce_chart(node, &mut values, mode)?;
    Ok(values)
}

fn coalesce_chart(node: &Node, values: &mut Table, mode: Mode) -> Result<(), String> {
    coalesce_own(node, values, mode);
    for child in &node.dependencies {
        let name = child.metadata.name.as_str();
        let slot = values.entry(name).or_insert_with(|| Value::Object(Table::new()));
        if !slot.is_object() {
            let shown = go_bool_verb(slot);
            return Err(format!("type mismatch on {name}: {shown}"));
        }
        let Value::Object(mut table) = slot.take() else { continue };
        coalesce_globals(&mut table, values);
        let result = coalesce_chart(child, &mut table, mode);
        values.insert(name.to_owned(), Value::Object(table));
        result?;
    }
    Ok(())
}

/// What Go's `%t` makes of something that is no map.
fn go_bool_verb(value: &Value) -> String {
    match value {
        Value::Null => "%!t(<nil>)".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::String(text) => format!("%!t(string={text})"),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => format!("%!t(int64={integer})"),
            None => {
                let text = yaml::number::float_g(number.as_f64().unwrap_or(f64::NAN));
                format!("%!t(float64={text})")
            }
        },
        other => format!("%!t({})", gotmpl::to_text(&other.into())),
    }
}

/// Globals of a chart reach its dependencies; what the dependency sets itself wins only below a table.
fn coalesce_globals(table: &mut Table, parent: &Table) {
    let mut target = match table.get("global") {
        None => Table::new(),
        Some(Value::Object(target)) => target.clone(),
        Some(_) => return,
    };
    let source = match parent.get("global") {
        None => Table::new(),
        Some(Value::Object(source)) => source.clone(),
        Some(_) => return,
    };
    for (key, value) in source {
        match value {
            Value::Object(mut value) => match target.remove(&key) {
                None => {
                    target.insert(key, Value::Object(value));
                }
                Some(Value::Object(old)) => {
                    coalesce_tables(&mut value, old, Mode::Merge);
                    target.insert(key, Value::Object(value));
                }
                Some(other) => {
                    target.insert(key, other);
                }
            },
            _ if target.get(&key).is_some_and(Value::is_object) => {}
            value => {
                target.insert(key, value);
            }
        }
    }
    table.insert("global".to_owned(), Value::Object(target));
}

fn coalesce_own(node: &Node, values: &mut Table, mode: Mode) {
    for (key, default) in &node.values {
        match values.get_mut(key) {
            Some(Value::Null) if mode == Mode::Coalesce => {
                values.remove(key);
            }
            Some(Value::Object(table)) => {
                if let Value::Object(default) = default {
                    let is_child = node.dependencies.iter().any(|child| child.metadata.name == *key);
                    let mode = if is_child { Mode::Merge } else { mode };
                    let mut default = default.clone();
                    if mode == Mode::Coalesce {
                        drop_nulls(&mut default);
                    }
                    coalesce_tables(table, default, mode);
                }
            }
            Some(_) => {}
            None => {
                let mut default = default.clone();
                if mode == Mode::Coalesce {
                    match &mut default {
                        Value::Null => continue,
                        Value::Object(table) => drop_nulls(table),
                        _ => {}
                    }
                }
                values.insert(key.clone(), default);
            }
        }
    }
}

fn drop_nulls(table: &mut Table) {
    table.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(inner) => {
            drop_nulls(inner);
            true
        }
        _ => true,
    });
}

/// Fills `target` with what `source` has and it lacks.
pub(crate) fn coalesce_tables(target: &mut Table, source: Table, mode: Mode) {
    for (key, value) in source {
        // A null in the target hides what the source has below that key.
        match target.get_mut(&key) {
            Some(Value::Null) => {
                if mode == Mode::Coalesce && !value.is_null() {
                    target.remove(&key);
                }
            }
            None => {
                target.insert(key, value);
            }
            Some(Value::Object(inner)) => {
                if let Value::Object(value) = value {
                    coalesce_tables(inner, value, mode);
                }
            }
            Some(_) => {}
        }
    }
}

/// A table by its path, `None` if there is none.
pub(crate) fn table<'v>(values: &'v Table, path: &str) -> Option<&'v Table> {
    path.split('.').try_fold(values, |table, name| table.get(name).and_then(Value::as_object))
}

/// A value that is no table, by its path.
pub(crate) fn path_value<'v>(values: &'v Table, path: &str) -> Option<&'v Value> {
    let (inner, key) = match path.rsplit_once('.') {
        Some((path, key)) => (table(values, path)?, key),
        None => (values, path),
    };
    inner.get(key).filter(|value| !value.is_object())
}

/// The values of a chart as loaded, for reading only.
pub(crate) fn of_chart(chart: &Chart) -> Table {
    let mut values = Value::Object(chart.values().clone());
    numbers_to_floats(&mut values);
    match values {
        Value::Object(table) => table,
        _ => Table::new(),
    }
}
