//! What an Application would become, rendered here as the controller renders it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use charts::Charts;
use client::Key;
use client::dynamic::{Patch, PatchOptions};
use git::{Mapping, Repositories};
use gitops::{Preview, PreviewRequest, Previewed, Refresh};
use objects::{Value, meta};
use serde_json::json;

use super::select::Pattern;
use super::show::sources;
use crate::cli::Sync;
use crate::remote::Remote;
use crate::remote::output::{say, text};
use crate::remote::progress::Progress;
use crate::remote::table::Table;
use crate::sources::Sources;

/// What to render instead of what the spec says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instead<'a> {
    pub(super) revision: Option<&'a str>,
    /// Files in place of the first source's repository.
    pub(super) local: Option<&'a Path>,
    pub(super) refresh: Refresh,
}

/// Renders an Application and compares it with the cluster.
pub(super) async fn of(remote: &Remote, mut application: Value, instead: Instead<'_>) -> Result<Preview> {
    let _progress = Progress::start(format!("rendering {}", meta::name(&application)));
    if let Some(revision) = instead.revision {
        track(&mut application, revision)?;
    }
    let answered = Sources::read(&remote.client, &remote.namespace).await?;
    let repositories = Repositories::new(git::Config::new(remote.cache.join("repositories")))
        .context("open the repositories")?;
    if let Some(directory) = instead.local {
        map_local(&repositories, &application, directory)?;
    }
    let used: Vec<String> =
        sources(&application).iter().map(|source| text(source, "/repoURL").to_owned()).collect();
    // Another mapping that is not on this machine is no reason to fail.
    let answered = Sources {
        mappings: answered
            .mappings
            .into_iter()
            .filter(|mapping| instead.local.is_none() || repositories.mapping(&mapping.url).is_none())
            .filter(|mapping| mapping.path.is_dir() || used.contains(&mapping.url))
            .collect(),
        ..answered
    };
    answered.map(&repositories)?;
    let mut config = charts::Config::new(remote.cache.join("charts"));
    config.registry.mirrors.clone_from(&answered.mirrors);
    let request = PreviewRequest {
        client: remote.client.clone(),
        namespace: remote.namespace.clone(),
        application,
        repositories,
        charts: Charts::new(config),
        refresh: instead.refresh,
    };
    Ok(gitops::preview(request).await?)
}

/// Has the only source track another revision.
fn track(application: &mut Value, revision: &str) -> Result<()> {
    if sources(application).len() != 1 {
        bail!("--revision is for Applications with one source");
    }
    match application.pointer_mut("/spec/source") {
        Some(source) => source["targetRevision"] = json!(revision),
        None => application["spec"]["sources"][0]["targetRevision"] = json!(revision),
    }
    Ok(())
}

fn map_local(repositories: &Repositories, application: &Value, directory: &Path) -> Result<()> {
    let all = sources(application);
    let Some(source) = all.first() else { bail!("the Application has no source") };
    let url = text(source, "/repoURL");
    let path = std::fs::canonicalize(directory).with_context(|| format!("find {}", directory.display()))?;
    repositories
        .map(Mapping::new(url, path))
        .with_context(|| format!("answer {url} from {}", directory.display()))
}

/// What a sync would do to an object.
fn action(one: &Previewed, prune: bool) -> &'static str {
    match (&one.target, &one.live) {
        _ if one.hook => "hook",
        (Some(_), None) => "create",
        (Some(_), Some(_)) if one.differs() => "configure",
        (Some(_), Some(_)) => "unchanged",
        (None, _) if prune => "prune",
        (None, _) => "ignored (requires pruning)",
    }
}

/// Shows what a sync would do and has the API check each object; whether it refused any.
pub(super) async fn dry_run(remote: &Remote, application: Value, args: &Sync) -> Result<bool> {
    let patterns: Vec<Pattern> =
        args.resource.iter().map(|one| Pattern::parse(one)).collect::<Result<_>>()?;
    let instead = Instead { revision: args.revision.as_deref(), local: None, refresh: Refresh::Latest };
    let brings =
        sync::SyncOptions::from_value(&application["spec"]["syncPolicy"]["syncOptions"]).create_namespace();
    let namespace = text(&application, "/spec/destination/namespace").to_owned();
    let preview = of(remote, application, instead).await?;
    let made = Made::of(&preview, brings.then_some(namespace));
    let mut table = Table::new(&["GROUP", "KIND", "NAMESPACE", "NAME", "ACTION", "MESSAGE"]);
    let mut refused = false;
    for one in preview.resources.iter().filter(|one| Pattern::choose(&patterns, &one.key)) {
        let action = action(one, args.prune);
        let mut message = String::new();
        if let (Some(target), "create" | "configure") = (&one.target, action)
            && let Err(error) = check(remote, target).await
        {
            // What the same sync makes first is no reason to refuse what comes after it.
            refused |= !made.explains(target, &error);
            message = error.message();
        }
        let key = &one.key;
        table.row([key.group.as_str(), &key.kind, &key.namespace, &key.name, action, &message]);
    }
    say(&table.to_string())?;
    Ok(refused)
}

/// Whether the API would take an object: an apply that stores nothing.
async fn check(remote: &Remote, target: &Value) -> Result<(), client::Error> {
    let served = remote.resources.resolve_object(target).await?;
    let options = PatchOptions { force: true, dry_run: true, ..PatchOptions::manager(sync::FIELD_MANAGER) };
    let applied = remote.api(&served).patch(&Key::of(target), &Patch::Apply(target.clone()), &options).await;
    applied.map(|_| ())
}

/// Namespaces and kinds that a sync makes before what needs them.
struct Made {
    namespaces: BTreeSet<String>,
    kinds: BTreeSet<(String, String)>,
}

impl Made {
    fn of(preview: &Preview, created: Option<String>) -> Self {
        let mut made = Self { namespaces: created.into_iter().collect(), kinds: BTreeSet::new() };
        for target in preview.resources.iter().filter_map(|one| one.target.as_ref()) {
            match meta::kind(target) {
                "Namespace" => {
                    made.namespaces.insert(meta::name(target).to_owned());
                }
                "CustomResourceDefinition" => {
                    let part = |pointer: &str| text(target, pointer).to_owned();
                    made.kinds.insert((part("/spec/group"), part("/spec/names/kind")));
                }
                _ => {}
            }
        }
        made
    }

    fn explains(&self, target: &Value, error: &client::Error) -> bool {
        if error.is_unknown_kind() {
            let version = text(target, "/apiVersion");
            let group = version.split_once('/').map_or("", |(group, _)| group);
            return self.kinds.contains(&(group.to_owned(), meta::kind(target).to_owned()));
        }
        let subject = error.status().and_then(|status| status.subject.as_ref());
        error.is_not_found()
            && subject.is_some_and(|(kind, name)| kind == "namespaces" && self.namespaces.contains(name))
    }
}
