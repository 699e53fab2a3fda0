//! Pod templates: equality and labels that controllers add.

use objects::meta;
use serde_json::{Map, Value};

/// Whether two pod templates describe the same pods: equal but for the label a controller adds, where null, absent and
/// empty are the same.
pub(crate) fn same(a: &Value, b: &Value, ignored_label: &str) -> bool {
    normalised(a, ignored_label) == normalised(b, ignored_label)
}

fn normalised(template: &Value, ignored_label: &str) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(ignored_label);
    }
    prune(&mut template);
    template
}

/// Removes nulls and empty maps from maps, as upstream's typed objects do not tell them from absence. An empty map can mean
/// something (`emptyDir: {}`), so only those of metadata go.
fn prune(template: &mut Value) {
    fn nulls(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|_, entry| !entry.is_null());
                map.values_mut().for_each(nulls);
            }
            Value::Array(list) => list.iter_mut().for_each(nulls),
            _ => {}
        }
    }
    nulls(template);
    let Some(map) = template.as_object_mut() else { return };
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, entry| !entry.as_object().is_some_and(Map::is_empty));
    }
    if map.get("metadata").and_then(Value::as_object).is_some_and(Map::is_empty) {
        map.remove("metadata");
    }
}

/// The template with a label added.
pub(crate) fn with_label(template: &Value, key: &str, value: &str) -> Value {
    let mut template = template.clone();
    meta::set_label(&mut template, key, Some(value));
    template
}

/// A label selector with one more required label.
pub(crate) fn selector_with_label(selector: &Value, key: &str, value: &str) -> Value {
    let mut selector = if selector.is_object() { selector.clone() } else { Value::Object(Map::new()) };
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = Value::Object(Map::new());
    }
    selector["matchLabels"][key] = Value::from(value);
    selector
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equality_looks_at_what_pods_are_made_of() {
        let a = json!({ "metadata": { "creationTimestamp": null, "labels": { "app": "web", "hash": "1" } },
            "spec": { "volumes": [{ "name": "v", "emptyDir": {} }], "nodeName": null } });
        let b = json!({ "metadata": { "labels": { "app": "web" } },
            "spec": { "volumes": [{ "name": "v", "emptyDir": {} }] } });
        assert!(same(&a, &b, "hash"));
        assert!(!same(&a, &b, "other"));
        let c =
            json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "volumes": [{ "name": "v" }] } });
        assert!(!same(&b, &c, "hash"));
        assert!(same(&json!({ "spec": {} }), &json!({ "metadata": { "labels": {} }, "spec": {} }), "hash"));
    }
}
