//! What an Application becomes on a cluster, and what a sync would change, without a controller.
//!
//! For command lines: the same reading of the spec, the same rendering (with the repositories' credentials and the seed
//! of random functions that the controller keeps in the cluster) and the same comparison as in a pass, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use charts::Charts;
use client::{Client, Resources};
use futures::StreamExt as _;
use futures::stream;
use git::{Freshness, Repositories};
use objects::{Value, meta};
use sync::{Comparison, Method, ResourceKey, Tracking, compare};
use tokio::sync::Semaphore;

use crate::application::Application;
use crate::beside::Snapshot;
use crate::clusters::{self, kube_version};
use crate::comparison::{read, settled};
use crate::generate::{self, Request};
use crate::metrics::Work;
use crate::places::Places;
use crate::reconcile::read_or_make_seed;
use crate::render::RenderError;
use crate::targets::{self, Managed, Target};

/// Reads at the same time.
const PARALLEL_READS: usize = 16;

/// Of which Application, and with what.
#[derive(Clone)]
pub struct PreviewRequest {
    /// Of the cluster that holds the Application.
    pub client: Client,
    /// The namespace in which Argo CD's Secrets lie.
    pub namespace: String,
    /// The Application as it stands, with its status: that tells what it deployed before.
    pub application: Value,
    pub repositories: Repositories,
    pub charts: Charts,
    pub refresh: Refresh,
}

impl std::fmt::Debug for PreviewRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreviewRequest").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// How new what is fetched must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// What was fetched a moment ago will do.
    Recent,
    /// Repositories are asked for news.
    Latest,
    /// Even what lasts, like a chart's exact version, is fetched again.
    Everything,
}

/// The manifests of an Application, as they are applied.
#[derive(Debug, Clone)]
pub struct Preview {
    /// One per source.
    pub revisions: Vec<String>,
    /// In the order in which the sources give them, and then what is no longer there.
    pub resources: Vec<Previewed>,
}

/// One object of an Application, in Git or only in the cluster.
#[derive(Debug, Clone)]
pub struct Previewed {
    pub key: ResourceKey,
    /// As it is applied; `None` if it is no longer in Git.
    pub target: Option<Value>,
    /// As it is in the cluster; `None` if it is not there.
    pub live: Option<Value>,
    /// Where both are there: what applying would make of it.
    pub comparison: Option<Comparison>,
    /// Whether it runs around a sync, and is no part of what is compared.
    pub hook: bool,
}

impl Previewed {
    /// Whether a sync would change anything.
    #[must_use]
    pub fn differs(&self) -> bool {
        if self.hook {
            return false;
        }
        self.comparison.as_ref().is_none_or(|comparison| comparison.modified)
    }
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreviewError {
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Where the Application is to go is not known.
    #[error("{0}")]
    Destination(String),
    #[error("read the cluster")]
    Api(#[from] client::Error),
}

/// Renders an Application and compares it with the cluster; nothing is written but the seed of random functions, where
/// there is none yet.
///
/// # Errors
/// If it does not render, or the cluster does not answer.
pub async fn preview(request: PreviewRequest) -> Result<Preview, PreviewError> {
    let PreviewRequest { client, namespace, application: object, repositories, charts, refresh } = request;
    let mut application = Application::read(&object, &namespace).map_err(RenderError::new)?;
    let settings = Snapshot::settings_of(&client, &namespace).await?;
    application.also_ignoring(&settings.ignore);
    let (server, there) = clusters::destination(&client, &namespace, &application.destination).await?;
    let resources = Resources::new(there.clone());
    let catalog = resources.catalog().await?;
    let seed = read_or_make_seed(&client, &namespace).await?;
    let types = Arc::new(catalog.api_versions());
    let mut wanted = Request::of(&application, kube_version(&there).await?, types, seed);
    wanted.freshness = if refresh == Refresh::Recent { Freshness::Recent } else { Freshness::Latest };
    wanted.refetch = refresh == Refresh::Everything;
    let places = Places { repositories, charts, secrets: Some((client.clone(), namespace)) };
    let renderers = Semaphore::new(1);
    let generated = generate::generate(&places, &renderers, Arc::new(Work::default()), wanted, None);
    let generated = generated.await.map_err(|failure| RenderError::new(failure.message))?;
    let manifests = generated.manifests.unwrap_or_default();
    let managed = Managed { tracking: &settings.tracking, kinds: &settings.kinds, server: &server };
    let targets = targets::prepare(manifests, &application, &catalog, &managed);
    let known: BTreeSet<ResourceKey> = targets.keys();
    let present =
        stream::iter(&targets.list).map(|target| present(&there, &application, &settings.tracking, target));
    let mut list: Vec<Result<Previewed, client::Error>> = present.buffered(PARALLEL_READS).collect().await;
    let extra: Vec<ResourceKey> = deployed(&object).filter(|key| !known.contains(key)).collect();
    let gone = stream::iter(extra)
        .map(|key| extra_object(&there, &resources, (&application.instance, &settings.tracking), key));
    let gone: Vec<Result<Option<Previewed>, client::Error>> = gone.buffered(PARALLEL_READS).collect().await;
    list.extend(gone.into_iter().filter_map(Result::transpose));
    let resources = list.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Preview { revisions: generated.revisions, resources })
}

/// A manifest beside the object that it describes.
async fn present(
    client: &Client,
    application: &Application,
    tracking: &Tracking,
    target: &Target,
) -> Result<Previewed, client::Error> {
    let manifest = target.manifest();
    let hook = sync::hooks::role(&manifest) != sync::hooks::Role::Resource;
    let live = match &target.resource {
        Some(resource) if !hook => read(client, resource, &target.key).await?,
        _ => None,
    };
    let comparison = live.as_ref().map(|live| {
        let server_side = application.options.server_side_apply(&manifest);
        let method = if server_side { Method::ServerSide } else { Method::ClientSide };
        let settled = settled(tracking, &manifest, live);
        compare(&manifest, settled.as_ref().unwrap_or(live), &application.ignore, method)
    });
    Ok(Previewed { key: target.key.clone(), target: Some(manifest), live, comparison, hook })
}

/// What the status says that the application consists of.
fn deployed(application: &Value) -> impl Iterator<Item = ResourceKey> {
    let resources = application["status"]["resources"].as_array().into_iter().flatten();
    resources.filter(|resource| resource["hook"] != true).map(|resource| {
        let text = |field: &str| resource[field].as_str().unwrap_or_default();
        ResourceKey::new(text("group"), text("kind"), text("namespace"), text("name"))
    })
}

/// An object that is no longer in Git, if it is there and this application's.
async fn extra_object(
    client: &Client,
    resources: &Resources,
    (instance, tracking): (&str, &Tracking),
    key: ResourceKey,
) -> Result<Option<Previewed>, client::Error> {
    let served = match resources.preferred(&key.group, &key.kind).await {
        Ok(served) => served,
        Err(error) if error.is_unknown_kind() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(live) = read(client, &served.resource, &key).await? else { return Ok(None) };
    let own = tracking.owner(&live).is_some_and(|owner| owner.application == instance && owner.named(&key));
    if !own || !meta::owner_references(&live).is_empty() {
        return Ok(None);
    }
    Ok(Some(Previewed { key, target: None, live: Some(live), comparison: None, hook: false }))
}
