//! What came of each resource, as `operationState.syncResult.resources` lists it.

use std::collections::BTreeMap;

use objects::Value;
use serde_json::json;
use sync::hooks::HookType;
use sync::{Phase, ResourceKey};

use crate::targets::Targets;

#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<(Phase, ResourceKey), Outcome>);

#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Synced, SyncFailed, Pruned, PruneSkipped.
    pub(super) status: &'static str,
    pub(super) message: String,
    pub(super) hook: Option<HookType>,
    /// Running, Succeeded, Failed.
    pub(super) phase: &'static str,
}

impl Results {
    /// A resource or hook that is done as far as the step itself goes.
    pub(super) fn set(
        &mut self,
        key: &ResourceKey,
        phase: Phase,
        hook: Option<HookType>,
        status: &'static str,
        message: &str,
    ) {
        let state = match status {
            "SyncFailed" => "Failed",
            _ if hook.is_some() => "Running",
            "Synced" => "Running",
            _ => "Succeeded",
        };
        let outcome = Outcome { status, message: message.to_owned(), hook, phase: state };
        self.0.insert((phase, key.clone()), outcome);
    }

    /// How a resource did afterwards.
    pub(super) fn settle(
        &mut self,
        key: &ResourceKey,
        phase: Phase,
        state: &'static str,
        message: Option<&str>,
    ) {
        if let Some(outcome) = self.0.get_mut(&(phase, key.clone())) {
            outcome.phase = state;
            if let Some(message) = message.filter(|message| !message.is_empty()) {
                message.clone_into(&mut outcome.message);
            }
        }
    }

    /// Says something else of a resource; how it did stays.
    pub(super) fn remark(&mut self, key: &ResourceKey, phase: Phase, message: String) {
        if let Some(outcome) = self.0.get_mut(&(phase, key.clone())) {
            outcome.message = message;
        }
    }

    /// Takes over what the state of an earlier process says of hooks that ran or run.
    pub(super) fn resume(&mut self, resources: &Value) {
        for entry in resources.as_array().into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            let (Some(hook), Some(phase)) =
                (HookType::parse(text("hookType")), Phase::parse(text("syncPhase")))
            else {
                continue;
            };
            let state = match text("hookPhase") {
                "Running" => "Running",
                "Succeeded" => "Succeeded",
                _ => continue,
            };
            let key = ResourceKey::new(text("group"), text("kind"), text("namespace"), text("name"));
            let message = text("message").to_owned();
            let outcome = Outcome { status: "Synced", message, hook: Some(hook), phase: state };
            self.0.insert((phase, key), outcome);
        }
    }

    /// Whether a hook was created in this attempt, by this process or an earlier one.
    pub(super) fn has_begun(&self, key: &ResourceKey, phase: Phase) -> bool {
        self.get(key, phase).is_some_and(|outcome| outcome.hook.is_some() && outcome.phase != "Failed")
    }

    pub(super) fn get(&self, key: &ResourceKey, phase: Phase) -> Option<&Outcome> {
        self.0.get(&(phase, key.clone()))
    }

    pub(super) fn to_value(&self, targets: &Targets) -> Value {
        let list = self.0.iter().map(|((phase, key), outcome)| {
            let target = targets.list.iter().find(|target| target.key == *key);
            let mut entry = json!({
                "kind": key.kind,
                "name": key.name,
                "namespace": key.namespace,
                "group": key.group,
                "version": target.map_or("", |target| target.gvk.version.as_str()),
                "status": outcome.status,
                "message": outcome.message,
                "hookPhase": outcome.phase,
                "syncPhase": phase.as_str(),
            });
            if let Some(hook) = outcome.hook {
                entry["hookType"] = hook.as_str().into();
            }
            entry
        });
        Value::Array(list.collect())
    }
}
