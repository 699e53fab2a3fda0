//! Bodies become objects: JSON or YAML, checked for fields that are unknown or written twice.

mod json;
mod protobuf;

use http::HeaderMap;
use objects::meta;
use objects::schema::FieldError;
use serde_json::Value;

use crate::catalog::Resource;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::negotiate;

/// What happens to unknown and duplicate fields: the query `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    /// What the query says; it has been checked with the other options.
    pub(crate) fn of(call: &Call) -> FieldValidation {
        match call.query.get("fieldValidation") {
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            _ => FieldValidation::Warn,
        }
    }
}

/// A parsed body, and what is to say of the fields it has twice.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) duplicates: Vec<String>,
}

/// As many bytes of a body that cannot be read are shown.
const SHOWN: usize = 1024;

/// Parses JSON; the last of duplicate fields wins.
fn json(bytes: &[u8], kind: &str) -> Result<Parsed, ApiError> {
    let unrecognized = |problem: &str, shown: &str| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {problem} ({shown})"
        ))
    };
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let shown = if bytes.is_empty() { "<empty>" } else { &*text };
    json::parse(bytes).map_err(|error| unrecognized(&go_json(&error), shown))
}

/// Parses the body of a patch.
pub(crate) fn patch(bytes: &[u8]) -> Result<Parsed, ApiError> {
    json::parse(bytes)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {}", go_json(&error))))
}

/// What Go's decoder says of JSON that ends too soon; for the rest, what ours says.
fn go_json(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// Parses one YAML document.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Parsed, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
    let value = yaml::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error parsing YAML: {error}")))?;
    // Seldom read twice: clients that write a key twice are told, or refused, by `fieldValidation`.
    let duplicates = yaml::from_str_strict(text).err().map(|error| error.to_string());
    Ok(Parsed { value, duplicates: duplicates.into_iter().collect() })
}

/// Parses a body of either format by its `Content-Type`.
pub(crate) fn body(headers: &HeaderMap, bytes: &[u8], kind: &str) -> Result<Parsed, ApiError> {
    match negotiate::content_type(headers)? {
        "application/json" => json(bytes, kind),
        "application/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => match protobuf::parse(bytes) {
            Ok(value) => Ok(Parsed { value, duplicates: Vec::new() }),
            Err(error) => Err(ApiError::bad_request(format!("couldn't parse the body as protobuf: {error}"))),
        },
        _ => Err(ApiError::unsupported_media(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// Checks that a body is an object of the resource's kind and version, filling in what it leaves out.
pub(crate) fn typed(value: &mut Value, kind: &str, api_version: &str) -> Result<(), ApiError> {
    if !value.is_object() {
        return Err(ApiError::bad_request("the body of the request is not an object"));
    }
    let given = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (found_kind, found_version) = (given(value, "kind"), given(value, "apiVersion"));
    if found_kind.is_empty() {
        value["kind"] = kind.into();
    } else if found_kind != kind {
        return Err(unlike(&found_kind, &found_version, kind, api_version));
    }
    if found_version.is_empty() {
        value["apiVersion"] = api_version.into();
    } else if found_version != api_version {
        return Err(unlike(kind, &found_version, kind, api_version));
    }
    if !value["metadata"].is_object() {
        if !value["metadata"].is_null() {
            return Err(ApiError::bad_request("metadata is not an object"));
        }
        meta::metadata_mut(value);
    }
    Ok(())
}

/// As [`typed`], for the objects of a resource. Custom resources have to say what they are: nothing is filled in.
pub(crate) fn of_resource(call: &Call, value: &mut Value, body: &[u8]) -> Result<(), ApiError> {
    let resource = &call.resource;
    let (kind, api_version) = (&resource.kind, &resource.api_version);
    if resource.custom().is_none() || !value.is_object() {
        return typed(value, kind, api_version);
    }
    let given = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (found_kind, found_version) = (given("kind"), given("apiVersion"));
    if found_kind.is_empty() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): Object 'Kind' is missing in '{shown}' ({shown})"
        )));
    }
    if found_version != *api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({found_version}) does not match the expected API version ({api_version})"
        )));
    }
    if found_kind != *kind {
        let problem = FieldError::invalid("kind", found_kind.clone().into(), format!("must be {kind}"));
        return Err(ApiError::invalid(&resource.group, &found_kind, meta::name(value), &[problem]));
    }
    typed(value, kind, api_version)
}

/// An object that is of another kind or version than its path, in the words of upstream's converter.
fn unlike(found: &str, version: &str, kind: &str, api_version: &str) -> ApiError {
    let short = version.rsplit('/').next().unwrap_or_default();
    let known = objects::GroupVersionKind::parse(version, found);
    let because = if known.is_ok_and(|known| objects::kinds::by_gvk(&known).is_some()) {
        // The internal types' packages are called after the first part of their group.
        let package = match api_version.split_once('/') {
            Some((group, _)) => group.split('.').next().unwrap_or_default(),
            None => "core",
        };
        format!("converting ({short}.{found}) to ({package}.{kind}): unknown conversion")
    } else {
        format!(
            "no kind {found:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\""
        )
    };
    ApiError::bad_request(format!("{found} in version {short:?} cannot be handled as a {kind}: {because}"))
}

/// Brings an object of a resource into the form in which it is handled: types checked, unknown fields dropped and,
/// with the duplicates, refused, warned of or ignored.
pub(crate) fn normalize(call: &Call, object: &mut Value, duplicates: Vec<String>) -> Result<(), ApiError> {
    let unknown = decoded(&call.resource, object, objects::decode::decode)?;
    check_fields(call, object, unknown, duplicates)
}

/// As [`normalize`], for an object that is applied: fields that say nothing stay, since being there they are owned.
pub(crate) fn normalize_applied(
    call: &Call,
    object: &mut Value,
    duplicates: Vec<String>,
) -> Result<(), ApiError> {
    let unknown = decoded(&call.resource, object, objects::decode::decode_applied)?;
    check_fields(call, object, unknown, duplicates)
}

fn check_fields(
    call: &Call,
    object: &mut Value,
    mut unknown: Vec<String>,
    duplicates: Vec<String>,
) -> Result<(), ApiError> {
    let resource = &*call.resource;
    let mut problems = duplicates;
    if let Some(schema) = resource.custom().and_then(|custom| custom.schema.as_ref()) {
        unknown.extend(schema.prune(object));
    }
    problems.extend(unknown.into_iter().map(|path| format!("unknown field {path:?}")));
    if problems.is_empty() {
        return Ok(());
    }
    match FieldValidation::of(call) {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => problems.into_iter().for_each(|problem| call.warn(problem)),
        FieldValidation::Strict => {
            let list = problems.join(", ");
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {list}",
                resource.kind, resource.version, resource.kind
            );
            return Err(ApiError::bad_request(message));
        }
    }
    Ok(())
}

/// Fields of a built-in object that its type does not have; none if it does not decode at all.
pub(crate) fn unknown_fields(object: &Value) -> Vec<String> {
    objects::decode::decode(&mut object.clone()).unwrap_or_default()
}

type Decode = fn(&mut Value) -> Result<Vec<String>, objects::decode::DecodeError>;

fn decoded(resource: &Resource, object: &mut Value, decode: Decode) -> Result<Vec<String>, ApiError> {
    decode(object).map_err(|error| {
        ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {error}",
            resource.kind, resource.version, resource.kind
        ))
    })
}
