//! The built-in controllers.
//!
//! Owns what kube-controller-manager and kube-scheduler do on a small cluster: Deployments down to Pods, Jobs, Services' endpoints,
//! namespaces, garbage, service accounts, local volumes, and which node a Pod runs on.
//!
//! What must hold:
//! - every controller acts under its own service account in `kube-system`, with the rules that [`rules`] lists and no more;
//! - a controller is a module: planning is pure (`plan`, objects and the time in, changes out), effects are apart;
//! - a pass reads what it needs from the API and may be repeated or cut off anywhere without harm;
//! - conditions, reasons, events, labels and annotations are upstream's, to the letter: `kubectl` and others read them.
//!
//! Kept out: running containers (the kubelet), Service rules and DNS on the node, and everything of Argo's.
#![forbid(unsafe_code)]

mod accounts;
mod cronjob;
mod daemonset;
mod deployment;
mod endpoints;
mod garbage;
mod job;
mod namespaces;
mod podgc;
mod pods;
mod replicaset;
mod revisions;
mod scheduler;
mod statefulset;
mod template;
mod unsupported;
mod volume;

use std::path::PathBuf;
use std::sync::Arc;

use client::{Client, Key, Resources};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A client that acts as the service account of this name in `kube-system`.
pub type ClientFor = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// What the controllers need from outside.
#[derive(Clone)]
pub struct Config {
    pub clients: ClientFor,
    /// The directory that local volumes are made in; absolute.
    pub volumes: PathBuf,
    /// The node whose disk that directory is on.
    pub node_name: String,
    /// The certificate that signs the API server's, PEM: published in every namespace as `kube-root-ca.crt`.
    pub ca_certificate: String,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("volumes", &self.volumes)
            .field("node_name", &self.node_name)
            .finish_non_exhaustive()
    }
}

/// Service account names with the RBAC rules each controller needs.
pub fn rules() -> Vec<(&'static str, Value)> {
    vec![
        (accounts::ACCOUNT, accounts::rules()),
        (accounts::TOKENS_ACCOUNT, accounts::tokens_rules()),
        (cronjob::ACCOUNT, cronjob::rules()),
        (daemonset::ACCOUNT, daemonset::rules()),
        (deployment::ACCOUNT, deployment::rules()),
        (endpoints::ACCOUNT, endpoints::rules()),
        (garbage::ACCOUNT, garbage::rules()),
        (job::ACCOUNT, job::rules()),
        (namespaces::ACCOUNT, namespaces::rules()),
        (podgc::ACCOUNT, podgc::rules()),
        (replicaset::ACCOUNT, replicaset::rules()),
        (scheduler::ACCOUNT, scheduler::rules()),
        (statefulset::ACCOUNT, statefulset::rules()),
        (volume::ACCOUNT, volume::rules()),
    ]
}

/// Runs all controllers until shutdown; returns when every one has ended.
pub async fn run(config: Config, shutdown: CancellationToken) {
    let client = |account: &str| (config.clients)(account);
    let stop = || shutdown.clone();
    let resources = Resources::new(client(garbage::ACCOUNT));
    let certificate = &config.ca_certificate;
    let mut running = JoinSet::new();
    let follow = resources.clone();
    let until = stop();
    running.spawn(async move { follow.run(until).await });
    running.spawn(accounts::run(client(accounts::ACCOUNT), certificate.clone(), stop()));
    running.spawn(accounts::run_tokens(client(accounts::TOKENS_ACCOUNT), certificate.clone(), stop()));
    running.spawn(cronjob::run(client(cronjob::ACCOUNT), stop()));
    running.spawn(daemonset::run(client(daemonset::ACCOUNT), stop()));
    running.spawn(deployment::run(client(deployment::ACCOUNT), stop()));
    running.spawn(endpoints::run(client(endpoints::ACCOUNT), stop()));
    running.spawn(garbage::run(client(garbage::ACCOUNT), resources.clone(), stop()));
    running.spawn(job::run(client(job::ACCOUNT), stop()));
    running.spawn(namespaces::run(client(namespaces::ACCOUNT), resources, stop()));
    running.spawn(podgc::run(client(podgc::ACCOUNT), stop()));
    running.spawn(replicaset::run(client(replicaset::ACCOUNT), stop()));
    running.spawn(scheduler::run(client(scheduler::ACCOUNT), stop()));
    running.spawn(statefulset::run(client(statefulset::ACCOUNT), stop()));
    running.spawn(volume::run(
        client(volume::ACCOUNT),
        config.volumes.clone(),
        config.node_name.clone(),
        stop(),
    ));
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller ended by a panic");
        }
    }
}

/// A source of exactly one key, for work that is due at the start.
fn once(key: Key) -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(1);
    // The channel is new and holds one, so this cannot fail.
    let _ = sender.try_send(key);
    receiver
}

/// Sets a count in a status; upstream leaves zeros out.
fn set_count(status: &mut Value, field: &str, count: usize) {
    if count == 0 {
        if let Some(map) = status.as_object_mut() {
            map.remove(field);
        }
    } else {
        status[field] = json!(count);
    }
}
