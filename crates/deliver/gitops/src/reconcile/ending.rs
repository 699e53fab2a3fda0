//! An Application that is being deleted: hooks, the cascade, hooks again, and what is left of them.

use std::sync::Arc;
use std::time::Duration;

use client::controller::Action;
use client::dynamic::{Patch, PatchOptions};
use objects::meta;
use serde_json::json;
use tokio::time::Instant;

use super::memory::Known;
use super::{LISTING, NoSite, Pass};
use crate::clusters::Connection;
use crate::deletion::{self, Outcome, Part, Running};
use crate::error::Error;
use crate::targets::Targets;

/// Hooks that failed run again after ever longer waits.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// How often running hooks are looked at, besides when they move.
const LOOK: Duration = Duration::from_secs(2);

/// Why hooks are not known.
enum Unknown {
    /// Somebody wakes us.
    NotYet(Action),
    Failed(String),
}

impl Pass<'_> {
    /// One look at it.
    pub(super) async fn end(&mut self) -> Result<Action, Error> {
        let due = Part::ALL.into_iter().find(|part| part.is_due(self.object));
        match due {
            // What is left after the cascade waits for it.
            Some(part) if part == Part::ALL[0] || !deletion::cascades(self.object) => self.part(part).await,
            _ => deletion::pass(self.shared, self.key, self.object).await,
        }
    }

    async fn part(&mut self, part: Part) -> Result<Action, Error> {
        if let Some((at, _)) = self.memory.hooks_again {
            let left = at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Ok(Action::RequeueAfter(left));
            }
        }
        if let Some(action) = deletion::without_cluster(self.shared, self.key, self.object).await? {
            return Ok(action);
        }
        let targets = match self.described().await? {
            Ok(targets) => targets,
            Err(Unknown::NotYet(action)) => return Ok(action),
            Err(Unknown::Failed(reason)) => match part {
                Part::Run(_) => return self.hooks_failed(part, &reason).await,
                // What they left is told by their policies, which nobody knows: it stays.
                Part::CleanUp(_) => {
                    tracing::warn!(application = %self.key, reason, "hooks that ran are left behind");
                    return self.done(part).await;
                }
            },
        };
        let site = self.site();
        let cluster = Arc::clone(&site.place.cluster);
        let asked =
            meta::deletion_timestamp(self.object).and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let running = Running {
            cluster: &cluster,
            site,
            instance: &self.key.name,
            hooks: &targets.hooks,
            asked: asked.map_or(0, jiff::Timestamp::as_second),
            deadline: self.shared.settings.wave_deadline,
            now: self.now,
        };
        match part {
            Part::Run(hook) => match running.run(hook).await? {
                Outcome::Done => self.done(part).await,
                Outcome::Waiting(created) => {
                    if !created.is_empty() {
                        let text = format!("waiting for {} hook(s): {}", hook.as_str(), created.join(", "));
                        self.shared.events.normal(self.object, "ResourceDeleting", &text).await;
                    }
                    Ok(Action::RequeueAfter(LOOK))
                }
                Outcome::Failed(reason) => self.hooks_failed(part, &reason).await,
            },
            Part::CleanUp(hook) => {
                if running.clean_up(hook).await? {
                    self.done(part).await
                } else {
                    Ok(Action::RequeueAfter(LOOK))
                }
            }
        }
    }

    async fn done(&mut self, part: Part) -> Result<Action, Error> {
        self.memory.hooks_again = None;
        deletion::finish(self.shared, self.key, self.object, &part.finalizer()).await?;
        Ok(Action::Done)
    }

    /// The Application stays, and says why.
    async fn hooks_failed(&mut self, part: Part, reason: &str) -> Result<Action, Error> {
        let before = self.memory.hooks_again.map(|(_, wait)| wait * 2);
        let wait = before.unwrap_or(FIRST_RETRY).min(LONGEST_RETRY);
        self.memory.hooks_again = Some((Instant::now() + wait, wait));
        deletion::stuck(self.shared, self.key, self.object, &part.failed(reason)).await?;
        Ok(Action::RequeueAfter(wait))
    }

    /// What Git describes now; there the hooks are.
    async fn described(&mut self) -> Result<Result<Arc<Targets>, Unknown>, Error> {
        let failed = |reason: &str| Ok(Err(Unknown::Failed(reason.to_owned())));
        let (application, site) = match self.read().await {
            Ok(found) => found,
            Err(NoSite::NotYet) => return Ok(Err(Unknown::NotYet(Action::RequeueAfter(LISTING)))),
            Err(NoSite::Invalid(conditions)) => {
                let reason = conditions.into_iter().next().map(|condition| condition.message);
                return failed(&reason.unwrap_or_default());
            }
        };
        let cluster = self.settle(&application, site);
        if cluster.connection() != Connection::Up {
            return Ok(Err(Unknown::NotYet(Action::RequeueAfter(LOOK))));
        }
        match self.rendered(&application, &cluster, None).await? {
            Known::NotYet => Ok(Err(Unknown::NotYet(Action::Done))),
            Known::Failed { message, .. } => failed(&message),
            Known::Ready => Ok(Ok(Arc::clone(&self.memory.targets))),
        }
    }

    /// Has the finalizers say which hooks the Application has, before any status says that it is synced: whoever deletes
    /// it then does not pass them by.
    pub(super) async fn settle_finalizers(&self, targets: &Targets) -> Result<(), Error> {
        let Some(finalizers) = deletion::finalizers(self.object, &targets.hooks) else { return Ok(()) };
        let change = json!({"metadata": {
            "finalizers": finalizers, "resourceVersion": meta::resource_version(self.object),
        }});
        match self
            .api
            .patch(self.key, &Patch::Merge(change), &PatchOptions::manager(sync::FIELD_MANAGER))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
