//! The order of a sync: phases, waves, kinds, names; hooks where they belong; prunes in reverse.

use std::collections::BTreeMap;

use objects::{Value, meta};

use crate::annotations::SYNC_WAVE;
use crate::hooks::{HookType, Role, role};
use crate::key::ResourceKey;
use crate::options::{Deletion, SyncOptions};
use crate::order::{kind_rank, wave};

/// The phases of a sync, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    PreSync,
    Sync,
    PostSync,
    /// Entered only after a failure.
    SyncFail,
}

impl Phase {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreSync => "PreSync",
            Self::Sync => "Sync",
            Self::PostSync => "PostSync",
            Self::SyncFail => "SyncFail",
        }
    }

    /// From what [`Phase::as_str`] gives.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::PreSync, Self::Sync, Self::PostSync, Self::SyncFail]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }

    fn of(hook: HookType) -> Option<Self> {
        match hook {
            HookType::PreSync => Some(Self::PreSync),
            HookType::Sync => Some(Self::Sync),
            HookType::PostSync => Some(Self::PostSync),
            HookType::SyncFail => Some(Self::SyncFail),
            HookType::PreDelete | HookType::PostDelete | HookType::Skip => None,
        }
    }
}

/// One object of a sync: its manifest, its live state, or both.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    pub key: &'a ResourceKey,
    pub target: Option<&'a Value>,
    pub live: Option<&'a Value>,
}

/// What is decided for the whole sync.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub options: &'a SyncOptions,
    /// Whether the operation prunes.
    pub prune: bool,
    /// Hooks do not run in a sync of selected resources or with the apply strategy.
    pub hooks: bool,
    /// Whether a person approved deletions that ask for it.
    pub deletion_approved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Apply,
    Hook(HookType),
    Prune,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Position in the items that were planned.
    pub item: usize,
    pub key: ResourceKey,
    pub phase: Phase,
    pub wave: i64,
    pub action: Action,
}

/// Everything of one phase and wave: first all prunes at once, then the groups one after another, each group at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub phase: Phase,
    pub wave: i64,
    pub prunes: Vec<Task>,
    /// Applies and hooks by consecutive equal kind.
    pub groups: Vec<Vec<Task>>,
}

/// A whole sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Run after a failure.
    pub on_failure: Vec<Step>,
    /// Live objects without a manifest that stay, and why, in the words of a result message.
    pub kept: Vec<(ResourceKey, &'static str)>,
    /// Live objects that wait for a person's approval to be pruned.
    pub unconfirmed: Vec<ResourceKey>,
    /// Whether steps wait for the health of what the step before applied. A sync of one step without hooks is done
    /// when everything has been applied.
    pub gated: bool,
}

/// Plans a sync.
#[must_use]
pub fn plan(items: &[Item<'_>], terms: &Terms<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut tasks = Vec::new();
    let mut prunes = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match (item.target, item.live) {
            (Some(target), _) => tasks.extend(applies(index, item.key, target, terms.hooks)),
            (None, Some(live)) => match pruned(live, terms) {
                Pruned::Yes => prunes.push((index, live)),
                Pruned::No(message) => plan.kept.push((item.key.clone(), message)),
                Pruned::Unconfirmed => plan.unconfirmed.push(item.key.clone()),
            },
            (None, None) => {}
        }
    }
    add_prunes(&mut tasks, &prunes, items, terms.options);
    tasks.sort_by(|left, right| order(left).cmp(&order(right)));
    bring_dependencies_forward(&mut tasks, items);
    let (failing, tasks): (Vec<_>, Vec<_>) =
        tasks.into_iter().partition(|task| task.phase == Phase::SyncFail);
    plan.steps = steps(tasks);
    plan.on_failure = steps(failing);
    let hooks = plan.steps.iter().flat_map(|step| step.groups.iter().flatten());
    plan.gated = plan.steps.len() > 1 || hooks.into_iter().any(|task| matches!(task.action, Action::Hook(_)));
    plan
}

fn order(task: &Task) -> (Phase, i64, usize, &str, &str, &ResourceKey) {
    (task.phase, task.wave, kind_rank(&task.key.kind), &task.key.kind, &task.key.name, &task.key)
}

fn applies(item: usize, key: &ResourceKey, target: &Value, hooks: bool) -> Vec<Task> {
    let task = |phase, action| Task { item, key: key.clone(), phase, wave: wave(target), action };
    match role(target) {
        Role::Resource => vec![task(Phase::Sync, Action::Apply)],
        Role::Hook(types) if hooks => {
            let phases = types.into_iter().filter_map(|hook| Some((Phase::of(hook)?, hook)));
            phases.map(|(phase, hook)| task(phase, Action::Hook(hook))).collect()
        }
        Role::Hook(_) | Role::Skipped => Vec::new(),
    }
}

enum Pruned {
    Yes,
    No(&'static str),
    Unconfirmed,
}

fn pruned(live: &Value, terms: &Terms<'_>) -> Pruned {
    if !terms.prune {
        return Pruned::No("ignored (requires pruning)");
    }
    match terms.options.pruning(live) {
        Deletion::Yes => Pruned::Yes,
        Deletion::No => Pruned::No("ignored (no prune)"),
        Deletion::Confirm if terms.deletion_approved => Pruned::Yes,
        Deletion::Confirm => Pruned::Unconfirmed,
    }
}

/// Prunes run in the reverse order of creation: their distinct waves are mirrored.
fn add_prunes(tasks: &mut Vec<Task>, prunes: &[(usize, &Value)], items: &[Item<'_>], options: &SyncOptions) {
    let mut waves: Vec<i64> = prunes.iter().map(|(_, live)| wave(live)).collect();
    waves.sort_unstable();
    waves.dedup();
    let mirrored: BTreeMap<i64, i64> = waves.iter().copied().zip(waves.iter().rev().copied()).collect();
    let in_sync = tasks.iter().filter(|task| task.phase == Phase::Sync).map(|task| task.wave);
    let highest = in_sync.chain(waves.iter().copied()).max().unwrap_or(0).max(0);
    for (item, live) in prunes {
        let own = wave(live);
        let wave =
            if options.prune_last(live) { highest + 1 } else { mirrored.get(&own).copied().unwrap_or(own) };
        let key = items[*item].key.clone();
        tasks.push(Task { item: *item, key, phase: Phase::Sync, wave, action: Action::Prune });
    }
}

/// A Namespace goes before the first object in it, and a definition before the first object of its kind, with that
/// object's phase and wave.
fn bring_dependencies_forward(tasks: &mut Vec<Task>, items: &[Item<'_>]) {
    for at in 0..tasks.len() {
        if tasks[at].action != Action::Apply {
            continue;
        }
        let Some(target) = items[tasks[at].item].target else { continue };
        let name = meta::name(target);
        let (group, kind) = (
            target.pointer("/spec/group").and_then(Value::as_str),
            target.pointer("/spec/names/kind").and_then(Value::as_str),
        );
        let depends = |task: &Task| {
            task.action != Action::Prune
                && match tasks[at].key.kind.as_str() {
                    "Namespace" => task.key.namespace == name,
                    "CustomResourceDefinition" => {
                        Some(task.key.group.as_str()) == group && Some(task.key.kind.as_str()) == kind
                    }
                    _ => false,
                }
        };
        if let Some(first) = tasks[..at].iter().position(depends) {
            let mut task = tasks.remove(at);
            (task.phase, task.wave) = (tasks[first].phase, tasks[first].wave);
            tasks.insert(first, task);
        }
    }
}

fn steps(tasks: Vec<Task>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for task in tasks {
        let same = steps.last().is_some_and(|step| (step.phase, step.wave) == (task.phase, task.wave));
        if !same {
            steps.push(Step { phase: task.phase, wave: task.wave, prunes: Vec::new(), groups: Vec::new() });
        }
        let Some(step) = steps.last_mut() else { continue };
        if task.action == Action::Prune {
            step.prunes.push(task);
            continue;
        }
        match step.groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| last.key.kind == task.key.kind) => {
                group.push(task)
            }
            _ => step.groups.push(vec![task]),
        }
    }
    steps
}

/// The waves in which the cascade of a deleted application goes, highest first.
#[must_use]
pub fn cascade_wave<'a>(live: impl IntoIterator<Item = &'a Value>) -> Option<i64> {
    live.into_iter().map(wave).max()
}

/// The Namespace that `CreateNamespace=true` makes where none of that name is in the manifests.
#[must_use]
pub fn namespace_manifest(name: &str, metadata: Option<&Value>) -> Value {
    let mut namespace =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    for field in ["labels", "annotations"] {
        if let Some(map) = metadata.and_then(|metadata| metadata.get(field)).filter(|map| map.is_object()) {
            namespace["metadata"][field] = map.clone();
        }
    }
    namespace
}

/// The wave as Argo CD reports it: only where the annotation says one.
#[must_use]
pub fn reported_wave(object: &Value) -> Option<i64> {
    meta::annotation(object, SYNC_WAVE)?.parse().ok().filter(|wave| *wave != 0)
}

#[cfg(test)]
mod tests;
