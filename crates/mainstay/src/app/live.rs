//! The objects of an Application as they are in the cluster, with their health.

use anyhow::Result;
use client::Key;
use futures::{StreamExt as _, stream};
use objects::Value;
use sync::ResourceKey;
use sync::health::{Health, assess};

use super::select::resources;
use crate::remote::Remote;
use crate::remote::output::text;

/// Reads at the same time.
const PARALLEL: usize = 16;

/// One resource of an Application.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) key: ResourceKey,
    /// Its entry in the Application's status.
    pub(super) entry: Value,
    /// `None` if it is not there.
    pub(super) object: Option<Value>,
}

impl Live {
    pub(super) fn health(&self) -> Option<Health> {
        assess(self.object.as_ref()?)
    }

    /// `Missing` where there is nothing; nothing where its kind has no health.
    pub(super) fn health_word(&self) -> String {
        if self.object.is_none() {
            return "Missing".to_owned();
        }
        self.health().map(|health| health.status.to_string()).unwrap_or_default()
    }

    pub(super) fn status(&self) -> &str {
        text(&self.entry, "/status")
    }
}

/// All resources that the status of an Application lists.
pub(super) async fn read(remote: &Remote, application: &Value) -> Result<Vec<Live>> {
    let listed: Vec<(ResourceKey, Value)> =
        resources(application).map(|(key, entry)| (key, entry.clone())).collect();
    let reads = stream::iter(listed).map(|(key, entry)| async move {
        let object = object(remote, &key).await?;
        anyhow::Ok(Live { key, entry, object })
    });
    let all: Vec<Result<Live>> = reads.buffered(PARALLEL).collect().await;
    all.into_iter().collect()
}

/// An object by its key; `None` if it is not there, or its kind is not served.
pub(super) async fn object(remote: &Remote, key: &ResourceKey) -> Result<Option<Value>> {
    let served = match remote.resources.preferred(&key.group, &key.kind).await {
        Ok(served) => served,
        Err(error) if error.is_unknown_kind() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let namespace = Some(key.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    Ok(remote.api(&served.resource).find(&Key::new(namespace, &key.name)).await?)
}
