//! Fields without which an object of a built-in kind means nothing.

use objects::schema::FieldError;
use objects::typing::{Shape, Typing};
use serde_json::Value;

use super::Problems;

/// Reports each required field that is absent, status apart: that is its controllers' business.
pub(super) fn check(typing: Typing<'static>, object: &Value, problems: &mut Problems) {
    let Typing::Builtin(slot) = typing else { return };
    walk(slot.shape, object, "", problems);
}

fn walk(shape: &Shape, value: &Value, path: &str, problems: &mut Problems) {
    match (shape, value) {
        (Shape::Struct(id), Value::Object(map)) => {
            for (name, field) in id.get().fields() {
                if path.is_empty() && matches!(name, "status" | "metadata" | "kind" | "apiVersion") {
                    continue;
                }
                let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                match map.get(name) {
                    // A list that may not be absent may well be empty where upstream's own checks do not say otherwise,
                    // and so may a header.
                    None | Some(Value::Null) if field.required && !matches!(field.shape, Shape::List(_)) => {
                        problems.push(FieldError::required(&below, ""));
                    }
                    Some(Value::String(text))
                        if field.required && text.is_empty() && id.get().name != "core.v1.HTTPHeader" =>
                    {
                        problems.push(FieldError::required(&below, ""));
                    }
                    Some(child) => walk(&field.shape, child, &below, problems),
                    None => {}
                }
            }
        }
        (Shape::List(item), Value::Array(items)) => {
            for (index, child) in items.iter().enumerate() {
                walk(item, child, &format!("{path}[{index}]"), problems);
            }
        }
        (Shape::Map(inner), Value::Object(map)) => {
            for (key, child) in map {
                walk(inner, child, &format!("{path}[{key}]"), problems);
            }
        }
        _ => {}
    }
}
