//! A cluster with all controllers and a node whose Pods run at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::dynamic::{DeleteOptions, Patch, PatchOptions};
use client::resource::{NAMESPACES, NODES, PODS};
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Key, ResourceType, wait};
use futures::StreamExt;
use objects::meta;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a state may take to be reached. Far longer than it does; a test that fails waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) directory: tempfile::TempDir,
    _clients: workloads::ClientFor,
    _stop: DropGuard,
}

impl World {
    pub(crate) async fn start() -> World {
        // What the controllers warn of belongs to a failed test's output. A second test finds it set already.
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().try_init();
        let cluster = test_kit::Cluster::start().await;
        cluster.grant(workloads::rules()).await;
        let accounts = cluster.clone();
        let clients: workloads::ClientFor = Arc::new(move |account| accounts.account(account));
        World::with(cluster.admin(), clients).await
    }

    /// All controllers on a cluster that somebody else started and that lives as long as `clients`.
    pub(crate) async fn with(admin: Client, clients: workloads::ClientFor) -> World {
        let directory = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let config = workloads::Config {
            clients: clients.clone(),
            volumes: directory.path().join("volumes"),
            node_name: "node".to_owned(),
            ca_certificate: "the certificate".to_owned(),
        };
        tokio::spawn(workloads::run(config, shutdown.clone()));
        tokio::spawn(kubelet(admin.clone(), shutdown.clone()));
        let world = World { admin, directory, _clients: clients, _stop: shutdown.drop_guard() };
        world.namespace("a").await;
        world.node().await;
        world
    }

    async fn node(&self) {
        let node = json!({ "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "node", "labels": { "kubernetes.io/hostname": "node" } } });
        let created = self.create(&NODES, node).await;
        let status = json!({ "allocatable": { "cpu": "4", "memory": "4Gi", "pods": "110" } });
        self.api(&NODES).patch_status(&Key::of(&created), status).await.unwrap();
    }

    pub(crate) async fn namespace(&self, name: &str) {
        self.create(
            &NAMESPACES,
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
        )
        .await;
    }

    pub(crate) fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&self.admin, resource)
    }

    pub(crate) async fn create(&self, resource: &ResourceType, object: Value) -> Value {
        self.api(resource).create(&object).await.unwrap_or_else(|error| panic!("{}", client::chain(&error)))
    }

    pub(crate) async fn patch(&self, resource: &ResourceType, name: &str, patch: Value) -> Value {
        let options = PatchOptions::default();
        self.api(resource).patch(&key(name), &Patch::Strategic(patch), &options).await.unwrap()
    }

    /// Waits until the object exists and satisfies `reached`.
    pub(crate) async fn until(
        &self,
        resource: &ResourceType,
        name: &str,
        what: &str,
        reached: impl FnMut(&Value) -> bool,
    ) -> Value {
        let key = if resource.namespaced { key(name) } else { Key::cluster(name) };
        let found = wait::present(&self.admin, resource, &key, what, LIMIT, reached).await;
        found.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn until_gone(&self, resource: &ResourceType, name: &str) {
        let key = if resource.namespaced { key(name) } else { Key::cluster(name) };
        wait::gone(&self.admin, resource, &key, LIMIT).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// All objects of a type in the namespace of the tests, by name.
    pub(crate) async fn list(&self, resource: &ResourceType) -> Vec<Value> {
        let mut items = self.api(resource).list(Some("a"), &Default::default()).await.unwrap().items;
        items.sort_by(|a, b| meta::name(a).cmp(meta::name(b)));
        items
    }

    /// Waits until the objects of a type in the namespace satisfy `reached`.
    pub(crate) async fn until_list(
        &self,
        resource: &ResourceType,
        what: &str,
        reached: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        test_kit::eventually_async(what, LIMIT, || async {
            let items = self.list(resource).await;
            if reached(&items) { Ok(items) } else { Err(items.iter().map(short).collect::<Vec<_>>()) }
        })
        .await
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.directory.path().join("volumes")
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::namespaced("a", name)
}

fn short(object: &Value) -> String {
    format!("{} {} {}", Key::of(object), object["metadata"]["labels"], object["status"])
}

/// A Pod's template. The label `behave` tells the stand-in kubelet what the Pod does: `unready`, `succeed`, `fail`, or run.
pub(crate) fn template(app: &str, behave: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app, "behave": behave } },
        "spec": { "containers": [{ "name": "c", "image": "example.com/image:1", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
    })
}

/// Runs Pods of the node by writing their status, and lets deleted ones go.
async fn kubelet(admin: Client, shutdown: CancellationToken) {
    let pods = Api::new(&admin, &PODS);
    let mut events = std::pin::pin!(watch(&admin, &PODS, WatchOptions::default()));
    let mut address = 1;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        let Some(Event::Applied(pod)) = event else { continue };
        if pod["spec"]["nodeName"] != "node" {
            continue;
        }
        let result = if meta::is_deleting(&pod) {
            let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            pods.delete_if_exists(&Key::of(&pod), &options).await
        } else if pod["status"]["phase"] == "Pending" {
            address += 1;
            pods.patch_status(&Key::of(&pod), status(&pod, address)).await.map(|_| ())
        } else {
            Ok(())
        };
        if let Err(error) = result
            && !error.is_not_found()
        {
            panic!("{}", client::chain(&error));
        }
    }
}

fn status(pod: &Value, address: u8) -> Value {
    let behave = meta::label(pod, "behave").unwrap_or("");
    let phase = match behave {
        "succeed" => "Succeeded",
        "fail" => "Failed",
        _ => "Running",
    };
    let ready = if phase == "Running" && behave != "unready" { "True" } else { "False" };
    let now = meta::format_time(jiff::Timestamp::now());
    json!({ "phase": phase, "podIP": format!("10.1.0.{address}"), "startTime": now,
        "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": now }] })
}
