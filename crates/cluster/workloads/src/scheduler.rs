//! The scheduler loop: binds Pods that have no node, and says why where it cannot.
//!
//! It holds what `scheduling` extracts of nodes and bound Pods. A Pod that does not fit waits until something changes that could
//! help it (a node, a Pod that ends, a claim that is bound), and a minute at most.

mod claims;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::controller::Queue;
use client::dynamic::{Patch, PatchOptions};
use client::events::Recorder;
use client::resource::{NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS};
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Error, Key, chain};
use futures::StreamExt;
use jiff::Timestamp;
use objects::meta;
use scheduling::{Cluster, choose};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use claims::{Claims, Found};

pub(crate) const ACCOUNT: &str = "kube-scheduler";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["nodes", "namespaces"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch", "update"] },
        { "apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "patch"] },
        { "apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get"] },
        { "apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

/// A Pod that did not fit is tried again after this long even if nothing was seen to change.
const RETRY: Duration = Duration::from_secs(60);

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let mut this = Scheduler {
        pods: Api::new(&client, &PODS),
        claims: Claims::new(&client),
        recorder: Recorder::new(&client, "default-scheduler"),
        cluster: Cluster::new(),
        queue: Arc::new(Queue::new(Duration::from_millis(50), Duration::from_secs(10))),
        waiting: BTreeSet::new(),
    };
    let tagged = |resource, options: WatchOptions, tag: Tag| {
        watch(&client, resource, options).map(move |event| (tag, event)).boxed()
    };
    let mut events = futures::stream::select_all([
        tagged(&NODES, WatchOptions::default(), Tag::Node),
        tagged(&NAMESPACES, WatchOptions::metadata(), Tag::Namespace),
        tagged(&PODS, WatchOptions::default(), Tag::Pod),
        tagged(&PERSISTENT_VOLUME_CLAIMS, WatchOptions::metadata(), Tag::Claim),
    ]);
    let mut listed = BTreeSet::new();
    loop {
        // Placing before everything was listed once would see an emptier cluster than there is.
        let ready = listed.len() == 4;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some((tag, event)) = events.next() => {
                if matches!(event, Event::Resynced(_)) {
                    listed.insert(tag);
                }
                this.observe(tag, event);
            }
            key = next(&this.queue), if ready => this.pass(key).await,
        }
    }
}

async fn next(queue: &Queue) -> Key {
    queue.next().await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Node,
    Namespace,
    Pod,
    Claim,
}

struct Scheduler {
    pods: Api,
    claims: Claims,
    recorder: Recorder,
    cluster: Cluster,
    queue: Arc<Queue>,
    /// Pods that did not fit.
    waiting: BTreeSet<Key>,
}

impl Scheduler {
    fn observe(&mut self, tag: Tag, event: Event) {
        let helps = match (tag, event) {
            (Tag::Node, Event::Applied(node)) => self.cluster.set_node(&node),
            (Tag::Node, Event::Deleted(node)) => {
                self.cluster.remove_node(meta::name(&node));
                false
            }
            (Tag::Node, Event::Resynced(keys)) => {
                let names: BTreeSet<String> = keys.into_iter().map(|key| key.name).collect();
                self.cluster.retain_nodes(|name| names.contains(name));
                true
            }
            (Tag::Namespace, Event::Applied(namespace)) => {
                self.cluster.set_namespace(&namespace);
                false
            }
            (Tag::Namespace, Event::Deleted(namespace)) => {
                self.cluster.remove_namespace(meta::name(&namespace));
                false
            }
            (Tag::Pod, Event::Applied(pod)) => {
                if is_ours(&pod) {
                    self.queue.add(&Key::of(&pod));
                }
                self.cluster.set_pod(&pod)
            }
            (Tag::Pod, Event::Deleted(pod)) => {
                self.waiting.remove(&Key::of(&pod));
                self.cluster.remove_pod(&Key::of(&pod))
            }
            (Tag::Pod, Event::Resynced(keys)) => {
                let keys: BTreeSet<Key> = keys.into_iter().collect();
                self.cluster.retain_pods(|key| keys.contains(key));
                self.waiting.retain(|key| keys.contains(key));
                true
            }
            (Tag::Claim, event) => {
                self.claim_changed(&event);
                false
            }
            (Tag::Namespace, Event::Resynced(_)) => false,
        };
        if helps {
            for key in std::mem::take(&mut self.waiting) {
                self.queue.add(&key);
            }
        }
    }

    fn claim_changed(&mut self, event: &Event) {
        let (Event::Applied(claim) | Event::Deleted(claim)) = event else { return };
        let namespace = meta::namespace(claim);
        for key in self.waiting.iter().filter(|key| key.namespace.as_deref() == namespace) {
            self.queue.add(key);
        }
        self.waiting.retain(|key| key.namespace.as_deref() != namespace);
    }

    async fn pass(&mut self, key: Key) {
        match self.schedule(&key).await {
            Ok(Outcome::Settled) => self.queue.succeeded(&key),
            Ok(Outcome::Waits) => {
                self.queue.succeeded(&key);
                self.queue.add_after(&key, RETRY);
                self.waiting.insert(key);
            }
            Err(error) => {
                let wait = self.queue.failed(&key);
                if !error.is_conflict() {
                    tracing::warn!(%key, ?wait, error = chain(&error), "cannot schedule");
                }
            }
        }
    }

    async fn schedule(&mut self, key: &Key) -> Result<Outcome, Error> {
        let Some(pod) = self.pods.find(key).await? else { return Ok(Outcome::Settled) };
        if !is_ours(&pod) {
            return Ok(Outcome::Settled);
        }
        if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            self.mark(&pod, "SchedulingGated", message).await?;
            return Ok(Outcome::Settled);
        }
        let found = match self.claims.of_pod(&pod).await? {
            Ok(found) => found,
            Err(problem) => {
                let nodes = self.cluster.node_count();
                return self.refuse(&pod, &format!("0/{nodes} nodes are available: {problem}.")).await;
            }
        };
        match choose(&self.cluster, &pod, &found.volumes) {
            Err(unschedulable) => self.refuse(&pod, &unschedulable.to_string()).await,
            Ok(node) if !found.unbound.is_empty() => self.provision(&pod, &found, &node).await,
            Ok(node) => {
                self.bind(&pod, &node).await?;
                Ok(Outcome::Settled)
            }
        }
    }

    /// Claims that wait for their first consumer learn the node; the Pod is bound once they are.
    async fn provision(&self, pod: &Value, found: &Found, node: &str) -> Result<Outcome, Error> {
        for claim in &found.unbound {
            self.claims.select_node(claim, node).await?;
        }
        let message = "waiting for the volumes of its claims to be provisioned";
        self.mark(pod, "Unschedulable", message).await?;
        Ok(Outcome::Waits)
    }

    async fn bind(&mut self, pod: &Value, node: &str) -> Result<(), Error> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": meta::name(pod), "namespace": meta::namespace(pod), "uid": meta::uid(pod) },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        self.pods.create_subresource(&Key::of(pod), "binding", &binding).await?;
        // Counted before the watch says so, or the next Pod would see the same room.
        let mut bound = pod.clone();
        bound["spec"]["nodeName"] = json!(node);
        self.cluster.set_pod(&bound);
        let message = format!("Successfully assigned {} to {node}", Key::of(pod));
        self.recorder.normal(pod, "Scheduled", &message).await;
        Ok(())
    }

    async fn refuse(&self, pod: &Value, message: &str) -> Result<Outcome, Error> {
        self.mark(pod, "Unschedulable", message).await?;
        self.recorder.warning(pod, "FailedScheduling", message).await;
        Ok(Outcome::Waits)
    }

    async fn mark(&self, pod: &Value, reason: &str, message: &str) -> Result<(), Error> {
        let current = client::conditions::find(&pod["status"], "PodScheduled");
        let same = current.is_some_and(|current| {
            current["status"] == "False" && current["reason"] == reason && current["message"] == message
        });
        if same {
            return Ok(());
        }
        let since = current
            .filter(|current| current["status"] == "False")
            .and_then(|current| current["lastTransitionTime"].as_str().map(str::to_owned))
            .unwrap_or_else(|| meta::format_time(Timestamp::now()));
        let patch =
            Patch::Strategic(json!({ "metadata": { "uid": meta::uid(pod) }, "status": { "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": since,
        }] } }));
        self.pods.patch_subresource(&Key::of(pod), "status", &patch, &PatchOptions::default()).await?;
        Ok(())
    }
}

enum Outcome {
    /// Bound, gone, gated, or not ours to bind.
    Settled,
    /// To be tried again when something changes.
    Waits,
}

/// Pods without a node that ask for this scheduler and still want to run.
fn is_ours(pod: &Value) -> bool {
    let scheduler = pod["spec"]["schedulerName"].as_str().unwrap_or("default-scheduler");
    pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty()
        && scheduler == "default-scheduler"
        && crate::pods::is_active(pod)
}
