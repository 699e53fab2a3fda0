//! `app sync`: writes the operation that Argo CD's own client writes.

use std::process::ExitCode;

use anyhow::{Result, bail};
use client::Key;
use objects::{Value, meta};
use serde_json::json;

use super::select::{chosen, keys};
use super::show::{self, Shown};
use super::{operation, preview, wait};
use crate::cli::{Strategy, Sync};
use crate::remote::output::{array, text};
use crate::remote::{NO, Remote, seconds};

pub(super) async fn run(remote: &Remote, args: &Sync) -> Result<ExitCode> {
    let keys = keys(remote, &args.apps).await?;
    let single = keys.len() == 1;
    if !single && (!args.resource.is_empty() || args.revision.is_some()) {
        bail!("--resource and --revision are for one Application");
    }
    if args.dry_run {
        return dry_run(remote, args, &keys).await;
    }
    let limit = seconds(args.timeout);
    for key in &keys {
        // What is synced is what Git holds now, and not what was seen of it a while ago.
        wait::refresh(remote, key, false, limit).await?;
        operation::place(remote, key, |application| requested(remote, args, application)).await?;
    }
    if args.asynchronous {
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = false;
    for outcome in operation::follow(remote, &keys, limit).await {
        let pruning = outcome.application.as_ref().map_or(0, |application| unpruned(application, args));
        if let (Some(application), true) = (outcome.application, single) {
            let shown = Shown { operation: true, params: false };
            show::print(remote, application, args.output, shown).await?;
        }
        if let Some(problem) = outcome.problem {
            failed = true;
            eprintln!("mainstay: application {}: {problem}", outcome.key);
            eprintln!("mainstay: `mainstay why app/{}` looks for the cause", outcome.key.name);
        } else if pruning > 0 {
            failed = true;
            eprintln!("mainstay: application {}: {pruning} resources require pruning", outcome.key);
        } else if !single {
            crate::remote::output::say(&format!("application {} synced\n", outcome.key))?;
        }
    }
    Ok(if failed { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// What a sync of everything left in the cluster because nobody said `--prune`.
fn unpruned(application: &Value, args: &Sync) -> usize {
    if !args.resource.is_empty() || args.prune {
        return 0;
    }
    array(application, "/status/operationState/syncResult/resources")
        .iter()
        .filter(|result| {
            text(result, "/status") == "PruneSkipped" && text(result, "/message").contains("requires pruning")
        })
        .count()
}

/// The `operation` of an Application.
fn requested(remote: &Remote, args: &Sync, application: &Value) -> Result<Value> {
    check_revision(args, application)?;
    let mut sync = json!({"prune": args.prune});
    if let Some(revision) = &args.revision {
        sync["revision"] = json!(revision);
    } else if let Some(revision) = application.pointer("/spec/source/targetRevision") {
        sync["revision"] = revision.clone();
    }
    let options: Vec<&str> = [
        (args.server_side, "ServerSideApply=true"),
        (args.replace, "Replace=true"),
        (args.apply_out_of_sync_only, "ApplyOutOfSyncOnly=true"),
    ]
    .into_iter()
    .filter_map(|(set, option)| set.then_some(option))
    .collect();
    if !options.is_empty() {
        // As in Argo CD, options given here stand in for those of the spec.
        sync["syncOptions"] = json!(options);
    } else if let Some(options) = application.pointer("/spec/syncPolicy/syncOptions") {
        sync["syncOptions"] = options.clone();
    }
    sync["syncStrategy"] = match args.strategy {
        Some(Strategy::Apply) => json!({"apply": {"force": args.force}}),
        Some(Strategy::Hook) | None => json!({"hook": {"force": args.force}}),
    };
    if !args.resource.is_empty() {
        let resources = chosen(application, &args.resource)?;
        sync["resources"] = resources
            .iter()
            .map(|key| json!({"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name}))
            .collect();
    }
    let mut operation = json!({"sync": sync, "initiatedBy": {"username": remote.username()}});
    if args.retry_limit != 0 {
        operation["retry"] = json!({"limit": args.retry_limit, "backoff": {
            "duration": args.retry_backoff_duration, "maxDuration": args.retry_backoff_max_duration,
            "factor": args.retry_backoff_factor}});
    }
    if !args.info.is_empty() {
        operation["info"] =
            args.info.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    Ok(operation)
}

/// While it is synced by itself, another revision would be taken back at once.
fn check_revision(args: &Sync, application: &Value) -> Result<()> {
    let automated = &application["spec"]["syncPolicy"]["automated"];
    let tracked = text(application, "/spec/source/targetRevision");
    match &args.revision {
        Some(revision) if automated.is_object() && automated["enabled"] != false && revision != tracked => {
            bail!(
                "cannot sync {} to {revision}: automated sync follows {}",
                meta::name(application),
                if tracked.is_empty() { "HEAD" } else { tracked }
            )
        }
        _ => Ok(()),
    }
}

async fn dry_run(remote: &Remote, args: &Sync, keys: &[Key]) -> Result<ExitCode> {
    let mut refused = false;
    for key in keys {
        let Some(application) = remote.applications().find(key).await? else {
            bail!("there is no Application {key}");
        };
        refused |= preview::dry_run(remote, application, args).await?;
    }
    Ok(if refused { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}
