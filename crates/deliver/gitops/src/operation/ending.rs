//! How a sync ends: done, failed for good or until its next attempt, superseded, or cut off by a person; and which of its
//! hooks go then.

use std::time::Duration;

use client::dynamic::{Patch, PatchOptions};
use client::{Api, Key};
use jiff::Timestamp;
use objects::{GroupVersionKind, Value, meta};
use serde_json::json;
use sync::annotations::HOOK_FINALIZER;
use sync::hooks::{self, DeletePolicy};
use sync::plan::{Action, Phase, Task};
use sync::{ResourceKey, options};
use tokio::time::Instant;

use super::stage::{self, Verdict, find, verdict};
use super::{Operation, OperationPhase, Progress, Syncing};

/// How often the deletion of hooks is tried again in the end. Then they stay, as upstream leaves them at once, and the sync
/// ends as it would have.
const CLEAN_UPS: u32 = 5;
/// After the first failure; the waits grow by it.
const CLEAN_UP_AGAIN: Duration = Duration::from_millis(200);

pub(super) const AS_FAILED: DeletePolicy = DeletePolicy::HookFailed;
const AS_SUCCEEDED: DeletePolicy = DeletePolicy::HookSucceeded;

/// Of a hook that was cut off, as upstream.
const TERMINATED: &str = "Terminated";

impl Operation {
    /// Ends it for a newer one. All its hooks go, so that those of the newer one run.
    pub(crate) async fn supersede(&mut self, context: &Syncing<'_>, revision: &str, now: Timestamp) {
        let mut left = self.cut_off_hooks(context).await;
        left.extend(self.delete_ran(context, |_| true).await);
        self.leave_behind(left);
        self.end(OperationPhase::Failed, format!("operation superseded by revision {revision}"), now);
    }

    /// Ends it as a person asked: the hooks that still run are deleted, and those that ended meanwhile stay.
    pub(crate) async fn terminate(&mut self, context: &Syncing<'_>, now: Timestamp) -> Progress {
        let left = self.cut_off_hooks(context).await;
        if let Some(wait) = self.clean_up_again(&left) {
            return wait;
        }
        let (phase, message) = if left.is_empty() {
            (OperationPhase::Failed, "Operation terminated")
        } else {
            (OperationPhase::Error, "Operation termination had errors")
        };
        self.leave_behind(left);
        self.end(phase, message.to_owned(), now);
        Progress::Ended
    }

    fn end(&mut self, phase: OperationPhase, message: String, now: Timestamp) {
        let retried = match self.retries {
            0 => String::new(),
            1 => " (retried 1 time).".to_owned(),
            retries => format!(" (retried {retries} times)."),
        };
        self.phase = phase;
        self.message = if phase == OperationPhase::Succeeded { message } else { message + &retried };
        self.finished = Some(now);
        self.waiting_since = None;
    }

    /// All steps were taken.
    pub(super) async fn finish_or_retry(&mut self, context: &Syncing<'_>, now: Timestamp) -> Progress {
        if let Some(failure) = self.failing.clone() {
            return self.failed(context, failure, now).await;
        }
        if !self.deferred.is_empty() {
            let mut reasons: Vec<&str> = Vec::new();
            for deferred in &self.deferred {
                if !reasons.contains(&deferred.missing.message.as_str()) {
                    reasons.push(&deferred.missing.message);
                }
            }
            let message = reasons.join(", ");
            self.end(OperationPhase::Failed, message, now);
            return Progress::Ended;
        }
        // Whoever takes over after a crash would miss a hook whose end was not told before it was deleted.
        if !self.told && self.ran(|policy| policy == AS_SUCCEEDED).next().is_some() {
            self.told = true;
            return Progress::Waiting(Duration::ZERO);
        }
        let left = self.delete_hooks(context, AS_SUCCEEDED).await;
        if let Some(wait) = self.clean_up_again(&left) {
            return wait;
        }
        self.leave_behind(left);
        let message = match self.plan.steps.last() {
            Some(step) if !stage::has_hooks(step) => "successfully synced (all tasks run)",
            _ => "successfully synced (no more tasks)",
        };
        self.end(OperationPhase::Succeeded, message.to_owned(), now);
        Progress::Ended
    }

    /// Ends as failed, or waits for its next attempt.
    async fn failed(&mut self, context: &Syncing<'_>, failure: String, now: Timestamp) -> Progress {
        // One that is still there would not run again in the next attempt.
        if self.behind {
            let left = self.delete_hooks(context, AS_FAILED).await;
            if let Some(wait) = self.clean_up_again(&left) {
                return wait;
            }
            self.behind = false;
            self.leave_behind(left);
        }
        if let Some(wait) = self.retry.wait(self.retries + 1) {
            self.retries += 1;
            self.finished = Some(now);
            let at = now.checked_add(jiff::SignedDuration::try_from(wait).unwrap_or_default()).unwrap_or(now);
            let clock = at.strftime("%-I:%M%p");
            self.message = format!("{failure}. Retrying attempt #{} at {clock}.", self.retries);
            self.retry_at = Some(Instant::now() + wait);
            return Progress::Waiting(wait);
        }
        self.end(OperationPhase::Failed, failure, now);
        Progress::Ended
    }

    /// The wait before hooks that are left are deleted again, unless that was tried often enough.
    fn clean_up_again(&mut self, left: &[Left]) -> Option<Progress> {
        if left.is_empty() || self.clean_ups >= CLEAN_UPS {
            return None;
        }
        self.clean_ups += 1;
        Some(Progress::Waiting(CLEAN_UP_AGAIN * self.clean_ups))
    }

    /// Deletes the hooks that ran and have this policy; those that could not be, and why.
    pub(super) async fn delete_hooks(&self, context: &Syncing<'_>, policy: DeletePolicy) -> Vec<Left> {
        self.delete_ran(context, |has| has == policy).await
    }

    async fn delete_ran(&self, context: &Syncing<'_>, due: impl Fn(DeletePolicy) -> bool) -> Vec<Left> {
        let mut left = Vec::new();
        let hooks: Vec<_> = self.ran(due).collect();
        for (phase, key) in hooks {
            if let Err(error) = remove(context, &key, self.options.propagation()).await {
                left.push(Left::new(phase, key, &error));
            }
        }
        left
    }

    /// Deletes the hooks that still run, and lets go of those that have ended. Our finalizer tells what nobody has seen the
    /// end of, also where an earlier process made a hook and died before it could say so.
    async fn cut_off_hooks(&mut self, context: &Syncing<'_>) -> Vec<Left> {
        let hooks: Vec<_> = self.hooks().map(|(task, key, _)| (task.phase, key)).collect();
        let mut left = Vec::new();
        for (phase, key) in hooks {
            let running = self.results.get(&key, phase).is_some_and(|outcome| outcome.phase == "Running");
            match self.cut_off(context, &key).await {
                Ok(None) if !running => {}
                Ok(None) => self.results.settle(&key, phase, "Failed", Some(TERMINATED)),
                Ok(Some((state, message))) => self.results.settle(&key, phase, state, Some(&message)),
                Err(error) => left.push(Left::new(phase, key, &error)),
            }
        }
        left
    }

    /// How a hook ended; `None` if there is none that is to end.
    async fn cut_off(
        &self,
        context: &Syncing<'_>,
        key: &ResourceKey,
    ) -> Result<Option<(&'static str, String)>, client::Error> {
        let Some(live) = find(context, key).await? else { return Ok(None) };
        if !meta::finalizers(&live).any(|finalizer| finalizer == HOOK_FINALIZER) {
            return Ok(None);
        }
        let (state, message) = match verdict(&context.site.settings.checks, &live, true) {
            Verdict::Done(message) => ("Succeeded", message.unwrap_or_default()),
            Verdict::Failed(message) => ("Failed", message),
            Verdict::Waiting => {
                stage::delete(context, key, self.options.propagation()).await?;
                ("Failed", TERMINATED.to_owned())
            }
        };
        release(context, key, &live).await?;
        Ok(Some((state, message)))
    }

    /// The results say of hooks that they were left behind.
    fn leave_behind(&mut self, left: Vec<Left>) {
        for Left { phase, key, why } in left {
            self.results.remark(&key, phase, why);
        }
    }

    /// The hooks that ran and whose policies say so.
    fn ran(&self, due: impl Fn(DeletePolicy) -> bool) -> impl Iterator<Item = (Phase, ResourceKey)> {
        self.hooks().filter_map(move |(task, key, manifest)| {
            let due = hooks::delete_policies(&manifest).into_iter().any(&due);
            (due && self.results.get(&key, task.phase).is_some()).then_some((task.phase, key))
        })
    }

    /// All hooks of the plan that may be on the cluster.
    fn hooks(&self) -> impl Iterator<Item = (&Task, ResourceKey, Value)> {
        let steps = self.plan.steps.iter().chain(&self.plan.on_failure).filter(|_| !self.dry_run);
        let tasks = steps.flat_map(|step| step.groups.iter().flatten());
        tasks.filter(|task| matches!(task.action, Action::Hook(_))).filter_map(|task| {
            let (key, manifest) = self.manifest(task)?;
            Some((task, key, manifest))
        })
    }
}

/// A hook that could not be deleted.
pub(super) struct Left {
    phase: Phase,
    key: ResourceKey,
    why: String,
}

impl Left {
    fn new(phase: Phase, key: ResourceKey, error: &client::Error) -> Self {
        tracing::warn!(hook = %key, error = client::chain(error), "cannot delete the hook");
        Self { phase, key, why: format!("failed to delete resource: {}", error.message()) }
    }
}

/// Deletes a hook if it is there; its finalizer is ours to take off.
pub(super) async fn remove(
    context: &Syncing<'_>,
    key: &ResourceKey,
    propagation: options::Propagation,
) -> Result<(), client::Error> {
    match stage::delete(context, key, propagation).await? {
        Some(live) => release(context, key, &live).await,
        None => Ok(()),
    }
}

/// Takes our finalizer off a hook that completed.
pub(super) async fn release(
    context: &Syncing<'_>,
    key: &ResourceKey,
    live: &Value,
) -> Result<(), client::Error> {
    let Some(at) = meta::finalizers(live).position(|finalizer| finalizer == HOOK_FINALIZER) else {
        return Ok(());
    };
    let Some(gvk) = GroupVersionKind::of(live) else { return Ok(()) };
    let resource = context.resources.resolve(&gvk).await?;
    let path = format!("/metadata/finalizers/{at}");
    let operations = json!([
        {"op": "test", "path": path, "value": HOOK_FINALIZER},
        {"op": "remove", "path": path},
    ]);
    let name = Key::new(Some(key.namespace.as_str()).filter(|_| resource.namespaced), &key.name);
    let api = Api::new(context.client, &resource);
    match api.patch(&name, &Patch::Json(operations), &PatchOptions::manager(sync::FIELD_MANAGER)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
