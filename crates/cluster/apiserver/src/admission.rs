//! What is asked of a write beyond its own fields: that its namespace takes it, that its Pod has a ServiceAccount.

mod absent;
mod classes;
mod limits;
mod pods;
mod service_account;

use http::StatusCode;
use objects::meta;
use serde_json::{Value, json};

use crate::core::Call;
use crate::error::ApiError;
use crate::object;

pub(crate) use limits::{amounts, whole};
pub(crate) use pods::quality;

/// Refuses new objects in a namespace that does not exist or is being deleted.
pub(crate) fn namespace_exists(call: &Call, object: &Value) -> Result<(), ApiError> {
    if !call.resource.namespaced {
        return Ok(());
    }
    let name = &call.info.namespace;
    if name.is_empty() {
        return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
    }
    let key = store::Key::new("namespaces", None, name);
    let Some(found) = call.core.store.get(&key) else {
        return Err(ApiError::not_found("", "namespaces", name));
    };
    let namespace = object::decode(&found.bytes)?;
    if !meta::is_deleting(&namespace) {
        return Ok(());
    }
    // Events about the end of a namespace are still welcome while it ends: upstream refuses them as well.
    let because = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut error =
        ApiError::forbidden(&call.resource.group, &call.resource.plural, meta::name(object), &because);
    error.code = StatusCode::FORBIDDEN;
    error.details.insert(
        "causes".to_owned(),
        json!([{"reason": "NamespaceTerminating", "message": format!("namespace {name} is being terminated"),
            "field": "metadata.namespace"}]),
    );
    Err(error)
}

/// Refuses new custom resources whose definition is being deleted.
pub(crate) fn definition_stays(call: &Call) -> Result<(), ApiError> {
    if call.resource.custom().is_some_and(|custom| custom.terminating) {
        let message = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
    }
    Ok(())
}

/// Warns of what is stored and has no effect.
pub(crate) fn warn(call: &Call, object: &Value) {
    if call.info.subresource.is_empty() {
        absent::warn(call, object);
    }
}

/// Changes an object on its way in.
pub(crate) fn mutate(call: &Call, old: Option<&Value>, object: &mut Value) -> Result<(), ApiError> {
    if !call.info.subresource.is_empty() {
        return Ok(());
    }
    if old.is_some() {
        return Ok(());
    }
    match (call.resource.group.as_str(), call.resource.plural.as_str()) {
        ("", "pods") => {
            service_account::admit(call, object)?;
            pods::priority(call, object)?;
            pods::tolerations(object);
            limits::pod(call, object)?;
            object["status"]["qosClass"] = pods::quality(object).into();
        }
        ("", "persistentvolumeclaims") => {
            classes::storage(call, object);
            limits::claim(call, object)?;
        }
        ("networking.k8s.io", "ingresses") => classes::ingress(call, object),
        _ => {}
    }
    Ok(())
}
