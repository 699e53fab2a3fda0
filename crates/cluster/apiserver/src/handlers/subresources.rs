//! What lies below an object.

mod eviction;
mod exec;
mod feed;
mod log;
mod port_forward;
mod token;

use bytes::Bytes;
use http::{Response, StatusCode};
use objects::meta;
use serde_json::{Value, json};

use super::{answer, patch, replace, scale};
use crate::core::Call;
use crate::error::ApiError;
use crate::http::{ApiBody, Verb};
use crate::input;
use crate::write::{self, Ownership, Race};

pub(super) async fn dispatch(call: &Call, body: Bytes) -> Result<Response<ApiBody>, ApiError> {
    match (call.resource.plural.as_str(), call.info.subresource.as_str()) {
        (_, "scale") => scale::dispatch(call, &body).await,
        ("pods", "log") => log::read(call).await,
        ("pods", "binding") => bind(call, &body).await,
        ("pods", "eviction") => eviction::evict(call, &body).await,
        ("serviceaccounts", "token") => token::create(call, &body),
        ("pods", "exec") => exec::exec(call).await,
        ("pods", "attach") => exec::attach(call).await,
        ("pods", "portforward") => port_forward::forward(call).await,
        (_, "status" | "finalize" | "ephemeralcontainers" | "resize" | "approval") => part(call, &body).await,
        (plural, other) => Err(ApiError::not_supported(&format!("{plural}/{other}"))),
    }
}

/// A subresource that is a part of its object and answers with the whole of it.
async fn part(call: &Call, body: &Bytes) -> Result<Response<ApiBody>, ApiError> {
    match call.info.verb {
        Verb::Get => super::get(call).await,
        Verb::Update => {
            let written = replace(call, body).await?;
            answer::stored(call, StatusCode::OK, &written.object)
        }
        Verb::Patch => patch::patch(call, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// A scheduler's decision: sets the Pod's node, once.
async fn bind(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let mut binding = input::body(&call.headers, body, "Binding")?.value;
    input::typed(&mut binding, "Binding", "v1")?;
    if meta::name(&binding) != call.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    bind_to(call, &call.info.name, &binding).await
}

pub(super) async fn bind_to(call: &Call, name: &str, binding: &Value) -> Result<Response<ApiBody>, ApiError> {
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        return Err(ApiError::unexplained("target.name: Required value"));
    }
    let now = meta::format_time(call.now);
    let change = |live: &Value| {
        let because = match live["spec"]["nodeName"].as_str() {
            _ if meta::is_deleting(live) => {
                Some(format!("pod {name} is being deleted, cannot be assigned to a host"))
            }
            Some(bound) if !bound.is_empty() => {
                Some(format!("pod {name} is already assigned to node {bound:?}"))
            }
            _ => None,
        };
        if let Some(because) = because {
            return Err(ApiError::conflict("", "pods/binding", name, &because));
        }
        let mut pod = live.clone();
        pod["spec"]["nodeName"] = node.clone().into();
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let mut conditions: Vec<Value> =
            conditions.into_iter().filter(|condition| condition["type"] != "PodScheduled").collect();
        conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
        pod["status"]["conditions"] = conditions.into();
        Ok(pod)
    };
    let ownership = Ownership::Update(call.field_manager());
    write::update(call, name, &change, &ownership, Race::Retry).await?;
    Ok(answer::encoded(call.encoding, StatusCode::CREATED, &success()))
}

pub(super) fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
