//! YAML as Go's `sigs.k8s.io/yaml` reads and writes it.
//!
//! Owns the one YAML reader and the one YAML writer of the workspace. Reading follows go-yaml v2, on which
//! Kubernetes and Helm rest: YAML 1.1 scalars (`yes` is a boolean, `0755` an octal number, `1_000` an integer),
//! merge keys, and its error texts. What is read then passes through JSON as `sigs.k8s.io/yaml` does it: keys become
//! strings, timestamps stay strings, a float without a fraction becomes an integer. Writing gives the same bytes
//! as `sigs.k8s.io/yaml.Marshal`. Both work on borrowed traits ([`Sink`], [`Emitter`]), so that a renderer can
//! build and print its own values without a detour.
//!
//! Must hold: whatever the bytes, reading ends in time and memory proportional to the input (nesting and alias
//! expansion are limited). Keeps out what documents mean, and comments, which are not kept.

#![forbid(unsafe_code)]

mod compose;
mod emit;
mod error;
mod nodes;
pub mod number;
mod parse;
mod quick;
mod resolve;
mod scan;

pub use compose::{Duplicates, Sink};
pub use emit::{Dialect, Emitter, compare_keys};
pub use error::Error;
pub use nodes::{Node, nodes};
use serde_json::{Map, Number, Value};

/// Every document of a stream that is not empty (a document of only comments is; `null` is not counted as
/// content either), in order. Duplicate keys are not an error: the last wins, as in `sigs.k8s.io/yaml.Unmarshal`.
///
/// # Errors
/// If the text is not YAML, or has no JSON equivalent (`.inf`, a map as key); with Go's message.
///
/// ```
/// let found = yaml::documents("a: yes\n---\n# nothing\n---\nb: [0755, 1.0]\n").unwrap();
/// assert_eq!(found, [serde_json::json!({"a": true}), serde_json::json!({"b": [493, 1]})]);
/// ```
pub fn documents(text: &str) -> Result<Vec<Value>, Error> {
    let mut parser = parse::Parser::new(text)?;
    let mut found = Vec::new();
    while let Some(document) = parser.document()? {
        let value = compose::decode(&document, &mut Json, Duplicates::LastWins)?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

/// The first document of the text; [`Value::Null`] if there is none. What follows it is not read, as in Go.
///
/// # Errors
/// As [`documents`].
pub fn from_str(text: &str) -> Result<Value, Error> {
    from_str_with(text, &mut Json, Duplicates::LastWins)
}

/// As [`from_str`], but a key that appears twice in a mapping is an error (`UnmarshalStrict`).
///
/// # Errors
/// As [`documents`], and for duplicate keys.
pub fn from_str_strict(text: &str) -> Result<Value, Error> {
    from_str_with(text, &mut Json, Duplicates::Refuse)
}

/// The first document of the text built by `sink`.
///
/// # Errors
/// As [`documents`].
pub fn from_str_with<S: Sink>(text: &str, sink: &mut S, duplicates: Duplicates) -> Result<S::Value, Error> {
    if let Ok(value) = quick::read(text, sink, duplicates) {
        return Ok(value);
    }
    read_any(text, sink, duplicates)
}

/// The first document of any text.
fn read_any<S: Sink>(text: &str, sink: &mut S, duplicates: Duplicates) -> Result<S::Value, Error> {
    match parse::Parser::new(text)?.document()? {
        Some(document) => compose::decode(&document, sink, duplicates),
        None => Ok(sink.null()),
    }
}

/// The text `sigs.k8s.io/yaml.Marshal` makes of the value, with a newline at its end.
///
/// ```
/// assert_eq!(yaml::to_string(&serde_json::json!({"a": ["yes", "x: y"], "b": {}})), "a:\n- \"yes\"\n- 'x: y'\nb: {}\n");
/// ```
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut emitter = Emitter::new(Dialect::V2);
    write(value, &mut emitter);
    emitter.finish()
}

fn write(value: &Value, emitter: &mut Emitter) {
    match value {
        Value::Null => emitter.null(),
        Value::Bool(value) => emitter.bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => emitter.int(integer),
            (None, Some(integer)) => emitter.uint(integer),
            (None, None) => emitter.float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => emitter.string(text),
        Value::Array(items) => emitter.sequence(items.len(), |emitter| {
            for item in items {
                emitter.item();
                write(item, emitter);
            }
        }),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| compare_keys(a.0, b.0));
            emitter.mapping(fields.len(), |emitter| {
                for (key, value) in fields {
                    emitter.key(key);
                    write(value, emitter);
                }
            });
        }
    }
}

/// Builds `serde_json` values.
struct Json;

impl Sink for Json {
    type Value = Value;
    type Map = Map<String, Value>;

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }

    fn int(&mut self, value: i64) -> Value {
        value.into()
    }

    fn uint(&mut self, value: u64) -> Value {
        value.into()
    }

    fn float(&mut self, value: f64) -> Value {
        // JSON writes "-0" for it, and reads that as a float where there is no type.
        let integer =
            if value == 0.0 && value.is_sign_negative() { None } else { number::float_to_integer(value) };
        integer.map(Number::from).or_else(|| Number::from_f64(value)).map_or(Value::Null, Value::Number)
    }

    fn string(&mut self, value: std::borrow::Cow<'_, str>) -> Value {
        Value::String(value.into_owned())
    }

    fn list(&mut self, items: Vec<Value>) -> Value {
        Value::Array(items)
    }

    fn map(&mut self, _entries: usize) -> Self::Map {
        Map::new()
    }

    fn insert(&mut self, map: &mut Self::Map, key: &str, value: Value) {
        map.insert(key.to_owned(), value);
    }

    fn contains(&self, map: &Self::Map, key: &str) -> bool {
        map.contains_key(key)
    }

    fn finish(&mut self, map: Self::Map) -> Value {
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests;
