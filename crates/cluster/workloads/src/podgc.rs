//! Pods that nobody would remove: on nodes that are gone, deleted before they had a node, or finished in too large a number.

use std::time::Duration;

use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::resource::{NODES, PODS};
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key};
use objects::meta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::pods;

pub(crate) const ACCOUNT: &str = "pod-garbage-collector";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["delete", "get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"] },
    ])
}

/// Finished Pods beyond this many are removed, the oldest first, as upstream.
const FINISHED: usize = 12_500;
/// A node that came back within this time keeps its Pods.
const QUARANTINE: Duration = Duration::from_secs(40);

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = PodGc { pods: Api::new(&client, &PODS), nodes: Api::new(&client, &NODES) };
    let all = || Key::cluster("all");
    Controller::new("pod-gc", client)
        // A node that is gone is looked at again after the quarantine; one pass looks at all Pods.
        .primary_deletions(NODES, move |_| vec![all()])
        .triggers(crate::once(all()))
        .watches(PODS, unplaced(), |pod| if meta::is_deleting(pod) { vec![Key::of(pod)] } else { Vec::new() })
        .run(
            move |key| {
                let this = this.clone();
                async move {
                    match &key.namespace {
                        Some(_) => this.unplaced(&key).await,
                        None => this.all().await,
                    }
                }
            },
            shutdown,
        )
        .await;
}

/// Pods without a node.
fn unplaced() -> WatchOptions {
    WatchOptions { fields: Some("spec.nodeName=".to_owned()), ..WatchOptions::metadata() }
}

#[derive(Clone)]
struct PodGc {
    pods: Api,
    nodes: Api,
}

impl PodGc {
    /// A Pod that is deleted before it had a node has nobody to stop it.
    async fn unplaced(&self, key: &Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.find(key).await? else { return Ok(Action::Done) };
        if meta::is_deleting(&pod) && pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty() {
            self.remove(&pod).await?;
        }
        Ok(Action::Done)
    }

    async fn all(&self) -> Result<Action, Error> {
        let metadata = ListOptions { metadata_only: true, ..ListOptions::default() };
        let nodes: Vec<String> = self
            .nodes
            .list_all(None, &metadata)
            .await?
            .items
            .iter()
            .map(|n| meta::name(n).to_owned())
            .collect();
        let pods = self.pods.list_all(None, &ListOptions::all()).await?.items;
        let on = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or("").to_owned();
        let orphaned = pods.iter().filter(|pod| !on(pod).is_empty() && !nodes.contains(&on(pod)));
        let mut again = Action::Done;
        for pod in orphaned {
            if self.lost_for_good(pod).await? {
                self.fail(pod).await?;
                self.remove(pod).await?;
            } else {
                again = Action::RequeueAfter(QUARANTINE);
            }
        }
        let mut finished: Vec<&Value> = pods.iter().filter(|pod| pods::is_finished(pod)).collect();
        if finished.len() > FINISHED {
            finished.sort_by_key(|pod| (meta::created_at(pod), meta::name(pod).to_owned()));
            for pod in &finished[..finished.len() - FINISHED] {
                self.remove(pod).await?;
            }
        }
        Ok(again)
    }

    /// A node that is missing now and was already missing at the last look. The look before is remembered on the Pod's own
    /// condition, so that a restart forgets nothing.
    async fn lost_for_good(&self, pod: &Value) -> Result<bool, Error> {
        let noted = client::conditions::find(&pod["status"], "DisruptionTarget")
            .filter(|condition| condition["reason"] == "DeletionByPodGC")
            .and_then(|condition| condition["lastTransitionTime"].as_str()?.parse::<jiff::Timestamp>().ok());
        if let Some(since) = noted {
            let waited = jiff::Timestamp::now().duration_since(since);
            return Ok(Duration::try_from(waited).is_ok_and(|waited| waited >= QUARANTINE));
        }
        let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": meta::format_time(jiff::Timestamp::now()) });
        self.patch_status(pod, json!({ "conditions": [condition] })).await?;
        Ok(false)
    }

    async fn fail(&self, pod: &Value) -> Result<(), Error> {
        if pods::is_finished(pod) {
            return Ok(());
        }
        self.patch_status(pod, json!({ "phase": "Failed" })).await
    }

    async fn patch_status(&self, pod: &Value, status: Value) -> Result<(), Error> {
        let patch = Patch::Strategic(json!({ "metadata": { "uid": meta::uid(pod) }, "status": status }));
        match self.pods.patch_subresource(&Key::of(pod), "status", &patch, &PatchOptions::default()).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn remove(&self, pod: &Value) -> Result<(), Error> {
        let options =
            DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default().only(meta::uid(pod)) };
        self.pods.delete_if_exists(&Key::of(pod), &options).await
    }
}
