//! `mainstay controller`: the controllers against an existing cluster, one process of several leading.
//!
//! A term as leader is a runtime of its own. When the lease cannot be renewed, the runtime is cut off: every task and every
//! connection of the term goes with it, those to other clusters too, so nothing is written any more by the time that
//! somebody else may lead. Telling the controllers to stop would leave them the passes they are in, and exiting, as
//! client-go's controllers do, would throw away a standby that is needed just then.

mod health;
mod serve;
mod term;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use client::Key;
use client::lease::{Election, Timings};
use gitops::{WEBHOOK_PATH, Webhooks};
use tokio::net::TcpListener;

use crate::cli;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::up::signals::Signals;
use crate::up::tasks::Tasks;
use health::{Health, Role};
use term::{Site, Term};

pub(crate) async fn run(typed: &cli::Controller, environment: &Environment) -> Result<()> {
    let data = DataDir::create(&environment.data_dir(&typed.connect.data)?, None)?;
    // Until the process is gone: two processes on one directory would fetch into the same repositories.
    std::mem::forget(data.hold()?);
    let site = Arc::new(Site::new(typed, environment, data)?);
    let mut signals = Signals::listen()?;
    let listener =
        TcpListener::bind(typed.listen).await.with_context(|| format!("listen on {}", typed.listen))?;
    let address = listener.local_addr().context("read the address that is listened on")?;
    let key = Key::namespaced(&lease_namespace(typed, environment), &typed.lease);
    let mut election = Election::new(&site.client().await?, key, identity(environment), Timings::default());
    let health = Arc::new(Health::new(election.identity(), election.holder()));
    tracing::info!(address = %address, identity = election.identity(), "health and metrics are served");
    let mut tasks = Tasks::new();
    tasks.run("health", serve::run(listener, Arc::clone(&health), tasks.token()));
    let webhooks = match typed.webhooks {
        Some(address) => Some(take_webhooks(address, &site, &mut tasks).await?),
        None => None,
    };
    let standby = Standby { site, health, webhooks };
    let ended = tokio::select! {
        ended = terms(&standby, &mut election, &mut signals) => ended,
        failure = tasks.failure() => Err(failure),
    };
    tasks.stop().await;
    ended
}

/// Takes webhooks from now on, whoever leads. With a client of its own: what hosts send must not delay the lease.
async fn take_webhooks(address: SocketAddr, site: &Site, tasks: &mut Tasks) -> Result<Webhooks> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listen on {address} for webhooks"))?;
    let address = listener.local_addr().context("read the address of webhooks")?;
    let webhooks = Webhooks::standby(site.client().await?, site.namespace());
    tracing::info!(address = %address, path = WEBHOOK_PATH, "webhooks are taken");
    tasks.run("webhooks", webhooks.clone().serve(listener, tasks.token()));
    Ok(webhooks)
}

/// What outlives the terms.
#[derive(Clone)]
struct Standby {
    site: Arc<Site>,
    health: Arc<Health>,
    webhooks: Option<Webhooks>,
}

/// Leads whenever it can, until a signal.
async fn terms(standby: &Standby, election: &mut Election, signals: &mut Signals) -> Result<()> {
    let health = &standby.health;
    loop {
        health.become_role(Role::Standby);
        tokio::select! {
            () = election.acquire() => {}
            _ = signals.next() => return Ok(()),
        }
        health.become_role(Role::Leader);
        let mut term = Term::begin(standby.clone())?;
        let failure = tokio::select! {
            lost = election.hold() => {
                drop(term);
                tracing::warn!(reason = %lost, "this process leads no more");
                continue;
            }
            failure = term.failure() => Some(failure),
            _ = signals.next() => None,
        };
        // The lease is kept while what is under way ends, and only then given back.
        tokio::select! {
            () = term.end() => {}
            lost = election.hold() => tracing::warn!(reason = %lost, "the lease was lost while stopping"),
        }
        drop(term);
        if let Err(error) = election.release().await {
            tracing::warn!(
                error = client::chain(&error),
                "the lease was not given back; it runs out by itself"
            );
        }
        return match failure {
            Some(failure) => Err(failure),
            None => Ok(()),
        };
    }
}

fn lease_namespace(typed: &cli::Controller, environment: &Environment) -> String {
    let named = typed.lease_namespace.clone().or_else(|| environment.pod.namespace.clone());
    named.unwrap_or_else(|| typed.connect.argocd_namespace.clone())
}

/// Differs for every process, also for two containers of one Pod that follow each other.
fn identity(environment: &Environment) -> String {
    let host = environment.pod.name.clone().unwrap_or_else(|| format!("process-{}", std::process::id()));
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// What cannot be asked for together.
fn check(typed: &cli::Controller) -> Result<()> {
    if typed.rollouts && typed.namespaces.iter().any(|name| !name.is_empty()) {
        bail!("--rollouts and --namespaces exclude each other: Rollouts are followed in the whole cluster");
    }
    Ok(())
}
