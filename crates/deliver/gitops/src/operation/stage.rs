//! Taking one step of a sync: prune, make room for hooks, apply, wait until it settled.

use std::time::Duration;

use client::{Api, Key};
use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use objects::{Value, meta};
use sync::annotations::HOOK_FINALIZER;
use sync::health::Checks;
use sync::hooks::{self, DeletePolicy};
use sync::plan::{Action, Phase, Step, Task};
use sync::{HealthStatus, ResourceKey, plan};
use tokio::time::Instant;

use super::ending::{release, remove};
use super::{Deferred, Operation, Subject, Syncing};
use crate::HealthGates;
use crate::application::Application;
use crate::apply::{self, Absent, Applied, Applying, DRY_RUN, NotApplied};
use crate::comparison::read;
use crate::live::state_of;
use crate::metrics::Count;
use crate::targets::Target;

/// Where in its step a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the first step: the namespace of the destination.
    First,
    /// Prunes are due, and hooks of that name have to go.
    Clear,
    /// Hooks are going.
    Cleared,
    Apply,
    /// Everything was applied; health and deletions are awaited.
    Settle,
    /// The pause before the next step.
    Pause,
}

/// Writes at the same time for one application.
const PARALLEL: usize = 8;

pub(super) fn has_hooks(step: &Step) -> bool {
    step.groups.iter().flatten().any(|task| matches!(task.action, Action::Hook(_)))
}

impl Operation {
    /// Takes steps until one has to be waited for (the longest wait until the next look) or none is left.
    pub(super) async fn take_steps(
        &mut self,
        context: &Syncing<'_>,
        application: &Application,
        now: Timestamp,
    ) -> Result<Option<Duration>, String> {
        if self.stage == Stage::First {
            if self.failing.is_none() {
                self.create_namespace(context, application).await?;
            }
            self.stage = Stage::Clear;
        }
        loop {
            let steps = if self.failing.is_some() { &self.plan.on_failure } else { &self.plan.steps };
            let last = self.position + 1 >= steps.len();
            let Some(step) = steps.get(self.position).cloned() else {
                return self.unconfirmed(context);
            };
            if self.dry_run {
                self.pretend(context, &step, now).await?;
                self.position += 1;
                continue;
            }
            match self.stage {
                Stage::First | Stage::Clear => {
                    self.clear(context, &step).await?;
                    self.go(Stage::Cleared);
                }
                Stage::Cleared => {
                    if let Some(wait) = self.await_cleared(context, &step).await? {
                        return Ok(Some(wait));
                    }
                    self.go(Stage::Apply);
                }
                Stage::Apply => {
                    self.apply(context, &step, now).await?;
                    self.go(Stage::Settle);
                }
                Stage::Settle => {
                    let awaited = self.plan.gated && (!last || has_hooks(&step));
                    if awaited && let Some(wait) = self.settle(context, &step).await? {
                        return Ok(Some(wait));
                    }
                    // As upstream, what the last step applied keeps saying `Running`: nobody waited for it.
                    if !awaited && !last {
                        self.settle_unawaited(&step);
                    }
                    self.go(if last { Stage::Clear } else { Stage::Pause });
                    if last {
                        self.position += 1;
                    }
                }
                Stage::Pause => {
                    let since = *self.waiting_since.get_or_insert_with(Instant::now);
                    let left = context.settings.wave_delay.saturating_sub(since.elapsed());
                    if !left.is_zero() {
                        return Ok(Some(left));
                    }
                    self.position += 1;
                    self.go(Stage::Clear);
                }
            }
        }
    }

    /// Says what a step would do. Nothing is waited for, since nothing happens.
    async fn pretend(&mut self, context: &Syncing<'_>, step: &Step, now: Timestamp) -> Result<(), String> {
        for task in &step.prunes {
            self.results.set(&task.key, task.phase, None, "Pruned", &format!("pruned{DRY_RUN}"));
        }
        self.apply(context, step, now).await?;
        for task in step.groups.iter().flatten() {
            if let Some((key, _)) = self.manifest(task) {
                self.results.settle(&key, task.phase, "Succeeded", None);
            }
        }
        Ok(())
    }

    /// Whether a dry run only misses what the sync itself would bring.
    fn would_bring(&self, missing: &Absent) -> bool {
        let targets = self.deployment.targets.list.iter();
        match missing {
            Absent::Namespace(name) => {
                let namespace = ResourceKey::new("", "Namespace", "", name);
                self.pretended.contains(name)
                    || targets.map(|target| &target.key).any(|key| *key == namespace)
            }
            Absent::Kind(gvk) => {
                let definitions = targets
                    .filter(|target| target.key.kind == "CustomResourceDefinition")
                    .map(Target::manifest);
                definitions.into_iter().any(|definition| {
                    definition["spec"]["group"] == gvk.group.as_str()
                        && definition["spec"]["names"]["kind"] == gvk.kind.as_str()
                })
            }
        }
    }

    fn go(&mut self, stage: Stage) {
        self.stage = stage;
        self.waiting_since = None;
    }

    /// Notes what is waited for; fails by the deadline.
    fn wait_for(&mut self, context: &Syncing<'_>, message: String) -> Result<Option<Duration>, String> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let left = context.settings.wave_deadline.saturating_sub(since.elapsed());
        if left.is_zero() {
            let minutes = context.settings.wave_deadline.as_secs().div_ceil(60);
            return Err(format!("{message}: not within {minutes} min"));
        }
        self.message = message;
        Ok(Some(left))
    }

    fn unconfirmed(&mut self, context: &Syncing<'_>) -> Result<Option<Duration>, String> {
        let Some(key) = self.plan.unconfirmed.first() else { return Ok(None) };
        let message = format!(
            "waiting for pruning confirmation of {}",
            named(key, self.plan.unconfirmed.len(), "resources")
        );
        self.wait_for(context, message)
    }

    /// The namespace that `CreateNamespace=true` asks for, unless a manifest brings it.
    async fn create_namespace(
        &mut self,
        context: &Syncing<'_>,
        application: &Application,
    ) -> Result<(), String> {
        let name = &application.destination_namespace;
        let key = ResourceKey::new("", "Namespace", "", name);
        let in_git = self.deployment.targets.list.iter().any(|target| target.key == key);
        if !self.options.create_namespace() || name.is_empty() || in_git {
            return Ok(());
        }
        let metadata = Some(&self.managed_metadata).filter(|metadata| metadata.is_object());
        let namespaces = Api::new(context.client, &client::resource::NAMESPACES);
        let there = namespaces.find(&Key::cluster(name)).await.map_err(|error| error.message())?;
        if (there.is_none() || metadata.is_some())
            && let Some(reason) = context.site.refuses(&key, false)
        {
            self.results.set(&key, Phase::PreSync, None, "SyncFailed", &reason);
            return Err(super::not_valid(&[reason]));
        }
        let manifest = plan::namespace_manifest(name, metadata);
        if self.dry_run {
            if there.is_none() {
                self.pretended.insert(name.clone());
                let message = format!("namespace/{name} created{DRY_RUN}");
                self.results.set(&key, Phase::PreSync, None, "Synced", &message);
                self.results.settle(&key, Phase::PreSync, "Succeeded", None);
            }
            return Ok(());
        }
        let message = match (there, metadata) {
            (Some(_), None) => return Ok(()),
            (None, None) => match namespaces.create(&manifest).await {
                Ok(_) => "created",
                Err(error) if error.is_already_exists() => return Ok(()),
                Err(error) => return Err(failed_to_apply(&error.message())),
            },
            (_, Some(_)) => {
                let applied = namespaces.apply(&manifest, sync::FIELD_MANAGER, true).await;
                applied.map_err(|error| failed_to_apply(&error.message()))?;
                "serverside-applied"
            }
        };
        self.results.set(&key, Phase::PreSync, None, "Synced", &format!("namespace/{name} {message}"));
        self.results.settle(&key, Phase::PreSync, "Succeeded", None);
        Ok(())
    }

    /// Prunes everything of a step at once and deletes the hooks that ran before.
    async fn clear(&mut self, context: &Syncing<'_>, step: &Step) -> Result<(), String> {
        let propagation = self.options.propagation();
        let prunes = step.prunes.iter().map(|task| {
            let prune = async move { (task, prune(context, &task.key, propagation).await) };
            prune.boxed()
        });
        let prunes: Vec<_> = prunes.collect();
        let pruned: Vec<_> = stream::iter(prunes).buffer_unordered(PARALLEL).collect().await;
        let mut failure = None;
        for (task, outcome) in pruned {
            match outcome {
                Ok(_) => {
                    context.work.add(Count::Prune);
                    self.results.set(&task.key, task.phase, None, "Pruned", "pruned");
                }
                Err(error) => {
                    let message = error.message();
                    self.results.set(&task.key, task.phase, None, "SyncFailed", &message);
                    failure.get_or_insert(format!("one or more objects failed to prune, reason: {message}"));
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        for task in step.groups.iter().flatten().filter(|task| matches!(task.action, Action::Hook(_))) {
            let Some((key, manifest)) = self.manifest(task) else { continue };
            if !self.results.has_begun(&key, task.phase)
                && hooks::delete_policies(&manifest).contains(&DeletePolicy::BeforeHookCreation)
            {
                let removed = remove(context, &key, propagation).await;
                removed.map_err(|error| format!("failed to delete hook {key}: {}", error.message()))?;
            }
        }
        Ok(())
    }

    async fn await_cleared(
        &mut self,
        context: &Syncing<'_>,
        step: &Step,
    ) -> Result<Option<Duration>, String> {
        for task in step.groups.iter().flatten().filter(|task| matches!(task.action, Action::Hook(_))) {
            let Some((key, manifest)) = self.manifest(task) else { continue };
            if !self.results.has_begun(&key, task.phase)
                && hooks::delete_policies(&manifest).contains(&DeletePolicy::BeforeHookCreation)
                && find(context, &key).await.map_err(|error| error.message())?.is_some()
            {
                let message = format!("waiting for deletion of hook {}", named(&key, 1, "hooks"));
                return Ok(self.wait_for(context, message)?.map(|wait| wait.min(POLL)));
            }
        }
        Ok(None)
    }

    /// The manifest of a task as it is applied: hooks get their name and finalizer.
    pub(super) fn manifest(&self, task: &Task) -> Option<(ResourceKey, Value)> {
        let Some(Subject::Target(position)) = self.subjects.get(task.item) else { return None };
        let mut manifest = self.deployment.targets.list.get(*position)?.manifest();
        let mut key = task.key.clone();
        if matches!(task.action, Action::Hook(_)) {
            if meta::name(&manifest).is_empty()
                && let Some(prefix) = meta::generate_name(&manifest).map(str::to_owned)
            {
                let revision = self.deployment.revisions.first().map_or("", String::as_str);
                let revision = revision.get(..7).unwrap_or(revision);
                let suffix = format!("{revision}-{}-{}", task.phase.as_str(), self.started.as_second());
                key.name = prefix + &suffix.to_lowercase();
                meta::set(&mut manifest, "name", key.name.clone().into());
            }
            meta::add_finalizer(&mut manifest, HOOK_FINALIZER);
        }
        Some((key, manifest))
    }

    /// Applies the groups of a step one after another, each at once. A resource without its namespace or kind is put
    /// off; any other failure stops the groups after it.
    async fn apply(&mut self, context: &Syncing<'_>, step: &Step, _now: Timestamp) -> Result<(), String> {
        for group in &step.groups {
            let options = self.options.clone();
            let applying = Applying {
                client: context.client,
                resources: context.resources,
                options: &options,
                ignore: context.ignore,
                force: self.force,
                dry_run: self.dry_run,
            };
            let tasks: Vec<_> = group
                .iter()
                .filter_map(|task| self.manifest(task).map(|(key, manifest)| (task, key, manifest)))
                .filter(|(task, key, _)| !self.results.has_begun(key, task.phase))
                .collect();
            let applies = tasks.iter().map(|(task, key, manifest)| {
                let apply = async move { (*task, key, apply::apply(applying, key, manifest).await) };
                apply.boxed()
            });
            let applies: Vec<_> = applies.collect();
            let applied: Vec<_> = stream::iter(applies).buffer_unordered(PARALLEL).collect().await;
            let mut failure = None;
            for (task, key, outcome) in applied {
                if let Err(reason) = self.note(context, task, key, outcome) {
                    failure.get_or_insert(reason);
                }
            }
            if let Some(reason) = failure {
                return Err(failed_to_apply(&reason));
            }
            if !self.dry_run && group.iter().any(|task| task.key.kind == "CustomResourceDefinition") {
                await_established(context, group).await;
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        context: &Syncing<'_>,
        task: &Task,
        key: &ResourceKey,
        outcome: Result<Applied, NotApplied>,
    ) -> Result<(), String> {
        let hook = match task.action {
            Action::Hook(hook) => Some(hook),
            Action::Apply | Action::Prune => None,
        };
        match outcome {
            // What a dry run answers is no state of the object.
            Ok(applied) if self.dry_run => {
                self.results.set(key, task.phase, hook, "Synced", &applied.message);
                Ok(())
            }
            Err(NotApplied::Deferred(missing)) if self.dry_run && self.would_bring(&missing.what) => {
                let kind = key.kind.to_lowercase();
                let kind = if key.group.is_empty() { kind } else { format!("{kind}.{}", key.group) };
                let message = format!("{kind}/{} created{DRY_RUN}", key.name);
                self.results.set(key, task.phase, hook, "Synced", &message);
                Ok(())
            }
            Ok(applied) => {
                context.work.add(if applied.changed { Count::Apply } else { Count::NoOpApply });
                context.live.observed(context.application, key, &applied.live);
                self.results.set(key, task.phase, hook, "Synced", &applied.message);
                Ok(())
            }
            Err(NotApplied::Deferred(missing)) => {
                self.results.set(key, task.phase, hook, "SyncFailed", &missing.message);
                let message = missing.message.clone();
                self.deferred.push(Deferred { key: key.clone(), missing });
                // What follows a hook relies on it having run.
                if hook.is_some() { Err(message) } else { Ok(()) }
            }
            Err(NotApplied::Failed(message)) => {
                self.results.set(key, task.phase, hook, "SyncFailed", &message);
                Err(message)
            }
        }
    }

    fn settle_unawaited(&mut self, step: &Step) {
        for task in step.groups.iter().flatten() {
            if self.results.get(&task.key, task.phase).is_some_and(|outcome| outcome.phase == "Running") {
                self.results.settle(&task.key, task.phase, "Succeeded", None);
            }
        }
    }

    /// Waits until what the step applied is healthy and what it pruned is gone.
    async fn settle(&mut self, context: &Syncing<'_>, step: &Step) -> Result<Option<Duration>, String> {
        let (mut resources, mut running_hooks) = (Vec::new(), Vec::new());
        self.awaited.clear();
        for task in step.groups.iter().flatten() {
            let Some((key, _)) = self.manifest(task) else { continue };
            if self.results.get(&key, task.phase).is_none_or(|outcome| outcome.phase != "Running") {
                continue;
            }
            let hook = matches!(task.action, Action::Hook(_));
            if !hook && context.settings.health_gates == HealthGates::Ignore {
                self.results.settle(&key, task.phase, "Succeeded", None);
                continue;
            }
            let live = find(context, &key).await.map_err(|error| error.message())?;
            let Some(live) = live else {
                self.results.settle(&key, task.phase, "Failed", None);
                return Err(format!(
                    "Resource {} is missing, it might have been deleted",
                    named(&key, 1, "")
                ));
            };
            let verdict = verdict(&context.site.settings.checks, &live, hook);
            if matches!(verdict, Verdict::Waiting) {
                context.live.observed(context.application, &key, &live);
                self.awaited.push((key.clone(), state_of(&live)));
            }
            match verdict {
                Verdict::Done(message) => {
                    self.results.settle(&key, task.phase, "Succeeded", message.as_deref());
                    if hook {
                        release(context, &key, &live).await.map_err(|error| error.message())?;
                    }
                }
                Verdict::Failed(message) => {
                    self.results.settle(&key, task.phase, "Failed", Some(&message));
                    if hook {
                        release(context, &key, &live).await.map_err(|error| error.message())?;
                    }
                    return Err(format!(
                        "one or more synchronization tasks completed unsuccessfully, reason: {}: {message}",
                        named(&key, 1, "")
                    ));
                }
                Verdict::Waiting if hook => running_hooks.push(key),
                Verdict::Waiting => resources.push(key),
            }
        }
        if let Some(first) = running_hooks.first() {
            let message =
                format!("waiting for completion of hook {}", named(first, running_hooks.len(), "hooks"));
            return self.wait_for(context, message);
        }
        if let Some(first) = resources.first() {
            let message =
                format!("waiting for healthy state of {}", named(first, resources.len(), "resources"));
            return self.wait_for(context, message);
        }
        let mut deleting = Vec::new();
        for task in &step.prunes {
            if find(context, &task.key).await.map_err(|error| error.message())?.is_some() {
                deleting.push(task.key.clone());
            }
        }
        if let Some(first) = deleting.first() {
            let message = format!("waiting for deletion of {}", named(first, deleting.len(), "resources"));
            return Ok(self.wait_for(context, message)?.map(|wait| wait.min(POLL)));
        }
        Ok(None)
    }
}

/// Deletions have no event of their own once an object is forgotten, so they are looked for.
const POLL: Duration = Duration::from_millis(500);

pub(super) enum Verdict {
    Done(Option<String>),
    Failed(String),
    Waiting,
}

pub(super) fn verdict(checks: &Checks, live: &Value, hook: bool) -> Verdict {
    let Some(health) = checks.assess(live) else { return Verdict::Done(None) };
    match health.status {
        HealthStatus::Healthy => Verdict::Done(hook.then_some(health.message)),
        HealthStatus::Degraded => Verdict::Failed(health.message),
        HealthStatus::Unknown if hook => Verdict::Failed(health.message),
        _ => Verdict::Waiting,
    }
}

fn failed_to_apply(reason: &str) -> String {
    format!("one or more objects failed to apply, reason: {reason}")
}

/// `apps/Deployment/web and 2 more resources`; the core group is empty, as in `/Service/web`.
fn named(key: &ResourceKey, count: usize, what: &str) -> String {
    let more = if count > 1 { format!(" and {} more {what}", count - 1) } else { String::new() };
    format!("{}/{}/{}{more}", key.group, key.kind, key.name)
}

pub(super) async fn find(context: &Syncing<'_>, key: &ResourceKey) -> Result<Option<Value>, client::Error> {
    match context.resources.preferred(&key.group, &key.kind).await {
        Ok(served) => read(context.client, &served.resource, key).await,
        Err(error) if error.is_unknown_kind() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes an object if it is there, and notes that it is gone: the watch that tells it may lag behind the comparison
/// that follows, which would then heal what has been done.
async fn prune(
    context: &Syncing<'_>,
    key: &ResourceKey,
    propagation: sync::options::Propagation,
) -> Result<(), client::Error> {
    delete(context, key, propagation).await?;
    if find(context, key).await?.is_none() {
        context.live.missed(key);
    }
    Ok(())
}

/// Deletes an object if it is there, as it was then.
pub(super) async fn delete(
    context: &Syncing<'_>,
    key: &ResourceKey,
    propagation: sync::options::Propagation,
) -> Result<Option<Value>, client::Error> {
    let served = match context.resources.preferred(&key.group, &key.kind).await {
        Ok(served) => served,
        Err(error) if error.is_unknown_kind() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(live) = read(context.client, &served.resource, key).await? else { return Ok(None) };
    if !meta::is_deleting(&live) {
        apply::delete(context.client, &served.resource, key, &live, propagation).await?;
    }
    Ok(Some(live))
}

/// New kinds can be used only when their definitions are established; usually within milliseconds.
async fn await_established(context: &Syncing<'_>, group: &[Task]) {
    const LONGEST: Duration = Duration::from_secs(3);
    let deadline = Instant::now() + LONGEST;
    for task in group.iter().filter(|task| task.key.kind == "CustomResourceDefinition") {
        let left = deadline.saturating_duration_since(Instant::now());
        let established = |object: Option<&Value>| {
            let conditions = object.and_then(|object| object["status"]["conditions"].as_array());
            conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
        };
        let definitions = &client::resource::CUSTOM_RESOURCE_DEFINITIONS;
        let key = Key::cluster(&task.key.name);
        let waited =
            client::wait::until(context.client, definitions, &key, "Established", left, established).await;
        if waited.is_err() {
            tracing::warn!(definition = task.key.name, "the definition is not established yet");
        }
    }
    context.resources.invalidate();
}
