//! What the server answers instead of an object: the `Status` of Kubernetes, with its reasons and wording.

use std::collections::BTreeSet;
use std::fmt;

use http::StatusCode;
use objects::schema::FieldError;
use serde_json::{Map, Value, json};

/// An answer other than success.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Map<String, Value>,
    form: Form,
}

/// How the answer looks. Upstream's differ by which layer of it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A `Status`, its details left out if there are none.
    Usual,
    /// A `Status` whose details are there even if empty, as generic refusals have them.
    Generic,
    /// Plain text: the path is none of the API's.
    Text,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// `pods`, or `deployments.apps`: how messages name a resource.
pub(crate) fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl ApiError {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason, message: message.into(), details: Map::new(), form: Form::Usual }
    }

    fn generic(mut self) -> ApiError {
        self.form = Form::Generic;
        self
    }

    /// What upstream answers where an error of its library reaches the client as it is: code 500 and no reason.
    pub(crate) fn unexplained(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// A patch that was understood and cannot be carried out.
    pub(crate) fn rejected() -> ApiError {
        let message = "the server rejected our request due to an error in our request";
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).generic()
    }

    /// The path is not one of the API's.
    pub(crate) fn no_such_page() -> ApiError {
        let mut error = ApiError::new(StatusCode::NOT_FOUND, "NotFound", "404 page not found\n");
        error.form = Form::Text;
        error
    }

    /// The text to answer with instead of a `Status`.
    pub(crate) fn text(&self) -> Option<&str> {
        (self.form == Form::Text).then_some(&*self.message)
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> ApiError {
        for (field, value) in [("group", group), ("kind", kind), ("name", name)] {
            if !value.is_empty() {
                self.details.insert(field.to_owned(), value.into());
            }
        }
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(group: &str, resource: &str, name: &str, because: &str) -> ApiError {
        let what = qualified(group, resource);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {because}"),
            (false, true) => format!("{what} is forbidden: {because}"),
            (false, false) => format!("{what} {name:?} is forbidden: {because}"),
        };
        let error = ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message);
        if what.is_empty() { error.generic() } else { error.about(group, resource, name) }
    }

    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> ApiError {
        let message = format!("{} {name:?} not found", qualified(group, resource));
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", message).about(group, resource, name)
    }

    /// The path leads nowhere.
    pub(crate) fn no_such_resource() -> ApiError {
        let message = "the server could not find the requested resource";
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", message).generic()
    }

    pub(crate) fn already_exists(group: &str, resource: &str, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", qualified(group, resource));
        ApiError::new(StatusCode::CONFLICT, "AlreadyExists", message).about(group, resource, name)
    }

    pub(crate) fn conflict(group: &str, resource: &str, name: &str, because: &str) -> ApiError {
        let what = qualified(group, resource);
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {because}");
        ApiError::new(StatusCode::CONFLICT, "Conflict", message).about(group, resource, name)
    }

    /// The object changed since the caller read it.
    pub(crate) fn modified(group: &str, resource: &str, name: &str) -> ApiError {
        let because =
            "the object has been modified; please apply your changes to the latest version and try again";
        ApiError::conflict(group, resource, name, because)
    }

    /// An apply that would take over fields of other managers; `causes` are (field, message).
    pub(crate) fn apply_conflict(
        message: String,
        causes: impl IntoIterator<Item = (String, String)>,
    ) -> ApiError {
        let mut error = ApiError::new(StatusCode::CONFLICT, "Conflict", message);
        let causes: Vec<Value> = causes
            .into_iter()
            .map(|(field, message)| {
                json!({"reason": "FieldManagerConflict", "message": message, "field": field})
            })
            .collect();
        error.details.insert("causes".to_owned(), causes.into());
        error
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, problems: &[FieldError]) -> ApiError {
        let mut sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let mut seen = BTreeSet::new();
        let fresh: Vec<bool> = sentences.iter().map(|sentence| seen.insert(sentence.clone())).collect();
        let mut fresh = fresh.into_iter();
        sentences.retain(|_| fresh.next().unwrap_or_default());
        let list = match sentences.as_slice() {
            [one] => one.clone(),
            _ => format!("[{}]", sentences.join(", ")),
        };
        let what = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{what} {name:?} is invalid: {list}");
        let mut error =
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(group, kind, name);
        let causes: Vec<Value> = problems
            .iter()
            .map(|problem| {
                json!({"reason": problem.kind.reason(), "message": problem.body(), "field": problem.path})
            })
            .collect();
        error.details.insert("causes".to_owned(), causes.into());
        error
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        let message = "the server does not allow this method on the requested resource";
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).generic()
    }

    pub(crate) fn not_acceptable(supported: &str) -> ApiError {
        let message = format!("only the following media types are accepted: {supported}");
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// None of the media types asked for is to be had.
    pub(crate) fn not_available() -> ApiError {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/json;stream=watch";
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message).generic()
    }

    /// An answer of a shape that the object does not have.
    pub(crate) fn wrong_shape(message: String) -> ApiError {
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media(supported: &str) -> ApiError {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {supported}"
        );
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn unsupported_patch() -> ApiError {
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "415: Unsupported Media Type",
        )
        .generic()
    }

    pub(crate) fn too_large(limit: usize) -> ApiError {
        let message = format!("Request entity too large: limit is {limit}");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn too_many_requests(message: impl Into<String>, retry_after: Option<u64>) -> ApiError {
        let mut error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        if let Some(seconds) = retry_after {
            error.details.insert("retryAfterSeconds".to_owned(), seconds.into());
        }
        error
    }

    pub(crate) fn timeout(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// Something of ours went wrong; the cause is logged here and the caller sees only `attempt`.
    pub(crate) fn internal(attempt: &'static str, cause: &dyn fmt::Display) -> ApiError {
        tracing::error!(attempt, cause = %cause, "request failed inside the API server");
        let message = format!("Internal error occurred: {attempt}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// A feature of Kubernetes that this server does not have.
    pub(crate) fn not_supported(what: &str) -> ApiError {
        let message = format!("{what} is not supported yet");
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    /// HTTP status with which the error is answered.
    pub(crate) fn code(&self) -> StatusCode {
        self.code
    }

    /// The `Status` object.
    pub(crate) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_empty() || self.form == Form::Generic {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds").and_then(Value::as_u64)
    }
}
