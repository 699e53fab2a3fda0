//! Two spellings of one object made the same.

use objects::quantity::Quantity;
use objects::{GroupVersionKind, Value, decode, defaults, kinds};
use serde_json::{Map, json};

use crate::annotations::LAST_APPLIED;

/// Metadata that only the server writes.
const SERVER_METADATA: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// An object without the metadata that only the server writes, nor the record of the last apply.
#[must_use]
pub fn without_managed(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    object
}

/// An object without its status.
#[must_use]
pub fn without_status(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// An object in the form in which the server stores what is sent to it.
pub(super) fn stored_form(object: Value, gvk: &GroupVersionKind) -> Value {
    let mut object = without_status(without_managed(object));
    drop_nulls(&mut object);
    whole_numbers(&mut object);
    if gvk.group.is_empty() && gvk.kind == "Secret" {
        fold_string_data(&mut object);
    }
    if gvk.group == "apiextensions.k8s.io" && gvk.kind == "CustomResourceDefinition" {
        // Of `apiextensions.k8s.io/v1beta1`; a server keeps nothing of it, and Argo CD ignores it whatever is set.
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("preserveUnknownFields");
        }
    }
    if kinds::is_builtin(gvk) {
        object = decoded(object);
    } else if gvk.group == "argoproj.io" && gvk.kind == "Rollout" {
        canonical_quantities(&mut object);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
    }
    object
}

/// The typed round trip of a built-in kind, if it loses nothing.
fn decoded(object: Value) -> Value {
    let mut typed = object.clone();
    match decode::decode(&mut typed) {
        Ok(unknown) if unknown.is_empty() => typed,
        _ => object,
    }
}

/// Takes out of a manifest what it leaves to controllers although it has a place for it.
pub(super) fn leave_to_controllers(object: &mut Value, live: &Value, gvk: &GroupVersionKind) {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("rbac.authorization.k8s.io", "ClusterRole") if !live["aggregationRule"].is_null() => {
            // The rules of an aggregated role are written by the controller that aggregates.
            if let Some(role) = object.as_object_mut() {
                role.remove("rules");
            }
        }
        ("admissionregistration.k8s.io", _) => {
            for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
                drop_placeholder_bundle(webhook.get_mut("clientConfig"));
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            drop_placeholder_bundle(object.pointer_mut("/spec/conversion/webhook/clientConfig"));
        }
        ("apiregistration.k8s.io", "APIService") => drop_placeholder_bundle(object.get_mut("spec")),
        ("apps", "StatefulSet") => {
            for claim in object
                .pointer_mut("/spec/volumeClaimTemplates")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(claim) = claim.as_object_mut() {
                    for field in ["apiVersion", "kind", "status"] {
                        claim.remove(field);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Charts put an empty bundle (or one line feed, encoded) where a controller injects the real one.
fn drop_placeholder_bundle(config: Option<&mut Value>) {
    if let Some(config) = config.and_then(Value::as_object_mut)
        && config.get("caBundle").and_then(Value::as_str).is_some_and(|bundle| matches!(bundle, "" | "Cg=="))
    {
        config.remove("caBundle");
    }
}

/// The form in which two objects are compared after merging: upstream's defaults filled in, emptiness spelled one way.
pub(super) fn normalise(mut object: Value, gvk: &GroupVersionKind) -> Value {
    if kinds::is_builtin(gvk) {
        defaults::apply(&mut object);
        drop_empty(&mut object, "");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
    }
    object
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// `1.0` is `1`: JSON of a number says nothing about its type.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            // Beyond 2^53 a float names no single integer.
            if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 {
                #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
                let whole = float as i64;
                *value = json!(whole);
            }
        }
        _ => {}
    }
}

/// Fields whose empty object means something else than their absence.
const MEANINGFUL_EMPTY: [&str; 7] =
    ["emptyDir", "podSelector", "namespaceSelector", "objectSelector", "labelSelector", "selector", "tmpfs"];

fn drop_empty(value: &mut Value, name: &str) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                drop_empty(value, name);
            }
            if name == "data" || name == "annotations" || name == "labels" {
                return;
            }
            map.retain(|name, value| match value {
                // Upstream writes some lists even if they are empty, and then as `null`: `rules` of a Role.
                Value::Null => false,
                Value::Object(map) => !map.is_empty() || MEANINGFUL_EMPTY.contains(&name.as_str()),
                Value::Array(list) => !list.is_empty() || MEANINGFUL_EMPTY.contains(&name.as_str()),
                _ => true,
            });
        }
        Value::Array(list) => list.iter_mut().for_each(|element| drop_empty(element, "")),
        _ => {}
    }
}

/// `stringData` is write-only: the server folds it into `data`.
fn fold_string_data(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else { return };
    let Some(Value::Object(strings)) = secret.remove("stringData") else { return };
    if strings.is_empty() {
        return;
    }
    let data = secret.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in strings {
            data.insert(key, json!(base64(value.as_str().unwrap_or_default().as_bytes())));
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * position) & 63) as usize];
            encoded.push(if position <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    encoded
}

/// Maps in built-in kinds whose values are quantities, and single quantities.
const QUANTITY_MAPS: [&str; 8] = [
    "limits",
    "requests",
    "capacity",
    "hard",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
    "overhead",
];
const QUANTITIES: [&str; 3] = ["sizeLimit", "averageValue", "divisor"];

fn canonical_quantities(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match value {
                    Value::Object(quantities) if QUANTITY_MAPS.contains(&name.as_str()) => {
                        quantities.values_mut().for_each(canonical_quantity);
                    }
                    Value::String(_) | Value::Number(_) if QUANTITIES.contains(&name.as_str()) => {
                        canonical_quantity(value);
                    }
                    value => canonical_quantities(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(canonical_quantities),
        _ => {}
    }
}

fn canonical_quantity(value: &mut Value) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    if let Ok(quantity) = Quantity::parse(&text) {
        *value = Value::String(quantity.to_string());
    }
}
