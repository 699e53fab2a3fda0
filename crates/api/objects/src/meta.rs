//! Reading and writing `metadata`. Absent, null and empty are the same, as they are for upstream's typed objects.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::gvk::GroupVersionKind;

/// Where an object is, within its kind. Displays as `namespace/name`, or `name` for a cluster-scoped one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub namespace: Option<String>,
    pub name: String,
}

/// One entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

impl Key {
    #[must_use]
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|namespace| !namespace.is_empty()).map(str::to_owned);
        Self { namespace, name: name.to_owned() }
    }

    #[must_use]
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        Self::new(Some(namespace), name)
    }

    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self::new(None, name)
    }

    #[must_use]
    pub fn of(object: &Value) -> Self {
        Self::new(namespace(object), name(object))
    }

    /// The namespace, empty for a cluster-scoped object.
    #[must_use]
    pub fn namespace_str(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl OwnerReference {
    /// A reference that makes `owner` the controller, as upstream's `NewControllerRef` writes it.
    #[must_use]
    pub fn controller(owner: &Value) -> Self {
        Self { controller: Some(true), block_owner_deletion: Some(true), ..Self::to(owner) }
    }

    /// A plain reference to `owner`.
    #[must_use]
    pub fn to(owner: &Value) -> Self {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: name(owner).to_owned(),
            uid: uid(owner).to_owned(),
            controller: None,
            block_owner_deletion: None,
        }
    }

    #[must_use]
    pub fn is_controller(&self) -> bool {
        self.controller == Some(true)
    }

    #[must_use]
    pub fn gvk(&self) -> Option<GroupVersionKind> {
        GroupVersionKind::parse(&self.api_version, &self.kind).ok()
    }

    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
        });
        if let Some(controller) = self.controller {
            value["controller"] = json!(controller);
        }
        if let Some(block) = self.block_owner_deletion {
            value["blockOwnerDeletion"] = json!(block);
        }
        value
    }
}

fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(name)
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    field(object, name).and_then(Value::as_str).unwrap_or_default()
}

fn optional<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    field(object, name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `metadata.name`, empty if absent.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.generateName`.
#[must_use]
pub fn generate_name(object: &Value) -> Option<&str> {
    optional(object, "generateName")
}

/// `metadata.namespace`; `None` if absent or empty.
#[must_use]
pub fn namespace(object: &Value) -> Option<&str> {
    optional(object, "namespace")
}

/// `kind`, empty if absent.
#[must_use]
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.uid`, empty if absent.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`, empty if absent. Opaque: compare for equality only.
#[must_use]
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.generation`, 0 if absent.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    field(object, "generation").and_then(Value::as_i64).unwrap_or_default()
}

/// `metadata.creationTimestamp` as written (RFC 3339, whole seconds).
#[must_use]
pub fn creation_timestamp(object: &Value) -> Option<&str> {
    optional(object, "creationTimestamp")
}

/// `metadata.creationTimestamp` as a time; `None` if absent or malformed.
#[must_use]
pub fn created_at(object: &Value) -> Option<jiff::Timestamp> {
    creation_timestamp(object)?.parse().ok()
}

/// `metadata.deletionTimestamp` as written; present once deletion was asked for.
#[must_use]
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    optional(object, "deletionTimestamp")
}

/// Whether deletion was asked for.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    deletion_timestamp(object).is_some()
}

/// `metadata.labels`; `None` if absent, null or empty.
#[must_use]
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    field(object, "labels")?.as_object().filter(|labels| !labels.is_empty())
}

/// One label's value.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    field(object, "labels")?.get(key)?.as_str()
}

/// `metadata.annotations`; `None` if absent, null or empty.
#[must_use]
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    field(object, "annotations")?.as_object().filter(|annotations| !annotations.is_empty())
}

/// One annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    field(object, "annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    field(object, "finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`; malformed entries are left out.
#[must_use]
pub fn owner_references(object: &Value) -> Vec<OwnerReference> {
    let entries = field(object, "ownerReferences").and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| OwnerReference::deserialize(entry).ok()).collect()
}

/// The owner reference whose `controller` is true.
#[must_use]
pub fn controller_of(object: &Value) -> Option<OwnerReference> {
    owner_references(object).into_iter().find(OwnerReference::is_controller)
}

/// Whether the object with this uid controls `object`.
#[must_use]
pub fn is_controlled_by(object: &Value, uid: &str) -> bool {
    !uid.is_empty() && controller_of(object).is_some_and(|owner| owner.uid == uid)
}

/// The object's `metadata`, made a map if it is none. `object` must be a map (or null, which becomes one).
///
/// # Panics
/// If `object` is a list or a scalar: callers hold parsed objects.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_mut(object, "metadata")
}

fn map_mut<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    let entry = &mut object[name];
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    entry.as_object_mut().expect("made an object just above")
}

/// Sets a field of `metadata`; null removes it.
pub fn set(object: &mut Value, name: &str, value: Value) {
    let metadata = metadata_mut(object);
    if value.is_null() {
        metadata.remove(name);
    } else {
        metadata.insert(name.to_owned(), value);
    }
}

fn set_entry(object: &mut Value, map: &str, key: &str, value: Option<&str>) {
    let metadata = metadata_mut(object);
    let entries = metadata.entry(map).or_insert_with(|| json!({}));
    if !entries.is_object() {
        *entries = json!({});
    }
    let entries = entries.as_object_mut().expect("made an object just above");
    match value {
        Some(value) => {
            entries.insert(key.to_owned(), json!(value));
        }
        None => {
            entries.remove(key);
        }
    }
    if entries.is_empty() {
        metadata.remove(map);
    }
}

/// Sets a label; `None` removes it.
pub fn set_label(object: &mut Value, key: &str, value: Option<&str>) {
    set_entry(object, "labels", key, value);
}

/// Sets an annotation; `None` removes it.
pub fn set_annotation(object: &mut Value, key: &str, value: Option<&str>) {
    set_entry(object, "annotations", key, value);
}

/// Adds a finalizer unless it is there; says whether it changed anything.
pub fn add_finalizer(object: &mut Value, finalizer: &str) -> bool {
    if finalizers(object).any(|present| present == finalizer) {
        return false;
    }
    let mut all: Vec<Value> = finalizers(object).map(|name| json!(name)).collect();
    all.push(json!(finalizer));
    set(object, "finalizers", Value::Array(all));
    true
}

/// Removes a finalizer; says whether it changed anything.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) -> bool {
    if !finalizers(object).any(|present| present == finalizer) {
        return false;
    }
    let rest: Vec<Value> =
        finalizers(object).filter(|present| *present != finalizer).map(|name| json!(name)).collect();
    set(object, "finalizers", if rest.is_empty() { Value::Null } else { Value::Array(rest) });
    true
}

/// A time as `metav1.Time` is written: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn format_time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as `metav1.MicroTime` is written: RFC 3339, UTC, six digits of fraction.
#[must_use]
pub fn format_micro_time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absence_read_the_same() {
        let object = json!({"metadata": {"name": "a", "namespace": "", "labels": null, "finalizers": null,
            "creationTimestamp": null, "ownerReferences": null}});
        assert_eq!(name(&object), "a");
        assert_eq!(namespace(&object), None);
        assert_eq!(labels(&object), None);
        assert_eq!(finalizers(&object).count(), 0);
        assert_eq!(creation_timestamp(&object), None);
        assert!(owner_references(&object).is_empty());
        assert_eq!(Key::of(&object).to_string(), "a");
        assert_eq!(Key::namespaced("ns", "a").to_string(), "ns/a");
    }

    #[test]
    fn emptied_maps_and_lists_disappear() {
        let mut object = json!({"metadata": {"name": "a", "labels": null}});
        set_label(&mut object, "x", Some("1"));
        assert_eq!(label(&object, "x"), Some("1"));
        set_label(&mut object, "x", None);
        assert!(add_finalizer(&mut object, "f"));
        assert!(!add_finalizer(&mut object, "f"));
        assert!(remove_finalizer(&mut object, "f"));
        assert_eq!(object, json!({"metadata": {"name": "a"}}));
    }

    #[test]
    fn controller_reference_round_trips() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "web", "uid": "1-2"}});
        let child = json!({"metadata": {"ownerReferences": [OwnerReference::controller(&owner).to_value()]}});
        assert!(is_controlled_by(&child, "1-2"));
        assert!(!is_controlled_by(&child, ""));
        assert_eq!(controller_of(&child).unwrap().gvk().unwrap().group, "apps");
    }

    #[test]
    fn times_are_written_as_upstream_does() {
        let time: jiff::Timestamp = "2026-01-02T03:04:05.0678Z".parse().unwrap();
        assert_eq!(format_time(time), "2026-01-02T03:04:05Z");
        assert_eq!(format_micro_time(time), "2026-01-02T03:04:05.067800Z");
    }
}
