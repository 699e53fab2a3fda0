//! `app diff` and `app manifests`.

use std::process::ExitCode;

use anyhow::Result;
use gitops::{Previewed, Refresh};
use objects::Value;
use similar::TextDiff;

use super::live;
use super::mask::hide;
use super::preview::{self, Instead};
use crate::cli::{Diff, ManifestSource, Manifests};
use crate::remote::Remote;
use crate::remote::output::{say, tidy};

pub(super) async fn run(remote: &Remote, args: &Diff) -> Result<ExitCode> {
    let application = remote.application(&args.name).await?;
    let refresh = match (args.hard_refresh, args.refresh) {
        (true, _) => Refresh::Everything,
        (false, true) => Refresh::Latest,
        (false, false) => Refresh::Recent,
    };
    let instead = Instead { revision: args.revision.as_deref(), local: args.local.as_deref(), refresh };
    let preview = preview::of(remote, application, instead).await?;
    let mut differs = false;
    for one in preview.resources.iter().filter(|one| one.differs()) {
        differs = true;
        say(&text(one))?;
    }
    Ok(if differs && args.exit_code { ExitCode::from(args.diff_exit_code) } else { ExitCode::SUCCESS })
}

/// One object as it is against what a sync makes of it, under Argo CD's heading.
fn text(one: &Previewed) -> String {
    let key = &one.key;
    let (live, wanted) = match &one.comparison {
        Some(comparison) => (Some(comparison.live.clone()), Some(comparison.predicted.clone())),
        None => (one.live.clone(), one.target.clone()),
    };
    let (live, wanted) = hide(live.map(tidy), wanted.map(tidy));
    let yaml = |object: &Option<Value>| object.as_ref().map(yaml::to_string).unwrap_or_default();
    let (before, after) = (yaml(&live), yaml(&wanted));
    let diff = TextDiff::from_lines(&before, &after);
    let name = |side: &str, there: bool| if there { format!("{side}/{key}") } else { "/dev/null".to_owned() };
    let unified = diff
        .unified_diff()
        .context_radius(3)
        .header(&name("live", live.is_some()), &name("git", wanted.is_some()))
        .to_string();
    let place =
        if key.namespace.is_empty() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) };
    format!("===== {}/{} {place} ======\n{unified}\n", key.group, key.kind)
}

pub(super) async fn manifests(remote: &Remote, args: &Manifests) -> Result<()> {
    let application = remote.application(&args.name).await?;
    let objects: Vec<Value> = match args.source {
        ManifestSource::Live => {
            let live = live::read(remote, &application).await?;
            live.into_iter().filter_map(|live| live.object).map(tidy).collect()
        }
        ManifestSource::Git => {
            let instead = Instead {
                revision: args.revision.as_deref(),
                local: args.local.as_deref(),
                refresh: Refresh::Recent,
            };
            let preview = preview::of(remote, application, instead).await?;
            preview.resources.into_iter().filter_map(|one| one.target).collect()
        }
    };
    for object in objects {
        // As Argo CD's, which hides what Secrets hold here too.
        let (object, _) = hide(Some(object), None);
        say(&format!("---\n{}", object.as_ref().map(yaml::to_string).unwrap_or_default()))?;
    }
    Ok(())
}
