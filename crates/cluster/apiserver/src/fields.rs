//! Where a write meets the rules of its kind's fields: defaults, and who owns which field.

use objects::apply::{ApplyError, OnConflict, Writer};
use objects::schema::FieldError;
use objects::{defaults, form};
use serde_json::Value;

use crate::catalog::{Origin, Resource};
use crate::core::Call;
use crate::error::ApiError;

/// Fills in what upstream fills in.
pub(crate) fn default(resource: &Resource, object: &mut Value) {
    match &resource.origin {
        Origin::Builtin(_) => defaults::apply(object),
        Origin::Custom(custom) => {
            if let Some(schema) = &custom.schema {
                schema.fill(object);
            }
        }
    }
}

fn writer<'a>(call: &'a Call, manager: &'a str) -> Writer<'a> {
    // The scale subresource has its own type, but what it writes are fields of the object.
    Writer { manager, subresource: &call.info.subresource, now: call.now }
}

/// Records what `manager` changed.
pub(crate) fn attribute(
    call: &Call,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
) -> Result<(), ApiError> {
    let typing = call.resource.model.typing();
    // What a new object's status is decided to be is nobody's writing.
    let status = (old.is_none() && call.resource.has_subresource("status"))
        .then(|| new.as_object_mut().and_then(|fields| fields.remove("status")))
        .flatten();
    let result = objects::apply::update_managed_fields(old, new, writer(call, manager), typing);
    if let Some(status) = status {
        new["status"] = status;
    }
    result.map_err(|error| malformed(call, new, &error))
}

/// A configuration that is applied, as it is understood and as it was sent, which is how messages show it.
pub(crate) struct Applied {
    pub(crate) object: Value,
    pub(crate) sent: Value,
}

/// The object that results when `manager` applies `applied` over `live`.
pub(crate) fn apply(
    call: &Call,
    live: Option<&Value>,
    applied: &Applied,
    manager: &str,
) -> Result<Value, ApiError> {
    let on_conflict = if call.query.flag("force") { OnConflict::Force } else { OnConflict::Fail };
    let typing = call.resource.model.typing();
    let result = objects::apply::apply(live, &applied.object, writer(call, manager), on_conflict, typing);
    let mut object = result.map_err(|error| match error {
        ApplyError::Conflicts(conflicts) => {
            let message = ApplyError::Conflicts(conflicts.clone()).to_string();
            let causes = conflicts
                .into_iter()
                .map(|conflict| (conflict.field, format!("conflict with {}", conflict.manager)));
            ApiError::apply_conflict(message, causes)
        }
        ApplyError::ManagedFieldsSet => ApiError::bad_request("metadata.managedFields must be nil"),
        ApplyError::Walk(problem) => untyped(call, &applied.sent, &problem),
        other => malformed(call, &applied.object, &other),
    })?;
    form::decoded(&mut object);
    Ok(object)
}

/// An applied object that its type does not fit.
pub(crate) fn untyped(call: &Call, applied: &Value, problem: &dyn std::fmt::Display) -> ApiError {
    let resource = &call.resource;
    ApiError::unexplained(format!(
        "failed to create typed patch object ({}/{}; {}, Kind={}): {problem}",
        objects::meta::namespace(applied).unwrap_or_default(),
        objects::meta::name(applied),
        if resource.group.is_empty() {
            format!("/{}", resource.version)
        } else {
            resource.api_version.clone()
        },
        resource.kind,
    ))
}

/// A list whose items cannot be told apart.
fn malformed(call: &Call, object: &Value, error: &dyn std::fmt::Display) -> ApiError {
    let resource = &call.resource;
    let problem = FieldError::invalid("metadata.managedFields", Value::Null, error.to_string());
    ApiError::invalid(&resource.group, &resource.kind, objects::meta::name(object), &[problem])
}
