//! Writing to standard output: what a command was asked for, and nothing else.

use std::io::Write as _;

use anyhow::{Context, Result};
use objects::{Value, meta};
use serde_json::json;

use crate::cli::Format;

pub(crate) fn say(text: &str) -> Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("write to standard output")
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// How much of objects is for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Json,
    Yaml,
}

pub(crate) fn machine(value: &Value, form: Machine) -> Result<()> {
    say(&match form {
        Machine::Json => {
            let mut text = serde_json::to_string_pretty(value).context("write JSON")?;
            text.push('\n');
            text
        }
        Machine::Yaml => yaml::to_string(value),
    })
}

/// An object without the bookkeeping that nobody reads.
pub(crate) fn tidy(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// Objects in one of the usual forms; `table` makes the one for people.
pub(crate) fn objects(
    list: Vec<Value>,
    format: Format,
    table: impl FnOnce(&[Value]) -> String,
) -> Result<()> {
    let list: Vec<Value> = list.into_iter().map(tidy).collect();
    match format {
        Format::Wide => say(&table(&list)),
        Format::Name => {
            say(&list.iter().map(|object| format!("{}\n", qualified(object))).collect::<String>())
        }
        Format::Json => machine(&json!(list), Machine::Json),
        Format::Yaml => machine(&json!(list), Machine::Yaml),
    }
}

/// One object in one of the usual forms.
pub(crate) fn object(one: Value, format: Format, text: impl FnOnce(&Value) -> String) -> Result<()> {
    let one = tidy(one);
    match format {
        Format::Wide => say(&text(&one)),
        Format::Name => say(&format!("{}\n", qualified(&one))),
        Format::Json => machine(&one, Machine::Json),
        Format::Yaml => machine(&one, Machine::Yaml),
    }
}

/// `argocd/gateway`, as Argo CD writes the names of Applications.
pub(crate) fn qualified(object: &Value) -> String {
    match meta::namespace(object) {
        Some(namespace) => format!("{namespace}/{}", meta::name(object)),
        None => meta::name(object).to_owned(),
    }
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn array<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
