//! Patches of all four kinds.

use http::Response;
use objects::patch::{self, PatchError};
use serde_json::Value;

use super::{answer, code_of};
use crate::core::Call;
use crate::error::ApiError;
use crate::fields;
use crate::http::{ApiBody, negotiate};
use crate::input::{self, Parsed};
use crate::write::{self, Ownership, Race, Written};

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

const FORMATS: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
const BUILTIN_FORMATS: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Format {
    fn of(call: &Call) -> Result<Format, ApiError> {
        let builtin = call.resource.custom().is_none();
        match negotiate::content_type(&call.headers)? {
            "application/json-patch+json" => Ok(Format::Json),
            "application/merge-patch+json" => Ok(Format::Merge),
            "application/strategic-merge-patch+json" if builtin => Ok(Format::Strategic),
            "application/apply-patch+yaml" => Ok(Format::Apply),
            _ => Err(ApiError::unsupported_media(if builtin { BUILTIN_FORMATS } else { FORMATS })),
        }
    }
}

pub(super) async fn patch(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let written = patched(call, body).await?;
    answer::stored(call, code_of(written.outcome), &written.object)
}

/// A PATCH of the object, or of the part that its subresource is.
pub(super) async fn patched(call: &Call, body: &[u8]) -> Result<Written, ApiError> {
    let format = Format::of(call)?;
    if format == Format::Apply {
        return apply(call, body).await;
    }
    if call.query.get("force").is_some() {
        return Err(ApiError::bad_request("force: Forbidden: may not be specified for non-apply patch"));
    }
    let Parsed { value: patch, duplicates } = input::json(body)?;
    let ownership = Ownership::Update(call.field_manager()?);
    let change = |live: &Value| {
        let mut new = live.clone();
        apply_patch(call, format, &mut new, &patch)?;
        input::typed(&mut new, &call.resource.kind, &call.resource.api_version)?;
        input::normalize(call, &mut new, duplicates.clone())?;
        Ok(new)
    };
    write::update(call, &call.info.name, &change, &ownership, Race::Retry).await
}

fn apply_patch(call: &Call, format: Format, target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let resource = &call.resource;
    let result = match format {
        Format::Json => patch::json_patch(target, patch),
        Format::Strategic => patch::strategic(target, patch, &resource.gvk()),
        Format::Merge | Format::Apply if !patch.is_object() => {
            return Err(ApiError::bad_request("the patch is not a JSON object"));
        }
        Format::Merge | Format::Apply => {
            patch::merge(target, patch);
            Ok(())
        }
    };
    result.map_err(|error| refused(&error))
}

/// Upstream: a patch that cannot be read is a bad request, one that does not fit the object is unprocessable.
pub(super) fn refused(error: &PatchError) -> ApiError {
    match error {
        PatchError::DoesNotApply(_) | PatchError::TestFailed(_) => ApiError::new(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {error}"),
        ),
        PatchError::TooManyOperations(..) | PatchError::TooLarge(..) => {
            ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", error.to_string())
        }
        _ => ApiError::bad_request(error.to_string()),
    }
}

/// Applies the patch in `body` to a value that is not itself stored, such as a Scale.
pub(super) fn on_value(call: &Call, target: &mut Value, body: &[u8]) -> Result<(), ApiError> {
    let format = Format::of(call)?;
    let Parsed { value: patch, .. } =
        if format == Format::Apply { input::yaml(body)? } else { input::json(body)? };
    match format {
        // A Scale has no lists: the strategies coincide.
        Format::Strategic | Format::Merge | Format::Apply => {
            patch::merge(target, &patch);
            Ok(())
        }
        Format::Json => apply_patch(call, format, target, &patch),
    }
}

async fn apply(call: &Call, body: &[u8]) -> Result<Written, ApiError> {
    let Some(manager) = call.query.get("fieldManager").map(str::to_owned) else {
        let problem = objects::schema::FieldError::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[problem]));
    };
    let resource = &call.resource;
    let Parsed { value: mut applied, duplicates } = input::yaml(body)?;
    if applied["kind"].as_str().is_none_or(str::is_empty)
        || applied["apiVersion"].as_str().is_none_or(str::is_empty)
    {
        return Err(ApiError::bad_request("an applied object must have apiVersion and kind"));
    }
    input::typed(&mut applied, &resource.kind, &resource.api_version)?;
    input::normalize(call, &mut applied, duplicates)?;
    complete(call, &mut applied)?;
    loop {
        let key = resource.key(&call.info.namespace, &call.info.name);
        if call.core.store.get(&key).is_none() {
            if !call.info.subresource.is_empty() {
                return Err(call.not_found(&call.info.name));
            }
            let object = fields::apply(call, None, &applied, &manager)?;
            match write::create(call, object, Ownership::Applied).await {
                // Somebody created it first; then this applies to what they made.
                Err(error) if error.reason == "AlreadyExists" => continue,
                other => return other,
            }
        }
        let change = |live: &Value| fields::apply(call, Some(live), &applied, &manager);
        return write::update(call, &call.info.name, &change, &Ownership::Applied, Race::Retry).await;
    }
}

/// The URL says name and namespace; an applied object may leave them out but not say otherwise.
fn complete(call: &Call, applied: &mut Value) -> Result<(), ApiError> {
    use objects::meta;
    let name = meta::name(applied);
    if name.is_empty() {
        meta::set(applied, "name", call.info.name.clone().into());
    } else if name != call.info.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.info.name
        )));
    }
    if call.resource.namespaced {
        match meta::namespace(applied) {
            Some(namespace) if namespace != call.info.namespace => {
                return Err(ApiError::bad_request(format!(
                    "the namespace of the provided object does not match the namespace sent on the request ({namespace} and {})",
                    call.info.namespace
                )));
            }
            _ => meta::set(applied, "namespace", call.info.namespace.clone().into()),
        }
    }
    Ok(())
}
