//! StatefulSets: Pods with names, volumes and an order.
//!
//! One pass makes at most the step that the order allows and is called again when a Pod changes.

mod plan;

use client::controller::{Action, Controller};
use client::dynamic::ListOptions;
use client::events::Recorder;
use client::resource::{CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS};
use client::{Api, Client, Error, Key, claim};
use jiff::Timestamp;
use objects::meta::{self, OwnerReference};
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::pods;
use crate::revisions::{self, History};
use plan::{Member, REVISION_LABEL, Step};

pub(crate) const ACCOUNT: &str = "statefulset-controller";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": ["apps"], "resources": ["statefulsets/status"], "verbs": ["update", "patch"] },
        { "apiGroups": ["apps"], "resources": ["statefulsets/finalizers"], "verbs": ["update"] },
        { "apiGroups": ["apps"], "resources": ["controllerrevisions"],
          "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["persistentvolumeclaims"],
          "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = StatefulSets {
        sets: Api::new(&client, &STATEFUL_SETS),
        pods: Api::new(&client, &PODS),
        claims: Api::new(&client, &PERSISTENT_VOLUME_CLAIMS),
        revisions: Api::new(&client, &CONTROLLER_REVISIONS),
        recorder: Recorder::new(&client, ACCOUNT),
    };
    Controller::new("statefulset", client)
        .primary(STATEFUL_SETS)
        .owned(PODS, STATEFUL_SETS)
        .concurrency(4)
        .run(
            move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

#[derive(Clone)]
struct StatefulSets {
    sets: Api,
    pods: Api,
    claims: Api,
    revisions: Api,
    recorder: Recorder,
}

impl StatefulSets {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(set) = self.sets.find(key).await? else { return Ok(Action::Done) };
        let Ok(selector) = LabelSelector::from_object(&set["spec"]["selector"]) else {
            return Ok(Action::Done);
        };
        let now = Timestamp::now();
        let history = match revisions::sync(&self.revisions, &set, &selector, REVISION_LABEL).await {
            Err(error) if error.is_namespace_terminating() => return Ok(Action::Done),
            history => history?,
        };
        let members = self.members(&set, &selector).await?;
        let current = current_revision(&set, &history);
        if !meta::is_deleting(&set) {
            let update = meta::name(&history.update);
            let mut failure = None;
            for step in plan::steps(&set, &members, meta::name(&current), update, now) {
                if let Err(error) = self.perform(&set, step, &current, &history).await {
                    failure = Some(error);
                    break;
                }
            }
            if let Some(error) = failure {
                self.write_status(&set, &selector, &current, &history, now).await?;
                return if error.is_namespace_terminating() { Ok(Action::Done) } else { Err(error) };
            }
        }
        self.write_status(&set, &selector, &current, &history, now).await
    }

    /// The Pods that belong to the set and carry a name of it.
    async fn members(&self, set: &Value, selector: &LabelSelector) -> Result<Vec<Member>, Error> {
        let listed = self.pods.list_all(meta::namespace(set), &ListOptions::all()).await?.items;
        let named = listed.into_iter().filter(|pod| plan::ordinal(set, pod).is_some()).collect();
        let owned = claim::claim(&self.pods, set, selector, named).await?;
        Ok(plan::members(set, owned))
    }

    async fn perform(
        &self,
        set: &Value,
        step: Step,
        current: &Value,
        history: &History,
    ) -> Result<(), Error> {
        match step {
            Step::Create { ordinal, revision } => {
                let all = history.all.iter().chain([current]);
                let revision = all.into_iter().find(|known| meta::name(known) == revision);
                self.create(set, ordinal, revision.unwrap_or(&history.update)).await
            }
            Step::Repair(pod) => self.repair(set, *pod).await,
            Step::Delete(pod) => {
                pods::delete(&self.pods, &pod).await?;
                let text =
                    format!("delete Pod {} in StatefulSet {} successful", meta::name(&pod), meta::name(set));
                self.recorder.normal(set, "SuccessfulDelete", &text).await;
                Ok(())
            }
        }
    }

    async fn create(&self, set: &Value, ordinal: i64, revision: &Value) -> Result<(), Error> {
        self.ensure_claims(set, ordinal).await?;
        let pod = plan::pod(set, ordinal, revision);
        match self.pods.create(&pod).await {
            Ok(_) => {
                let text =
                    format!("create Pod {} in StatefulSet {} successful", meta::name(&pod), meta::name(set));
                self.recorder.normal(set, "SuccessfulCreate", &text).await;
                Ok(())
            }
            // It is there, or a Pod of another owner has its name; the next pass sees which.
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => {
                let text = format!(
                    "create Pod {} in StatefulSet {} failed error: {}",
                    meta::name(&pod),
                    meta::name(set),
                    error.message()
                );
                self.recorder.warning(set, "FailedCreate", &text).await;
                Err(error)
            }
        }
    }

    async fn ensure_claims(&self, set: &Value, ordinal: i64) -> Result<(), Error> {
        for claim in plan::claims(set, ordinal) {
            let key = Key::of(&claim);
            match self.claims.find(&key).await? {
                Some(existing) if meta::is_deleting(&existing) => {
                    // A new claim can be made only when the old one is gone; back-off waits for that.
                    let problem = format!("the claim {key} is being deleted");
                    return Err(Error::Request {
                        action: format!("create a Pod of {}", Key::of(set)),
                        problem,
                    });
                }
                Some(_) => {}
                None => {
                    if let Err(error) = self.claims.create(&claim).await
                        && !error.is_already_exists()
                    {
                        let text = format!(
                            "create Claim {} Pod {}-{ordinal} in StatefulSet {} failed error: {}",
                            key.name,
                            meta::name(set),
                            meta::name(set),
                            error.message()
                        );
                        self.recorder.warning(set, "FailedCreate", &text).await;
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a Pod its identity labels back and its claims, if any were lost.
    async fn repair(&self, set: &Value, pod: Value) -> Result<(), Error> {
        if let Some(ordinal) = plan::ordinal(set, &pod) {
            self.ensure_claims(set, ordinal).await?;
        }
        let repaired = plan::with_identity(set, pod.clone());
        if repaired != pod {
            self.pods.replace(&repaired).await?;
        }
        Ok(())
    }

    async fn write_status(
        &self,
        set: &Value,
        selector: &LabelSelector,
        current: &Value,
        history: &History,
        now: Timestamp,
    ) -> Result<Action, Error> {
        let members = self.members(set, selector).await?;
        let status = plan::status(set, &members, meta::name(current), history, now);
        if status != set["status"] {
            let mut updated = set.clone();
            updated["status"] = status.clone();
            self.sets.replace_status(&updated).await?;
        }
        let mut used: Vec<String> =
            members.iter().filter_map(|m| plan::revision(&m.pod).map(str::to_owned)).collect();
        used.extend(
            ["currentRevision", "updateRevision"].map(|f| status[f].as_str().unwrap_or("").to_owned()),
        );
        revisions::truncate(&self.revisions, set, history, &used).await?;
        self.retain_claims(set).await?;
        let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        let wait = pods::next_available(members.iter().map(|m| &m.pod), min_ready, now);
        Ok(wait.map_or(Action::Done, Action::RequeueAfter))
    }

    /// `persistentVolumeClaimRetentionPolicy: whenDeleted: Delete` makes the set the owner of its claims, so that they are collected
    /// with it; `whenScaled: Delete` makes a condemned Pod their owner.
    async fn retain_claims(&self, set: &Value) -> Result<(), Error> {
        let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
        let when_deleted = policy["whenDeleted"] == "Delete";
        let when_scaled = policy["whenScaled"] == "Delete";
        if !when_deleted && !when_scaled || meta::is_deleting(set) {
            return Ok(());
        }
        let (start, end) = plan::range(set);
        let claims = self.claims.list_all(meta::namespace(set), &ListOptions::all()).await?.items;
        for mut claim in claims {
            let Some(ordinal) = plan::claim_ordinal(set, &claim) else { continue };
            let condemned = ordinal < start || ordinal >= end;
            let mut owners = meta::owner_references(&claim);
            let before = owners.len();
            if when_deleted && !owners.iter().any(|owner| owner.uid == meta::uid(set)) {
                owners.push(OwnerReference::to(set));
            }
            if when_scaled && condemned {
                let pod = Key::new(meta::namespace(set), &format!("{}-{ordinal}", meta::name(set)));
                if let Some(pod) = self.pods.find(&pod).await?
                    && !owners.iter().any(|owner| owner.uid == meta::uid(&pod))
                {
                    owners.retain(|owner| owner.uid != meta::uid(set));
                    owners.push(OwnerReference::to(&pod));
                }
            }
            if owners.len() != before || when_scaled && condemned {
                let owners: Vec<Value> = owners.iter().map(OwnerReference::to_value).collect();
                if claim["metadata"]["ownerReferences"] != json!(owners) {
                    meta::set(&mut claim, "ownerReferences", json!(owners));
                    self.claims.replace(&claim).await?;
                }
            }
        }
        Ok(())
    }
}

/// The revision that Pods below the partition keep; before the first update it is the newest.
fn current_revision(set: &Value, history: &History) -> Value {
    let name = set["status"]["currentRevision"].as_str().unwrap_or("");
    let known = history.all.iter().find(|revision| meta::name(revision) == name);
    known.unwrap_or(&history.update).clone()
}
