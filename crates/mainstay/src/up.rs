//! `mainstay up`: checks, starts the parts in order, tells the person what happens, and stops as it is told.

pub(crate) mod cluster;
pub(crate) mod delivery;
pub(crate) mod node;
mod prerequisites;
mod progress;
mod ranges;
pub(crate) mod signals;
pub(crate) mod tasks;
mod traffic;
mod watching;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use apiserver::ServiceRange;
use client::Resources;
use network::Ranges;
use tokio::time::Instant;

use crate::cli;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::preflight::{self, Port, Problem};
use crate::privilege;
use crate::settings::{Repository, Settings};
use crate::up::cluster::{Cluster, Listen};
use crate::up::node::Node;
use crate::up::progress::Progress;
use crate::up::signals::{Signals, Stop};
use crate::up::tasks::Tasks;
use crate::up::traffic::Traffic;

/// The addresses of Services where there is no node whose machine they must suit.
const SERVICES_WITHOUT_NODE: &str = "10.96.0.0/16";

pub(crate) async fn run(typed: &cli::Up, environment: &Environment) -> Result<()> {
    let start = Instant::now();
    let settings = Settings::new(typed, &Environment::directory()?)?;
    let path = environment.data_dir(&typed.data)?;
    if settings.node && !environment.root {
        return Err(privilege::become_root(&Environment::executable()?, &environment.arguments, &path));
    }
    let data = DataDir::create(&path, environment.caller)?;
    // Held until the process is gone, and not only until this function ends: whoever waits for the directory (`down`, the
    // next `up`) must find nothing of this process any more.
    std::mem::forget(data.hold()?);
    let ranges = if settings.node { Some(ranges::of(&data).await?) } else { None };
    check(&settings, &data, ranges.as_ref()).await?;
    let mut signals = Signals::listen()?;
    let mut tasks = Tasks::new();
    // What starts on this machine ends in a moment, and a signal waits for it: Ctrl-c means the Pods too, adopted ones
    // included, and only a started node can stop them.
    let platform = Platform::start(&settings, environment, &data, ranges, &mut tasks).await?;
    let ended = tokio::select! {
        ended = platform.run(&settings, &data, start, &mut tasks) => ended,
        stop = signals.next() => Ok(stop),
    };
    if matches!(ended, Ok(Stop::Everything)) {
        platform.stop_pods(&mut signals).await;
    }
    tasks.stop().await;
    platform.close().await;
    ended.map(|_| ())
}

/// Checks what can be known before anything is started, and names the fix for whatever fails.
async fn check(settings: &Settings, data: &DataDir, ranges: Option<&Ranges>) -> Result<()> {
    let port = |flag, port| Port { flag, address: SocketAddr::new(settings.listen, port) };
    let mut ports = vec![
        port("--api-port", settings.api_port),
        port("--http-port", settings.http_port),
        port("--https-port", settings.https_port),
    ];
    ports.extend(settings.webhooks.map(|address| Port { flag: "--webhooks", address }));
    let mut problems = preflight::ports(&ports);
    if let Some(ranges) = ranges {
        problems.extend(preflight::node(data.path()));
        let config = node::network_config(data, *ranges);
        for found in network::preflight(&config).await {
            let problem = Problem { what: found.what, fix: found.fix };
            if found.severity == network::Severity::Fatal {
                problems.push(problem);
            } else {
                tracing::warn!(problem = problem.what, fix = problem.fix, "the network is limited");
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    bail!("this machine is not ready:\n{}", list.join("\n"))
}

/// Everything that runs.
struct Platform {
    cluster: Cluster,
    node: Option<Node>,
    traffic: Traffic,
}

impl Platform {
    async fn start(
        settings: &Settings,
        environment: &Environment,
        data: &DataDir,
        ranges: Option<Ranges>,
        tasks: &mut Tasks,
    ) -> Result<Self> {
        let services: ServiceRange = match &ranges {
            Some(ranges) => ranges.services.to_string(),
            None => SERVICES_WITHOUT_NODE.to_owned(),
        }
        .parse()
        .context("read the range of Service addresses")?;
        let listen = Listen { address: settings.listen, port: settings.api_port, services };
        let cluster = Cluster::start(data, listen, tasks).await?;
        if let Some(caller) = environment.caller {
            // Whatever else is inside stays root's.
            caller.give(&data.kubeconfig())?;
        }
        watching::say(&format!("Kubernetes API  {}", cluster.url()));
        watching::say(&format!("kubeconfig      {}", data.kubeconfig().display()));
        let rules =
            [workloads::rules(), gitops::rules(), rollouts::rules(), routes::rules(), kubelet::rules()];
        cluster.grant(rules.concat()).await?;
        run_controllers(&cluster, data, tasks);
        let traffic = Traffic::start(settings, &cluster, tasks).await?;
        let node = match ranges {
            Some(ranges) => Some(Node::start(settings, &cluster, data, ranges, tasks).await?),
            None => None,
        };
        Ok(Self { cluster, node, traffic })
    }

    /// Delivers what the repository holds and tells the person about it, until a part fails.
    async fn run(
        &self,
        settings: &Settings,
        data: &DataDir,
        start: Instant,
        tasks: &mut Tasks,
    ) -> Result<Stop> {
        self.deliver(settings, data, tasks).await?;
        let admin = self.cluster.admin();
        tokio::select! {
            failure = tasks.failure() => Err(failure),
            () = watching::follow(&admin, start, |progress| self.summary(settings, data, progress)) => {
                bail!("the watch of Applications and Pods ended")
            }
        }
    }

    async fn deliver(&self, settings: &Settings, data: &DataDir, tasks: &mut Tasks) -> Result<()> {
        if matches!(settings.repository, Repository::Demo { .. })
            && let Some(node) = &self.node
        {
            crate::image::pack_demo(node.images(), &Environment::executable()?).await?;
        }
        let admin = self.cluster.admin();
        if let Some(directory) = &settings.with {
            let applied = prerequisites::apply(&admin, &Resources::new(admin.clone()), directory).await?;
            watching::say(&format!("applied         {} objects of {}", applied.len(), directory.display()));
        }
        delivery::start(settings, &self.cluster, data, tasks).await
    }

    /// What a person wants to know once everything stands.
    fn summary(&self, settings: &Settings, data: &DataDir, progress: &Progress) -> String {
        let unfinished = progress.unfinished();
        let mut text = String::from("\n");
        if unfinished.is_empty() {
            text.push_str("Everything is up.\n");
        } else {
            text.push_str("Everything stands, with this unfinished:\n");
            for row in unfinished {
                text.push_str(&format!("  {row}\n"));
            }
        }
        text.push_str(&format!("\n  open        {}\n", self.traffic.http_url()));
        text.push_str(&format!(
            "  kubectl     kubectl --kubeconfig {} get pods -A\n",
            data.kubeconfig().display()
        ));
        let pods =
            if settings.node { "stops the Pods and keeps the data" } else { "stops it and keeps the data" };
        text.push_str(&format!("  Ctrl-c      {pods}; `mainstay down` cleans the machine\n"));
        text
    }

    /// Stops every Pod gracefully; a second signal ends the wait.
    async fn stop_pods(&self, signals: &mut Signals) {
        let Some(node) = &self.node else { return };
        watching::say("stopping Pods; press Ctrl-c again to leave them running");
        tokio::select! {
            () = node.stop_pods() => {}
            _ = signals.next() => {}
        }
    }

    async fn close(self) {
        if let Some(node) = self.node {
            node.close().await;
        }
    }
}

fn run_controllers(cluster: &Cluster, data: &DataDir, tasks: &mut Tasks) {
    let clients = cluster.clone();
    let config = workloads::Config {
        clients: Arc::new(move |account| clients.account(account)),
        volumes: data.volumes(),
        node_name: node::name(),
        ca_certificate: cluster.authority_pem().to_owned(),
    };
    tasks.run("workload controllers", workloads::run(config, tasks.token()));
    tasks.run("rollouts", rollouts::run(cluster.account(rollouts::SERVICE_ACCOUNT), tasks.token()));
}
