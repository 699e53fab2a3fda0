//! ReplicaSets: as many Pods of one template as wanted.
//!
//! Reads go to the API, so a pass sees the pods that the pass before it made: nothing is made twice, and no expectations are kept.

mod plan;

use std::time::Duration;

use client::controller::{Action, Controller};
use client::dynamic::ListOptions;
use client::events::Recorder;
use client::resource::{PODS, REPLICA_SETS};
use client::{Api, Client, Error, Key, claim};
use futures::future::join_all;
use jiff::Timestamp;
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::pods;
use plan::Plan;

pub(crate) const ACCOUNT: &str = "replicaset-controller";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get", "list", "watch", "update"] },
        { "apiGroups": ["apps"], "resources": ["replicasets/status"], "verbs": ["update", "patch"] },
        { "apiGroups": ["apps"], "resources": ["replicasets/finalizers"], "verbs": ["update"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "list", "patch", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = ReplicaSets {
        sets: Api::new(&client, &REPLICA_SETS),
        pods: Api::new(&client, &PODS),
        recorder: Recorder::new(&client, ACCOUNT),
    };
    Controller::new("replicaset", client)
        .primary(REPLICA_SETS)
        .owned(PODS, REPLICA_SETS)
        .concurrency(8)
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
struct ReplicaSets {
    sets: Api,
    pods: Api,
    recorder: Recorder,
}

impl ReplicaSets {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(set) = self.sets.find(key).await? else { return Ok(Action::Done) };
        let Ok(selector) = LabelSelector::from_object(&set["spec"]["selector"]) else {
            self.recorder.warning(&set, "InvalidSelector", "the selector cannot be read").await;
            return Ok(Action::Done);
        };
        let owned = self.owned(&set, &selector).await?;
        let plan = plan::plan(&set, owned.clone());
        if plan.is_empty() || meta::is_deleting(&set) {
            return self.write_status(&set, &owned, None).await;
        }
        let failure = self.manage(&set, &plan).await?;
        let owned = self.owned(&set, &selector).await?;
        self.write_status(&set, &owned, failure.as_ref()).await
    }

    /// The active pods of the set, adopted where they were nobody's.
    ///
    /// Listed by the selector. A pod that lost a label shows as one fewer than the status counted: only then is the
    /// whole namespace listed, to release it.
    async fn owned(&self, set: &Value, selector: &LabelSelector) -> Result<Vec<Value>, Error> {
        let namespace = meta::namespace(set);
        let matching = ListOptions::matching(&set["spec"]["selector"]);
        let live = |pods: Vec<Value>| pods.into_iter().filter(pods::is_active).collect();
        let listed = live(self.pods.list_all(namespace, &matching).await?.items);
        let owned = claim::claim(&self.pods, set, selector, listed).await?;
        let counted = set["status"]["replicas"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        if owned.len() >= counted {
            return Ok(owned);
        }
        let listed = live(self.pods.list_all(namespace, &ListOptions::all()).await?.items);
        claim::claim(&self.pods, set, selector, listed).await
    }

    /// Makes or deletes pods; a refusal is returned to become a condition, anything else ends the pass.
    async fn manage(&self, set: &Value, plan: &Plan) -> Result<Option<(&'static str, Error)>, Error> {
        let created = self.create(set, plan.create).await;
        if let Err(error) = created {
            return Ok(Some(("FailedCreate", error)));
        }
        let deletions = plan.delete.iter().map(|pod| async move {
            pods::delete(&self.pods, pod).await?;
            let message = format!("Deleted pod: {}", meta::name(pod));
            self.recorder.normal(set, "SuccessfulDelete", &message).await;
            Ok(())
        });
        let failed = join_all(deletions).await.into_iter().find_map(Result::err);
        Ok(failed.map(|error| ("FailedDelete", error)))
    }

    /// Creates pods in growing batches, so that a template the server refuses costs one request and not hundreds.
    async fn create(&self, set: &Value, count: usize) -> Result<(), Error> {
        let mut pod = pods::from_template(&set["spec"]["template"], set);
        let mut prefix = format!("{}-", meta::name(set));
        // Leaves room for the five letters that the server adds.
        prefix.truncate(58);
        pod["metadata"]["generateName"] = json!(prefix);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let made = join_all((0..size).map(|_| self.pods.create(&pod))).await;
            for outcome in made {
                match outcome {
                    Ok(pod) => {
                        let message = format!("Created pod: {}", meta::name(&pod));
                        self.recorder.normal(set, "SuccessfulCreate", &message).await;
                    }
                    // Nothing can be made in a namespace that goes away; its deletion removes this set as well.
                    Err(error) if error.is_namespace_terminating() => return Ok(()),
                    Err(error) => {
                        let message = format!("Error creating: {}", error.message());
                        self.recorder.warning(set, "FailedCreate", &message).await;
                        return Err(error);
                    }
                }
            }
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    /// Writes what is true after the changes; a failure to change is reported first and then repeated by back-off.
    async fn write_status(
        &self,
        set: &Value,
        owned: &[Value],
        failure: Option<&(&'static str, Error)>,
    ) -> Result<Action, Error> {
        let now = Timestamp::now();
        let failure_text = failure.map(|(reason, error)| (*reason, error.message()));
        let status = plan::status(set, owned, failure_text, now);
        if status != set["status"] {
            let mut updated = set.clone();
            updated["status"] = status;
            self.sets.replace_status(&updated).await?;
        }
        let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        Ok(match failure {
            Some(_) => Action::RequeueAfter(RETRY),
            None => pods::next_available(owned, min_ready, now).map_or(Action::Done, Action::RequeueAfter),
        })
    }
}

/// After a refused creation. Refusals (quota, admission) end by changes of other objects, which are not watched here.
const RETRY: Duration = Duration::from_secs(3);
