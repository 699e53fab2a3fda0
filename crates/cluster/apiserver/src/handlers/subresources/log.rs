//! The log of a container, from the node that runs it.

use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode};
use jiff::{Timestamp, ToSpan};
use link::{LinkError, LogRequest};
use objects::meta;
use objects::schema::FieldError;
use serde_json::Value;

use crate::core::Call;
use crate::error::ApiError;
use crate::http::ApiBody;
use crate::http::body::{full, respond, stream};
use crate::object;

pub(super) async fn read(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    let name = &call.info.name;
    options(call)?;
    let (pod, container) = known(call)?;
    if node_of(&pod).is_none() {
        // Upstream has no address to read from then, and answers with nothing.
        return Ok(empty());
    }
    let request = LogRequest {
        follow: call.query.flag("follow"),
        previous: call.query.flag("previous"),
        tail_lines: call.query.number("tailLines")?,
        since: since(call)?,
        timestamps: call.query.flag("timestamps"),
        limit_bytes: call.query.number("limitBytes")?,
        ..LogRequest::new(call.info.namespace.clone(), name.clone(), container)
    };
    let node = call.core.node().ok_or_else(|| ApiError::unavailable("the node is not running"))?;
    match node.logs(request).await {
        Ok(lines) => {
            // The stream ends with the server, so that following clients do not hold it up.
            let shutdown = call.core.shutdown.clone().cancelled_owned();
            let place = call.take_place();
            let lines = lines.take_until(shutdown).inspect(move |_| {
                // It is given back when the stream is dropped.
                let _held = &place;
            });
            Ok(respond(StatusCode::OK, "text/plain", stream(lines)))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// What a node's refusal is to a client.
pub(super) fn refused(error: &LinkError) -> ApiError {
    let code = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::NOT_IMPLEMENTED => "NotImplemented",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        _ => "InternalError",
    };
    ApiError::new(code, reason, error.to_string())
}

/// The Pod, which must have a node.
pub(super) fn scheduled(call: &Call) -> Result<Value, ApiError> {
    let name = &call.info.name;
    let key = call.resource.key(&call.info.namespace, name);
    let stored = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
    let pod = object::decode(&stored.bytes)?;
    if node_of(&pod).is_none() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    Ok(pod)
}

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())
}

fn empty() -> Response<ApiBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Refuses numbers that mean nothing.
fn options(call: &Call) -> Result<(), ApiError> {
    let at_least = |name: &str, least: i64| {
        let value = call
            .query
            .get(name)
            .and_then(|value| value.parse::<i64>().ok())
            .filter(|value| *value < least)?;
        let detail = format!("must be greater than or equal to {least}");
        Some(FieldError::invalid(name, value.into(), detail))
    };
    let wrong = [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)];
    let problems: Vec<FieldError> = wrong.iter().filter_map(|(name, least)| at_least(name, *least)).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("", "PodLogOptions", &call.info.name, &problems))
}

/// The Pod and the container that is meant.
fn known(call: &Call) -> Result<(Value, String), ApiError> {
    let name = &call.info.name;
    let key = call.resource.key(&call.info.namespace, name);
    let stored = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
    let pod = object::decode(&stored.bytes)?;
    let container = container(call, &pod)?;
    Ok((pod, container))
}

/// The Pod, which must have a node, and the container that is meant.
pub(super) fn target(call: &Call) -> Result<(Value, String), ApiError> {
    let (_, container) = known(call)?;
    Ok((scheduled(call)?, container))
}

fn since(call: &Call) -> Result<Option<Timestamp>, ApiError> {
    if let Some(seconds) = call.query.number("sinceSeconds")? {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let span = jiff::Span::new().try_seconds(seconds).unwrap_or_else(|_| 100.hours());
        return Ok(Some(call.now.saturating_sub(span).unwrap_or(Timestamp::MIN)));
    }
    let parse = |text: &str| {
        text.parse().map_err(|_| ApiError::bad_request(format!("sinceTime: {text:?} is not a time")))
    };
    call.query.get("sinceTime").map(parse).transpose()
}

/// The container that is meant: the named one, the annotated default, or the only one.
fn container(call: &Call, pod: &Value) -> Result<String, ApiError> {
    let name = &call.info.name;
    let names = |list: &str| -> Vec<String> {
        let listed = pod["spec"][list].as_array().into_iter().flatten();
        listed.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    if let Some(wanted) = call.query.get("container") {
        let known =
            main.iter().chain(&init).chain(&names("ephemeralContainers")).any(|known| known == wanted);
        if known {
            return Ok(wanted.to_owned());
        }
        return Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    match main.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let default = meta::annotation(pod, "kubectl.kubernetes.io/default-container");
            if let Some(default) = default.filter(|default| main.iter().any(|known| known == default)) {
                return Ok(default.to_owned());
            }
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                main.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(message))
        }
    }
}
