//! From Git to the API: the repositories, the Application controller, and the first Applications.

use std::sync::Arc;

use anyhow::{Context, Result};
use apiserver::MetricsSource;
use charts::Charts;
use client::dynamic::ListOptions;
use client::{Api, Client, resource};
use git::{Mapping, Repositories};
use gitops::{BootstrapRequest, Exposition, GitOps, HealthGates, WEBHOOK_PATH};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::data_dir::DataDir;
use crate::settings::{Repository, Settings};
use crate::sources::Sources;
use crate::up::cluster::Cluster;
use crate::up::tasks::Tasks;
use crate::up::watching::say;

/// The path of the demo's Applications in its repository.
const DEMO_START: &str = "applications";

/// Starts the Application controller, and creates the Applications of the repository that was named.
pub(crate) async fn start(
    settings: &Settings,
    cluster: &Cluster,
    data: &DataDir,
    tasks: &mut Tasks,
) -> Result<()> {
    let repositories =
        Repositories::new(git::Config::new(data.repositories())).context("open the repositories")?;
    let mut told = Sources { mirrors: settings.mirrors.clone(), ..Sources::default() };
    for (url, path) in &settings.sources {
        let mapping = Mapping::new(url.clone(), path.clone());
        told.mappings.push(mapping.clone());
        repositories.map(mapping).with_context(|| format!("answer {url} from {}", path.display()))?;
        say(&format!("mapping         {url} is answered from {}", path.display()));
    }
    let mut config = charts::Config::new(data.charts());
    config.registry.mirrors.clone_from(&settings.mirrors);
    let charts = Charts::new(config);
    let client = cluster.account(gitops::SERVICE_ACCOUNT);
    // Before the controller starts, so that it never asks a host for what is answered from here.
    if let Some(request) = request(settings) {
        told.mappings.extend(bootstrap(settings, &client, &repositories, &charts, request).await?);
    }
    told.publish(&cluster.admin(), why::NAMESPACE).await?;
    let mut controller = gitops::Settings::default();
    if !settings.node {
        controller.health_gates = HealthGates::Ignore;
    }
    let config = gitops::Config { client, repositories, charts, settings: controller };
    let controller = GitOps::new(config);
    cluster.set_metrics(metrics(&controller));
    if let Some(address) = settings.webhooks {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listen on {address} for webhooks"))?;
        let address = listener.local_addr().context("read the address of webhooks")?;
        say(&format!("webhooks        http://{address}{WEBHOOK_PATH}"));
        tasks.run("webhooks", controller.webhooks().serve(listener, tasks.token()));
    }
    tasks.run("gitops", controller.run(tasks.token()));
    Ok(())
}

/// Everything that is counted in this process, as the API server's `/metrics` gives it.
fn metrics(controller: &GitOps) -> MetricsSource {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(controller.metrics())));
    Arc::new(move || {
        let mut text = String::new();
        encode(&mut text, &registry).expect("text can always be written to a string");
        text
    })
}

/// Creates the first Applications; returns what is answered from here from now on. A remote repository that cannot be
/// read now does not keep down what was deployed from it before.
async fn bootstrap(
    settings: &Settings,
    client: &Client,
    repositories: &Repositories,
    charts: &Charts,
    request: BootstrapRequest,
) -> Result<Vec<Mapping>> {
    let place = request.repository.clone();
    match gitops::bootstrap(client, repositories, charts, request).await {
        Ok(made) => {
            for mapping in &made.mappings {
                say(&format!("mapping         {} is answered from {}", mapping.url, mapping.path.display()));
            }
            say(&format!("created         {}", made.created.join(", ")));
            Ok(made.mappings)
        }
        Err(error)
            if matches!(settings.repository, Repository::Remote { .. }) && deployed(client).await? =>
        {
            say(&format!("not read        {place}: {}", client::chain(&error)));
            Ok(Vec::new())
        }
        Err(error) => Err(error).context("read the repository"),
    }
}

/// Whether there are Applications already.
async fn deployed(client: &Client) -> Result<bool> {
    let one = ListOptions { limit: Some(1), ..ListOptions::all() };
    let list =
        Api::new(client, &resource::APPLICATIONS).list(None, &one).await.context("list the Applications")?;
    Ok(!list.items.is_empty())
}

fn request(settings: &Settings) -> Option<BootstrapRequest> {
    let request = |repository: String, path: &str, revision: Option<&String>| BootstrapRequest {
        repository,
        path: path.to_owned(),
        revision: revision.cloned(),
        answer_own_urls: settings.answer_own_urls,
    };
    match &settings.repository {
        Repository::None => None,
        Repository::Demo { path } => Some(request(path.display().to_string(), DEMO_START, None)),
        Repository::Local { path, start, revision } => {
            Some(request(path.display().to_string(), start, revision.as_ref()))
        }
        Repository::Remote { url, start, revision } => Some(request(url.clone(), start, revision.as_ref())),
    }
}
