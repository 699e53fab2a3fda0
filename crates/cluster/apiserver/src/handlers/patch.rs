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

impl Format {
    fn of(call: &Call) -> Result<Format, ApiError> {
        let builtin = call.resource.custom().is_none();
        match negotiate::content_type(&call.headers)? {
            "application/json-patch+json" => Ok(Format::Json),
            "application/merge-patch+json" => Ok(Format::Merge),
            "application/strategic-merge-patch+json" if builtin => Ok(Format::Strategic),
            "application/apply-patch+yaml" => Ok(Format::Apply),
            "application/strategic-merge-patch+json" => Err(ApiError::unsupported_media(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
            _ => Err(ApiError::unsupported_patch()),
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
    let Parsed { value: patch, duplicates } = input::patch(body)?;
    if format == Format::Json && !patch.is_array() {
        let found = go_type(&patch);
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        )));
    }
    let ownership = Ownership::Update(call.field_manager());
    let change = |live: &Value| {
        let mut new = live.clone();
        apply_patch(call, format, &mut new, &patch)?;
        input::of_resource(call, &mut new, body)?;
        input::normalize(call, &mut new, duplicates.clone()).map_err(|error| match format {
            Format::Strategic => unfit(&go_value(&patch).into(), error),
            _ => unfit(&new.to_string().into(), error),
        })?;
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
            let found = go_type(patch);
            return Err(ApiError::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
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
        PatchError::DoesNotApply(_) | PatchError::TestFailed(_) => ApiError::rejected(),
        PatchError::TooManyOperations(..) | PatchError::TooLarge(..) => {
            ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", error.to_string())
        }
        PatchError::Unmergeable(_) => ApiError::unexplained(error.to_string()),
        _ => ApiError::bad_request(error.to_string()),
    }
}

/// Applies the patch in `body` to a value that is not itself stored, such as a Scale.
pub(super) fn on_value(call: &Call, target: &mut Value, body: &[u8]) -> Result<(), ApiError> {
    let format = Format::of(call)?;
    let Parsed { value: patch, .. } =
        if format == Format::Apply { input::yaml(body)? } else { input::patch(body)? };
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
    let manager = call.field_manager();
    let resource = &call.resource;
    let Parsed { value: mut applied, duplicates } = input::yaml(body).map_err(|error| {
        let cause = error.message.strip_prefix("error parsing YAML: ").unwrap_or(&error.message);
        ApiError::bad_request(format!("error decoding YAML: error converting YAML to JSON: {cause}"))
    })?;
    let (kind, version) = (text(&applied, "kind"), text(&applied, "apiVersion"));
    if kind != resource.kind || version != resource.api_version {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        return Err(ApiError::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    input::typed(&mut applied, &resource.kind, &resource.api_version)?;
    if resource.custom().is_none()
        && let Some(unknown) = input::unknown_fields(&applied).first()
    {
        let problem = format!(".{unknown}: field not declared in schema");
        return Err(fields::untyped(call, &applied, &problem));
    }
    let sent = applied.clone();
    input::normalize_applied(call, &mut applied, duplicates)
        .map_err(|error| not_typed(call, &sent, error))?;
    complete(call, &mut applied)?;
    let applied = fields::Applied { object: applied, sent };
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

/// What upstream's typed parser says where a number is missing; its other sentences show the value as Go prints it.
fn not_typed(call: &Call, applied: &Value, error: ApiError) -> ApiError {
    let found = || {
        let (_, rest) = error.message.split_once("cannot unmarshal ")?;
        let (found, rest) = rest.split_once(" into Go struct field ")?;
        let (field, kind) = rest.split_once(" of type ")?;
        let (_, path) = field.split_once('.').filter(|_| matches!(kind, "int32" | "int64"))?;
        let value = path.split('.').try_fold(applied, |value, name| value.get(name))?;
        let found = if found == "bool" { "boolean" } else { found };
        (!value.is_number()).then(|| format!(".{path}: expected numeric (int or float), got {found}"))
    };
    if call.resource.custom().is_some() || error.code() != http::StatusCode::BAD_REQUEST {
        return error;
    }
    let problem = found().unwrap_or_else(|| error.message.clone());
    fields::untyped(call, applied, &problem)
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// What Go's decoder calls a value of JSON.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as Go prints its maps and slices.
fn go_value(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(go_value).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name}:{}", go_value(value));
            format!("map[{}]", joined(fields.iter().map(field).collect()))
        }
        other => other.to_string(),
    }
}

/// A patched object that does not decode: upstream shows all of it as the patch's fault, or of a strategic patch only
/// the patch, whose converter also words it differently.
fn unfit(shown: &Value, error: ApiError) -> ApiError {
    if error.code() != http::StatusCode::BAD_REQUEST {
        return error;
    }
    let message = match error.message.split_once("strict decoding error: ") {
        Some((_, strict)) => format!("strict decoding error: {strict}"),
        None => error.message.split_once(": ").map_or(error.message.clone(), |(_, cause)| cause.to_owned()),
    };
    let converted = shown.as_str().is_some_and(|shown| shown.starts_with("map["));
    let message = match message.rsplit_once(" of type ").filter(|_| converted) {
        Some((before, kind)) if before.contains("cannot unmarshal string") => {
            format!("unrecognized type: {kind}")
        }
        _ => message,
    };
    let problem = objects::schema::FieldError::invalid("patch", shown.clone(), message);
    ApiError::invalid("", "", "", &[problem])
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
                return Err(ApiError::bad_request(write::NAMESPACES_DIFFER));
            }
            _ => meta::set(applied, "namespace", call.info.namespace.clone().into()),
        }
    }
    Ok(())
}
