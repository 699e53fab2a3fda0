//! What all passes share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use client::{Client, Key, ResourceType};
use objects::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::seed;
use crate::beside::Beside;
use crate::clusters::{Cluster, Clusters, Connection};
use crate::metrics::Metrics;
use crate::places::Places;
use crate::{Config, Settings};

/// What all passes share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) places: Places,
    pub(crate) settings: Settings,
    pub(crate) beside: Arc<Beside>,
    pub(crate) clusters: Clusters,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: client::events::Recorder,
    pub(crate) renderers: Arc<Semaphore>,
    pub(crate) triggers: mpsc::Sender<Key>,
    /// A pass takes its Application's memory out, so that none waits for another; `None` while it runs.
    pub(super) memories: Mutex<BTreeMap<Key, Option<Memory>>>,
    /// Which Applications use a repository, by URL, and which URLs are watched.
    pub(super) users: Mutex<BTreeMap<String, BTreeSet<Key>>>,
    pub(super) watched: Mutex<JoinSet<()>>,
    seed: tokio::sync::OnceCell<[u8; 32]>,
    pub(super) stop: CancellationToken,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(config: Config, triggers: mpsc::Sender<Key>) -> Self {
        let Config { client, repositories, charts, settings } = config;
        let secrets = Some((client.clone(), settings.namespace.clone()));
        let clusters = Clusters::new(
            client.clone(),
            settings.namespace.clone(),
            settings.scope.clone(),
            triggers.clone(),
        );
        Self {
            beside: Arc::new(Beside::new()),
            clusters,
            events: client::events::Recorder::new(&client, crate::SERVICE_ACCOUNT),
            metrics: Arc::default(),
            renderers: Arc::new(Semaphore::new(settings.renderers.max(1))),
            triggers,
            memories: Mutex::default(),
            users: Mutex::default(),
            watched: Mutex::default(),
            seed: tokio::sync::OnceCell::new(),
            stop: CancellationToken::new(),
            client,
            places: Places { repositories, charts, secrets },
            settings,
        }
    }

    /// Follows what stands beside the Applications and the cluster that the controller talks to, and wakes those that
    /// what moved concerns.
    pub(crate) async fn run_background(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = self.beside.changes();
        let (client, namespace) = (self.client.clone(), self.settings.namespace.clone());
        let beside = tokio::spawn(Arc::clone(&self.beside).run(client, namespace, shutdown.child_token()));
        self.tend(&self.clusters.local);
        let mut before = Arc::clone(&changes.borrow_and_update());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
            let now = Arc::clone(&changes.borrow_and_update());
            if !now.is_complete() {
                continue;
            }
            let moved = now.since(&before);
            self.clusters.forget_unregistered(&now);
            self.wake(|memory| memory.concerned_by(&moved)).await;
            before = now;
        }
        self.stop.cancel();
        let mut watched = std::mem::take(&mut *lock(&self.watched));
        while watched.join_next().await.is_some() {}
        let _ = beside.await;
    }

    /// Follows a cluster that came into use.
    pub(crate) fn tend(self: &Arc<Self>, cluster: &Arc<Cluster>) {
        if self.stop.is_cancelled() {
            return;
        }
        let (shared, cluster) = (Arc::clone(self), Arc::clone(cluster));
        lock(&self.watched).spawn(async move { shared.follow(&cluster).await });
    }

    /// Wakes the Applications of a cluster that wait for a type, or for the cluster.
    async fn follow(&self, cluster: &Arc<Cluster>) {
        let (mut types, mut connections) = (cluster.resources.changes(), cluster.connections());
        let running = cluster.run(self.stop.clone());
        let mut running = std::pin::pin!(running);
        let looking = cluster.look_around();
        let mut looking = std::pin::pin!(looking);
        let mut looked = false;
        loop {
            tokio::select! {
                () = &mut running => return,
                () = &mut looking, if !looked => looked = true,
                changed = types.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.wake(|memory| memory.is_on(cluster) && memory.depends_on_types()).await;
                }
                changed = connections.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if cluster.connection() != Connection::Unknown {
                        self.wake(|memory| memory.is_on(cluster)).await;
                    }
                }
            }
        }
    }

    /// Wakes the Applications of which this is true, and those that a pass looks at just now: it may have seen what
    /// was before.
    async fn wake(&self, concerned: impl Fn(&Memory) -> bool) {
        let waiting: Vec<Key> = {
            let memories = lock(&self.memories);
            let concerned = |memory: &Option<Memory>| memory.as_ref().is_none_or(&concerned);
            memories.iter().filter(|(_, memory)| concerned(memory)).map(|(key, _)| key.clone()).collect()
        };
        for key in waiting {
            if self.triggers.send(key).await.is_err() {
                return;
            }
        }
    }

    /// What random functions of charts draw from.
    pub(super) async fn seed(&self) -> Result<[u8; 32], client::Error> {
        self.seed
            .get_or_try_init(|| seed::read_or_make(&self.client, &self.settings.namespace))
            .await
            .copied()
    }

    /// What is remembered of an Application, and nothing of another one that had its name before; it is a pass's own until
    /// [`Shared::keep_memory`].
    pub(super) fn take_memory(&self, key: &Key, uid: &str) -> Memory {
        let mut memory = lock(&self.memories).insert(key.clone(), None).flatten().unwrap_or_default();
        if memory.uid != uid {
            if !memory.uid.is_empty() {
                memory.leave(key);
            }
            memory = Memory::default();
            uid.clone_into(&mut memory.uid);
        }
        memory
    }

    pub(super) fn keep_memory(&self, key: Key, memory: Memory) {
        lock(&self.memories).insert(key, Some(memory));
    }

    pub(super) fn forget(&self, key: &Key) {
        self.metrics.forget(key);
        let memory = lock(&self.memories).remove(key);
        if let Some(Some(mut memory)) = memory {
            memory.leave(key);
        }
        for users in lock(&self.users).values_mut() {
            users.remove(key);
        }
    }

    /// The kinds of everything that an Application's status says it manages.
    ///
    /// # Errors
    /// If it cannot be found out what is served: a kind that was left out would be looked at by nobody.
    pub(crate) async fn kinds_in_status(
        cluster: &Cluster,
        object: &Value,
    ) -> Result<Vec<ResourceType>, client::Error> {
        let mut kinds = BTreeSet::new();
        for resource in object["status"]["resources"].as_array().into_iter().flatten() {
            let text = |field: &str| resource[field].as_str().unwrap_or_default().to_owned();
            kinds.insert((text("group"), text("kind")));
        }
        let mut types = Vec::new();
        for (group, kind) in kinds {
            match cluster.resources.preferred(&group, &kind).await {
                Ok(served) => types.push(served.resource),
                Err(error) if error.is_unknown_kind() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(types)
    }
}
