//! Deployments: ReplicaSets of one revision after another.
//!
//! Follows upstream's controller step by step, because `kubectl rollout status|history|undo|restart|pause|resume` read what it
//! writes: revisions in annotations, conditions with their reasons, `observedGeneration`.

mod rolling;
mod sets;
mod status;

use client::conditions::{self, Condition};
use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::events::Recorder;
use client::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key, claim, hash};
use jiff::Timestamp;
use objects::meta::{self, OwnerReference};
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{pods, template};
use sets::{HASH_LABEL, REVISION, replicas};

pub(crate) const ACCOUNT: &str = "deployment-controller";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch", "update", "patch"] },
        { "apiGroups": ["apps"], "resources": ["deployments/status"], "verbs": ["update", "patch"] },
        { "apiGroups": ["apps"], "resources": ["deployments/finalizers"], "verbs": ["update"] },
        { "apiGroups": ["apps"], "resources": ["replicasets"],
          "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = Deployments {
        deployments: Api::new(&client, &DEPLOYMENTS),
        sets: Api::new(&client, &REPLICA_SETS),
        pods: Api::new(&client, &PODS),
        recorder: Recorder::new(&client, ACCOUNT),
    };
    Controller::new("deployment", client)
        .primary(DEPLOYMENTS)
        .watches(REPLICA_SETS, WatchOptions::metadata(), |set| {
            client::controller::controller_owner(set, &DEPLOYMENTS)
        })
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
struct Deployments {
    deployments: Api,
    sets: Api,
    pods: Api,
    recorder: Recorder,
}

/// What a pass works on; sets are kept up to date as they are changed.
struct Pass {
    deployment: Value,
    new: Option<Value>,
    old: Vec<Value>,
    now: Timestamp,
}

impl Deployments {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.find(key).await? else { return Ok(Action::Done) };
        let Ok(selector) = LabelSelector::from_object(&deployment["spec"]["selector"]) else {
            return Ok(Action::Done);
        };
        if selector.is_everything() {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.warning(&deployment, "SelectingAll", text).await;
            return Ok(Action::Done);
        }
        let listed = self.sets.list_all(key.namespace.as_deref(), &ListOptions::all()).await?.items;
        let owned = claim::claim(&self.sets, &deployment, &selector, listed).await?;
        let (new, old) = sets::split(&deployment, owned);
        let mut pass = Pass { deployment, new, old, now: Timestamp::now() };
        if meta::is_deleting(&pass.deployment) {
            return self
                .write(&pass, status::counts(&pass.deployment, pass.new.as_ref(), &pass.old, pass.now))
                .await;
        }
        self.mark_pause(&mut pass).await?;
        let paused = pass.deployment["spec"]["paused"] == true;
        if paused || is_scaling(&pass) {
            self.sync_revision(&mut pass, Creation::Not).await?;
            self.scale(&mut pass).await?;
            if paused {
                self.clean_up(&mut pass).await?;
            }
            let status = status::counts(&pass.deployment, pass.new.as_ref(), &pass.old, pass.now);
            return self.write(&pass, status).await;
        }
        if sets::is_rolling(&pass.deployment) {
            self.roll(&mut pass).await?;
        } else {
            self.recreate(&mut pass, &selector).await?;
        }
        let status = status::rollout(&pass.deployment, pass.new.as_ref(), &pass.old, pass.now);
        self.write(&pass, status).await
    }

    async fn roll(&self, pass: &mut Pass) -> Result<(), Error> {
        self.sync_revision(pass, Creation::WhenMissing).await?;
        let Some(new) = &pass.new else { return Ok(()) };
        if let Some(size) = rolling::scale_new(&pass.deployment, new, &pass.old) {
            return self.resize_new(pass, size).await;
        }
        let shrink = rolling::scale_old(&pass.deployment, new, &pass.old);
        if !shrink.is_empty() {
            for (index, size) in shrink {
                self.resize_old(pass, index, size).await?;
            }
            return Ok(());
        }
        if status::is_complete(&pass.deployment, &pass.deployment["status"]) {
            self.clean_up(pass).await?;
        }
        Ok(())
    }

    async fn recreate(&self, pass: &mut Pass, selector: &LabelSelector) -> Result<(), Error> {
        self.sync_revision(pass, Creation::Not).await?;
        let active: Vec<usize> = (0..pass.old.len()).filter(|&i| replicas(&pass.old[i]) > 0).collect();
        if !active.is_empty() {
            for index in active {
                self.resize_old(pass, index, 0).await?;
            }
            return Ok(());
        }
        if self.old_pods_run(pass, selector).await? {
            return Ok(());
        }
        self.sync_revision(pass, Creation::WhenMissing).await?;
        let wanted = replicas(&pass.deployment);
        if pass.new.as_ref().is_some_and(|new| replicas(new) != wanted) {
            self.resize_new(pass, wanted).await?;
        }
        if status::is_complete(&pass.deployment, &pass.deployment["status"]) {
            self.clean_up(pass).await?;
        }
        Ok(())
    }

    async fn old_pods_run(&self, pass: &Pass, selector: &LabelSelector) -> Result<bool, Error> {
        let old: Vec<&str> = pass.old.iter().map(meta::uid).collect();
        if old.is_empty() {
            return Ok(false);
        }
        let pods = self.pods.list_all(meta::namespace(&pass.deployment), &ListOptions::all()).await?.items;
        Ok(pods
            .iter()
            .filter(|pod| selector.matches_object(pod) && !pods::is_finished(pod))
            .any(|pod| meta::controller_of(pod).is_some_and(|owner| old.contains(&owner.uid.as_str()))))
    }

    /// Finds or makes the new ReplicaSet and keeps revisions: the newest template has the highest.
    async fn sync_revision(&self, pass: &mut Pass, creation: Creation) -> Result<(), Error> {
        let newest = pass.old.iter().map(sets::revision).max().unwrap_or(0) + 1;
        if let Some(new) = &pass.new {
            let mut wanted = new.clone();
            let mut changed = sets::annotate_revision(&pass.deployment, &mut wanted, newest, true);
            let ready = &pass.deployment["spec"]["minReadySeconds"];
            if wanted["spec"]["minReadySeconds"].as_i64().unwrap_or(0) != ready.as_i64().unwrap_or(0) {
                wanted["spec"]["minReadySeconds"] = ready.clone();
                changed = true;
            }
            if changed {
                pass.new = Some(self.sets.replace(&wanted).await?);
            }
            let found = pass.new.as_ref().expect("set just above");
            let name = meta::name(found).to_owned();
            let revision = meta::annotation(found, REVISION).map(str::to_owned);
            let reason = ("FoundNewReplicaSet", format!("Found new replica set \"{name}\""));
            return self.note_revision(pass, revision, reason, NoteProgress::IfNone).await;
        }
        if creation == Creation::Not {
            return Ok(());
        }
        self.create_new(pass, newest).await
    }

    async fn create_new(&self, pass: &mut Pass, revision: i64) -> Result<(), Error> {
        let deployment = &pass.deployment;
        let collisions = deployment["status"]["collisionCount"].as_i64();
        let pod_template = &deployment["spec"]["template"];
        let hash = hash::template_hash(pod_template, collisions);
        let all: Vec<&Value> = pass.old.iter().collect();
        let size = rolling::new_set_replicas(deployment, None, &all);
        let labelled = template::with_label(pod_template, HASH_LABEL, &hash);
        let mut set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", meta::name(deployment)),
                "namespace": meta::namespace(deployment),
                "labels": labelled["metadata"]["labels"],
                "ownerReferences": [OwnerReference::controller(deployment).to_value()],
            },
            "spec": {
                "replicas": size,
                "minReadySeconds": deployment["spec"]["minReadySeconds"].as_i64().unwrap_or(0),
                "selector": template::selector_with_label(&deployment["spec"]["selector"], HASH_LABEL, &hash),
                "template": labelled,
            },
        });
        sets::annotate_revision(deployment, &mut set, revision, false);
        sets::annotate_replicas(
            &mut set,
            replicas(deployment),
            replicas(deployment) + sets::max_surge(deployment),
        );
        let created = match self.sets.create(&set).await {
            Ok(created) => created,
            Err(error) if error.is_already_exists() => return self.collided(pass, &set, error).await,
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => {
                let message =
                    format!("Failed to create new replica set \"{}\": {}", meta::name(&set), error.message());
                let condition =
                    Condition::new(status::PROGRESSING, "False", "ReplicaSetCreateError", &*message);
                conditions::set(&mut pass.deployment["status"], &condition, pass.now);
                self.save_status(pass).await?;
                self.recorder.warning(&pass.deployment, "ReplicaSetCreateError", &message).await;
                return Err(error);
            }
        };
        let name = meta::name(&created).to_owned();
        if size > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {size}");
            self.recorder.normal(&pass.deployment, "ScalingReplicaSet", &message).await;
        }
        pass.new = Some(created);
        let reason = ("NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
        self.note_revision(pass, Some(revision.to_string()), reason, NoteProgress::Always).await
    }

    /// The name is taken: by our own set of an earlier, half-finished pass, or by chance, which the collision count avoids next time.
    async fn collided(&self, pass: &mut Pass, wanted: &Value, error: Error) -> Result<(), Error> {
        let existing = self.sets.get(&Key::of(wanted)).await?;
        let same =
            template::same(&existing["spec"]["template"], &pass.deployment["spec"]["template"], HASH_LABEL);
        if meta::is_controlled_by(&existing, meta::uid(&pass.deployment)) && same {
            pass.new = Some(existing);
            return Ok(());
        }
        let count = pass.deployment["status"]["collisionCount"].as_i64().unwrap_or(0) + 1;
        pass.deployment["status"]["collisionCount"] = json!(count);
        self.save_status(pass).await?;
        Err(error)
    }

    /// Writes the revision onto the Deployment, and the first news of progress into its status.
    async fn note_revision(
        &self,
        pass: &mut Pass,
        revision: Option<String>,
        (reason, message): (&str, String),
        note: NoteProgress,
    ) -> Result<(), Error> {
        if let Some(revision) = revision
            && meta::annotation(&pass.deployment, REVISION) != Some(&revision)
        {
            let patch = Patch::Merge(json!({ "metadata": {
                "uid": meta::uid(&pass.deployment), "annotations": { REVISION: revision } } }));
            let key = Key::of(&pass.deployment);
            let before = pass.deployment["status"].take();
            pass.deployment = self.deployments.patch(&key, &patch, &PatchOptions::default()).await?;
            pass.deployment["status"] = before;
        }
        let known = conditions::find(&pass.deployment["status"], status::PROGRESSING).is_some();
        if status::deadline(&pass.deployment).is_some() && (note == NoteProgress::Always || !known) {
            let condition = Condition::new(status::PROGRESSING, "True", reason, message);
            let before = pass.deployment["status"].clone();
            conditions::set(&mut pass.deployment["status"], &condition, pass.now);
            if before != pass.deployment["status"] {
                self.save_status(pass).await?;
            }
        }
        Ok(())
    }

    /// Marks where a pause begins and ends, so that the time between does not count against the deadline.
    async fn mark_pause(&self, pass: &mut Pass) -> Result<(), Error> {
        if status::deadline(&pass.deployment).is_none() {
            return Ok(());
        }
        let current = conditions::find(&pass.deployment["status"], status::PROGRESSING);
        let reason = current.and_then(|current| current["reason"].as_str());
        if reason == Some(status::TIMED_OUT) {
            return Ok(());
        }
        let paused = pass.deployment["spec"]["paused"] == true;
        let marked = reason == Some("DeploymentPaused");
        let condition = match (paused, marked) {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return Ok(()),
        };
        let condition = Condition::new(status::PROGRESSING, "Unknown", condition.0, condition.1);
        conditions::set(&mut pass.deployment["status"], &condition, pass.now);
        self.save_status(pass).await
    }

    /// Follows a change of `spec.replicas` without starting an update.
    async fn scale(&self, pass: &mut Pass) -> Result<(), Error> {
        let wanted = replicas(&pass.deployment);
        let active: Vec<Value> =
            pass.old.iter().chain(&pass.new).filter(|set| replicas(set) > 0).cloned().collect();
        if active.len() <= 1 {
            let only = active.first().or(pass.new.as_ref()).or(pass.old.last());
            let sized = only.map(|set| (meta::name(set).to_owned(), wanted));
            return self.resize_named(pass, sized.into_iter().collect()).await;
        }
        if rolling::is_saturated(&pass.deployment, pass.new.as_ref()) {
            let idle =
                pass.old.iter().filter(|set| replicas(set) > 0).map(|set| (meta::name(set).to_owned(), 0));
            let idle = idle.collect();
            return self.resize_named(pass, idle).await;
        }
        if !sets::is_rolling(&pass.deployment) {
            return Ok(());
        }
        let sizes = rolling::proportional(&pass.deployment, &active);
        self.resize_named(pass, sizes).await
    }

    async fn resize_named(&self, pass: &mut Pass, sizes: Vec<(String, i64)>) -> Result<(), Error> {
        for (name, size) in sizes {
            if pass.new.as_ref().is_some_and(|new| meta::name(new) == name) {
                self.resize_new(pass, size).await?;
            } else if let Some(index) = pass.old.iter().position(|set| meta::name(set) == name) {
                self.resize_old(pass, index, size).await?;
            }
        }
        Ok(())
    }

    async fn resize_new(&self, pass: &mut Pass, size: i64) -> Result<(), Error> {
        let Some(new) = &pass.new else { return Ok(()) };
        pass.new = Some(self.resize(&pass.deployment, new, size).await?);
        Ok(())
    }

    async fn resize_old(&self, pass: &mut Pass, index: usize, size: i64) -> Result<(), Error> {
        pass.old[index] = self.resize(&pass.deployment, &pass.old[index], size).await?;
        Ok(())
    }

    async fn resize(&self, deployment: &Value, set: &Value, size: i64) -> Result<Value, Error> {
        let before = replicas(set);
        let mut wanted = set.clone();
        let max = replicas(deployment) + sets::max_surge(deployment);
        let annotated = sets::annotate_replicas(&mut wanted, replicas(deployment), max);
        if before == size && !annotated {
            return Ok(wanted);
        }
        wanted["spec"]["replicas"] = json!(size);
        let updated = self.sets.replace(&wanted).await?;
        if before != size {
            let direction = if size > before { "up" } else { "down" };
            let message =
                format!("Scaled {direction} replica set {} from {before} to {size}", meta::name(set));
            self.recorder.normal(deployment, "ScalingReplicaSet", &message).await;
        }
        Ok(updated)
    }

    /// Removes the oldest ReplicaSets beyond `revisionHistoryLimit`.
    async fn clean_up(&self, pass: &mut Pass) -> Result<(), Error> {
        for key in superfluous(&pass.deployment, &pass.old) {
            self.sets.delete_if_exists(&key, &DeleteOptions::background()).await?;
            pass.old.retain(|set| Key::of(set) != key);
        }
        Ok(())
    }

    async fn save_status(&self, pass: &mut Pass) -> Result<(), Error> {
        pass.deployment = self.deployments.replace_status(&pass.deployment).await?;
        Ok(())
    }

    async fn write(&self, pass: &Pass, status: Value) -> Result<Action, Error> {
        let mut deployment = pass.deployment.clone();
        if deployment["status"] != status {
            deployment["status"] = status;
            self.deployments.replace_status(&deployment).await?;
        }
        let paused = deployment["spec"]["paused"] == true;
        let wait = status::until_timeout(&deployment, pass.now).filter(|_| !paused);
        // One second later, because conditions are written in whole seconds.
        Ok(wait.map_or(Action::Done, |wait| Action::RequeueAfter(wait + std::time::Duration::from_secs(1))))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Creation {
    Not,
    WhenMissing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NoteProgress {
    Always,
    IfNone,
}

/// Whether `spec.replicas` changed since the active sets were last sized.
fn is_scaling(pass: &Pass) -> bool {
    let wanted = replicas(&pass.deployment);
    pass.old
        .iter()
        .chain(&pass.new)
        .filter(|set| replicas(set) > 0)
        .filter_map(|set| sets::annotated(set, sets::DESIRED_REPLICAS))
        .any(|desired| desired != wanted)
}

/// Old sets that the history has no room for, oldest revision first.
fn superfluous(deployment: &Value, old: &[Value]) -> Vec<Key> {
    let Some(limit) = deployment["spec"]["revisionHistoryLimit"].as_i64() else { return Vec::new() };
    if limit == i64::from(i32::MAX) {
        return Vec::new();
    }
    let mut candidates: Vec<&Value> = old.iter().filter(|set| !meta::is_deleting(set)).collect();
    candidates.sort_by_key(|set| (sets::revision(set), meta::created_at(set)));
    let surplus = candidates.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    candidates
        .into_iter()
        .take(surplus)
        .filter(|set| {
            replicas(set) == 0
                && sets::status_count(set, "replicas") == 0
                && meta::generation(set) <= sets::status_count(set, "observedGeneration")
        })
        .map(Key::of)
        .collect()
}

#[cfg(test)]
mod tests;
