//! Removing fields that a schema does not know.

use serde_json::Value;

use super::{Additional, Schema};

pub(super) fn root(schema: &Schema, object: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    prune(schema, object, Place { path: "", resource: true }, &mut removed);
    removed
}

struct Place<'a> {
    path: &'a str,
    /// The value is a whole resource, whose `apiVersion`, `kind` and `metadata` are always known.
    resource: bool,
}

fn prune(schema: &Schema, value: &mut Value, place: Place<'_>, removed: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let resource = place.resource || schema.embedded_resource;
            if matches!(schema.additional, Some(Additional::Anything)) {
                return;
            }
            map.retain(|key, child| {
                if resource && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                    return true;
                }
                let path = join(place.path, key);
                match schema.child(key) {
                    Some(known) => {
                        prune(known, child, Place { path: &path, resource: false }, removed);
                        true
                    }
                    None if schema.preserve_unknown_fields => true,
                    None => {
                        removed.push(path);
                        false
                    }
                }
            });
        }
        Value::Array(items) => {
            let nothing = Schema::default();
            let known = match &schema.items {
                Some(known) => known,
                None if schema.preserve_unknown_fields => return,
                None => &nothing,
            };
            for (index, item) in items.iter_mut().enumerate() {
                let path = format!("{}[{index}]", place.path);
                prune(known, item, Place { path: &path, resource: false }, removed);
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
