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
    let shaped = match call.shape {
        Shape::Whole | Shape::Aggregated => value,
        Shape::Metadata => metadata_only(&value),
        Shape::Table => table::of_object(call, value),
    };
    Ok(encoded(call.encoding, code, &shaped))
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
