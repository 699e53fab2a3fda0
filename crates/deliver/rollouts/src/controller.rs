//! The loop: reads a Rollout and its ReplicaSets, plans, and does what the plan says.

use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::events::Recorder;
use client::{Api, Client, Error, Key, ResourceType};
use jiff::Timestamp;
use objects::meta;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::plan::{Plan, Revise, plan, rollout_revision};
use crate::replica_set::{DESIRED_REPLICAS, REVISION, REVISION_HISTORY, ReplicaSet};

/// Whom the controller acts as, in `kube-system`.
pub const SERVICE_ACCOUNT: &str = "rollouts-controller";

const ROLLOUTS: ResourceType = ResourceType::namespaced("argoproj.io", "v1alpha1", "Rollout", "rollouts");
const REPLICA_SETS: ResourceType = client::resource::REPLICA_SETS;

/// What the controller may do: the rules of a ClusterRole for each service account.
#[must_use]
pub fn rules() -> Vec<(&'static str, Value)> {
    let rules = json!([
        {"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ["get", "list", "watch", "patch", "update"]},
        {"apiGroups": ["argoproj.io"], "resources": ["rollouts/status", "rollouts/finalizers"], "verbs": ["patch", "update"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"],
         "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"]},
    ]);
    vec![(SERVICE_ACCOUNT, rules)]
}

/// Runs the controller until shutdown.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let rollouts = Rollouts {
        rollouts: Api::new(&client, &ROLLOUTS),
        replica_sets: Api::new(&client, &REPLICA_SETS),
        recorder: Recorder::new(&client, "rollouts-controller"),
    };
    Controller::new("rollouts", client)
        .primary(ROLLOUTS)
        .owned(REPLICA_SETS, ROLLOUTS)
        .concurrency(4)
        .run(
            move |key| {
                let rollouts = rollouts.clone();
                async move { rollouts.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

#[derive(Clone)]
struct Rollouts {
    rollouts: Api,
    replica_sets: Api,
    recorder: Recorder,
}

impl Rollouts {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(rollout) = self.rollouts.find(key).await? else { return Ok(Action::Done) };
        if meta::is_deleting(&rollout) {
            // Its ReplicaSets are the garbage collector's.
            return Ok(Action::Done);
        }
        let sets = self.owned(&rollout).await?;
        let plan = plan(&rollout, &sets, Timestamp::now());
        if let Some(create) = &plan.create {
            self.create(&rollout, create).await?;
            return Ok(Action::Done);
        }
        self.apply(&rollout, &sets, &plan).await?;
        Ok(plan.look_again.map_or(Action::Done, Action::RequeueAfter))
    }

    /// The ReplicaSets that this Rollout controls.
    async fn owned(&self, rollout: &Value) -> Result<Vec<ReplicaSet>, Error> {
        let all = self.replica_sets.list_all(meta::namespace(rollout), &ListOptions::all()).await?;
        let uid = meta::uid(rollout);
        Ok(all
            .items
            .iter()
            .filter(|set| meta::is_controlled_by(set, uid) && !meta::is_deleting(set))
            .map(ReplicaSet::read)
            .collect())
    }

    async fn create(&self, rollout: &Value, set: &Value) -> Result<(), Error> {
        let name = meta::name(set);
        match self.replica_sets.create(set).await {
            Ok(_) => {
                let revision = meta::annotation(set, REVISION).unwrap_or_default();
                let message = format!("Created ReplicaSet {name} (revision {revision})");
                self.recorder.normal(rollout, "NewReplicaSetCreated", &message).await;
                Ok(())
            }
            Err(error) if error.is_already_exists() => self.collided(rollout, set).await,
            Err(error) => {
                let message = format!("Failed to create ReplicaSet {name}: {}", error.message());
                self.recorder.warning(rollout, "ReplicaSetCreateError", &message).await;
                Err(error)
            }
        }
    }

    /// The name is taken: by what an earlier pass made, or by another template with the same hash, or by a stranger.
    async fn collided(&self, rollout: &Value, set: &Value) -> Result<(), Error> {
        let taken = self.replica_sets.find(&Key::of(set)).await?;
        let ours = taken.is_some_and(|taken| {
            meta::is_controlled_by(&taken, meta::uid(rollout))
                && ReplicaSet::read(&taken).is_of(&rollout["spec"]["template"])
        });
        if ours {
            return Ok(());
        }
        let count = rollout["status"]["collisionCount"].as_u64().unwrap_or(0) + 1;
        self.rollouts.patch_status(&Key::of(rollout), json!({"collisionCount": count})).await?;
        Ok(())
    }

    async fn apply(&self, rollout: &Value, sets: &[ReplicaSet], plan: &Plan) -> Result<(), Error> {
        let namespace = meta::namespace(rollout);
        let key = |name: &str| Key::new(namespace, name);
        if let Some(revise) = &plan.revise {
            self.revise(&key(&revise.name), revise, sets).await?;
        }
        if let Some(revision) = rollout_revision(rollout, plan, sets) {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {REVISION: revision.to_string()}}}));
            self.rollouts.patch(&Key::of(rollout), &patch, &PatchOptions::default()).await?;
        }
        let wanted = rollout["spec"]["replicas"].as_i64().unwrap_or(1).to_string();
        for scale in &plan.scale {
            let patch = Patch::Merge(json!({
                "metadata": {"annotations": {DESIRED_REPLICAS: wanted}},
                "spec": {"replicas": scale.to},
            }));
            self.replica_sets.patch(&key(&scale.name), &patch, &PatchOptions::default()).await?;
        }
        for name in &plan.delete {
            self.replica_sets.delete_if_exists(&key(name), &DeleteOptions::background()).await?;
        }
        self.write_status(rollout, &plan.status).await?;
        for event in &plan.events {
            if event.warning {
                self.recorder.warning(rollout, event.reason, &event.message).await;
            } else {
                self.recorder.normal(rollout, event.reason, &event.message).await;
            }
        }
        Ok(())
    }

    async fn revise(&self, key: &Key, revise: &Revise, sets: &[ReplicaSet]) -> Result<(), Error> {
        let set = sets.iter().find(|set| set.name == revise.name);
        let history = set.and_then(|set| set.annotations.get(REVISION_HISTORY)).and_then(Value::as_str);
        let mut annotations = Map::new();
        annotations.insert(REVISION.to_owned(), revise.revision.to_string().into());
        if let Some(before) = revise.before {
            let history = history.map_or(before.to_string(), |history| format!("{history},{before}"));
            annotations.insert(REVISION_HISTORY.to_owned(), history.into());
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        self.replica_sets.patch(key, &patch, &PatchOptions::default()).await?;
        Ok(())
    }

    /// Writes the status if it is another one. The patch names the version it was planned from, so that what a person
    /// changed meanwhile (a resumed pause, an abort) is not overwritten but planned with.
    async fn write_status(&self, rollout: &Value, status: &Value) -> Result<(), Error> {
        if &rollout["status"] == status {
            return Ok(());
        }
        let mut patch = status.clone();
        for field in rollout["status"].as_object().into_iter().flat_map(Map::keys) {
            if status.get(field).is_none() {
                patch[field] = Value::Null;
            }
        }
        let seen = self.rollouts.get(&Key::of(rollout)).await?;
        if seen["status"] != rollout["status"] || meta::generation(&seen) != meta::generation(rollout) {
            // The change has been announced; the next pass plans with it.
            return Ok(());
        }
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": meta::resource_version(&seen)},
            "status": patch,
        }));
        self.rollouts
            .patch_subresource(&Key::of(rollout), "status", &patch, &PatchOptions::default())
            .await?;
        Ok(())
    }
}
