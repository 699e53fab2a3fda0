//! Waiting for Applications: watched, with a deadline, and told what each still lacks.

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use client::dynamic::{Patch, PatchOptions};
use client::watch::{Event, WatchOptions, watch};
use client::{Key, resource};
use futures::StreamExt as _;
use objects::{Value, meta};
use serde_json::json;
use sync::annotations::REFRESH;
use sync::health::HealthStatus;
use tokio::time::Instant;

use super::live;
use super::select::{chosen, keys};
use super::show::{self, Shown};
use crate::cli::{Refresh, Wait};
use crate::remote::output::text;
use crate::remote::progress::Progress;
use crate::remote::{NO, Remote, seconds};

/// How an Application stands to what is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    Done,
    /// With what it lacks.
    Waiting(String),
    /// It will not come; with the reason.
    Never(String),
}

/// How long was waited for it, and how that ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) key: Key,
    pub(super) application: Option<Value>,
    /// What it lacked at the deadline, or why it never comes.
    pub(super) problem: Option<String>,
}

/// Watches Applications until each is done, or the deadline.
pub(super) async fn until(
    remote: &Remote,
    wanted: &[Key],
    limit: Duration,
    check: impl Fn(Option<&Value>) -> Check,
) -> Vec<Outcome> {
    let options = match wanted {
        [key] => WatchOptions::object(key),
        _ => {
            let first = wanted.first().and_then(|key| key.namespace.clone());
            let same = wanted.iter().all(|key| key.namespace == first);
            WatchOptions { namespace: first.filter(|_| same), ..WatchOptions::default() }
        }
    };
    let progress = Progress::start("waiting");
    let mut states: BTreeMap<Key, (Check, Option<Value>)> = wanted
        .iter()
        .map(|key| (key.clone(), (Check::Waiting("it has not been seen yet".to_owned()), None)))
        .collect();
    let deadline = Instant::now() + limit;
    let mut events = pin!(watch(&remote.client, &resource::APPLICATIONS, options));
    while states.values().any(|(state, _)| matches!(state, Check::Waiting(_))) {
        let Ok(Some(event)) = tokio::time::timeout_at(deadline, events.next()).await else { break };
        match event {
            Event::Applied(object) => {
                if let Some(state) = states.get_mut(&Key::of(&object)) {
                    *state = (check(Some(&object)), Some(object));
                }
            }
            Event::Deleted(object) => {
                if let Some(state) = states.get_mut(&Key::of(&object)) {
                    *state = (check(None), None);
                }
            }
            Event::Resynced(present) => {
                for (key, state) in &mut states {
                    if !present.contains(key) {
                        *state = (check(None), None);
                    }
                }
            }
        }
        let waiting: Vec<String> = states
            .iter()
            .filter_map(|(key, (state, _))| match state {
                Check::Waiting(reason) => Some(format!("{}: {reason}", key.name)),
                _ => None,
            })
            .collect();
        if let Some(first) = waiting.first() {
            let more =
                if waiting.len() > 1 { format!(" (and {} more)", waiting.len() - 1) } else { String::new() };
            progress.set(format!("{first}{more}"));
        }
    }
    let outcome = |(key, (state, application)): (Key, (Check, Option<Value>))| {
        let problem = match state {
            Check::Done => None,
            Check::Waiting(reason) => Some(format!("not within {} s: {reason}", limit.as_secs())),
            Check::Never(reason) => Some(reason),
        };
        Outcome { key, application, problem }
    };
    states.into_iter().map(outcome).collect()
}

/// What `app wait` waits for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    sync: bool,
    health: bool,
    operation: bool,
    suspended: bool,
    degraded: bool,
    delete: bool,
}

impl Wanted {
    fn of(wait: &Wait) -> Self {
        let Wait { sync, health, operation, suspended, degraded, delete, .. } = *wait;
        let none = !(sync || health || operation || suspended || degraded || delete);
        Self {
            sync: sync || none,
            health: health || none,
            operation: operation || none,
            suspended,
            degraded,
            delete,
        }
    }

    fn any_health(self) -> bool {
        self.health || self.suspended || self.degraded
    }

    fn takes(self, health: &str) -> bool {
        match health {
            "Healthy" => self.health || !(self.suspended || self.degraded),
            "Suspended" => self.suspended,
            "Degraded" => self.degraded,
            _ => false,
        }
    }

    fn check(self, application: Option<&Value>) -> Check {
        let Some(application) = application else {
            return if self.delete {
                Check::Done
            } else {
                Check::Never("there is no such Application".to_owned())
            };
        };
        if self.delete {
            return Check::Waiting("it is still there".to_owned());
        }
        if meta::annotation(application, REFRESH).is_some() {
            return Check::Waiting("nobody has refreshed it yet".to_owned());
        }
        let mut lacking = Vec::new();
        let state = &application["status"]["operationState"];
        if self.operation && (application["operation"].is_object() || runs(state)) {
            lacking.push(format!("operation: {}", said(text(state, "/message"), "not taken up yet")));
        }
        let sync = said(text(application, "/status/sync/status"), "Unknown");
        if self.sync && sync != "Synced" {
            lacking.push(format!("sync: {sync}{}", condition(application)));
        }
        let health = said(text(application, "/status/health/status"), "Unknown");
        if self.any_health() && !self.takes(health) {
            let message = text(application, "/status/health/message");
            let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
            lacking.push(format!("health: {health}{message}"));
        }
        if lacking.is_empty() { Check::Done } else { Check::Waiting(lacking.join(", ")) }
    }
}

fn said<'a>(word: &'a str, or: &'a str) -> &'a str {
    if word.is_empty() { or } else { word }
}

/// The first error among its conditions.
fn condition(application: &Value) -> String {
    let conditions = crate::remote::output::array(application, "/status/conditions");
    let error = conditions.iter().find(|condition| text(condition, "/type").ends_with("Error"));
    error.map(|error| format!(" ({})", text(error, "/message"))).unwrap_or_default()
}

/// Whether an operation is under way.
pub(super) fn runs(state: &Value) -> bool {
    matches!(text(state, "/phase"), "Running" | "Terminating")
}

pub(super) async fn run(remote: &Remote, wait: &Wait) -> Result<ExitCode> {
    let keys = keys(remote, &wait.apps).await?;
    let wanted = Wanted::of(wait);
    let limit = seconds(wait.timeout);
    if !wanted.delete {
        for key in &keys {
            request_refresh(remote, key, false).await?;
        }
    }
    if !wait.resource.is_empty() {
        let [key] = keys.as_slice() else { bail!("--resource is for one Application") };
        return resources(remote, key, &wait.resource, wanted, limit).await;
    }
    let outcomes = until(remote, &keys, limit, |application| wanted.check(application)).await;
    report(remote, outcomes, wait).await
}

async fn report(remote: &Remote, outcomes: Vec<Outcome>, wait: &Wait) -> Result<ExitCode> {
    let mut failed = false;
    let single = outcomes.len() == 1;
    for outcome in outcomes {
        let Outcome { key, application, problem } = outcome;
        if let (Some(application), true) = (application, single) {
            show::print(remote, application, wait.output, Shown::default()).await?;
        }
        if let Some(problem) = problem {
            failed = true;
            eprintln!("mainstay: application {key}: {problem}");
            eprintln!("mainstay: `mainstay why app/{}` looks for the cause", key.name);
        }
    }
    Ok(if failed { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// How often chosen resources are looked at: their health is in no status that could be watched.
const LOOK: Duration = Duration::from_secs(1);

async fn resources(
    remote: &Remote,
    key: &Key,
    typed: &[String],
    wanted: Wanted,
    limit: Duration,
) -> Result<ExitCode> {
    let progress = Progress::start("waiting");
    let deadline = Instant::now() + limit;
    loop {
        let application = remote.application(&format!("{}/{}", key.namespace_str(), key.name)).await?;
        let chosen = chosen(&application, typed)?;
        let mut lacking = Vec::new();
        for live in live::read(remote, &application).await?.iter().filter(|live| chosen.contains(&live.key)) {
            if wanted.sync && live.status() != "Synced" {
                lacking.push(format!("{} is {}", live.key, said(live.status(), "unknown")));
            }
            let health = live.health().map_or(HealthStatus::Healthy, |health| health.status);
            let health = if live.object.is_none() { HealthStatus::Missing } else { health };
            if wanted.any_health() && !wanted.takes(health.as_str()) {
                lacking.push(format!("{} is {health}", live.key));
            }
        }
        if lacking.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        progress.set(lacking.join(", "));
        if Instant::now() + LOOK > deadline {
            drop(progress);
            eprintln!("mainstay: not within {} s: {}", limit.as_secs(), lacking.join(", "));
            return Ok(ExitCode::from(NO));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn request_refresh(remote: &Remote, key: &Key, hard: bool) -> Result<()> {
    let value = if hard { "hard" } else { "normal" };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {REFRESH: value}}}));
    remote.applications().patch(key, &patch, &PatchOptions::default()).await?;
    Ok(())
}

/// Has an Application compared with what its repository holds now.
pub(super) async fn refresh(remote: &Remote, key: &Key, hard: bool, limit: Duration) -> Result<()> {
    request_refresh(remote, key, hard).await?;
    let outcomes = until(remote, std::slice::from_ref(key), limit, refreshed).await;
    match outcomes.into_iter().find_map(|outcome| outcome.problem) {
        Some(problem) => bail!("refresh application {key}: {problem}"),
        None => Ok(()),
    }
}

fn refreshed(application: Option<&Value>) -> Check {
    match application {
        None => Check::Never("there is no such Application".to_owned()),
        Some(application) if meta::annotation(application, REFRESH).is_some() => {
            Check::Waiting("no controller has answered; is `mainstay up` (or Argo CD) running?".to_owned())
        }
        Some(_) => Check::Done,
    }
}

pub(super) async fn refresh_all(remote: &Remote, args: &Refresh) -> Result<()> {
    let keys = keys(remote, &args.apps).await?;
    for key in &keys {
        request_refresh(remote, key, args.hard).await?;
    }
    let outcomes = until(remote, &keys, seconds(args.timeout), refreshed).await;
    let problems: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| Some(format!("{}: {}", outcome.key, outcome.problem?)))
        .collect();
    if !problems.is_empty() {
        bail!("refresh {}", problems.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(flags: &str) -> Wanted {
        let has = |flag: &str| flags.contains(flag);
        let none = flags.is_empty();
        Wanted {
            sync: none || has("sync"),
            health: none || has("health"),
            operation: none || has("operation"),
            suspended: has("suspended"),
            degraded: has("degraded"),
            delete: has("delete"),
        }
    }

    #[test]
    fn what_is_lacking_is_told() {
        let application = json!({"status": {"sync": {"status": "OutOfSync"}, "health": {"status": "Degraded", "message": "Caused by x"},
            "conditions": [{"type": "SyncError", "message": "refused"}],
            "operationState": {"phase": "Running", "message": "waiting for completion of hook batch/Job/migrate"}}});
        assert_eq!(
            wanted("").check(Some(&application)),
            Check::Waiting(
                "operation: waiting for completion of hook batch/Job/migrate, sync: OutOfSync (refused), \
                 health: Degraded (Caused by x)"
                    .to_owned()
            )
        );
        assert_eq!(wanted("degraded").check(Some(&application)), Check::Done);
        let well = json!({"status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}});
        assert_eq!(wanted("").check(Some(&well)), Check::Done);
        assert_eq!(wanted("suspended").check(Some(&well)), Check::Waiting("health: Healthy".to_owned()));
        let asked = json!({"operation": {}, "status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}});
        assert_eq!(wanted("").check(Some(&asked)), Check::Waiting("operation: not taken up yet".to_owned()));
        assert_eq!(wanted("delete").check(None), Check::Done);
        assert!(matches!(wanted("").check(None), Check::Never(_)));
    }
}
