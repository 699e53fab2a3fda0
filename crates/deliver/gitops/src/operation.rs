//! One sync under way: what was planned, how far it is, what came of each resource.
//!
//! A sync never blocks a pass: [`Operation::advance`] does what can be done now and says what it waits for. It is
//! called again when something moves, and by the deadline of the wait at the latest. Everything it does can be done
//! twice, so that a sync cut off by a crash is simply started again.

mod ending;
mod results;
mod stage;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Key};
use jiff::Timestamp;
use objects::Value;
use sync::plan::{self, Item, Phase, Plan, Terms};
use sync::schedule::RetryPolicy;
use sync::{IgnoreRules, ResourceKey, SyncOptions};
use tokio::time::Instant;

use crate::application::{self, Application, Source};
use crate::apply::Missing;
use crate::comparison::{Resource, read};
use crate::error::Error;
use crate::live::{Live, Sight};
use crate::metrics::Work;
use crate::reconcile::Site;
use crate::targets::Targets;
use crate::{HealthGates, Settings};
use ending::AS_FAILED;
use results::Results;
use stage::Stage;
pub(crate) use state::deferred_before;

/// What a sync works with.
pub(crate) struct Syncing<'a> {
    pub(crate) application: &'a Key,
    pub(crate) client: &'a Client,
    pub(crate) resources: &'a client::Resources,
    pub(crate) live: &'a Live,
    pub(crate) work: &'a Work,
    pub(crate) settings: &'a Settings,
    pub(crate) ignore: &'a IgnoreRules,
    pub(crate) site: &'a Site,
}

/// How far a sync is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on when a resource moves, or after this long.
    Waiting(Duration),
    Ended,
}

/// The phases of `operationState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationPhase {
    Running,
    Succeeded,
    Failed,
    /// It could not be ended as it should have been.
    Error,
}

impl OperationPhase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Error => "Error",
        }
    }
}

/// A resource that waits for its namespace or kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deferred {
    pub(crate) key: ResourceKey,
    pub(crate) missing: Missing,
}

/// A sync.
#[derive(Debug)]
pub(crate) struct Operation {
    /// The object that asked for it, as `operationState.operation` repeats it.
    request: Value,
    options: SyncOptions,
    selection: Option<Vec<Value>>,
    force: bool,
    hooks: bool,
    /// Whether nothing is written: the results say what would be.
    dry_run: bool,
    /// Namespaces that a dry run would have made.
    pretended: BTreeSet<String>,
    retry: RetryPolicy,
    retries: u32,
    started: Timestamp,
    finished: Option<Timestamp>,
    deployment: Deployment,
    /// What the plan's items are.
    subjects: Vec<Subject>,
    plan: Plan,
    /// Why nothing of the plan may be done.
    invalid: Option<String>,
    /// Whether the steps of failure are being taken.
    failing: Option<String>,
    position: usize,
    stage: Stage,
    waiting_since: Option<Instant>,
    /// What the last look waited for, and the state it was in.
    awaited: Vec<(ResourceKey, String)>,
    retry_at: Option<Instant>,
    /// Whether a status was to tell how all hooks ended, before those that succeeded are deleted.
    told: bool,
    /// Whether hooks that were to be deleted as the sync failed are still there.
    behind: bool,
    /// How often hooks could not be deleted in the end.
    clean_ups: u32,
    results: Results,
    deferred: Vec<Deferred>,
    pub(crate) phase: OperationPhase,
    pub(crate) message: String,
    managed_metadata: Value,
    /// Whether a person approved the deletions that ask for it.
    approved: bool,
}

#[derive(Debug, Clone)]
enum Subject {
    /// Position in the targets.
    Target(usize),
    /// A live object without a manifest.
    Extra,
}

/// A pass may not wait longer than this between two looks at a running sync.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// What a sync makes so.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) targets: Arc<Targets>,
    /// One per source.
    pub(crate) revisions: Vec<String>,
    /// As the result names them.
    pub(crate) sources: Vec<Source>,
    pub(crate) multi_source: bool,
}

impl Deployment {
    /// `revision` and `source`, or their lists, as status fields have them.
    pub(crate) fn name_in(&self, target: &mut Value) {
        application::revisions_into(&self.revisions, self.multi_source, target);
        application::sources_into(&self.sources, self.multi_source, target);
    }
}

impl Operation {
    /// Starts a sync. `resources` is the comparison that led to it.
    pub(crate) async fn start(
        context: &Syncing<'_>,
        application: &Application,
        request: Value,
        deployment: Deployment,
        resources: &[Arc<Resource>],
        now: Timestamp,
    ) -> Result<Self, Error> {
        let wanted = &request["sync"];
        let options = match wanted["syncOptions"].as_array() {
            Some(_) => SyncOptions::from_value(&wanted["syncOptions"]),
            None => application.options.clone(),
        };
        let automated = request["initiatedBy"]["automated"] == true;
        let retry = if automated {
            RetryPolicy::automated(&request["retry"])
        } else {
            RetryPolicy::manual(&request["retry"])
        };
        let selection = wanted["resources"].as_array().filter(|list| !list.is_empty()).cloned();
        let strategy = &wanted["syncStrategy"];
        let force = ["apply", "hook"].iter().any(|field| strategy[*field]["force"] == true);
        let hooks = selection.is_none() && !strategy["apply"].is_object();
        let mut operation = Self {
            options,
            selection,
            force,
            hooks,
            dry_run: wanted["dryRun"] == true,
            pretended: BTreeSet::new(),
            retry,
            retries: 0,
            started: now,
            finished: None,
            deployment,
            subjects: Vec::new(),
            plan: Plan::default(),
            invalid: None,
            failing: None,
            position: 0,
            stage: Stage::First,
            waiting_since: None,
            awaited: Vec::new(),
            retry_at: None,
            told: false,
            behind: false,
            clean_ups: 0,
            results: Results::default(),
            deferred: Vec::new(),
            phase: OperationPhase::Running,
            message: String::new(),
            managed_metadata: application.sync_policy["managedNamespaceMetadata"].clone(),
            approved: false,
            request,
        };
        operation.make_plan(context, resources).await?;
        Ok(operation)
    }

    /// Takes note of a person's approval of deletions; one from before this operation does not count.
    pub(crate) async fn approve(
        &mut self,
        context: &Syncing<'_>,
        resources: &[Arc<Resource>],
        at: Timestamp,
    ) -> Result<(), Error> {
        if self.approved || at < self.started || self.plan.unconfirmed.is_empty() || self.failing.is_some() {
            return Ok(());
        }
        self.approved = true;
        if let Err(error) = self.make_plan(context, resources).await {
            self.approved = false;
            return Err(error);
        }
        self.position = 0;
        self.stage = Stage::First;
        self.waiting_since = None;
        Ok(())
    }

    /// Plans from the beginning: on the start and on every retry.
    async fn make_plan(&mut self, context: &Syncing<'_>, resources: &[Arc<Resource>]) -> Result<(), Error> {
        let mut extras = Vec::new();
        for resource in resources.iter().filter(|resource| resource.status.requires_pruning) {
            let served = match context.resources.preferred(&resource.key.group, &resource.key.kind).await {
                Ok(served) => served,
                Err(error) if error.is_unknown_kind() => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(live) = read(context.client, &served.resource, &resource.key).await? {
                extras.push((resource.key.clone(), live));
            }
        }
        let in_sync: BTreeSet<&ResourceKey> = resources
            .iter()
            .filter(|r| r.status.status == Some(sync::SyncStatus::Synced))
            .map(|r| &r.key)
            .collect();
        let skip_synced = self.options.apply_out_of_sync_only();
        let manifests: Vec<(usize, Value)> = (self.deployment.targets.list.iter().enumerate())
            .filter(|(_, target)| {
                self.selects(&target.key) && !(skip_synced && in_sync.contains(&target.key))
            })
            .map(|(position, target)| (position, target.manifest()))
            .collect();
        extras.retain(|(key, _)| self.selects(key));
        let with_target = manifests.iter().map(|(position, manifest)| Item {
            key: &self.deployment.targets.list[*position].key,
            target: Some(manifest),
            live: None,
        });
        let without = extras.iter().map(|(key, live)| Item { key, target: None, live: Some(live) });
        let items: Vec<Item<'_>> = with_target.chain(without).collect();
        let terms = Terms {
            options: &self.options,
            prune: self.request["sync"]["prune"] == true,
            hooks: self.hooks,
            deletion_approved: self.approved || self.dry_run,
        };
        self.plan = plan::plan(&items, &terms);
        if context.settings.health_gates == HealthGates::Ignore {
            let hooks = |step: &plan::Step| {
                step.groups.iter().flatten().any(|task| task.action != plan::Action::Apply)
            };
            self.plan.gated = self.plan.steps.iter().any(hooks);
        }
        self.subjects = manifests.iter().map(|(position, _)| Subject::Target(*position)).collect();
        self.subjects.extend(extras.iter().map(|_| Subject::Extra));
        for (key, message) in self.plan.kept.clone() {
            self.results.set(&key, Phase::Sync, None, "PruneSkipped", message);
        }
        self.validate(context, resources);
        Ok(())
    }

    /// Nothing is done of a plan with an object that the project does not permit, or that is another's where that
    /// was asked for.
    fn validate(&mut self, context: &Syncing<'_>, resources: &[Arc<Resource>]) {
        let mut reasons = BTreeSet::new();
        for task in self.plan.steps.iter().flat_map(|step| step.groups.iter().flatten().chain(&step.prunes)) {
            let namespaced = match self.subjects.get(task.item) {
                Some(Subject::Target(position)) => {
                    let target = &self.deployment.targets.list[*position];
                    match &target.resource {
                        Some(resource) => resource.namespaced,
                        // It waits for its kind; then it is looked at again.
                        None => continue,
                    }
                }
                _ => !task.key.namespace.is_empty(),
            };
            if let Some(reason) = context.site.refuses(&task.key, namespaced) {
                let hook = match task.action {
                    plan::Action::Hook(hook) => Some(hook),
                    plan::Action::Apply | plan::Action::Prune => None,
                };
                self.results.set(&task.key, task.phase, hook, "SyncFailed", &reason);
                reasons.insert(reason);
            }
        }
        self.invalid = (!reasons.is_empty()).then(|| not_valid(&reasons.into_iter().collect::<Vec<_>>()));
        if self.invalid.is_none() && self.options.has("FailOnSharedResource=true") {
            self.invalid = resources.iter().find_map(|resource| {
                let (ResourceKey { kind, name, .. }, other) = (&resource.key, resource.shared_with.as_ref()?);
                Some(format!("Shared resource found: {kind}/{name} is part of the application {other} too"))
            });
        }
    }

    fn selects(&self, key: &ResourceKey) -> bool {
        self.selection.as_ref().is_none_or(|selection| {
            selection.iter().any(|wanted| {
                let is = |field: &str, value: &str| wanted[field].as_str().unwrap_or_default() == value;
                let namespace = wanted["namespace"].as_str().unwrap_or_default();
                is("group", &key.group)
                    && is("kind", &key.kind)
                    && is("name", &key.name)
                    && (namespace.is_empty() || namespace == key.namespace)
            })
        })
    }

    pub(crate) fn is_automated(&self) -> bool {
        self.request["initiatedBy"]["automated"] == true
    }

    /// Whether its state is written before anything is done. Whoever takes over after a crash sees from the objects what
    /// of a plain sync is left to do, but not that a hook is still to run after they were all applied.
    pub(crate) fn is_announced_first(&self) -> bool {
        self.plan.gated && self.invalid.is_none()
    }

    /// Whether all of the application is synced, not selected resources, and not only for show.
    pub(crate) fn is_whole(&self) -> bool {
        self.selection.is_none() && !self.dry_run
    }

    pub(crate) fn targets(&self) -> &Arc<Targets> {
        &self.deployment.targets
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// Whether something that the last look waited for has moved since, and is to be looked at again: the comparison
    /// after the look may have seen it move, and then its event is no news.
    pub(crate) fn missed_a_move(&mut self, live: &Live) -> bool {
        let awaited = std::mem::take(&mut self.awaited);
        awaited.into_iter().any(|(key, state)| live.sight(&key) != Sight::At(state))
    }

    pub(crate) fn request(&self) -> &Value {
        &self.request
    }

    /// What waits for a namespace or kind.
    pub(crate) fn deferred(&self) -> &[Deferred] {
        &self.deferred
    }

    /// Goes on as far as possible.
    pub(crate) async fn advance(
        &mut self,
        context: &Syncing<'_>,
        application: &Application,
        resources: &[Arc<Resource>],
        now: Timestamp,
    ) -> Result<Progress, Error> {
        if self.phase != OperationPhase::Running {
            return Ok(Progress::Ended);
        }
        if let Some(at) = self.retry_at {
            let left = at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Ok(Progress::Waiting(left));
            }
            if let Err(error) = self.begin_retry(context, resources).await {
                self.retry_at = Some(at);
                return Err(error);
            }
        }
        if let Some(reason) = self.invalid.take() {
            self.failing = Some(reason);
            return Ok(self.finish_or_retry(context, now).await);
        }
        match self.take_steps(context, application, now).await {
            Ok(Some(wait)) => Ok(Progress::Waiting(wait.min(LONGEST_LOOK))),
            Ok(None) => Ok(self.finish_or_retry(context, now).await),
            Err(failure) => {
                self.fail(context, failure).await;
                // The steps of failure are taken in the next look, after the reason was written.
                if self.plan.on_failure.is_empty() {
                    return Ok(self.finish_or_retry(context, now).await);
                }
                Ok(Progress::Waiting(Duration::ZERO))
            }
        }
    }

    async fn begin_retry(&mut self, context: &Syncing<'_>, resources: &[Arc<Resource>]) -> Result<(), Error> {
        let results = std::mem::take(&mut self.results);
        if let Err(error) = self.make_plan(context, resources).await {
            self.results = results;
            return Err(error);
        }
        self.retry_at = None;
        self.told = false;
        self.behind = false;
        self.clean_ups = 0;
        self.finished = None;
        self.failing = None;
        self.position = 0;
        self.stage = Stage::First;
        self.waiting_since = None;
        self.deferred.clear();
        self.message.clear();
        Ok(())
    }

    async fn fail(&mut self, context: &Syncing<'_>, failure: String) {
        match &mut self.failing {
            // The steps of failure failed as well.
            Some(message) => {
                message.push_str("\none or more SyncFail hooks failed");
                self.position = self.plan.on_failure.len();
            }
            None => {
                self.message.clone_from(&failure);
                self.failing = Some(failure);
                self.position = 0;
                self.behind = !self.delete_hooks(context, AS_FAILED).await.is_empty();
            }
        }
        self.stage = Stage::First;
        self.waiting_since = None;
    }
}

/// Why a plan is not begun.
pub(crate) fn not_valid(reasons: &[String]) -> String {
    format!("one or more synchronization tasks are not valid: {}", reasons.join("; "))
}
