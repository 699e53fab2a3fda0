//! What is in the namespace of an Application and no Application manages.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use client::dynamic::ListOptions;
use client::{Key, resource};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use objects::{Value, meta};
use sync::orphans::{Node, Nodes, Of, orphans};
use sync::project::Project;
use sync::{ResourceKey, Tracking};

use super::select::resources;
use crate::remote::Remote;
use crate::remote::output::text;

/// Lists at the same time.
const PARALLEL: usize = 16;

/// The orphans of an Application as its project counts them; where the project looks for none, all that it permits.
pub(super) async fn of(remote: &Remote, application: &Value) -> Result<Vec<ResourceKey>> {
    let namespace = text(application, "/spec/destination/namespace");
    let name = Some(text(application, "/spec/project")).filter(|name| !name.is_empty()).unwrap_or("default");
    let key = Key::namespaced(meta::namespace(application).unwrap_or_default(), name);
    let project = remote.api(&resource::APP_PROJECTS).find(&key).await?;
    let project = project.map_or_else(|| Project::unrestricted(name), |object| Project::read(&object));
    let settings = Key::namespaced(&remote.namespace, "argocd-cm");
    let settings = remote.api(&resource::CONFIG_MAPS).find(&settings).await?;
    let tracking = Tracking::read(settings.as_ref().unwrap_or(&Value::Null));
    let nodes = nodes(remote, namespace, &tracking).await?;
    let managed: Vec<ResourceKey> = resources(application).map(|(key, _)| key).collect();
    let managed: BTreeSet<&ResourceKey> = managed.iter().collect();
    let others = remote.applications().list_all(Some(&remote.namespace), &ListOptions::all()).await?;
    let others: BTreeSet<&str> = others.items.iter().map(meta::name).collect();
    Ok(orphans(&Of {
        nodes: &nodes,
        managed: &managed,
        may: &|key| project.may_be_orphan(key),
        permits: &|key| project.permits_kind(&key.group, &key.kind, &key.name, true),
        exists: &|name| others.contains(name),
    }))
}

/// Everything in a namespace.
async fn nodes(remote: &Remote, namespace: &str, tracking: &Tracking) -> Result<Nodes> {
    let catalog = remote.resources.catalog().await?;
    let kinds = catalog.preferred_types().into_iter().filter(|served| {
        let kind = &served.resource;
        kind.namespaced && served.can("list") && !sync::orphans::is_ignored(&kind.group, &kind.kind)
    });
    let lists = kinds.map(|served| {
        let kind = served.resource.clone();
        async move {
            let options = ListOptions { metadata_only: true, ..ListOptions::all() };
            let listed = remote.api(&kind).list_all(Some(namespace), &options).await;
            listed.with_context(|| format!("list {kind} in {namespace}"))
        }
    });
    let lists: Vec<_> = lists.collect();
    let lists: Vec<_> = stream::iter(lists).buffer_unordered(PARALLEL).try_collect().await?;
    let objects = lists.into_iter().flat_map(|list| list.items);
    Ok(objects.map(|object| (ResourceKey::of(&object), Node::of(&object, tracking))).collect())
}
