//! Whether an operation goes on, starts or is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Api, Key, resource};
use jiff::Timestamp;
use objects::{Value, meta};
use serde_json::json;
use sync::automatic::{Automated, Decision, LastSync, Situation, decide};
use sync::windows::Initiator;
use sync::{ResourceKey, annotations};

use super::instead::Subject;
use super::{Pass, Window};
use crate::application::Application;
use crate::apply::Absent;
use crate::clusters::Cluster;
use crate::error::Error;
use crate::metrics::Count;
use crate::operation::{Deferred, Deployment, Operation, OperationPhase, Progress};
use crate::secrets;
use crate::status::Compared;
use crate::targets::Targets;

/// Healing starts anew when a revision was left alone for this long.
const HEAL_COOLDOWN: Duration = Duration::from_secs(330);

/// As upstream.
const TERMINATED: &str = "Operation terminated";

/// What a pass found: what Git describes, and how the cluster compares with it.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) application: &'a Application,
    pub(super) targets: &'a Arc<Targets>,
    pub(super) compared: &'a Compared,
}

impl Pass<'_> {
    /// Continues, starts or decides about an operation.
    pub(super) async fn operate(&mut self, found: Found<'_>) -> Result<Outcome, Error> {
        let Some(mut operation) = self.memory.operation.take() else {
            return self.begin(found).await;
        };
        match self.go_on(&mut operation, found).await {
            Ok(progress) => Ok(self.took(operation, progress)),
            Err(error) => {
                // It goes on where it is.
                self.memory.operation = Some(operation);
                Err(error)
            }
        }
    }

    /// Lets an operation go on, or ends it.
    async fn go_on(
        &mut self,
        operation: &mut Operation,
        Found { application, targets, compared }: Found<'_>,
    ) -> Result<Progress, Error> {
        let superseded = operation.is_automated() && operation.targets().hash != targets.hash;
        let by = if operation.is_automated() { Initiator::Automation } else { Initiator::Person };
        let window = self.site().window(by, Some(operation.started()), self.now);
        let resources = if self.memory.instead.is_some() {
            self.compare_instead(application, operation.targets()).await?
        } else {
            compared.resources.clone()
        };
        let context = self.syncing(application);
        let progress = if self.is_terminating() {
            operation.terminate(&context, self.now).await
        } else if superseded {
            operation.supersede(&context, &compared.revisions.join(" "), self.now).await;
            Progress::Ended
        } else if let Window::Closed(message) = window {
            operation.message = message;
            Progress::Waiting(self.site().next_window(self.now))
        } else {
            let approved = meta::annotation(self.object, annotations::DELETION_APPROVED);
            if let Some(approved) = approved.and_then(|time| time.parse().ok()) {
                operation.approve(&context, &resources, approved).await?;
            }
            operation.advance(&context, application, &resources, self.now).await?
        };
        Ok(progress)
    }

    /// Keeps what an operation came to.
    pub(super) fn took(&mut self, operation: Operation, progress: Progress) -> Outcome {
        self.memory.deferred = operation.deferred().to_vec();
        self.memory.came_to(operation.state());
        match progress {
            Progress::Waiting(wait) => {
                self.memory.operation = Some(operation);
                Outcome { acted: true, wait, ..Outcome::default() }
            }
            Progress::Ended => {
                self.work.add(Count::Sync);
                self.memory.instead = None;
                if operation.is_whole() {
                    self.memory.synced = Some(operation.targets().hash);
                }
                if operation.phase == OperationPhase::Succeeded && operation.is_whole() {
                    self.memory.unwritten.deployed.push(deployed(&operation, self.now));
                }
                let revision = operation.deployment().revisions.join(" ");
                self.memory.ended = Some((operation.phase, operation.message.clone(), revision));
                tracing::info!(application = %self.key, phase = ?operation.phase, message = operation.message, "sync ended");
                Outcome { acted: true, ended: true, ..Outcome::default() }
            }
        }
    }

    /// No operation is under way: one may have been asked for, or be due.
    pub(super) async fn begin(&mut self, found: Found<'_>) -> Result<Outcome, Error> {
        let asked = &self.object["operation"];
        self.load_state().await;
        let (asked_before, interrupted) = (self.memory.taken(asked), self.memory.interrupted.clone());
        let begun = self.begin_requested(found).await;
        if begun.is_err() {
            // Whoever asked is not forgotten: the next pass begins it.
            if !asked_before {
                self.memory.forget_request();
            }
            self.memory.interrupted = interrupted;
        }
        begun
    }

    async fn begin_requested(&mut self, found: Found<'_>) -> Result<Outcome, Error> {
        let Found { application, targets, compared } = found;
        let asked = &self.object["operation"];
        let terminating = self.is_terminating();
        let mut cut_off = None;
        let request = if let Some(request) = self.awaited_request() {
            cut_off = self.memory.interrupted.take();
            if terminating && cut_off.is_none() {
                return Ok(self.refused(request, "Failed", TERMINATED));
            }
            request
        } else if asked["sync"].is_object() && !self.memory.taken(asked) {
            // An earlier process may have begun it, and of its hooks some may have run or run still.
            let state = self.memory.interrupted.as_ref();
            let begun = state.is_some_and(|state| state["operation"] == secrets::shown(asked));
            if terminating && !begun {
                self.memory.take(asked);
                return Ok(self.refused(asked.clone(), "Failed", TERMINATED));
            }
            let window = self.site().window(Initiator::Person, None, self.now);
            if let (Window::Closed(message), false) = (window, terminating) {
                return Ok(self.blocked(asked.clone(), message));
            }
            self.memory.take(asked);
            cut_off = self.memory.interrupted.take().filter(|_| begun);
            asked.clone()
        } else if let Some(state) = self.memory.interrupted.take() {
            let request = state["operation"].clone();
            if request["sync"]["manifests"].as_array().is_some_and(|sent| !sent.is_empty()) {
                // The state shows them without what Secrets hold.
                let message = "the manifests that were sent along are gone; send them again";
                return Ok(self.refused(request, "Error", message));
            }
            cut_off = Some(state);
            request
        } else if (terminating && self.ended_before()) || compared.failed.is_some() {
            return Ok(Outcome::default());
        } else {
            match self.due(found) {
                Due::Nothing { sync_error, wait } => {
                    return Ok(Outcome { sync_error, wait, ..Outcome::default() });
                }
                Due::Sync(request) => request,
            }
        };
        if terminating && compared.failed.is_some() {
            return Ok(self.refused(request, "Failed", TERMINATED));
        }
        let (deployment, resources) = match self.subject(application, compared, &request).await? {
            Subject::Ready(deployment, resources) => (deployment, resources),
            Subject::Tracked => {
                if let Some(message) = &compared.failed {
                    return Ok(self.refused(request, "Error", message));
                }
                let deployment = Deployment {
                    targets: Arc::clone(targets),
                    revisions: compared.revisions.clone(),
                    sources: application.sources.clone(),
                    multi_source: application.multi_source,
                };
                (deployment, compared.resources.clone())
            }
            Subject::NotYet(state) => {
                self.memory.came_to(state);
                self.memory.interrupted = cut_off;
                return Ok(Outcome::default());
            }
            Subject::Refused(message) => return Ok(self.refused(request, "Error", &message)),
        };
        let context = self.syncing(application);
        let operation = Operation::start(&context, application, request, deployment, &resources, self.now);
        let mut operation = operation.await?;
        if let Some(state) = cut_off {
            operation.resume(&state);
        }
        let progress = if terminating {
            operation.terminate(&context, self.now).await
        } else if operation.is_announced_first() {
            Progress::Waiting(Duration::ZERO)
        } else {
            operation.advance(&context, application, &resources, self.now).await?
        };
        Ok(self.took(operation, progress))
    }

    /// What was asked for ends before it began.
    fn refused(&mut self, request: Value, phase: &str, message: &str) -> Outcome {
        self.memory.instead = None;
        let time = meta::format_time(self.now);
        let state = json!({"operation": secrets::shown(&request), "phase": phase, "message": message, "startedAt": time,
            "finishedAt": time, "syncResult": {"revision": ""}});
        self.memory.came_to(state);
        Outcome { acted: true, ended: true, ..Outcome::default() }
    }

    /// What a person asked for waits until a window permits it.
    fn blocked(&mut self, asked: Value, message: String) -> Outcome {
        let (before, asked) = (self.state(), secrets::shown(&asked));
        let again = before["operation"] == asked && before["phase"] == "Running";
        let mut state = if again {
            before
        } else {
            let started = meta::format_time(self.now);
            json!({"operation": asked, "phase": "Running", "startedAt": started, "syncResult": {"revision": ""}})
        };
        state["message"] = message.into();
        self.memory.came_to(state);
        Outcome { wait: self.site().next_window(self.now), ..Outcome::default() }
    }

    /// Whether a person asked to end what runs.
    pub(super) fn is_terminating(&self) -> bool {
        self.object["status"]["operationState"]["phase"] == "Terminating"
    }

    /// Whether what was to be terminated had ended before; then the status says so again.
    fn ended_before(&mut self) -> bool {
        let state = self.memory.state.clone().filter(|state| !state["finishedAt"].is_null());
        let ended = state.filter(|state| !matches!(state["phase"].as_str(), Some("Running" | "Terminating")));
        let Some(state) = ended else { return false };
        self.memory.came_to(state);
        true
    }

    /// The newest `operationState`.
    pub(super) fn state(&self) -> Value {
        self.memory.state.clone().unwrap_or_else(|| self.object["status"]["operationState"].clone())
    }

    /// Whether what the last operation lacked is there now. After a restart the status tells what that was, and
    /// which operation was cut off.
    async fn load_state(&mut self) {
        if self.memory.state.is_none() {
            let state = self.object["status"]["operationState"].clone();
            self.memory.deferred = crate::operation::deferred_before(&state);
            let ran = matches!(state["phase"].as_str(), Some("Running" | "Terminating"));
            if ran && state["operation"]["sync"].is_object() {
                self.memory.interrupted = Some(state.clone());
            }
            self.memory.state = Some(state);
        }
        self.memory.unblocked = unblocked(&self.cluster(), &self.memory.deferred).await;
    }

    /// Whether an automated sync is due.
    fn due(&self, Found { application, targets, compared }: Found<'_>) -> Due {
        let Some(automated) = application.automated else {
            return Due::Nothing { sync_error: None, wait: Duration::MAX };
        };
        if self.site().window(Initiator::Automation, None, self.now) != Window::Open {
            return Due::Nothing { sync_error: None, wait: self.site().next_window(self.now) };
        }
        let state = self.state();
        let revision = compared.revisions.join(" ");
        let last = self.last(application, targets, compared, &state);
        let blocked = last.as_ref().is_some_and(|last| last.same && !last.succeeded) && self.only_deferred();
        if blocked && !last.as_ref().is_some_and(|last| last.unblocked) {
            return self.around_deferred(application, compared, &state, automated, &revision);
        }
        let statuses: Vec<_> = compared.resources.iter().map(|resource| resource.status.clone()).collect();
        let situation = Situation {
            automated,
            sync: compared.sync_status(),
            resources: &statuses,
            last,
            revision: &revision,
            now: self.now,
        };
        self.requested(application, compared, decide(&situation), automated, &BTreeSet::new())
    }

    /// Everything that failed waits for its namespace or kind: the rest is healed as if nothing were wrong.
    fn around_deferred(
        &self,
        application: &Application,
        compared: &Compared,
        state: &Value,
        automated: Automated,
        revision: &str,
    ) -> Due {
        let deferred: BTreeSet<ResourceKey> =
            self.memory.deferred.iter().map(|deferred| deferred.key.clone()).collect();
        let rest: Vec<_> =
            compared.resources.iter().filter(|resource| !deferred.contains(&resource.key)).collect();
        let statuses: Vec<_> = rest.iter().map(|resource| resource.status.clone()).collect();
        let message = state["message"].as_str().unwrap_or_default();
        let refused = Some(format!("Failed last sync attempt to [{revision}]: {message}"));
        let situation = Situation {
            automated,
            sync: sync::status::of_application(&statuses),
            resources: &statuses,
            last: Some(LastSync {
                same: true,
                succeeded: true,
                message,
                finished: time(&state["finishedAt"]),
                heals: heals(state, self.now),
                unblocked: false,
            }),
            revision,
            now: self.now,
        };
        match self.requested(application, compared, decide(&situation), automated, &deferred) {
            Due::Nothing { sync_error: None, wait } => Due::Nothing { sync_error: refused, wait },
            due => due,
        }
    }

    fn only_deferred(&self) -> bool {
        !self.memory.deferred.is_empty()
    }

    fn last<'s>(
        &self,
        application: &Application,
        targets: &Targets,
        compared: &Compared,
        state: &'s Value,
    ) -> Option<LastSync<'s>> {
        let result = &state["syncResult"];
        if state.is_null() || result.is_null() {
            return None;
        }
        let mut wanted = json!({});
        application.revisions_into(&compared.revisions, &mut wanted);
        application.sources_into(&mut wanted);
        let given = |value: &Value| Some(value.clone()).filter(|value| *value != "" && !value.is_null());
        let same = |field: &str| given(&wanted[field]) == given(&result[field]);
        let (same_revision, same_source) =
            (same("revision") && same("revisions"), same("source") && same("sources"));
        let same_manifests = self.memory.synced == Some(targets.hash);
        Some(LastSync {
            same: same_source && (same_revision || same_manifests),
            succeeded: state["phase"] == "Succeeded",
            message: state["message"].as_str().unwrap_or_default(),
            finished: time(&state["finishedAt"]),
            heals: heals(state, self.now),
            unblocked: self.memory.unblocked,
        })
    }

    /// The operation that a decision asks for.
    fn requested(
        &self,
        application: &Application,
        compared: &Compared,
        decision: Decision,
        automated: Automated,
        except: &BTreeSet<ResourceKey>,
    ) -> Due {
        let nothing = |sync_error, wait| Due::Nothing { sync_error, wait };
        let (selection, attempt) = match decision {
            Decision::Nothing => return nothing(None, Duration::MAX),
            Decision::Later(wait) => return nothing(None, wait),
            Decision::Refused(message) => return nothing(Some(message), Duration::MAX),
            Decision::Sync => (None, None),
            Decision::Heal { attempt } => (Some(unsynced(compared, except)), Some(attempt)),
        };
        let mut sync = json!({"prune": automated.prune});
        application.revisions_into(&compared.revisions, &mut sync);
        if application.sync_policy["syncOptions"].is_array() {
            sync["syncOptions"] = application.sync_policy["syncOptions"].clone();
        }
        if let Some(selection) = selection {
            sync["resources"] = selection;
        }
        if let Some(attempt) = attempt {
            sync["autoHealAttemptsCount"] = attempt.into();
        }
        let retry = match &application.sync_policy["retry"] {
            Value::Null => json!({"limit": 5}),
            policy => policy.clone(),
        };
        Due::Sync(json!({"sync": sync, "initiatedBy": {"automated": true}, "retry": retry}))
    }
}

/// What looking after the operation led to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Objects may have changed: compare again.
    pub(super) acted: bool,
    pub(super) ended: bool,
    pub(super) wait: Duration,
    pub(super) sync_error: Option<String>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { acted: false, ended: false, wait: Duration::MAX, sync_error: None }
    }
}

enum Due {
    Nothing { sync_error: Option<String>, wait: Duration },
    Sync(Value),
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Attempts so far, unless the last one is long past.
fn heals(state: &Value, now: Timestamp) -> u32 {
    let finished = time(&state["finishedAt"]);
    let long_past = finished.is_some_and(|finished| {
        Duration::try_from(now.duration_since(finished)).is_ok_and(|since| since > HEAL_COOLDOWN)
    });
    if long_past {
        return 0;
    }
    let attempts = state["operation"]["sync"]["autoHealAttemptsCount"].as_u64().unwrap_or(0);
    u32::try_from(attempts).unwrap_or(u32::MAX)
}

/// Everything that is not Synced, by group, kind and name.
fn unsynced(compared: &Compared, except: &BTreeSet<ResourceKey>) -> Value {
    let differing = compared.resources.iter().filter(|resource| {
        resource.status.status.is_some_and(|status| status != sync::SyncStatus::Synced)
            && !except.contains(&resource.key)
    });
    let list = differing.map(|resource| {
        let ResourceKey { group, kind, name, .. } = &resource.key;
        let mut entry = json!({"kind": kind, "name": name});
        if !group.is_empty() {
            entry["group"] = group.as_str().into();
        }
        entry
    });
    Value::Array(list.collect())
}

fn deployed(operation: &Operation, now: Timestamp) -> Value {
    let mut entry = json!({
        "deployStartedAt": meta::format_time(operation.started()),
        "deployedAt": meta::format_time(now),
        "initiatedBy": operation.request()["initiatedBy"].clone(),
    });
    if entry["initiatedBy"].is_null() {
        entry["initiatedBy"] = json!({});
    }
    operation.deployment().name_in(&mut entry);
    entry
}

/// Whether anything that resources wait for is there now.
async fn unblocked(cluster: &Cluster, deferred: &[Deferred]) -> bool {
    for one in deferred {
        let there = match &one.missing.what {
            Absent::Kind(gvk) => cluster.resources.resolve(gvk).await.is_ok(),
            Absent::Namespace(name) => {
                let found = Api::new(&cluster.client, &resource::NAMESPACES).find(&Key::cluster(name)).await;
                matches!(found, Ok(Some(namespace)) if !meta::is_deleting(&namespace))
            }
        };
        if there {
            return true;
        }
    }
    false
}
