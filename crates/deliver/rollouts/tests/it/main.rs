//! The controller against the real API, with the real ReplicaSet controller and Pods that a stand-in for a node
//! declares ready.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::dynamic::{ListOptions, Patch, PatchOptions};
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Key, ResourceType, resource};
use futures::StreamExt as _;
use serde_json::{Value, json};
use test_kit::{Cluster, eventually_async};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const ROLLOUTS: ResourceType = ResourceType::namespaced("argoproj.io", "v1alpha1", "Rollout", "rollouts");
const SOON: Duration = Duration::from_secs(30);

struct Running {
    rollouts: Api,
    replica_sets: Api,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _cluster: Cluster,
}

impl Running {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.grant([rollouts::rules(), workloads::rules()].concat()).await;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(rollouts::run(cluster.account(rollouts::SERVICE_ACCOUNT), stop.clone()));
        let accounts = cluster.clone();
        let config = workloads::Config {
            clients: Arc::new(move |account| accounts.account(account)),
            volumes: PathBuf::from("/nonexistent"),
            node_name: "none".to_owned(),
            ca_certificate: String::new(),
        };
        tasks.spawn(workloads::run(config, stop.clone()));
        tasks.spawn(ready_pods(cluster.admin(), stop.clone()));
        let admin = cluster.admin();
        let (rollouts, replica_sets) =
            (Api::new(&admin, &ROLLOUTS), Api::new(&admin, &resource::REPLICA_SETS));
        Self { rollouts, replica_sets, stop, tasks, _cluster: cluster }
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Waits until these fields of the Rollout's status are so.
    async fn status(&self, expected: Value) {
        eventually_async("the Rollout's status", SOON, || async {
            let rollout = self.rollouts.get(&key()).await.map_err(|error| error.to_string())?;
            let status = &rollout["status"];
            let so = expected.as_object().unwrap().iter().all(|(field, value)| &status[field] == value);
            if so { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    async fn patch(&self, patch: Value) {
        self.rollouts.patch(&key(), &Patch::Merge(patch), &PatchOptions::default()).await.unwrap();
    }

    /// Pods asked for, by image.
    async fn asked(&self) -> Vec<(String, i64)> {
        let sets = self.replica_sets.list_all(Some("default"), &ListOptions::all()).await.unwrap();
        let mut asked: Vec<(String, i64)> = sets
            .items
            .iter()
            .map(|set| {
                let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
                (image.to_owned(), set["spec"]["replicas"].as_i64().unwrap())
            })
            .filter(|(_, replicas)| *replicas > 0)
            .collect();
        asked.sort();
        asked
    }
}

fn key() -> Key {
    Key::namespaced("default", "gateway")
}

fn rollout() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "gateway", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "gateway"}},
            "strategy": {"canary": {"maxSurge": "25%", "maxUnavailable": "0", "steps": [
                {"setWeight": 20}, {"pause": {"duration": "1s"}}, {"setWeight": 50}, {"pause": {}},
            ]}},
            "template": {
                "metadata": {"labels": {"app": "gateway"}},
                "spec": {"containers": [{"name": "gateway", "image": "gateway:7"}]},
            },
        },
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "gateway", "image": image}]}}}})
}

/// Declares every Pod ready, as a node whose containers all start would.
async fn ready_pods(client: Client, stop: CancellationToken) {
    let pods = Api::new(&client, &resource::PODS);
    let mut events = std::pin::pin!(watch(&client, &resource::PODS, WatchOptions::default()));
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        let Event::Applied(pod) = event else { continue };
        if pod["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready"))
        {
            continue;
        }
        let now = "2026-01-01T00:00:00Z";
        let status = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": now},
        ]});
        // The Pod may be gone again already.
        let _ = pods.patch_status(&Key::of(&pod), status).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_goes_through_its_steps_and_can_be_aborted() {
    let running = Running::start().await;
    running.rollouts.create(&rollout()).await.unwrap();
    running.status(json!({"phase": "Healthy", "availableReplicas": 2})).await;
    assert_eq!(running.asked().await, [("gateway:7".to_owned(), 2)]);

    running.patch(image("gateway:8")).await;
    running
        .status(json!({"phase": "Paused", "currentStepIndex": 3, "updatedReplicas": 1, "replicas": 2}))
        .await;
    assert_eq!(running.asked().await, [("gateway:7".to_owned(), 1), ("gateway:8".to_owned(), 1)]);

    running.rollouts.patch_status(&key(), json!({"abort": true})).await.unwrap();
    running.status(json!({"phase": "Degraded", "replicas": 2, "updatedReplicas": 0})).await;
    assert_eq!(running.asked().await, [("gateway:7".to_owned(), 2)]);

    running.patch(image("gateway:9")).await;
    running.status(json!({"phase": "Paused", "currentStepIndex": 3})).await;
    running.rollouts.patch_status(&key(), json!({"pauseConditions": null})).await.unwrap();
    running.status(json!({"phase": "Healthy", "currentStepIndex": 4, "replicas": 2})).await;
    assert_eq!(running.asked().await, [("gateway:9".to_owned(), 2)]);
    let seen = running.rollouts.get(&key()).await.unwrap();
    assert_eq!(seen["metadata"]["annotations"]["rollout.argoproj.io/revision"], "3");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scale_subresource_changes_the_replicas() {
    let running = Running::start().await;
    running.rollouts.create(&rollout()).await.unwrap();
    running.status(json!({"phase": "Healthy"})).await;
    running.rollouts.scale(&key(), 4).await.unwrap();
    running.status(json!({"phase": "Healthy", "availableReplicas": 4, "HPAReplicas": 4})).await;
    running.end().await;
}
