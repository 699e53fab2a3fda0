//! Tables: what `kubectl get` prints, made by the server as upstream makes it.

mod age;
mod builtin;
mod json_path;

use jiff::Timestamp;
use objects::meta;
use serde_json::{Value, json};

use crate::catalog::{Column, Origin};
use crate::core::Call;
use crate::handlers::answer::metadata_only;

use age::{age, human_duration};

/// The table of one object.
pub(crate) fn of_object(call: &Call, object: Value) -> Value {
    let meta = json!({"resourceVersion": meta::resource_version(&object)});
    of_list(call, std::slice::from_ref(&object), meta)
}

/// The table of a list.
pub(crate) fn of_list(call: &Call, objects: &[Value], list_meta: Value) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = cells(call, object);
            match call.query.get("includeObject") {
                Some("None") => json!({"cells": cells, "object": null}),
                Some("Object") => json!({"cells": cells, "object": object}),
                _ => json!({"cells": cells, "object": metadata_only(object)}),
            }
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": columns(call), "rows": rows})
}

/// A bookmark on a watch for tables: one row, of an object that has nothing but a version.
pub(crate) fn of_bookmark(call: &Call, object: &Value, first: bool) -> Value {
    let columns = if first { Value::from(columns(call)) } else { Value::Null };
    let meta = json!({"resourceVersion": meta::resource_version(object)});
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": columns,
        "rows": [{"cells": cells(call, object), "object": metadata_only(object)}]})
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}

const NAME_HELP: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

fn columns(call: &Call) -> Vec<Value> {
    match &call.resource.origin {
        Origin::Custom(custom) => {
            let mut columns = vec![definition("Name", "string", "name", NAME_HELP, 0)];
            columns.extend(custom.columns.iter().map(|column| {
                definition(&column.name, &column.kind, &column.format, &column.description, column.priority)
            }));
            columns
        }
        Origin::Builtin(kind) => {
            let printer = builtin::printer(kind.group, kind.plural);
            let described = |column: &builtin::Column| {
                let help = if column.format == "name" { NAME_HELP } else { "" };
                definition(column.name, column.kind, column.format, help, i64::from(column.wide))
            };
            printer.columns.iter().map(described).collect()
        }
    }
}

fn cells(call: &Call, object: &Value) -> Vec<Value> {
    // Not the time of the call: a watch lasts, and what it shows may be younger than it.
    let now = jiff::Timestamp::now();
    match &call.resource.origin {
        Origin::Custom(custom) => {
            let mut cells = vec![Value::from(meta::name(object))];
            cells.extend(custom.columns.iter().map(|column| custom_cell(column, object, now)));
            cells
        }
        Origin::Builtin(kind) => (builtin::printer(kind.group, kind.plural).cells)(object, now),
    }
}

/// A cell of a custom resource: the value at a path, as its column's type.
fn custom_cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let found = json_path::find(object, &column.json_path);
    let Some(first) = found.first().copied() else { return Value::Null };
    match column.kind.as_str() {
        "integer" | "number" if first.is_number() => first.clone(),
        "integer" | "number" => Value::Null,
        "boolean" if first.is_boolean() => first.clone(),
        "boolean" => Value::Null,
        "date" => match first.as_str() {
            Some(time) => age(time, now).into(),
            None => "<unknown>".into(),
        },
        _ if found.len() == 1 => shown(first).into(),
        _ => found.iter().map(|value| shown(value)).collect::<Vec<_>>().join(",").into(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
