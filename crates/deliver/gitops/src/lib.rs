//! The Application and ApplicationSet controllers: what Git describes, made so and kept so.
//!
//! Owns the loop around [`sync`]: for each Application it asks its AppProject, finds its cluster, resolves its sources,
//! renders them, compares the result with the cluster, writes the status as Argo CD does, and syncs by itself or when
//! told to. Also offers
//! [`bootstrap`], which turns a path of a repository into the first Application.
//!
//! What must hold:
//! - A pass over one Application never waits for another one, nor for a host that does not answer: resolving and
//!   rendering happen in a task of their own, and the pass goes on with what is known.
//! - Work follows change: rendering is redone only when a file it read, its parameters or (for charts) the served
//!   types changed; a comparison only when the manifest or the live resourceVersion moved; a status is written only
//!   when it says something new. [`Metrics`] counts each.
//! - A cluster that does not answer stops only its own applications, with the reason in their status; credentials are
//!   in no status, log or error.
//! - Nothing is pruned or applied from a rendering that failed, and no wait is without a deadline and a reason.
//! - An error or a death at any request leaves nothing that the next pass, or the next process, does not bring to what
//!   Git describes; a hook that the status tells of is not run again for it.
//! - A rendering gets nothing from places of this machine or by credentials that the Application's project does not
//!   permit; what Secrets hold is in no message, also where a server repeats it.
//! - One resource whose namespace or kind is missing defers that resource alone, and it is tried again when the missing
//!   thing appears. Any other failure stops the waves after it.
//!
//! Keeps out how manifests are rendered, how Git is read, and every decision that [`sync`] and [`applicationsets`] make.

#![forbid(unsafe_code)]

mod application;
mod apply;
mod beside;
mod bootstrap;
mod clusters;
mod comparison;
mod credentials;
mod definitions;
mod deletion;
mod error;
mod generate;
mod live;
mod metrics;
mod neighbours;
mod operation;
mod ownership;
mod permissions;
mod places;
mod preview;
mod reconcile;
mod render;
mod secrets;
mod sets;
mod status;
mod targets;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use client::controller::Controller;
use client::{Client, resource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use bootstrap::{Bootstrap, BootstrapError, BootstrapRequest, bootstrap};
pub use definitions::definitions;
pub use error::Error;
pub use live::Scope;
pub use metrics::{Counts, Exposition, Metrics};
pub use ownership::{ArgoCd, Claim, NOTE, Ownership, argo_cd, follow_argo_cd, release_claim};
pub use permissions::{Permissions, permissions, rules};
pub use preview::{Preview, PreviewError, PreviewRequest, Previewed, Refresh, preview};
pub use render::{RenderError, RenderRequest, render};
pub use webhooks::{WEBHOOK_PATH, Webhooks};

/// The service account that the controller acts as.
pub const SERVICE_ACCOUNT: &str = "argocd-application-controller";

/// What the controller works with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Applications live in this namespace; others are left alone.
    pub namespace: String,
    /// Passes over different Applications at the same time.
    pub concurrency: usize,
    /// Renderings at the same time.
    pub renderers: usize,
    /// Whether a sync of several waves waits for the health of each.
    pub health_gates: HealthGates,
    /// The pause between two waves, so that other controllers can react to the first.
    pub wave_delay: Duration,
    /// How long one wave, hook or deletion may be waited for before the sync fails with what it waits for.
    pub wave_deadline: Duration,
    /// How long the outcome of a failed rendering is kept before it is tried again without any change.
    pub generation_retry: Duration,
    /// How often a chart repository is asked for a newer version in an Application's range.
    pub chart_polling: Duration,
    /// The part of the cluster that is managed and watched, of the cluster that the controller talks to.
    pub scope: Scope,
    /// Which Applications and ApplicationSets are this controller's.
    pub ownership: Ownership,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "argocd".to_owned(),
            concurrency: 8,
            renderers: 2,
            health_gates: HealthGates::Wait,
            wave_delay: Duration::ZERO,
            wave_deadline: Duration::from_secs(30 * 60),
            generation_retry: Duration::from_secs(30),
            chart_polling: Duration::from_secs(180),
            scope: Scope::default(),
            ownership: Ownership::default(),
        }
    }
}

/// Whether waves wait for health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthGates {
    Wait,
    /// For a cluster without a node, where no workload ever becomes healthy. Hooks are still waited for.
    Ignore,
}

/// Everything the controller needs.
pub struct Config {
    pub client: Client,
    pub repositories: git::Repositories,
    pub charts: charts::Charts,
    pub settings: Settings,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for GitOps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitOps").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// The controller.
pub struct GitOps {
    shared: Arc<reconcile::Shared>,
    triggers: mpsc::Receiver<client::Key>,
    sets: Arc<sets::Sets>,
    set_triggers: mpsc::Receiver<client::Key>,
    webhooks: Webhooks,
    told: mpsc::Receiver<String>,
}

/// Keys that may wait to be taken up; whoever has more waits.
const TRIGGERS: usize = 1024;
/// All Applications are looked at again this often, to repair an event that was lost.
const RESYNC: Duration = Duration::from_secs(600);

impl GitOps {
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (sender, triggers) = mpsc::channel(TRIGGERS);
        let shared = Arc::new(reconcile::Shared::new(config, sender));
        let (sets, set_triggers) = sets::Sets::new(&shared);
        let (webhooks, told) = Webhooks::new(&shared, &sets);
        Self { shared, triggers, sets, set_triggers, webhooks, told }
    }

    /// Where webhooks are handed in; whoever holds it serves it. What they tell is acted upon while the controller runs.
    #[must_use]
    pub fn webhooks(&self) -> Webhooks {
        self.webhooks.clone()
    }

    /// Counters of the work done, shared with the running controller.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Runs until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { shared, triggers, sets, set_triggers, webhooks, told } = self;
        drop(webhooks);
        let stop = shutdown.child_token();
        let background = tokio::spawn(Arc::clone(&shared).run_background(stop.clone()));
        let sets = tokio::spawn(sets::run(sets, set_triggers, stop.clone()));
        let fetches = tokio::spawn(webhooks::fetch(Arc::clone(&shared), told, stop.clone()));
        let claims = tokio::spawn(ownership::wake(Arc::clone(&shared), stop.clone()));
        let namespace = shared.settings.namespace.clone();
        let options = client::watch::WatchOptions {
            namespace: Some(namespace),
            metadata_only: true,
            ..client::watch::WatchOptions::default()
        };
        let passes = Arc::clone(&shared);
        Controller::new("gitops", shared.client.clone())
            .primary_with(resource::APPLICATIONS, options, |object| vec![client::Key::of(object)])
            .triggers(triggers)
            .resync(RESYNC)
            .concurrency(shared.settings.concurrency)
            .run(move |key| reconcile::pass(Arc::clone(&passes), key), shutdown)
            .await;
        stop.cancel();
        let _ = fetches.await;
        let _ = sets.await;
        let _ = claims.await;
        let _ = background.await;
    }
}
