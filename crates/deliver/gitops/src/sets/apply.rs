//! Generated Applications, created, updated and deleted.

use std::collections::{BTreeMap, BTreeSet};

use applicationsets::Generated;
use applicationsets::update::{self, Policy};
use client::controller::Action;
use client::dynamic::{DeleteOptions, Patch, PatchOptions, Propagation};
use client::{Api, Key, resource};
use objects::{Value, meta, patch};
use serde_json::json;

use super::Pass;
use crate::beside::Snapshot;
use crate::error::Error;

/// What makes the set wait for its Applications when it is deleted.
pub(super) const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// Reason and message of a condition.
type Failed = (&'static str, String);

impl Pass<'_> {
    /// The Applications that may be created and updated, and what is wrong with the others.
    pub(super) async fn validated<'g>(
        &self,
        beside: &Snapshot,
        generated: &'g [Value],
    ) -> (Vec<&'g Value>, Option<String>) {
        let mut seen = BTreeSet::new();
        let mut errors: BTreeMap<String, String> = BTreeMap::new();
        let mut valid = Vec::new();
        for application in generated {
            let (set, name) = (meta::name(self.set), meta::name(application));
            let project = application["spec"]["project"].as_str().unwrap_or_default();
            let problem = if name.is_empty() {
                Some(format!(
                    "ApplicationSet {set} contains an application with no name; a name must be set in the template's metadata.name or via a templatePatch (generateName is not supported)"
                ))
            } else if !seen.insert(name) {
                Some(format!("ApplicationSet {set} contains applications with duplicate name: {name}"))
            } else if beside.project(project).is_none() {
                Some(format!("application references project {project} which does not exist"))
            } else {
                let place = crate::clusters::known(beside, &application["spec"]["destination"]);
                place.err().map(|reason| format!("application destination spec is invalid: {reason}"))
            };
            match problem {
                Some(problem) => {
                    errors.insert(name.to_owned(), problem);
                }
                None => valid.push(application),
            }
        }
        let others = errors.len().saturating_sub(1);
        let message = errors.into_values().next_back().map(|message| match others {
            0 => message,
            others => format!("{message} (and {others} more)"),
        });
        (valid, message)
    }

    /// Makes the Applications as they were generated, as far as the policy lets.
    pub(super) async fn apply(
        &self,
        generated: &Generated,
        valid: &[&Value],
        owned: &[Value],
        policy: Policy,
    ) -> Result<(), Failed> {
        let mut first = Ok(());
        let mut valid = valid.to_vec();
        valid.sort_by_key(|application| meta::name(application));
        for application in valid {
            let there = owned.iter().any(|live| meta::name(live) == meta::name(application));
            if there && !policy.update {
                continue;
            }
            let reason = if policy.update { "UpdateApplicationError" } else { "CreateApplicationError" };
            if let Err(message) = self.create_or_update(application).await {
                first = first.and(Err((reason, message)));
            }
        }
        if policy.delete {
            let wanted: BTreeSet<&str> = generated.applications.iter().map(meta::name).collect();
            for live in owned.iter().filter(|live| !wanted.contains(meta::name(live))) {
                if let Err(error) = self.delete_application(live).await {
                    first = first.and(Err(("DeleteApplicationError", error.message())));
                }
            }
        }
        first
    }

    async fn create_or_update(&self, generated: &Value) -> Result<(), String> {
        let api = Api::new(&self.sets.shared.client, &resource::APPLICATIONS);
        let key = Key::of(generated);
        let name = &key.name;
        let events = &self.sets.shared.events;
        let Some(live) = api.find(&key).await.map_err(|error| error.message())? else {
            let created = update::created(self.set, generated);
            return match api.create(&created).await {
                Ok(_) => {
                    let text = format!("created Application {name:?}");
                    events.normal(self.set, "created", &text).await;
                    Ok(())
                }
                // Somebody was faster: the event of that brings us here again.
                Err(error) if error.is_already_exists() => Ok(()),
                Err(error) => Err(error.message()),
            };
        };
        let new = update::updated(self.set, generated, &live)?;
        let change = patch::merge_diff(&live, &new);
        if change.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(());
        }
        let manager = PatchOptions::manager("argocd-applicationset-controller");
        match api.patch(&key, &Patch::Merge(change), &manager).await {
            Ok(_) => {
                let text = format!("updated Application {name:?}");
                events.normal(self.set, "updated", &text).await;
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.message()),
        }
    }

    pub(super) async fn delete_application(&self, live: &Value) -> Result<(), client::Error> {
        if meta::is_deleting(live) {
            return Ok(());
        }
        let api = Api::new(&self.sets.shared.client, &resource::APPLICATIONS);
        let options =
            DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        api.delete_if_exists(&Key::of(live), &options.only(meta::uid(live))).await?;
        let text = format!("Deleted Application {:?}", meta::name(live));
        self.sets.shared.events.normal(self.set, "Deleted", &text).await;
        Ok(())
    }

    /// The set is going: Applications that it may not delete become nobody's, and its finalizer is taken off.
    pub(super) async fn delete(&self) -> Result<Action, Error> {
        let may_delete = Policy::of(self.set).is_ok_and(|policy| policy.delete);
        if may_delete && let Some(action) = self.delete_in_reverse().await? {
            return Ok(action);
        }
        if !may_delete {
            let api = Api::new(&self.sets.shared.client, &resource::APPLICATIONS);
            for live in self.owned().await? {
                let owners = live["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
                let uid = meta::uid(self.set);
                let others: Vec<Value> = owners.into_iter().filter(|owner| owner["uid"] != uid).collect();
                let change = json!({"metadata": {"ownerReferences": others}});
                match api.patch(&Key::of(&live), &Patch::Merge(change), &PatchOptions::default()).await {
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let Some(at) = meta::finalizers(self.set).position(|found| found == FINALIZER) else {
            return Ok(Action::Done);
        };
        let path = format!("/metadata/finalizers/{at}");
        let operations = json!([
            {"op": "test", "path": path, "value": FINALIZER},
            {"op": "remove", "path": path},
        ]);
        match self.api.patch(self.key, &Patch::Json(operations), &PatchOptions::default()).await {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is_not_found() => Ok(Action::Done),
            Err(error) => Err(error.into()),
        }
    }
}
