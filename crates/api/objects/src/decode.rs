//! Reading an object as the API server's typed decoder does: unknown fields are dropped and reported, fields that say
//! nothing vanish ([`form`]), quantities, times and base64 take their canonical form, wrong types are refused.

use serde_json::{Map, Number, Value};

use crate::gvk::GroupVersionKind;
use crate::quantity::Quantity;
use crate::typing::{Shape, Slot, Typing};
use crate::{form, kinds, meta};

/// Why an object cannot be decoded; texts are those of upstream's decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

/// Decodes in place and returns the paths of the unknown fields it dropped (`spec.template.spec.foo`), from which
/// strict field validation makes its `unknown field "…"` errors. Custom resources have only their metadata decoded.
///
/// # Errors
/// If a field has the wrong type or a malformed quantity, time or base64 text.
pub fn decode(object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let unknown = walk(object, Nulls::Drop)?;
    form::decoded(object);
    Ok(unknown)
}

/// As [`decode`], for what is applied by the server: which fields are there, be they null or empty, is what it says, so
/// all of them stay.
///
/// # Errors
/// As [`decode`].
pub fn decode_applied(object: &mut Value) -> Result<Vec<String>, DecodeError> {
    walk(object, Nulls::Keep)
}

fn walk(object: &mut Value, nulls: Nulls) -> Result<Vec<String>, DecodeError> {
    let mut walk = Walk { unknown: Vec::new(), nulls };
    let gvk = GroupVersionKind::of(object).unwrap_or_default();
    match Typing::of(&gvk) {
        Typing::Builtin(slot) => walk.value(object, slot.shape, "", kinds_name(&gvk))?,
        custom => {
            if let (Typing::Builtin(slot), Some(metadata)) =
                (custom.field("metadata"), object.get_mut("metadata"))
            {
                walk.value(metadata, slot.shape, "metadata", "ObjectMeta")?;
            }
        }
    }
    Ok(walk.unknown)
}

fn kinds_name(gvk: &GroupVersionKind) -> &'static str {
    kinds::by_gvk(gvk).map_or("Object", |kind| kind.kind)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Drop,
    Keep,
}

struct Walk {
    unknown: Vec<String>,
    nulls: Nulls,
}

impl Walk {
    /// `owner` is the Go type that holds the field, for error texts.
    fn value(
        &mut self,
        value: &mut Value,
        shape: &'static Shape,
        path: &str,
        owner: &str,
    ) -> Result<(), DecodeError> {
        match shape {
            Shape::Any => Ok(()),
            Shape::Struct(id) => match value {
                Value::Object(map) => {
                    self.fields(map, Typing::Builtin(Slot { shape, field: None }), path, id.get().name)
                }
                other => Err(mismatch(other, path, owner, shape)),
            },
            Shape::Map(inner) => match value {
                Value::Object(map) => {
                    for (key, child) in map.iter_mut() {
                        fill_null(child, inner);
                        // Go's decoder names the map alone where a plain value in it is of another type.
                        if matches!(**inner, Shape::Struct(_) | Shape::Map(_) | Shape::List(_)) {
                            self.value(child, inner, &format!("{path}.{key}"), owner)?;
                        } else {
                            self.value(child, inner, path, owner)?;
                        }
                    }
                    Ok(())
                }
                other => Err(mismatch(other, path, owner, shape)),
            },
            Shape::List(inner) => match value {
                Value::Array(items) => {
                    for (index, item) in items.iter_mut().enumerate() {
                        fill_null(item, inner);
                        self.value(item, inner, &format!("{path}[{index}]"), owner)?;
                    }
                    Ok(())
                }
                // A `[]byte` field is written as base64 text, though the OpenAPI calls some of them lists.
                other => Err(mismatch(other, path, owner, shape)),
            },
            scalar => decode_scalar(value, scalar, path, owner),
        }
    }

    fn fields(
        &mut self,
        map: &mut Map<String, Value>,
        typing: Typing<'static>,
        path: &str,
        type_name: &'static str,
    ) -> Result<(), DecodeError> {
        let short = type_name.rsplit('.').next().unwrap_or(type_name);
        let names: Vec<String> = map.keys().cloned().collect();
        for name in names {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Typing::Builtin(slot) = typing.field(&name) else {
                map.remove(&name);
                self.unknown.push(below);
                continue;
            };
            let Some(child) = map.get_mut(&name) else { continue };
            if child.is_null() {
                if self.nulls == Nulls::Drop {
                    map.remove(&name);
                }
                continue;
            }
            self.value(child, slot.shape, &below, short)?;
        }
        Ok(())
    }
}

/// A null among a map's values or a list's items is Go's zero value.
fn fill_null(value: &mut Value, shape: &Shape) {
    if !value.is_null() {
        return;
    }
    *value = match shape {
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Number | Shape::IntOrString => Value::from(0),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Map(_) | Shape::Struct(_) => Value::Object(Map::new()),
        Shape::Any | Shape::Time | Shape::MicroTime => return,
    };
}

fn decode_scalar(value: &mut Value, shape: &Shape, path: &str, owner: &str) -> Result<(), DecodeError> {
    match (shape, &*value) {
        (Shape::String | Shape::IntOrString, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => Ok(()),
        (Shape::Number, Value::Number(_)) => Ok(()),
        (Shape::Int32 | Shape::Int64 | Shape::IntOrString, Value::Number(number)) => {
            let whole = as_whole(number).ok_or_else(|| mismatch(value, path, owner, shape))?;
            if !matches!(shape, Shape::Int64) && i32::try_from(whole).is_err() {
                return Err(mismatch(value, path, owner, shape));
            }
            *value = Value::from(whole);
            Ok(())
        }
        (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
            let quantity = Quantity::from_value(value).map_err(|error| DecodeError(error.to_string()))?;
            *value = Value::String(quantity.to_string());
            Ok(())
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            let time: jiff::Timestamp = text.parse().map_err(|_| {
                DecodeError(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse"))
            })?;
            let written =
                if *shape == Shape::Time { meta::format_time(time) } else { meta::format_micro_time(time) };
            *value = Value::String(written);
            Ok(())
        }
        (Shape::Bytes, Value::String(text)) => {
            if let Some(at) = bad_base64(text) {
                return Err(DecodeError(format!("illegal base64 data at input byte {at}")));
            }
            if text.contains(['\r', '\n']) {
                *value = Value::String(text.replace(['\r', '\n'], ""));
            }
            Ok(())
        }
        (shape, other) => Err(mismatch(other, path, owner, shape)),
    }
}

/// Integers may be written as `1.0` or `1e3`.
fn as_whole(number: &Number) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within range")]
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    })
}

/// The position of the first byte that is wrong; line breaks are skipped, as Go's decoder does.
fn bad_base64(text: &str) -> Option<usize> {
    let mut digits = 0;
    let mut padding = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\r' | b'\n' => {}
            b'=' if padding < 2 && (digits + padding) % 4 >= 2 => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => digits += 1,
            _ => return Some(at),
        }
    }
    ((digits + padding) % 4 != 0).then_some(text.len())
}

/// Go's decoder names struct fields only.
fn without_indices(path: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => {}
            other => kept.push(other),
        }
    }
    kept
}

fn mismatch(found: &Value, path: &str, owner: &str, shape: &Shape) -> DecodeError {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if matches!(shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString) => {
            format!("number {number}")
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    DecodeError(format!(
        "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {}",
        without_indices(path),
        go_type(shape)
    ))
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::List(item) => format!("[]{}", go_type(item)),
        Shape::Map(value) => format!("map[string]{}", go_type(value)),
        Shape::Struct(id) => {
            let name = id.get().name;
            name.split_once('.').map_or(name, |(_, rest)| rest).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_vanish_and_unknown_fields_are_reported() {
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": null, "immutable": null,
            "metadata": {"name": "a", "creationTimestamp": null, "labels": {}, "annotations": {"x": null}},
            "data": {"password": null, "user": "YQ\n=="}, "odd": 1,
        });
        assert_eq!(decode(&mut secret).unwrap(), ["odd"]);
        assert_eq!(
            secret,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "annotations": {"x": ""}},
                "data": {"password": "", "user": "YQ=="}})
        );
    }

    #[test]
    fn canonical_forms_are_stored() {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a",
            "creationTimestamp": "2026-01-01T01:00:00+01:00"}, "spec": {"containers": [{"name": "c", "odd": 1,
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}});
        assert_eq!(decode(&mut pod).unwrap(), ["spec.containers[0].odd"]);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"]["limits"],
            json!({"cpu": "500m", "memory": "1Gi"})
        );
        assert_eq!(pod["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    }

    #[test]
    fn wrong_types_are_refused_with_the_decoders_text() {
        let mut deployment =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "2"}});
        assert_eq!(
            decode(&mut deployment).unwrap_err().to_string(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}});
        assert_eq!(
            decode(&mut map).unwrap_err().to_string(),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        );
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "?"}});
        assert!(decode(&mut secret).is_err());
    }

    #[test]
    fn custom_resources_keep_their_fields() {
        let mut custom = json!({"apiVersion": "a.b/v1", "kind": "X", "metadata": {"name": "a", "odd": 1,
            "creationTimestamp": null}, "spec": {"any": null}});
        assert_eq!(decode(&mut custom).unwrap(), ["metadata.odd"]);
        assert_eq!(
            custom,
            json!({"apiVersion": "a.b/v1", "kind": "X", "metadata": {"name": "a"}, "spec": {"any": null}})
        );
    }
}
