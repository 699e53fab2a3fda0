//! The end of a CustomResourceDefinition: its objects go first.

use std::sync::Arc;
use std::time::Duration;

use objects::meta;
use serde_json::Value;
use store::{Expected, Key, ListOptions, Scope};

use crate::catalog::DEFINITIONS;
use crate::core::{Asked, Call, Core};
use crate::error::ApiError;
use crate::handlers::{DeleteOptions, remove};
use crate::http::{Encoding, Query, RequestInfo, Shape, Verb};
use crate::object;
use crate::user::{MASTERS, User};

pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Pause between looks at objects that their own finalizers hold.
const PAUSE: Duration = Duration::from_millis(500);

/// Continues the deletions that an earlier process did not finish.
pub(crate) fn resume(core: &Arc<Core>) {
    let Ok(page) = core.store.list(&Scope::new(DEFINITIONS, None), &ListOptions::default()) else { return };
    for (_, stored) in page.items {
        if let Ok(definition) = object::decode(&stored.bytes) {
            begin(core, &definition);
        }
    }
}

/// Starts the clean-up of a definition that is under deletion; others are left alone.
pub(crate) fn begin(core: &Arc<Core>, definition: &Value) {
    if !meta::is_deleting(definition) || !meta::finalizers(definition).any(|name| name == FINALIZER) {
        return;
    }
    let (core, definition) = (core.clone(), definition.clone());
    let tasks = core.tasks.clone();
    tasks.spawn(async move {
        let shutdown = core.shutdown.clone();
        let name = meta::name(&definition).to_owned();
        tokio::select! {
            () = shutdown.cancelled() => {}
            result = clean(&core, &definition) => if let Err(error) = result {
                tracing::warn!(definition = name, error = %error, "could not finish the end of a definition");
            }
        }
    });
}

async fn clean(core: &Arc<Core>, definition: &Value) -> Result<(), ApiError> {
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let plural = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let scope = Scope::new(format!("{group}/{plural}"), None);
    loop {
        let Ok(page) = core.store.list(&scope, &ListOptions::default()) else { return Ok(()) };
        if page.items.is_empty() {
            break;
        }
        for (path, _) in &page.items {
            match delete(core, group, plural, path).await {
                Ok(()) => {}
                Err(error) if error.code() == http::StatusCode::NOT_FOUND => {}
                Err(error) => return Err(error),
            }
        }
        if core.store.count(&format!("{group}/{plural}")) > 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    release(core, meta::name(definition)).await
}

async fn delete(core: &Arc<Core>, group: &str, plural: &str, path: &str) -> Result<(), ApiError> {
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    let snapshot = core.catalog.snapshot();
    let resource = snapshot.preferred(group, plural).cloned().ok_or_else(ApiError::no_such_resource)?;
    let info = RequestInfo {
        verb: Verb::Delete,
        group: group.to_owned(),
        version: resource.version.clone(),
        namespace: namespace.to_owned(),
        resource: plural.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
    };
    let asked = Asked {
        user: User::new("system:apiserver", [MASTERS]),
        info,
        query: Query::default(),
        headers: http::HeaderMap::new(),
        encoding: Encoding::Json,
        shape: Shape::Whole,
        upgrade: None,
    };
    let call = Call::new(core.clone(), snapshot.clone(), resource, asked);
    remove(&call, name, &DeleteOptions::default()).await.map(drop)
}

/// Takes the finalizer off, and with the last one the definition away.
async fn release(core: &Core, name: &str) -> Result<(), ApiError> {
    let key = Key::new(DEFINITIONS, None, name);
    loop {
        let Some(current) = core.store.get(&key) else { return Ok(()) };
        let mut definition = object::decode(&current.bytes)?;
        meta::remove_finalizer(&mut definition, FINALIZER);
        let draft = object::draft(&definition);
        let expected = Expected::At(current.revision);
        let result = if meta::finalizers(&definition).next().is_none() {
            core.store.delete(key.clone(), expected, draft).await
        } else {
            core.store.update(key.clone(), expected, draft).await
        };
        match result {
            Ok(_) | Err(store::Error::NotFound { .. }) => return Ok(()),
            // Somebody wrote in between; what they wrote keeps the other finalizers.
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(crate::write::stored(&error)),
        }
    }
}
