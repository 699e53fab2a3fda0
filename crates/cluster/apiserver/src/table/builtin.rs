//! Columns of the built-in kinds, as upstream's printers have them.

mod cluster;
mod devices;
mod events;
mod network;
mod pods;
mod storage;
mod workloads;

use jiff::Timestamp;
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::Value;

use super::age;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// `string` or `integer`.
    pub(super) kind: &'static str,
    /// `name` for the object's name.
    pub(super) format: &'static str,
    /// Shown only with `-o wide`.
    pub(super) wide: bool,
}

/// A kind's table.
pub(super) struct Printer {
    pub(super) columns: &'static [Column],
    /// One cell for each column.
    pub(super) cells: fn(&Value, Timestamp) -> Vec<Value>,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", wide: false }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: "integer", format: "", wide: false }
}

const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", wide: true }
}

const NAME: Column = Column { name: "Name", kind: "string", format: "name", wide: false };
const AGE: Column = text("Age");

const DEFAULT: Printer = Printer {
    columns: const { &[NAME, Column { name: "Created At", kind: "date", format: "", wide: false }] },
    cells: |object, _| vec![name(object), meta::creation_timestamp(object).unwrap_or_default().into()],
};

/// The table of a kind; name and time of creation for those that upstream has none for.
pub(super) fn printer(group: &str, plural: &str) -> Printer {
    let found = match group {
        "" => pods::printer(plural)
            .or_else(|| workloads::core(plural))
            .or_else(|| cluster::core(plural))
            .or_else(|| network::core(plural))
            .or_else(|| storage::core(plural))
            .or_else(|| (plural == "events").then_some(events::CORE)),
        "apps" | "batch" | "autoscaling" | "policy" => workloads::printer(group, plural),
        "networking.k8s.io" | "discovery.k8s.io" => network::printer(plural),
        "storage.k8s.io" => storage::printer(plural),
        "resource.k8s.io" => devices::printer(plural),
        "events.k8s.io" => Some(events::EVENTS_V1),
        _ => cluster::printer(group, plural),
    };
    found.unwrap_or(DEFAULT)
}

fn name(object: &Value) -> Value {
    meta::name(object).into()
}

fn created(object: &Value, now: Timestamp) -> Value {
    age(meta::creation_timestamp(object).unwrap_or_default(), now).into()
}

/// The value at a pointer; null if it is not there.
fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

fn string<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).as_str().unwrap_or_default()
}

fn integer(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).as_i64().unwrap_or(0)
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The text, or `<none>`.
fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join(",")
}

/// Names and images of the containers of a Pod template.
fn containers(object: &Value, pointer: &str) -> [Value; 2] {
    let list = items(object, pointer);
    ["name", "image"]
        .map(|field| joined(list.iter().filter_map(|container| container[field].as_str())).into())
}

/// A label selector as it is written on a command line.
fn selector(value: &Value) -> Value {
    match LabelSelector::from_object(value) {
        Ok(selector) => or_none(&selector.to_string()),
        Err(_) => "<error>".into(),
    }
}

/// A map of labels as it is written on a command line.
fn pairs(value: &Value) -> Value {
    let pairs: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}
