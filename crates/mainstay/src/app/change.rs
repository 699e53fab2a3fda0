//! Patching and deleting Applications and their resources.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use client::Key;
use client::dynamic::{DeleteOptions, Patch, PatchOptions, Propagation};
use objects::{Value, meta};
use serde_json::json;
use sync::ResourceKey;

use super::select::{self, keys};
use super::wait::{self, Check};
use crate::cli::{self, Delete, DeleteResource, OneResource, PatchResource, PatchType, PropagationPolicy};
use crate::remote::output::say;
use crate::remote::{NO, Remote, confirm, seconds};

const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
const BACKGROUND: &str = "resources-finalizer.argocd.argoproj.io/background";
const FOREGROUND: &str = "resources-finalizer.argocd.argoproj.io/foreground";

fn parsed(text: &str, kind: PatchType) -> Result<Patch> {
    let value: Value = serde_json::from_str(text).context("read --patch as JSON")?;
    Ok(match kind {
        PatchType::Json => Patch::Json(value),
        PatchType::Merge => Patch::Merge(value),
    })
}

pub(super) async fn patch(remote: &Remote, args: &cli::Patch) -> Result<()> {
    let patch = parsed(&args.patch, args.kind)?;
    let key = remote.key(&args.name);
    let patched = remote.applications().patch(&key, &patch, &PatchOptions::manager("mainstay")).await?;
    say(&yaml::to_string(&crate::remote::output::tidy(patched)))
}

/// The resources of an Application that flags choose: exactly one, unless all are wanted.
pub(super) async fn resources(remote: &Remote, args: &OneResource) -> Result<Vec<ResourceKey>> {
    let application = remote.application(&args.name).await?;
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let found: Vec<ResourceKey> = select::resources(&application)
        .map(|(key, _)| key)
        .filter(|key| {
            key.kind == args.kind
                && is(&args.resource_name, &key.name)
                && is(&args.namespace, &key.namespace)
                && is(&args.group, &key.group)
        })
        .collect();
    match found.len() {
        0 => bail!("application {} has no such {}", args.name, args.kind),
        1 => Ok(found),
        _ if args.all => Ok(found),
        count => {
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            bail!(
                "{count} resources match: choose with --resource-name and --namespace, or take --all: {}",
                names.join(", ")
            )
        }
    }
}

fn object_key(key: &ResourceKey) -> Key {
    Key::new(Some(key.namespace.as_str()).filter(|namespace| !namespace.is_empty()), &key.name)
}

pub(super) async fn patch_resource(remote: &Remote, args: &PatchResource) -> Result<()> {
    let patch = parsed(&args.patch, args.patch_type)?;
    for key in resources(remote, &args.resource).await? {
        let served = remote.resources.preferred(&key.group, &key.kind).await?;
        remote
            .api(&served.resource)
            .patch(&object_key(&key), &patch, &PatchOptions::manager("mainstay"))
            .await?;
        say(&format!("{key} patched\n"))?;
    }
    Ok(())
}

pub(super) async fn delete_resource(remote: &Remote, args: &DeleteResource) -> Result<()> {
    let options = DeleteOptions {
        propagation: Some(if args.orphan { Propagation::Orphan } else { Propagation::Foreground }),
        grace_period_seconds: args.force.then_some(0),
        ..DeleteOptions::default()
    };
    for key in resources(remote, &args.resource).await? {
        let served = remote.resources.preferred(&key.group, &key.kind).await?;
        remote.api(&served.resource).delete(&object_key(&key), &options).await?;
        say(&format!("{key} deleted\n"))?;
    }
    Ok(())
}

pub(super) async fn delete(remote: &Remote, args: &Delete) -> Result<ExitCode> {
    let keys = keys(remote, &args.apps).await?;
    for key in &keys {
        let what =
            if args.cascade { "and everything that it deployed" } else { "and leave what it deployed" };
        if !confirm(&format!("Delete application {key} {what}?"), args.yes)? {
            bail!("application {key} was not deleted");
        }
        remove(remote, key, args).await?;
        say(&format!("application '{key}' deleted\n"))?;
    }
    if !args.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = wait::until(remote, &keys, seconds(args.timeout), |application| match application {
        None => Check::Done,
        Some(application) => {
            let error = crate::remote::output::array(application, "/status/conditions")
                .iter()
                .find(|condition| condition["type"] == "DeletionError");
            let said = error.and_then(|error| error["message"].as_str());
            Check::Waiting(said.unwrap_or("what it deployed is being deleted").to_owned())
        }
    });
    let mut failed = false;
    for outcome in outcomes.await {
        if let Some(problem) = outcome.problem {
            failed = true;
            eprintln!("mainstay: application {}: {problem}", outcome.key);
        }
    }
    Ok(if failed { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// Sets the finalizer that says what becomes of the resources, and deletes.
async fn remove(remote: &Remote, key: &Key, args: &Delete) -> Result<()> {
    let api = remote.applications();
    let Some(application) = api.find(key).await? else { bail!("there is no Application {key}") };
    let mut finalizers: Vec<String> = meta::finalizers(&application).map(str::to_owned).collect();
    let before = finalizers.clone();
    let ours = |finalizer: &String| [FINALIZER, BACKGROUND, FOREGROUND].contains(&finalizer.as_str());
    if !args.cascade {
        finalizers.retain(|finalizer| !ours(finalizer));
    } else if args.propagation_policy == PropagationPolicy::Background {
        finalizers.retain(|finalizer| !ours(finalizer));
        finalizers.push(BACKGROUND.to_owned());
    } else if !finalizers.iter().any(|finalizer| finalizer == FINALIZER || finalizer == FOREGROUND) {
        finalizers.retain(|finalizer| !ours(finalizer));
        finalizers.push(FINALIZER.to_owned());
    }
    if finalizers != before {
        let patch = Patch::Merge(json!({"metadata": {
            "finalizers": finalizers, "resourceVersion": meta::resource_version(&application)}}));
        match api.patch(key, &patch, &PatchOptions::manager("mainstay")).await {
            Err(error) if error.is_conflict() => bail!("application {key} has just changed: try again"),
            result => result?,
        };
    }
    api.delete(key, &DeleteOptions::default()).await?;
    Ok(())
}
