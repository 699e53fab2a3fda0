//! Jobs: Pods that run to their end, so many times.
//!
//! Pods carry a finalizer until they are counted, in three steps that survive a crash between any two: the uid of an ended Pod is
//! written into `status.uncountedTerminatedPods`, the finalizer is taken off, and then the uid becomes part of the count.

mod plan;

use std::time::Duration;

use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::events::Recorder;
use client::resource::{JOBS, PODS};
use client::{Api, Client, Error, Key, claim};
use jiff::Timestamp;
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{pods, unsupported};
use plan::{FINALIZER, Plan};

pub(crate) const ACCOUNT: &str = "job-controller";

/// What `spec.managedBy` says where this controller is meant.
const SELF: &str = "kubernetes.io/job-controller";

/// What Jobs are run without.
const UNSUPPORTED: [&str; 4] =
    ["/spec/podFailurePolicy", "/spec/successPolicy", "/spec/backoffLimitPerIndex", "/spec/maxFailedIndexes"];

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": ["batch"], "resources": ["jobs/status"], "verbs": ["update", "patch"] },
        { "apiGroups": ["batch"], "resources": ["jobs/finalizers"], "verbs": ["update"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "get", "list", "patch", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = Jobs {
        jobs: Api::new(&client, &JOBS),
        pods: Api::new(&client, &PODS),
        recorder: Recorder::new(&client, ACCOUNT),
    };
    Controller::new("job", client)
        .primary(JOBS)
        .owned(PODS, JOBS)
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
struct Jobs {
    jobs: Api,
    pods: Api,
    recorder: Recorder,
}

impl Jobs {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(mut job) = self.jobs.find(key).await? else {
            self.release_orphans(key).await?;
            return Ok(Action::Done);
        };
        if job["spec"]["managedBy"].as_str().is_some_and(|manager| manager != SELF) {
            return Ok(Action::Done);
        }
        let Ok(selector) = LabelSelector::from_object(&job["spec"]["selector"]) else {
            return Ok(Action::Done);
        };
        if job["status"].as_object().is_none_or(serde_json::Map::is_empty) {
            unsupported::announce(&self.recorder, &job, &UNSUPPORTED).await;
        }
        let now = Timestamp::now();
        let listed = self.pods.list_all(key.namespace.as_deref(), &ListOptions::all()).await?.items;
        let mut members = claim::claim(&self.pods, &job, &selector, listed).await?;
        if plan::is_finished(&job) {
            self.release_all(&members).await?;
            return self.clean_up(&job, now).await;
        }
        job = self.count(job, &mut members).await?;
        let plan = plan::plan(&job, &members, now);
        let deleting = meta::is_deleting(&job);
        if !deleting {
            self.change_pods(&job, &plan).await?;
        }
        let before = job["status"].clone();
        let status = plan::status(&job, &plan, now);
        if status != before {
            let ended = plan.end.clone();
            job["status"] = status;
            job = self.jobs.replace_status(&job).await?;
            self.announce(&job, &before, ended.as_ref()).await;
        }
        if plan::is_finished(&job) {
            self.release_all(&members).await?;
            return self.clean_up(&job, now).await;
        }
        Ok(plan.again.map_or(Action::Done, Action::RequeueAfter))
    }

    /// Takes ended Pods into the counts, by the three steps told above.
    async fn count(&self, mut job: Value, members: &mut [Value]) -> Result<Value, Error> {
        let noted = plan::note_ended(&job, members);
        if noted != job["status"] {
            job["status"] = noted;
            job = self.jobs.replace_status(&job).await?;
        }
        for pod in members.iter_mut().filter(|pod| plan::has_ended(pod)) {
            self.release(pod).await?;
            meta::remove_finalizer(pod, FINALIZER);
        }
        let counted = plan::count_noted(&job, members);
        if counted != job["status"] {
            job["status"] = counted;
            job = self.jobs.replace_status(&job).await?;
        }
        Ok(job)
    }

    async fn release_all(&self, members: &[Value]) -> Result<(), Error> {
        for pod in members {
            self.release(pod).await?;
        }
        Ok(())
    }

    /// Pods of a Job that is gone are counted by nobody; their finalizer must not keep them.
    async fn release_orphans(&self, key: &Key) -> Result<(), Error> {
        let listed = self.pods.list_all(key.namespace.as_deref(), &ListOptions::all()).await?.items;
        for pod in listed {
            let owner = meta::controller_of(&pod);
            if owner.is_some_and(|owner| owner.kind == "Job" && owner.name == key.name) {
                self.release(&pod).await?;
            }
        }
        Ok(())
    }

    /// Takes the finalizer off a Pod, if it has it.
    async fn release(&self, pod: &Value) -> Result<(), Error> {
        if !meta::finalizers(pod).any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        let kept: Vec<&str> = meta::finalizers(pod).filter(|finalizer| *finalizer != FINALIZER).collect();
        let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
        let patch = Patch::Merge(json!({ "metadata": { "uid": meta::uid(pod), "finalizers": kept } }));
        match self.pods.patch(&Key::of(pod), &patch, &PatchOptions::default()).await {
            // Gone, or another Pod by now: either way nothing of ours is left on it.
            Err(error) if error.is_not_found() || error.is_conflict() || error.is_invalid() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn change_pods(&self, job: &Value, plan: &Plan) -> Result<(), Error> {
        for pod in &plan.delete {
            pods::delete(&self.pods, pod).await?;
            let text = format!("Deleted pod: {}", meta::name(pod));
            self.recorder.normal(job, "SuccessfulDelete", &text).await;
        }
        for index in &plan.create {
            match self.pods.create(&plan::pod(job, *index)).await {
                Ok(pod) => {
                    let text = format!("Created pod: {}", meta::name(&pod));
                    self.recorder.normal(job, "SuccessfulCreate", &text).await;
                }
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => {
                    let text = format!("Error creating: {}", error.message());
                    self.recorder.warning(job, "FailedCreate", &text).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn announce(&self, job: &Value, before: &Value, ended: Option<&plan::End>) {
        let suspended = |status: &Value| client::conditions::is_true(status, "Suspended");
        match (suspended(before), suspended(&job["status"])) {
            (false, true) => self.recorder.normal(job, "Suspended", "Job suspended").await,
            (true, false) => self.recorder.normal(job, "Resumed", "Job resumed").await,
            _ => {}
        }
        if !plan::is_finished(job) {
            return;
        }
        match ended {
            Some(plan::End::Complete) => self.recorder.normal(job, "Completed", "Job completed").await,
            Some(plan::End::Failed { reason, message }) => self.recorder.warning(job, reason, message).await,
            None => {}
        }
    }

    /// Deletes a finished Job once `ttlSecondsAfterFinished` have passed.
    async fn clean_up(&self, job: &Value, now: Timestamp) -> Result<Action, Error> {
        let Some(left) = plan::until_expiry(job, now) else { return Ok(Action::Done) };
        if meta::is_deleting(job) {
            return Ok(Action::Done);
        }
        if left > Duration::ZERO {
            return Ok(Action::RequeueAfter(left));
        }
        let options = DeleteOptions {
            propagation: Some(client::dynamic::Propagation::Foreground),
            ..DeleteOptions::default().only(meta::uid(job))
        };
        self.jobs.delete_if_exists(&Key::of(job), &options).await?;
        Ok(Action::Done)
    }
}
