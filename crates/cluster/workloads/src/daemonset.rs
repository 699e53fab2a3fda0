//! DaemonSets: one Pod on every node that takes it.

mod plan;

use client::controller::{Action, Controller};
use client::dynamic::ListOptions;
use client::events::Recorder;
use client::resource::{CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS};
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key, claim};
use jiff::Timestamp;
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::revisions::{self, History};
use crate::{pods, unsupported};
use plan::HASH_LABEL;

pub(crate) const ACCOUNT: &str = "daemon-set-controller";

/// What DaemonSets are run without.
const UNSUPPORTED: [&str; 1] = ["/spec/updateStrategy/rollingUpdate/maxSurge"];

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": ["apps"], "resources": ["daemonsets/status"], "verbs": ["update", "patch"] },
        { "apiGroups": ["apps"], "resources": ["daemonsets/finalizers"], "verbs": ["update"] },
        { "apiGroups": ["apps"], "resources": ["controllerrevisions"],
          "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "list", "patch", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let this = DaemonSets {
        sets: Api::new(&client, &DAEMON_SETS),
        pods: Api::new(&client, &PODS),
        nodes: Api::new(&client, &NODES),
        revisions: Api::new(&client, &CONTROLLER_REVISIONS),
        recorder: Recorder::new(&client, "daemonset-controller"),
    };
    // A node that comes, goes or changes its labels or taints concerns every set: one key stands for all of them.
    let (every, all_sets) = mpsc::channel(64);
    Controller::new("daemonset", client)
        .primary(DAEMON_SETS)
        .owned(PODS, DAEMON_SETS)
        .watches(NODES, WatchOptions::default(), plan::NodeChanges::default().into_map())
        .deletions(NODES, |_| vec![plan::every_set()])
        .triggers(all_sets)
        .concurrency(2)
        .run(
            move |key| {
                let (this, every) = (this.clone(), every.clone());
                async move {
                    if key == plan::every_set() {
                        return this.enqueue_all(&every).await;
                    }
                    this.reconcile(&key).await
                }
            },
            shutdown,
        )
        .await;
}

#[derive(Clone)]
struct DaemonSets {
    sets: Api,
    pods: Api,
    nodes: Api,
    revisions: Api,
    recorder: Recorder,
}

impl DaemonSets {
    async fn enqueue_all(&self, every: &mpsc::Sender<Key>) -> Result<Action, Error> {
        let metadata = ListOptions { metadata_only: true, ..ListOptions::default() };
        for set in self.sets.list_all(None, &metadata).await?.items {
            // The receiver ends only with the controller itself.
            if every.send(Key::of(&set)).await.is_err() {
                break;
            }
        }
        Ok(Action::Done)
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(set) = self.sets.find(key).await? else { return Ok(Action::Done) };
        let Ok(selector) = LabelSelector::from_object(&set["spec"]["selector"]) else {
            return Ok(Action::Done);
        };
        if selector.is_everything() {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.warning(&set, "SelectingAll", text).await;
            return Ok(Action::Done);
        }
        if set["status"]["observedGeneration"].is_null() {
            unsupported::announce(&self.recorder, &set, &UNSUPPORTED).await;
        }
        let history = match revisions::sync(&self.revisions, &set, &selector, HASH_LABEL).await {
            Err(error) if error.is_namespace_terminating() => return Ok(Action::Done),
            history => history?,
        };
        let hash = meta::label(&history.update, HASH_LABEL).unwrap_or("").to_owned();
        let nodes = self.nodes.list_all(None, &ListOptions::all()).await?.items;
        let members = self.members(&set, &selector).await?;
        let now = Timestamp::now();
        let mut failure = None;
        if !meta::is_deleting(&set) {
            failure = self.change_pods(&set, plan::plan(&set, &nodes, &members, &hash, now), &hash).await?;
        }
        let members = self.members(&set, &selector).await?;
        let status = plan::status(&set, &nodes, &members, &hash, history.collisions, now);
        if status != set["status"] {
            let mut updated = set.clone();
            updated["status"] = status;
            self.sets.replace_status(&updated).await?;
        }
        self.forget_unused(&set, &history, &members).await?;
        if let Some(error) = failure {
            return if error.is_namespace_terminating() { Ok(Action::Done) } else { Err(error) };
        }
        let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        Ok(pods::next_available(&members, min_ready, now).map_or(Action::Done, Action::RequeueAfter))
    }

    /// Deletes and makes pods; a creation that is refused is returned, because the status has to be written first.
    async fn change_pods(&self, set: &Value, plan: plan::Plan, hash: &str) -> Result<Option<Error>, Error> {
        for pod in &plan.delete {
            pods::delete(&self.pods, pod).await?;
            let text = format!("Deleted pod: {}", meta::name(pod));
            self.recorder.normal(set, "SuccessfulDelete", &text).await;
        }
        for pod in &plan.failed {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
            let text =
                format!("Found failed daemon pod {} on node {node}, will try to kill it", Key::of(pod));
            self.recorder.warning(set, "FailedDaemonPod", &text).await;
            pods::delete(&self.pods, pod).await?;
        }
        for node in &plan.create {
            if let Err(error) = self.create(set, node, hash).await {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    /// Removes revisions beyond the limit that no pod is made of.
    async fn forget_unused(&self, set: &Value, history: &History, members: &[Value]) -> Result<(), Error> {
        let hashes: Vec<&str> = members.iter().filter_map(|pod| meta::label(pod, HASH_LABEL)).collect();
        let used: Vec<String> = history
            .all
            .iter()
            .filter(|revision| meta::label(revision, HASH_LABEL).is_some_and(|hash| hashes.contains(&hash)))
            .map(|revision| meta::name(revision).to_owned())
            .collect();
        revisions::truncate(&self.revisions, set, history, &used).await
    }

    async fn members(&self, set: &Value, selector: &LabelSelector) -> Result<Vec<Value>, Error> {
        let listed = self.pods.list_all(meta::namespace(set), &ListOptions::all()).await?.items;
        claim::claim(&self.pods, set, selector, listed).await
    }

    async fn create(&self, set: &Value, node: &str, hash: &str) -> Result<(), Error> {
        match self.pods.create(&plan::pod(set, node, hash)).await {
            Ok(pod) => {
                let text = format!("Created pod: {}", meta::name(&pod));
                self.recorder.normal(set, "SuccessfulCreate", &text).await;
                Ok(())
            }
            Err(error) => {
                let text = format!("Error creating: {}", error.message());
                self.recorder.warning(set, "FailedCreate", &text).await;
                Err(error)
            }
        }
    }
}
