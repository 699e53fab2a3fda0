//! What a request can fail with, and how callers tell the cases apart.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// A failed answer of the API server: the parts of `metav1.Status` that callers decide on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `Forbidden`, `Expired` …; empty when the server gave none.
    pub reason: String,
    /// The sentence meant for people, e.g. `namespaces "jenkins" not found`.
    pub message: String,
    /// What the server asks a client to wait before it tries again.
    pub retry_after: Option<Duration>,
    /// Single faults of an `Invalid` answer as (field, message).
    pub causes: Vec<(String, String)>,
    /// The kind and name the answer is about (`details.kind`, `details.name`); for a missing namespace these differ
    /// from the object that was sent.
    pub subject: Option<(String, String)>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    kind: String,
    code: u16,
    reason: String,
    message: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    name: String,
    kind: String,
    retry_after_seconds: u64,
    causes: Vec<Cause>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    field: String,
    message: String,
}

impl Status {
    /// Reads the body of a failed answer. A body that is no `Status` (a proxy's page, plain text) becomes the message.
    pub(crate) fn from_body(code: u16, body: &[u8]) -> Status {
        match serde_json::from_slice::<Wire>(body) {
            Ok(wire) if wire.kind == "Status" => Status::from_wire(code, wire),
            _ => {
                let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
                let reason = default_reason(code).to_owned();
                let message = if text.trim().is_empty() {
                    format!("the server answered {code}")
                } else {
                    text.trim().to_owned()
                };
                Status { code, reason, message, retry_after: None, causes: Vec::new(), subject: None }
            }
        }
    }

    /// Reads a `Status` object that arrived inside a stream, such as the object of a watch's `ERROR` event.
    pub(crate) fn from_object(object: &Value) -> Status {
        let wire: Wire = serde_json::from_value(object.clone()).unwrap_or_default();
        Status::from_wire(500, wire)
    }

    fn from_wire(code: u16, wire: Wire) -> Status {
        let code = if wire.code == 0 { code } else { wire.code };
        let reason = if wire.reason.is_empty() { default_reason(code).to_owned() } else { wire.reason };
        let Details { name, kind, retry_after_seconds, causes } = wire.details;
        Status {
            code,
            reason,
            message: wire.message,
            retry_after: (retry_after_seconds > 0).then(|| Duration::from_secs(retry_after_seconds)),
            causes: causes.into_iter().map(|cause| (cause.field, cause.message)).collect(),
            subject: (!kind.is_empty() || !name.is_empty()).then_some((kind, name)),
        }
    }
}

fn default_reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

/// Why a request to the API brought nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered, and refused.
    #[error("{action}")]
    Refused {
        /// What was attempted, e.g. `get pods "web-0" in namespace "shop"`.
        action: String,
        #[source]
        status: Box<Status>,
    },
    /// No answer: the connection or the service behind it failed.
    #[error("{action}")]
    Transport {
        action: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer within the deadline.
    #[error("{action}: no answer within {limit:?}")]
    Deadline { action: String, limit: Duration },
    /// The answer is not what the API promises.
    #[error("{action}: read the answer")]
    Answer {
        action: String,
        #[source]
        source: serde_json::Error,
    },
    /// The request could not be formed.
    #[error("{action}: {problem}")]
    Request { action: String, problem: String },
    /// The server serves no such kind.
    #[error("no matches for kind \"{kind}\" in version \"{api_version}\"")]
    UnknownKind { api_version: String, kind: String },
}

impl Error {
    /// The server's answer, when there was one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Error::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The sentence to show people: the server's own message where there is one, otherwise this error with its causes.
    pub fn message(&self) -> String {
        match self {
            Error::Refused { status, .. } if !status.message.is_empty() => status.message.clone(),
            _ => chain(self),
        }
    }

    /// The server's reason (`NotFound` …), empty when it did not answer.
    pub fn reason(&self) -> &str {
        self.status().map_or("", |status| &status.reason)
    }

    fn is(&self, code: u16, reason: &str) -> bool {
        self.status().is_some_and(|status| status.code == code && status.reason == reason)
    }

    /// The object, or the resource type itself, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// The object changed since it was read, or a precondition failed.
    pub fn is_conflict(&self) -> bool {
        self.is(409, "Conflict")
    }

    /// A create met an existing object.
    pub fn is_already_exists(&self) -> bool {
        self.is(409, "AlreadyExists")
    }

    /// Authorization, admission or a quota refused.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403)
    }

    /// The object does not pass validation.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(|status| status.code == 422)
    }

    /// The resource version asked for is compacted: list again.
    pub fn is_expired(&self) -> bool {
        self.status().is_some_and(|status| status.code == 410)
    }

    /// The server serves no such kind.
    pub fn is_unknown_kind(&self) -> bool {
        matches!(self, Error::UnknownKind { .. })
    }

    /// A create that failed because its namespace is going away: a controller drops such work.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            let told = |text: &str| text.contains("being terminated");
            status.code == 403
                && (told(&status.message) || status.causes.iter().any(|(_, message)| told(message)))
        })
    }

    /// Whether trying the same request again later can help without anything in it changing.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Refused { status, .. } => matches!(status.code, 409 | 429 | 500..=599),
            Error::Transport { .. } | Error::Deadline { .. } | Error::UnknownKind { .. } => true,
            Error::Answer { .. } | Error::Request { .. } => false,
        }
    }
}

/// Renders an error and its causes as one line, each text once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !inner_text.is_empty() && !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, body: &str) -> Error {
        let status = Box::new(Status::from_body(code, body.as_bytes()));
        Error::Refused { action: "create pods".to_owned(), status }
    }

    #[test]
    fn status_body_is_read() {
        let error = refused(
            404,
            r#"{"kind":"Status","code":404,"reason":"NotFound","message":"namespaces \"jenkins\" not found",
               "details":{"name":"jenkins","kind":"namespaces","retryAfterSeconds":2}}"#,
        );
        assert!(error.is_not_found() && !error.is_conflict() && !error.retryable());
        assert_eq!(error.message(), "namespaces \"jenkins\" not found");
        let status = error.status().unwrap();
        assert_eq!(status.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(status.subject, Some(("namespaces".to_owned(), "jenkins".to_owned())));
    }

    #[test]
    fn conflict_and_already_exists_share_a_code_but_not_a_meaning() {
        let conflict = refused(409, r#"{"kind":"Status","code":409,"reason":"Conflict","message":"m"}"#);
        let exists = refused(409, r#"{"kind":"Status","code":409,"reason":"AlreadyExists","message":"m"}"#);
        assert!(conflict.is_conflict() && !conflict.is_already_exists());
        assert!(exists.is_already_exists() && !exists.is_conflict());
    }

    #[test]
    fn a_body_that_is_no_status_becomes_the_message() {
        let error = refused(503, "upstream is starting");
        assert_eq!(error.message(), "upstream is starting");
        assert_eq!(error.reason(), "ServiceUnavailable");
        assert!(error.retryable());
        assert_eq!(chain(&error), "create pods: upstream is starting");
        assert_eq!(refused(502, "").message(), "the server answered 502");
    }
}
