//! Generated Applications, created, updated and deleted.

use std::collections::{BTreeMap, BTreeSet};

use applicationsets::Generated;
use applicationsets::update::{self, Policy};
use client::controller::Action;
use client::dynamic::{DeleteOptions, Patch, PatchOptions, Propagation};
use client::{Api, Key, resource};
use objects::{Value, meta, patch};
use serde_json::json;

use super::{Pass, owned};
use crate::beside::Snapshot;
use crate::error::Error;

/// What makes the set wait for its Applications when it is deleted.
pub(super) const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// What went wrong, as a condition says it.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Whether it may go well the next time, for one of the Applications at least.
    pub(super) retryable: bool,
}

/// Why one Application is not as it should be.
struct Problem {
    message: String,
    retryable: bool,
}

impl From<client::Error> for Problem {
    fn from(error: client::Error) -> Self {
        Self { message: error.message(), retryable: error.retryable() }
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self { message, retryable: false }
    }
}

/// The first of them is told.
fn note(failed: &mut Option<Failed>, reason: &'static str, Problem { message, retryable }: Problem) {
    failed.get_or_insert(Failed { reason, message, retryable }).retryable |= retryable;
}

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

    /// Makes the Applications as they were generated, as far as the policy lets. Those that the set owns are what they
    /// became afterwards.
    pub(super) async fn apply(
        &self,
        generated: &Generated,
        valid: &[&Value],
        owned: &mut Vec<Value>,
        policy: Policy,
    ) -> Result<(), Failed> {
        let mut failed = None;
        let mut valid = valid.to_vec();
        valid.sort_by_key(|application| meta::name(application));
        for application in valid {
            let live = owned::named(owned, meta::name(application));
            if live.is_some() && !policy.update {
                continue;
            }
            let reason = if policy.update { "UpdateApplicationError" } else { "CreateApplicationError" };
            match self.create_or_update(application, live).await {
                Ok(Some(written)) => {
                    self.sets.index.add(self.key, Key::of(&written));
                    owned::put(owned, written);
                }
                Ok(None) => {}
                Err(problem) => note(&mut failed, reason, problem),
            }
        }
        if policy.delete {
            let wanted: BTreeSet<&str> = generated.applications.iter().map(meta::name).collect();
            let mut left = Vec::with_capacity(owned.len());
            for live in owned.drain(..) {
                if wanted.contains(meta::name(&live)) {
                    left.push(live);
                    continue;
                }
                match self.delete_application(&live).await {
                    Ok(going) => left.extend(going),
                    Err(error) => {
                        note(&mut failed, "DeleteApplicationError", error.into());
                        left.push(live);
                    }
                }
            }
            *owned = left;
        }
        failed.map_or(Ok(()), Err)
    }

    /// What was written, if anything was. `owned` is the live Application where the set owns it.
    async fn create_or_update(
        &self,
        generated: &Value,
        owned: Option<&Value>,
    ) -> Result<Option<Value>, Problem> {
        let api = Api::new(&self.sets.shared.client, &resource::APPLICATIONS);
        let key = Key::of(generated);
        let name = &key.name;
        let events = &self.sets.shared.events;
        let found = match owned {
            Some(_) => None,
            None => api.find(&key).await?,
        };
        let Some(live) = owned.or(found.as_ref()) else {
            let created = update::created(self.set, generated);
            return match api.create(&created).await {
                Ok(written) => {
                    let text = format!("created Application {name:?}");
                    events.normal(self.set, "created", &text).await;
                    Ok(Some(written))
                }
                // Somebody was faster: the event of that brings us here again.
                Err(error) if error.is_already_exists() => Ok(None),
                Err(error) => Err(error.into()),
            };
        };
        let new = update::updated(self.set, generated, live)?;
        let change = patch::merge_diff(live, &new);
        if change.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(None);
        }
        let manager = PatchOptions::manager("argocd-applicationset-controller");
        match api.patch(&key, &Patch::Merge(change), &manager).await {
            Ok(written) => {
                let text = format!("updated Application {name:?}");
                events.normal(self.set, "updated", &text).await;
                Ok(Some(written))
            }
            // Somebody deleted it: the event of that brings us here again.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The Application as far as it is still there, waiting for its finalizers.
    pub(super) async fn delete_application(&self, live: &Value) -> Result<Option<Value>, client::Error> {
        if meta::is_deleting(live) {
            return Ok(Some(live.clone()));
        }
        let api = Api::new(&self.sets.shared.client, &resource::APPLICATIONS);
        let options =
            DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        api.delete_if_exists(&Key::of(live), &options.only(meta::uid(live))).await?;
        let text = format!("Deleted Application {:?}", meta::name(live));
        self.sets.shared.events.normal(self.set, "Deleted", &text).await;
        let left = api.find(&Key::of(live)).await?;
        Ok(left.filter(|left| meta::uid(left) == meta::uid(live)))
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
