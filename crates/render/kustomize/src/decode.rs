//! JSON values to structs as Go's `encoding/json` decodes them: field names whatever their case, null as absent,
//! and its error texts.

use std::collections::BTreeMap;

use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

/// How the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A kustomization: unknown fields are an error, and so is a number where a string is due.
    Strict,
    /// A plugin's or transformer's configuration: unknown fields are passed over, scalars become strings.
    Lenient,
    /// Scalars become strings, unknown fields are an error.
    StrictFields,
}

/// Decodes `value` into the Go type called `T`, whose name is the outermost struct's.
///
/// # Errors
/// The text Go's decoder gives.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value, mode: Mode) -> Result<T, String> {
    T::deserialize(Go { value, mode, at: Place::default() }).map_err(|error| error.0)
}

#[derive(Debug)]
struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Where a value stands: the innermost struct, and the fields that lead to it from the outermost. Keys of maps are
/// not counted.
#[derive(Debug, Clone, Default)]
struct Place {
    inner: &'static str,
    path: String,
}

impl Place {
    fn below(&self, field: &str) -> Self {
        let path = if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) };
        Self { inner: self.inner, path }
    }
}

struct Go<'v> {
    value: &'v Value,
    mode: Mode,
    at: Place,
}

impl<'v> Go<'v> {
    fn wrong(&self, wanted: &str) -> Failure {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if self.at.path.is_empty() {
            return Failure(format!("json: cannot unmarshal {found} into Go value of type {wanted}"));
        }
        let Place { inner, path } = &self.at;
        Failure(format!(
            "json: cannot unmarshal {found} into Go struct field {inner}.{path} of type {wanted}"
        ))
    }

    /// The string this is or, where Go's YAML library knows that a string is wanted, what it is written as.
    fn text(&self) -> Result<String, Failure> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            Value::Bool(value) if self.mode != Mode::Strict => Ok(value.to_string()),
            Value::Number(number) if self.mode != Mode::Strict => Ok(match number.as_f64() {
                Some(float) if number.is_f64() => yaml::number::float_g(float),
                _ => number.to_string(),
            }),
            _ => Err(self.wrong("string")),
        }
    }

    fn fields(&self, wanted: &str) -> Result<Option<&'v Map<String, Value>>, Failure> {
        match self.value {
            Value::Object(fields) => Ok(Some(fields)),
            Value::Null => Ok(None),
            _ => Err(self.wrong(wanted)),
        }
    }
}

impl<'de> Deserializer<'de> for Go<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.value.clone().into_deserializer().deserialize_any(visitor).map_err(json)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Null => visitor.visit_bool(false),
            _ => Err(self.wrong("bool")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value {
            Value::Number(number) => match number.as_i64() {
                Some(number) => visitor.visit_i64(number),
                None => {
                    Err(Failure(self.wrong("int64").0.replacen("number", &format!("number {number}"), 1)))
                }
            },
            Value::Null => visitor.visit_i64(0),
            _ => Err(self.wrong("int64")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let items = match self.value {
            Value::Array(items) => items.as_slice(),
            Value::Null => &[],
            _ => return Err(self.wrong("[]string")),
        };
        visitor.visit_seq(Items { items: items.iter(), mode: self.mode, at: self.at })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let fields = self.fields("map[string]string")?;
        let fields = fields.into_iter().flatten().map(|(name, value)| (name.clone(), value)).collect();
        visitor.visit_map(Entries { keyed: true, ..Entries::new(fields, self.mode, self.at) })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let present = self.fields(&format!("types.{name}"))?;
        let mut fields: BTreeMap<String, &Value> = BTreeMap::new();
        for (field, value) in present.into_iter().flatten() {
            let exact = known.iter().find(|known| *known == field);
            match exact.or_else(|| known.iter().find(|known| known.eq_ignore_ascii_case(field))) {
                Some(known) if !value.is_null() => {
                    fields.insert((*known).to_owned(), value);
                }
                None if self.mode != Mode::Lenient => {
                    return Err(Failure(format!("json: unknown field \"{field}\"")));
                }
                _ => {}
            }
        }
        visitor.visit_map(Entries::new(fields, self.mode, Place { inner: name, path: self.at.path }))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier
    }
}

fn json(error: serde_json::Error) -> Failure {
    Failure(error.to_string())
}

struct Items<'v> {
    items: std::slice::Iter<'v, Value>,
    mode: Mode,
    at: Place,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        self.items
            .next()
            .map(|value| seed.deserialize(Go { value, mode: self.mode, at: self.at.clone() }))
            .transpose()
    }
}

struct Entries<'v> {
    fields: std::collections::btree_map::IntoIter<String, &'v Value>,
    mode: Mode,
    at: Place,
    next: Option<(String, &'v Value)>,
    /// Whether these are the entries of a map and not the fields of a struct.
    keyed: bool,
}

impl<'v> Entries<'v> {
    fn new(fields: BTreeMap<String, &'v Value>, mode: Mode, at: Place) -> Self {
        Self { fields: fields.into_iter(), mode, at, next: None, keyed: false }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        self.next = self.fields.next();
        self.next
            .as_ref()
            .map(|(name, _)| seed.deserialize(IntoDeserializer::<Failure>::into_deserializer(name.as_str())))
            .transpose()
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let (name, value) = self.next.take().expect("a value is asked for after its key");
        let at = if self.keyed { self.at.clone() } else { self.at.below(&name) };
        seed.deserialize(Go { value, mode: self.mode, at })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Inner {
        name_prefix: String,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Outer {
        count: i64,
        inner: Vec<Inner>,
        labels: BTreeMap<String, String>,
    }

    #[test]
    fn names_have_any_case_and_nulls_are_absent() {
        let value =
            json!({"COUNT": 3, "inner": [{"nameprefix": "a"}, null], "labels": {"A": null, "b": "c"}});
        let outer: Outer = decode(&value, Mode::Strict).unwrap();
        assert_eq!((outer.count, outer.inner.len()), (3, 2));
        assert_eq!(outer.inner[0].name_prefix, "a");
        assert_eq!(outer.labels["A"], "");
    }

    #[test]
    fn errors_are_gos() {
        let check = |value: Value, mode: Mode, wanted: &str| {
            assert_eq!(decode::<Outer>(&value, mode).unwrap_err(), wanted);
        };
        check(json!({"inner": [{"x": 1}]}), Mode::Strict, "json: unknown field \"x\"");
        check(
            json!({"inner": [{"namePrefix": 1}]}),
            Mode::Strict,
            "json: cannot unmarshal number into Go struct field Inner.inner.namePrefix of type string",
        );
        check(
            json!({"count": "a"}),
            Mode::Lenient,
            "json: cannot unmarshal string into Go struct field Outer.count of type int64",
        );
        let outer: Outer = decode(&json!({"x": 1, "labels": {"a": 1.5, "b": true}}), Mode::Lenient).unwrap();
        assert_eq!((outer.labels["a"].as_str(), outer.labels["b"].as_str()), ("1.5", "true"));
    }
}
