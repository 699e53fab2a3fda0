//! Defaults, and nulls where null is not allowed.

use serde_json::Value;

use super::Schema;

pub(super) fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                if let Some(default) = &property.default
                    && map.get(name).is_none_or(|present| is_stray_null(present, property))
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            map.retain(|key, child| match schema.child(key) {
                None => true,
                Some(known) => {
                    if is_stray_null(child, known) {
                        match &known.default {
                            Some(default) => *child = default.clone(),
                            None => return false,
                        }
                    }
                    fill(known, child);
                    true
                }
            });
        }
        Value::Array(items) => {
            let Some(known) = &schema.items else { return };
            for item in items {
                if let Some(default) = known.default.as_ref().filter(|_| is_stray_null(item, known)) {
                    *item = default.clone();
                }
                fill(known, item);
            }
        }
        _ => {}
    }
}

/// A null that the schema does not allow. Where the schema says nothing of a value, null is a value like others.
fn is_stray_null(value: &Value, schema: &Schema) -> bool {
    value.is_null()
        && !schema.nullable
        && !(schema.preserve_unknown_fields && schema.json_type.is_none() && !schema.int_or_string)
}
