//! Waiting for an object to reach a state, with a deadline and the last state seen.

use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use objects::meta::Key;
use serde_json::Value;

use crate::ResourceType;
use crate::watch::{Event, WatchOptions, watch};

/// The state was not reached in time.
#[derive(Debug, thiserror::Error)]
#[error("wait for {what} of {resource} {key}: not within {limit:?}; last seen: {last}")]
pub struct NotReached {
    pub what: String,
    pub resource: ResourceType,
    pub key: Key,
    pub limit: Duration,
    /// The last state seen as JSON text, at most 2,000 characters; `absent` when there was none. Data of Secrets is left out.
    pub last: String,
}

/// Waits until `reached` holds for the object, or for `None` once it is absent.
pub async fn until(
    client: &Client,
    resource: &ResourceType,
    key: &Key,
    what: &str,
    limit: Duration,
    mut reached: impl FnMut(Option<&Value>) -> bool,
) -> Result<Option<Value>, NotReached> {
    let mut last = None;
    let wait = async {
        let mut events = std::pin::pin!(watch(client, resource, WatchOptions::object(key)));
        loop {
            match events.next().await {
                Some(Event::Applied(object)) => last = Some(object),
                Some(Event::Deleted(_)) => last = None,
                Some(Event::Resynced(keys)) if keys.is_empty() => last = None,
                Some(Event::Resynced(_)) | None => continue,
            }
            if reached(last.as_ref()) {
                return;
            }
        }
    };
    if tokio::time::timeout(limit, wait).await.is_ok() {
        return Ok(last);
    }
    let last = last.map_or_else(|| "absent".to_owned(), describe);
    Err(NotReached { what: what.to_owned(), resource: resource.clone(), key: key.clone(), limit, last })
}

/// Waits until the object is gone.
pub async fn gone(
    client: &Client,
    resource: &ResourceType,
    key: &Key,
    limit: Duration,
) -> Result<(), NotReached> {
    until(client, resource, key, "deletion", limit, |object| object.is_none()).await.map(|_| ())
}

/// Waits until the object exists and `reached` holds for it.
pub async fn present(
    client: &Client,
    resource: &ResourceType,
    key: &Key,
    what: &str,
    limit: Duration,
    mut reached: impl FnMut(&Value) -> bool,
) -> Result<Value, NotReached> {
    let found = until(client, resource, key, what, limit, |object| object.is_some_and(&mut reached)).await?;
    Ok(found.unwrap_or_default())
}

fn describe(mut object: Value) -> String {
    if object["kind"] == "Secret"
        && let Some(map) = object.as_object_mut()
    {
        map.remove("data");
        map.remove("stringData");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object.to_string().chars().take(2000).collect()
}
