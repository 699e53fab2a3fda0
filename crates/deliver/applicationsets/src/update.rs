//! What an Application that is there already keeps, and which policy lets the set do what.

use objects::{Value, meta};
use serde_json::{Map, json};
use sync::IgnoreRules;
use sync::compare::respecting_ignored;
use sync::hooks::is_finalizer;

/// Annotations that other controllers write.
const KEPT_ANNOTATIONS: [&str; 3] =
    ["notified.notifications.argoproj.io", "argocd.argoproj.io/refresh", "argocd.argoproj.io/hydrate"];

/// What a set may do to Applications: `syncPolicy.applicationsSync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub update: bool,
    pub delete: bool,
}

impl Policy {
    /// # Errors
    /// If there is no such policy.
    pub fn of(set: &Value) -> Result<Self, String> {
        let (update, delete) = match set["spec"]["syncPolicy"]["applicationsSync"].as_str() {
            None | Some("" | "sync") => (true, true),
            Some("create-only") => (false, false),
            Some("create-update") => (true, false),
            Some("create-delete") => (false, true),
            Some(other) => {
                return Err(format!("spec.syncPolicy.applicationsSync: there is no policy {other:?}"));
            }
        };
        Ok(Self { update, delete })
    }
}

/// What makes an Application the set's.
#[must_use]
pub fn owner(set: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "name": meta::name(set),
        "uid": meta::uid(set),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether an Application belongs to the set.
#[must_use]
pub fn owns(set: &Value, application: &Value) -> bool {
    meta::controller_of(application).is_some_and(|owner| {
        owner.kind == "ApplicationSet" && owner.name == meta::name(set) && owner.uid == meta::uid(set)
    })
}

/// A new Application as it is created.
#[must_use]
pub fn created(set: &Value, generated: &Value) -> Value {
    let mut created = generated.clone();
    created["metadata"]["ownerReferences"] = json!([owner(set)]);
    created
}

/// A live Application as the set wants it.
///
/// # Errors
/// If another controller owns it, or the rules of what is ignored cannot be read.
pub fn updated(set: &Value, generated: &Value, live: &Value) -> Result<Value, String> {
    if let Some(other) = meta::controller_of(live).filter(|_| !owns(set, live)) {
        let (namespace, name) = (meta::namespace(live).unwrap_or_default(), meta::name(live));
        return Err(format!(
            "Object {namespace}/{name} is already owned by another {} controller {}",
            other.kind, other.name
        ));
    }
    let mut new = live.clone();
    new["spec"] = generated["spec"].clone();
    if !generated["operation"].is_null() {
        new["operation"] = generated["operation"].clone();
    }
    let preserved = &set["spec"]["preservedFields"];
    let kept = |field: &str| -> Vec<&str> {
        preserved[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mut annotations = kept("annotations");
    annotations.extend(KEPT_ANNOTATIONS);
    put(&mut new, "annotations", generated, live, &annotations);
    put(&mut new, "labels", generated, live, &kept("labels"));
    let mut finalizers: Vec<Value> =
        generated["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    for finalizer in meta::finalizers(live) {
        if is_finalizer(finalizer) && !finalizers.iter().any(|there| there == finalizer) {
            finalizers.push(finalizer.into());
        }
    }
    set_or_remove(&mut new, "finalizers", Value::Array(finalizers));
    if !owns(set, live) {
        let mut owners = live["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        owners.push(owner(set));
        new["metadata"]["ownerReferences"] = owners.into();
    }
    let rules = rules(set, meta::name(live))?;
    let mut new = respecting_ignored(&new, live, &rules);
    // The rules are about the spec and metadata; the status is nobody's but the other controller's.
    new["status"] = live["status"].clone();
    if new["status"].is_null() {
        new.as_object_mut().map(|new| new.remove("status"));
    }
    Ok(new)
}

/// `spec.ignoreApplicationDifferences` as far as they are about this Application.
fn rules(set: &Value, name: &str) -> Result<IgnoreRules, String> {
    let listed = set["spec"]["ignoreApplicationDifferences"].as_array().into_iter().flatten();
    let own = listed.filter(|rule| {
        let of = rule["name"].as_str().unwrap_or_default();
        of.is_empty() || of == name
    });
    let rules: Vec<Value> = own
        .map(|rule| {
            json!({
                "group": "argoproj.io",
                "kind": "Application",
                "jsonPointers": rule["jsonPointers"],
                "jqPathExpressions": rule["jqPathExpressions"],
            })
        })
        .collect();
    IgnoreRules::parse(&Value::Array(rules))
        .map_err(|error| format!("failed to build ignore diff config: {error}"))
}

/// The generated map, and of the live one the entries that stay.
fn put(new: &mut Value, field: &str, generated: &Value, live: &Value, kept: &[&str]) {
    let mut map = generated["metadata"][field].as_object().cloned().unwrap_or_default();
    for key in kept {
        if let Some(value) = live["metadata"][field].get(*key) {
            map.insert((*key).to_owned(), value.clone());
        }
    }
    set_or_remove(new, field, Value::Object(map));
}

fn set_or_remove(object: &mut Value, field: &str, value: Value) {
    let empty = crate::parameters::is_empty(&value);
    let metadata = object["metadata"].as_object_mut().map_or_else(Map::new, std::mem::take);
    let mut metadata = metadata;
    if empty {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), value);
    }
    object["metadata"] = metadata.into();
}
