//! Objects become answers: as stored where possible, otherwise converted, as a table or as metadata alone.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Object;

use crate::core::Call;
use crate::error::ApiError;
use crate::http::body::{full, respond};
use crate::http::{ApiBody, Encoding, Shape};
use crate::{convert, object, table};

/// One stored object.
pub(crate) fn stored(call: &Call, code: StatusCode, stored: &Object) -> Result<Response<ApiBody>, ApiError> {
    if call.shape == Shape::Whole
        && call.encoding == Encoding::Json
        && convert::is_stored_version(&call.resource)
    {
        let current = stored.bytes.starts_with(call.resource.type_prefix.as_bytes());
        if current {
            return Ok(respond(code, "application/json", full(stored.bytes.clone())));
        }
    }
    let mut value = object::decode(&stored.bytes)?;
    convert::to_requested(&call.resource, &mut value)?;
    self::value(call, code, value)
}

/// One object in the requested version.
pub(crate) fn value(call: &Call, code: StatusCode, value: Value) -> Result<Response<ApiBody>, ApiError> {
    check_shape(call, None)?;
    let shaped = match call.shape {
        Shape::Whole | Shape::Aggregated => value,
        Shape::Metadata => metadata_only(&value),
        Shape::Table => table::of_object(call, value),
    };
    Ok(encoded(call.encoding, code, &shaped))
}

/// Refuses the metadata of one object where a list was asked for, the other way round, and rows of unknown make.
/// `list` is the list's kind, absent for one object.
pub(crate) fn check_shape(call: &Call, list: Option<&str>) -> Result<(), ApiError> {
    let kind = &call.resource.kind;
    let package = match call.resource.group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    };
    match (call.shape, list) {
        (Shape::Metadata, Some(list)) if !asks_for_list(call) => Err(ApiError::wrong_shape(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{package}.{list})"
        ))),
        (Shape::Metadata, None) if asks_for_list(call) => Err(ApiError::wrong_shape(format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{package}.{kind})"
        ))),
        (Shape::Table, _) => match call.query.get("includeObject") {
            None | Some("None" | "Metadata" | "Object") => Ok(()),
            Some(other) => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        },
        _ => Ok(()),
    }
}

/// Whether the entry of `Accept` that was taken names the list of metadata.
fn asks_for_list(call: &Call) -> bool {
    let accepted = call.headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let first =
        accepted.flat_map(|value| value.split(',')).find(|entry| entry.contains("as=PartialObjectMetadata"));
    first.is_some_and(|entry| entry.contains("as=PartialObjectMetadataList"))
}

/// `PartialObjectMetadata`.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

pub(crate) fn encoded(encoding: Encoding, code: StatusCode, value: &Value) -> Response<ApiBody> {
    match encoding {
        Encoding::Json => respond(code, "application/json", full(Bytes::from(value.to_string()))),
        Encoding::Yaml => respond(code, "application/yaml", full(Bytes::from(yaml::to_string(value)))),
    }
}
