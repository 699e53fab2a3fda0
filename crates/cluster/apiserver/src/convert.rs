//! Between the version a client speaks and the one that is stored.

mod autoscaler;
mod event;

use objects::form;
use serde_json::Value;

use crate::catalog::{Origin, Resource};
use crate::error::ApiError;

/// Whether stored bytes can be sent as they are.
pub(crate) fn is_stored_version(resource: &Resource) -> bool {
    resource.api_version == resource.storage_version
}

/// Turns a stored object into the requested version.
pub(crate) fn to_requested(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    // Objects written under another storage version keep it until they are written again.
    if object["apiVersion"] == resource.api_version.as_str() {
        return Ok(());
    }
    if let Origin::Builtin(_) = resource.origin {
        match (resource.group.as_str(), resource.version.as_str(), resource.plural.as_str()) {
            ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaler::to_v1(object),
            ("events.k8s.io", "v1", "events") => event::to_events_v1(object),
            _ => {}
        }
    }
    object["apiVersion"] = resource.api_version.clone().into();
    form::canonical(object);
    Ok(())
}

/// Turns an object in the requested version into the stored one.
pub(crate) fn to_storage(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    if object["apiVersion"] == resource.storage_version.as_str() {
        return Ok(());
    }
    if let Origin::Builtin(_) = resource.origin {
        match (resource.group.as_str(), resource.version.as_str(), resource.plural.as_str()) {
            ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaler::from_v1(object)?,
            ("events.k8s.io", "v1", "events") => event::from_events_v1(object),
            _ => {}
        }
    }
    object["apiVersion"] = resource.storage_version.clone().into();
    form::canonical(object);
    Ok(())
}

/// Moves the value at one field of a map to another, if it is there.
fn rename(object: &mut Value, from: &str, to: &str) {
    let Some(map) = object.as_object_mut() else { return };
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}
