//! From and to other representations.

use std::borrow::Cow;

use super::{List, ListKind, Map, MapKind, Str, Value};

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<Str> for Value {
    fn from(text: Str) -> Self {
        Self::Str(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Str(bytes.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl<S: Into<Str>> FromIterator<(S, Value)> for Value {
    fn from_iter<I: IntoIterator<Item = (S, Value)>>(entries: I) -> Self {
        Self::Map(Map::from_entries(
            MapKind::Any,
            entries.into_iter().map(|(key, value)| (key.into(), value)),
        ))
    }
}

/// Integers become `int64`, floats stay `float64`: a caller that wants the numbers of `encoding/json` makes them
/// floats before.
impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::int64(integer),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Str(text.as_str().into()),
            serde_json::Value::Array(items) => {
                Self::List(List::appended(ListKind::Any, items.iter().map(Self::from).collect()))
            }
            serde_json::Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.as_str(), Self::from(value))).collect()
            }
        }
    }
}

/// As by reference; each part is freed as soon as it is converted.
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Array(items) => {
                Self::List(List::appended(ListKind::Any, items.into_iter().map(Self::from).collect()))
            }
            serde_json::Value::Object(fields) => {
                fields.into_iter().map(|(key, value)| (key, Self::from(value))).collect()
            }
            other => Self::from(&other),
        }
    }
}

/// Builds template values from YAML as `sigs.k8s.io/yaml` and `encoding/json` do: every number is a `float64`.
#[derive(Debug, Default, Clone, Copy)]
pub struct FromYaml;

impl yaml::Sink for FromYaml {
    type Value = Value;
    type Map = Vec<(Str, Value)>;

    fn null(&mut self) -> Value {
        Value::Nil
    }

    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }

    #[expect(clippy::cast_precision_loss, reason = "Go reads every JSON number as a float64")]
    fn int(&mut self, value: i64) -> Value {
        Value::Float(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "Go reads every JSON number as a float64")]
    fn uint(&mut self, value: u64) -> Value {
        Value::Float(value as f64)
    }

    fn float(&mut self, value: f64) -> Value {
        Value::Float(value)
    }

    fn string(&mut self, value: Cow<'_, str>) -> Value {
        Value::Str(value.into())
    }

    fn list(&mut self, items: Vec<Value>) -> Value {
        Value::List(List::appended(ListKind::Any, items))
    }

    fn map(&mut self, entries: usize) -> Self::Map {
        Vec::with_capacity(entries)
    }

    fn insert(&mut self, map: &mut Self::Map, key: &str, value: Value) {
        map.push((key.into(), value));
    }

    fn contains(&self, map: &Self::Map, key: &str) -> bool {
        map.iter().any(|(known, _)| *known == key)
    }

    fn finish(&mut self, map: Self::Map) -> Value {
        // Collecting keeps the last of equal keys.
        Value::Map(Map::from_entries(MapKind::Any, map))
    }
}
