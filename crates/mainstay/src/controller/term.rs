//! One term as leader.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use charts::Charts;
use client::connect::{connect, in_cluster};
use client::{Api, Client, resource};
use git::{Mapping, Repositories};
use gitops::{Claim, GitOps, Scope};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Standby;
use super::health::Health;
use crate::cli;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::settings::mirrors;
use crate::up::tasks::Tasks;

/// How long to wait before looking for the kinds again.
const LOOK: Duration = Duration::from_secs(2);

/// Where and on what the controllers work.
pub(crate) struct Site {
    /// `None` for the Pod's own service account.
    kubeconfigs: Option<Vec<PathBuf>>,
    context: Option<String>,
    /// Of the Applications.
    namespace: String,
    namespaces: Vec<String>,
    rollouts: bool,
    sources: Vec<Mapping>,
    mirrors: Vec<(String, String)>,
    data: DataDir,
}

impl Site {
    pub(crate) fn new(typed: &cli::Controller, environment: &Environment, data: DataDir) -> Result<Self> {
        super::check(typed)?;
        let own = environment.is_in_cluster(&typed.connect);
        let kubeconfigs = if own { None } else { Some(environment.kubeconfigs(&typed.connect)?) };
        let directory = Environment::directory()?;
        let source = |(url, path): &(String, String)| Mapping::new(url.clone(), directory.join(path));
        Ok(Self {
            kubeconfigs,
            context: typed.connect.context.clone(),
            namespace: typed.connect.argocd_namespace.clone(),
            namespaces: typed.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
            rollouts: typed.rollouts,
            sources: typed.sources.iter().map(source).collect(),
            mirrors: typed.mirrors.clone(),
            data,
        })
    }

    /// A client whose connections belong to the runtime that it is made in.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(match &self.kubeconfigs {
            None => in_cluster()?,
            Some(paths) => connect(paths, self.context.as_deref()).await?.client,
        })
    }

    /// Of the Applications.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn scope(&self) -> Scope {
        Scope { namespaces: self.namespaces.clone(), cluster_resources: false }
    }
}

/// The controllers at work. Dropping it cuts them off where they are.
pub(crate) struct Term {
    runtime: Option<Runtime>,
    stop: CancellationToken,
    ended: oneshot::Receiver<Result<()>>,
    /// Whether `ended` was heard of.
    over: bool,
}

impl Drop for Term {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Term {
    pub(super) fn begin(standby: Standby) -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("term").build();
        let runtime = runtime.context("start a runtime for the controllers")?;
        let stop = CancellationToken::new();
        let (sender, ended) = oneshot::channel();
        let told = stop.clone();
        runtime.spawn(async move {
            let result = lead(&standby, &told).await;
            let _ = sender.send(result);
        });
        Ok(Self { runtime: Some(runtime), stop, ended, over: false })
    }

    /// Waits until the controllers end of themselves, which they should not.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        let ended = (&mut self.ended).await;
        self.over = true;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow!("the controllers ended unexpectedly"),
            Err(_) => anyhow!("the controllers broke down"),
        }
    }

    /// Tells the controllers to stop and waits until they have.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        if !self.over {
            let _ = (&mut self.ended).await;
            self.over = true;
        }
    }
}

async fn lead(standby: &Standby, stop: &CancellationToken) -> Result<()> {
    let Standby { site, health, webhooks } = standby;
    let client = site.client().await?;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = kinds(&client, site, health) => {}
    }
    let repositories = Repositories::new(git::Config::new(site.data.repositories()));
    let repositories = repositories.context("open the repositories")?;
    for mapping in &site.sources {
        let place = mapping.path.display().to_string();
        repositories.map(mapping.clone()).with_context(|| format!("answer {} from {place}", mapping.url))?;
    }
    let mut config = charts::Config::new(site.data.charts());
    config.registry.mirrors = mirrors(&site.mirrors);
    let charts = Charts::new(config);
    // Until it is known that there is no Argo CD, nothing of its may be touched.
    let (claims, ownership) = watch::channel(Claim::Taken);
    let settings = gitops::Settings {
        namespace: site.namespace.clone(),
        scope: site.scope(),
        ownership: ownership.into(),
        ..gitops::Settings::default()
    };
    let controller = GitOps::new(gitops::Config { client: client.clone(), repositories, charts, settings });
    health.counts(controller.metrics());
    if let Some(webhooks) = webhooks {
        webhooks.lead(&controller);
    }
    let mut tasks = Tasks::new();
    let (namespace, token) = (site.namespace.clone(), tasks.token());
    let looking = gitops::follow_argo_cd(client.clone(), namespace, site.scope(), claims, token);
    tasks.run("the watch for Argo CD", looking);
    tasks.run("gitops", controller.run(tasks.token()));
    if site.rollouts {
        tasks.run("rollouts", rollouts::run(client, tasks.token()));
    }
    health.waits_for("");
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        failure = tasks.failure() => Err(failure),
    };
    tasks.stop().await;
    ended
}

/// Waits until the kinds are served that the controllers work on: whoever applies manifests one by one starts the
/// workload and defines the kinds in any order.
async fn kinds(client: &Client, site: &Site, health: &Health) {
    let mut kinds = vec![resource::APPLICATIONS, resource::APPLICATION_SETS, resource::APP_PROJECTS];
    if site.rollouts {
        kinds.push(resource::ROLLOUTS);
    }
    loop {
        let mut missing = None;
        for kind in &kinds {
            let one = client::dynamic::ListOptions {
                limit: Some(1),
                metadata_only: true,
                ..client::dynamic::ListOptions::all()
            };
            let namespace = (*kind != resource::ROLLOUTS).then_some(site.namespace.as_str());
            if let Err(error) = Api::new(client, kind).list(namespace, &one).await {
                missing = Some(format!("{kind} cannot be listed: {}", error.message()));
                break;
            }
        }
        let Some(missing) = missing else { return };
        tracing::warn!(reason = missing, "the controllers cannot begin yet");
        health.waits_for(&missing);
        tokio::time::sleep(LOOK).await;
    }
}
