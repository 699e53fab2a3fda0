//! The kubelet as a whole: which Pods there are, and who looks after each.

mod connect;
mod exec;
mod log_request;
mod orphans;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::chain;
use client::resource::{CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, ResourceType, SECRETS};
use client::watch::{Event, WatchOptions, watch};
use containers::Status;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use link::{AttachRequest, ByteStream, Connection, ExecRequest, LinkError, LogRequest, Session};
use objects::meta::{self, Key};
use serde_json::Value;
use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::env::{Reference, ReferenceKind};
use crate::mailbox::Mailbox;
use crate::pod::PodId;
use crate::records::parse_container_id;
use crate::shared::{PodEvent, Shared};
use crate::worker::{Finished, Worker};
use crate::{node, services};

/// The node could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of its own.
    #[error("cannot prepare {}", path.display())]
    Directory {
        /// Which one.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file system for secrets.
    #[error("cannot prepare the memory file system")]
    Memory(#[source] crate::runtime::RuntimeError),
}

/// Runs the Pods of one node. Cheap to clone.
#[derive(Clone)]
pub struct Kubelet {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    events: Mutex<Option<mpsc::Receiver<PodEvent>>>,
    pods: Mutex<Pods>,
    workers: TaskTracker,
    /// How many workers are at it; for whoever waits for them.
    active: channel::Sender<usize>,
    /// Whether all Pods that the node had are known.
    listed: channel::Sender<bool>,
}

#[derive(Default)]
struct Pods {
    /// By uid.
    handles: BTreeMap<String, Handle>,
    /// Set once the node stops, to how long that may take: then a Pod gets a worker only to stop what an earlier process
    /// left running of it.
    stopping: Option<Duration>,
}

#[derive(Clone)]
struct Handle {
    id: PodId,
    mailbox: Arc<Mailbox>,
}

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubelet").field("config", &self.inner.shared.config).finish_non_exhaustive()
    }
}

impl Kubelet {
    /// Prepares the directories. Nothing runs before [`Kubelet::run`].
    pub async fn new(config: Config) -> Result<Kubelet, Error> {
        for dir in ["", "pods", "logs", "memory"] {
            make_private(&config.data_dir.join(dir))?;
        }
        make_private(&config.local_volumes)?;
        let capacity = node::capacity(&config.data_dir);
        let (shared, events) = Shared::new(config, capacity);
        shared.runtime().mount_memory(&shared.memory_dir(), None).await.map_err(Error::Memory)?;
        Ok(Kubelet {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                events: Mutex::new(Some(events)),
                pods: Mutex::default(),
                workers: TaskTracker::new(),
                active: channel::Sender::new(0),
                listed: channel::Sender::new(false),
            }),
        })
    }

    /// Runs until `shutdown`; containers run on afterwards, for the next process to adopt. To end them, call
    /// [`Kubelet::stop_pods`] first. A second call returns at once.
    pub async fn run(&self, shutdown: CancellationToken) {
        let Some(events) = lock(&self.inner.events).take() else { return };
        let shared = &self.inner.shared;
        let tasks = TaskTracker::new();
        tasks.spawn(until(shutdown.clone(), Shared::write_events(shared.recorder(), events)));
        let (for_node, token) = (Arc::clone(shared), shutdown.clone());
        tasks.spawn(async move { node::run(&for_node, token).await });
        tasks.spawn(services::run(Arc::clone(shared), shutdown.clone()));
        for (resource, kind) in [
            (CONFIG_MAPS, ReferenceKind::ConfigMap),
            (SECRETS, ReferenceKind::Secret),
            (PERSISTENT_VOLUME_CLAIMS, ReferenceKind::PersistentVolumeClaim),
        ] {
            tasks.spawn(until(shutdown.clone(), follow_references(Arc::clone(shared), resource, kind)));
        }
        tasks.spawn(until(shutdown.clone(), self.clone().follow_containers()));
        tasks.spawn(until(shutdown.clone(), self.clone().follow_pods(shutdown.clone())));
        tasks.close();
        tasks.wait().await;
        self.inner.workers.close();
        self.inner.workers.wait().await;
        shared.probers.close();
        shared.probers.wait().await;
    }

    /// Stops every Pod within `limit` (and within its own grace period), keeping the objects, so that the next start runs
    /// them again. Returns when all have ended; false if some have not within `limit` and a little more.
    pub async fn stop_pods(&self, limit: Duration) -> bool {
        {
            let mut pods = lock(&self.inner.pods);
            pods.stopping = Some(limit);
            for handle in pods.handles.values() {
                handle.mailbox.shutdown(limit);
            }
        }
        // Killing and the last status take a moment beyond the grace period.
        let deadline = limit + Duration::from_secs(10);
        let (mut listed, mut active) = (self.inner.listed.subscribe(), self.inner.active.subscribe());
        // Somebody may be faster than the first list: the containers that it tells of are to end too.
        let ended = async {
            listed.wait_for(|listed| *listed).await.is_ok()
                && active.wait_for(|active| *active == 0).await.is_ok()
        };
        let ended = tokio::time::timeout(deadline, ended).await.unwrap_or(false);
        if let Err(error) = node::say_stopped(&self.inner.shared).await {
            tracing::warn!(error = chain(&error), "the node's end could not be written");
        }
        ended
    }

    async fn follow_pods(self, shutdown: CancellationToken) {
        let shared = Arc::clone(&self.inner.shared);
        let fields = Some(format!("spec.nodeName={}", shared.config.node_name));
        let options = WatchOptions { fields, ..WatchOptions::default() };
        let mut events = watch(&shared.config.client, &PODS, options).boxed();
        let mut first = true;
        while let Some(event) = events.next().await {
            match event {
                Event::Applied(object) => self.apply(object, &shutdown),
                Event::Deleted(object) => self.forget(object),
                Event::Resynced(keys) => {
                    self.retain(&keys);
                    if std::mem::take(&mut first) {
                        self.clean_orphans().await;
                        self.inner.listed.send_replace(true);
                    }
                }
            }
        }
    }

    fn apply(&self, object: Value, shutdown: &CancellationToken) {
        let key = Key::of(&object);
        let pod = match serde_json::from_value::<Pod>(object) {
            Ok(pod) => Arc::new(pod),
            Err(error) => {
                tracing::error!(pod = %key, %error, "a Pod cannot be read");
                return;
            }
        };
        let Some(id) = PodId::of(&pod) else {
            tracing::error!(pod = %key, "a Pod's name or uid is not one an API server gives");
            return;
        };
        let mut pods = lock(&self.inner.pods);
        if let Some(handle) = pods.handles.get(&id.uid) {
            handle.mailbox.pod(pod);
            return;
        }
        for handle in pods.handles.values().filter(|h| h.id.namespace == id.namespace && h.id.name == id.name)
        {
            handle.mailbox.gone();
        }
        let mailbox = Arc::new(Mailbox::default());
        if let Some(limit) = pods.stopping {
            if self.containers_of(&id.uid).is_empty() {
                return;
            }
            mailbox.shutdown(limit);
        }
        mailbox.show(&pod);
        let handle = Handle { id: id.clone(), mailbox: Arc::clone(&mailbox) };
        pods.handles.insert(id.uid.clone(), handle);
        drop(pods);
        self.spawn_worker(id, pod, mailbox, shutdown.clone());
    }

    fn spawn_worker(&self, id: PodId, pod: Arc<Pod>, mailbox: Arc<Mailbox>, shutdown: CancellationToken) {
        let found = self.containers_of(&id.uid);
        let inner = Arc::clone(&self.inner);
        inner.active.send_modify(|active| *active += 1);
        self.inner.workers.spawn(async move {
            let worker = Worker::new(Arc::clone(&inner.shared), id.clone(), mailbox, pod, found);
            let finished = worker.run(shutdown).await;
            if finished == Finished::Removed {
                lock(&inner.pods).handles.remove(&id.uid);
            }
            inner.active.send_modify(|active| *active -= 1);
        });
    }

    fn containers_of(&self, uid: &str) -> Vec<(String, u32, Status)> {
        let list = self.inner.shared.runtime().list();
        let mine = list.into_iter().filter_map(|(id, status)| {
            let (owner, container, attempt) = parse_container_id(&id)?;
            (owner == uid).then(|| (container.to_owned(), attempt, status))
        });
        mine.collect()
    }

    fn forget(&self, object: Value) {
        let uid = meta::uid(&object).to_owned();
        let pod = serde_json::from_value::<Pod>(object).ok().map(Arc::new);
        if let Some(handle) = lock(&self.inner.pods).handles.get(&uid) {
            // The last state tells the grace period of the deletion.
            if let Some(pod) = pod {
                handle.mailbox.pod(pod);
            }
            handle.mailbox.gone();
        }
    }

    fn retain(&self, keys: &[Key]) {
        let keys: std::collections::BTreeSet<(&str, &str)> =
            keys.iter().map(|key| (key.namespace.as_deref().unwrap_or(""), key.name.as_str())).collect();
        for handle in lock(&self.inner.pods).handles.values() {
            if !keys.contains(&(handle.id.namespace.as_str(), handle.id.name.as_str())) {
                handle.mailbox.gone();
            }
        }
    }

    /// Wakes the worker of whichever Pod's container changed.
    async fn follow_containers(self) {
        let mut events = self.inner.shared.runtime().events();
        while let Some(event) = events.next().await {
            let pods = lock(&self.inner.pods);
            match event {
                containers::Event::Changed { id, .. } | containers::Event::Deleted { id } => {
                    let handle = parse_container_id(&id).and_then(|(uid, _, _)| pods.handles.get(uid));
                    if let Some(handle) = handle {
                        handle.mailbox.container();
                    }
                }
                containers::Event::Missed => {
                    pods.handles.values().for_each(|handle| handle.mailbox.container())
                }
            }
        }
    }
}

impl link::Node for Kubelet {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, LinkError>> {
        Box::pin(self.open_log(request))
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Session, LinkError>> {
        Box::pin(self.run_command(request))
    }

    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<Session, LinkError>> {
        Box::pin(self.attach_to(request))
    }

    fn connect(
        &self,
        namespace: String,
        pod: String,
        port: u16,
    ) -> BoxFuture<'_, Result<Connection, LinkError>> {
        Box::pin(self.connect_with(namespace, pod, port))
    }
}

/// Wakes Pods when an object they read changes. Only metadata is watched: contents are read by whoever needs them.
async fn follow_references(shared: Arc<Shared>, resource: ResourceType, kind: ReferenceKind) {
    // A claim's state is in its status, and it is small.
    let options = if kind == ReferenceKind::PersistentVolumeClaim {
        WatchOptions::default()
    } else {
        WatchOptions::metadata()
    };
    let mut events = watch(&shared.config.client, &resource, options).boxed();
    while let Some(event) = events.next().await {
        if let Event::Applied(object) | Event::Deleted(object) = event {
            let reference = Reference { kind, name: meta::name(&object).to_owned() };
            shared.changed(meta::namespace(&object).unwrap_or_default(), reference);
        }
    }
}

async fn until(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_private(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Directory { path: path.to_owned(), source })
}
