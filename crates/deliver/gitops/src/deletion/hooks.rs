//! Hooks around the deletion of an Application: PreDelete before its objects go, PostDelete after them.
//!
//! The finalizers of the Application are the record of how far it is, so that whoever comes next goes on there.

use std::time::Duration;

use client::dynamic::{DeleteOptions, Propagation, WriteOptions};
use client::{Api, Key};
use jiff::Timestamp;
use objects::{Value, meta};
use sync::hooks::{
    DeletePolicy, HookType, POST_DELETE_FINALIZER, PRE_DELETE_FINALIZER, Role, delete_policies, role,
};
use sync::{FIELD_MANAGER, HealthStatus, ResourceKey};

use crate::clusters::Cluster;
use crate::comparison::read;
use crate::reconcile::Site;
use crate::targets::Target;

/// Follows either name where the hooks that ran are to be deleted.
const CLEANUP: &str = "/cleanup";

/// What is done of a deletion besides the cascade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Run(HookType),
    CleanUp(HookType),
}

impl Part {
    /// In the order in which they are due; the cascade comes after the first.
    pub(crate) const ALL: [Part; 4] = [
        Part::Run(HookType::PreDelete),
        Part::Run(HookType::PostDelete),
        Part::CleanUp(HookType::PreDelete),
        Part::CleanUp(HookType::PostDelete),
    ];

    /// The finalizer that is taken off when it is done.
    pub(crate) fn finalizer(self) -> String {
        let name = |hook| match hook {
            HookType::PreDelete => PRE_DELETE_FINALIZER,
            _ => POST_DELETE_FINALIZER,
        };
        match self {
            Part::Run(hook) => name(hook).to_owned(),
            Part::CleanUp(hook) => format!("{}{CLEANUP}", name(hook)),
        }
    }

    pub(crate) fn hook(self) -> HookType {
        match self {
            Part::Run(hook) | Part::CleanUp(hook) => hook,
        }
    }

    pub(crate) fn is_due(self, application: &Value) -> bool {
        let finalizer = self.finalizer();
        meta::finalizers(application).any(|found| found == finalizer)
    }

    /// As upstream begins the message of a DeletionError.
    pub(crate) fn failed(self, reason: &str) -> String {
        match self {
            Part::Run(HookType::PreDelete) => format!("error executing pre-delete hooks: {reason}"),
            Part::CleanUp(HookType::PreDelete) => format!("error cleaning up pre-delete hooks: {reason}"),
            Part::Run(_) | Part::CleanUp(_) => reason.to_owned(),
        }
    }
}

/// The finalizers of an Application as its hooks want them; `None` if they are so.
pub(crate) fn finalizers(application: &Value, hooks: &[Target]) -> Option<Vec<String>> {
    let has = |wanted: HookType| hooks.iter().any(|hook| is(&hook.manifest(), wanted));
    let before: Vec<String> = meta::finalizers(application).map(str::to_owned).collect();
    let mut after = before.clone();
    for part in Part::ALL {
        let finalizer = part.finalizer();
        match (has(part.hook()), after.iter().position(|found| *found == finalizer)) {
            (true, None) => after.push(finalizer),
            (false, Some(at)) => drop(after.remove(at)),
            _ => {}
        }
    }
    (after != before).then_some(after)
}

fn is(manifest: &Value, hook: HookType) -> bool {
    matches!(role(manifest), Role::Hook(types) if types.contains(&hook))
}

/// How hooks do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// With the hooks that were created just now.
    Waiting(Vec<String>),
    /// In upstream's words.
    Failed(String),
}

/// What hooks are run with.
pub(crate) struct Running<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) site: &'a Site,
    /// The application as objects name it.
    pub(crate) instance: &'a str,
    pub(crate) hooks: &'a [Target],
    /// When the deletion was asked for, in seconds: a part of the names of hooks that have none.
    pub(crate) asked: i64,
    /// How long a hook may take.
    pub(crate) deadline: Duration,
    pub(crate) now: Timestamp,
}

/// A hook as it is to be, and as it is.
struct One {
    key: ResourceKey,
    api: Api,
    name: Key,
    manifest: Value,
    live: Option<Value>,
}

impl Running<'_> {
    /// Creates the hooks that are not there, and looks how the others do. Those that failed are deleted, so that
    /// they run again when the deletion is tried again.
    pub(crate) async fn run(&self, kind: HookType) -> Result<Outcome, client::Error> {
        let hooks = match self.of(kind).await? {
            Ok(hooks) => hooks,
            Err(reason) => return Ok(Outcome::Failed(reason)),
        };
        let mut created = Vec::new();
        for hook in hooks.iter().filter(|hook| hook.live.is_none()) {
            match hook.api.create_with(&hook.manifest, &WriteOptions::manager(FIELD_MANAGER)).await {
                Ok(_) => created.push(format!("{}/{}", hook.key.kind, hook.key.name)),
                Err(error) if error.is_already_exists() => {}
                Err(error) if error.retryable() => return Err(error),
                Err(error) => return Ok(Outcome::Failed(error.message())),
            }
        }
        if !created.is_empty() {
            return Ok(Outcome::Waiting(created));
        }
        let (mut waiting, mut failed) = (false, Vec::new());
        for hook in &hooks {
            let Some(live) = hook.live.as_ref().filter(|live| self.is_ours(live)) else { continue };
            match self.health(live) {
                HealthStatus::Degraded => failed.push((hook, live)),
                HealthStatus::Progressing if self.is_late(live) => failed.push((hook, live)),
                HealthStatus::Progressing => waiting = true,
                _ => {}
            }
        }
        if failed.is_empty() {
            return Ok(if waiting { Outcome::Waiting(created) } else { Outcome::Done });
        }
        let mut names = Vec::new();
        for (hook, live) in failed {
            let late = if self.is_late(live) { ": it took too long" } else { "" };
            names.push(format!("{}/{}{late}", hook.key.namespace, hook.key.name));
            delete(hook, live).await?;
        }
        Ok(Outcome::Failed(format!("{} hook(s) failed: {}", kind.as_str(), names.join(", "))))
    }

    /// Deletes the hooks that ran, as their policies say of how all of them did; whether they are gone.
    pub(crate) async fn clean_up(&self, kind: HookType) -> Result<bool, client::Error> {
        let Ok(hooks) = self.of(kind).await? else { return Ok(true) };
        let live = |hook: &One| hook.live.clone().filter(|live| self.is_ours(live));
        let there: Vec<(&One, Value)> = hooks.iter().filter_map(|hook| Some((hook, live(hook)?))).collect();
        let worst = there.iter().map(|(_, live)| self.health(live)).max().unwrap_or(HealthStatus::Healthy);
        let mut gone = true;
        for (hook, live) in there {
            let due = delete_policies(&live).into_iter().any(|policy| match policy {
                DeletePolicy::HookSucceeded => worst == HealthStatus::Healthy,
                DeletePolicy::HookFailed => worst == HealthStatus::Degraded,
                DeletePolicy::BeforeHookCreation => false,
            });
            if due {
                delete(hook, &live).await?;
                gone = false;
            }
        }
        Ok(gone)
    }

    /// The hooks of one kind, or why they cannot be run.
    async fn of(&self, kind: HookType) -> Result<Result<Vec<One>, String>, client::Error> {
        let mut hooks = Vec::new();
        for target in self.hooks {
            let mut manifest = target.manifest();
            if !is(&manifest, kind) {
                continue;
            }
            let mut key = target.key.clone();
            if meta::name(&manifest).is_empty()
                && let Some(prefix) = meta::generate_name(&manifest).map(str::to_owned)
            {
                key.name = format!("{prefix}{}-{}", kind.as_str().to_lowercase(), self.asked);
                meta::set(&mut manifest, "name", key.name.clone().into());
            }
            let resource = match self.cluster.resources.resolve(&target.gvk).await {
                Ok(resource) => resource,
                Err(error) if error.is_unknown_kind() => {
                    return Ok(Err(format!("{} {}: its kind is not served", target.gvk.kind, key.name)));
                }
                Err(error) => return Err(error),
            };
            if let Some(reason) = self.site.refuses(&key, resource.namespaced) {
                return Ok(Err(reason));
            }
            let name = Key::new(Some(key.namespace.as_str()).filter(|_| resource.namespaced), &key.name);
            let live = read(&self.cluster.client, &resource, &key).await?;
            let api = Api::new(&self.cluster.client, &resource);
            hooks.push(One { key, api, name, manifest, live });
        }
        Ok(Ok(hooks))
    }

    /// An object of that name that is somebody else's is left alone, as upstream.
    fn is_ours(&self, live: &Value) -> bool {
        self.site.settings.tracking.owner(live).is_some_and(|owner| owner.application == self.instance)
    }

    fn health(&self, live: &Value) -> HealthStatus {
        if meta::is_deleting(live) {
            return HealthStatus::Progressing;
        }
        self.site.settings.checks.assess(live).map_or(HealthStatus::Healthy, |health| health.status)
    }

    fn is_late(&self, live: &Value) -> bool {
        let created = meta::creation_timestamp(live).and_then(|time| time.parse::<Timestamp>().ok());
        let since = created.map(|created| Duration::try_from(self.now.duration_since(created)));
        !meta::is_deleting(live) && since.is_some_and(|since| since.is_ok_and(|since| since > self.deadline))
    }
}

async fn delete(hook: &One, live: &Value) -> Result<(), client::Error> {
    if meta::is_deleting(live) {
        return Ok(());
    }
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    hook.api.delete_if_exists(&hook.name, &options.only(meta::uid(live))).await
}
