//! What every command that works on a cluster shares: the way to its API, and how a command ends.
//!
//! All of them go through the Kubernetes API and nothing else, so that they work on any cluster: they read what the
//! controllers write and write what the controllers read.

pub(crate) mod manifests;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod table;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::connect::{Connection, connect};
use client::{Api, Client, Key, ResourceType, Resources, resource};
use objects::Value;

use crate::cli;
use crate::environment::Environment;

/// The answer is no: a difference, a sync that failed, something that blocks.
pub(crate) const NO: u8 = 1;
/// There is no answer.
const FAILED: u8 = 2;

/// A cluster that commands work on.
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) resources: Resources,
    pub(crate) connection: Connection,
    /// Where Argo CD's objects live.
    pub(crate) namespace: String,
    /// The kubeconfigs that led here.
    pub(crate) kubeconfigs: Vec<PathBuf>,
    /// Where a command keeps what it fetched.
    pub(crate) cache: PathBuf,
}

impl Remote {
    pub(crate) async fn connect(typed: &cli::Connect, environment: &Environment) -> Result<Self> {
        let kubeconfigs = environment.kubeconfigs(typed)?;
        let connection = connect(&kubeconfigs, typed.context.as_deref()).await?;
        Ok(Self {
            client: connection.client.clone(),
            resources: Resources::new(connection.client.clone()),
            connection,
            namespace: typed.argocd_namespace.clone(),
            kubeconfigs,
            cache: environment.cache_dir(),
        })
    }

    pub(crate) fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&self.client, resource)
    }

    pub(crate) fn applications(&self) -> Api {
        self.api(&resource::APPLICATIONS)
    }

    /// The key of an object of Argo CD's that was typed as `NAME` or `NAMESPACE/NAME`.
    pub(crate) fn key(&self, typed: &str) -> Key {
        match typed.split_once('/') {
            Some((namespace, name)) => Key::namespaced(namespace, name),
            None => Key::namespaced(&self.namespace, typed),
        }
    }

    pub(crate) async fn application(&self, typed: &str) -> Result<Value> {
        let key = self.key(typed);
        match self.applications().find(&key).await? {
            Some(application) => Ok(application),
            None => bail!("there is no Application {key}; `mainstay app list` shows those there are"),
        }
    }

    /// Who asks, as operations note it.
    pub(crate) fn username(&self) -> &str {
        &self.connection.user
    }
}

/// What a command ended with, as an exit code: an error is told, and what to try where the cluster does not answer.
pub(crate) fn ended(result: Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    if output::is_broken_pipe(&error) {
        // Whoever reads no further has what it wanted.
        return ExitCode::SUCCESS;
    }
    eprintln!("mainstay: {error:#}");
    let silent = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<client::Error>())
        .any(|error| matches!(error, client::Error::Transport { .. } | client::Error::Deadline { .. }));
    if silent {
        eprintln!(
            "mainstay: the cluster does not answer; is `mainstay up` running, and is this its kubeconfig?"
        );
    }
    ExitCode::from(FAILED)
}

/// Asks a person; without one there, the flag that answers has to be given.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} Nobody is there to be asked: say so with --yes");
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(crate) fn seconds(number: u64) -> Duration {
    // Argo CD's zero means for ever; a week is long enough to be that, and ends.
    const WEEK: u64 = 7 * 24 * 3600;
    Duration::from_secs(if number == 0 { WEEK } else { number.min(WEEK) })
}
