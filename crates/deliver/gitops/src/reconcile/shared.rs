//! What all passes share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use client::discovery::Catalog;
use client::{Client, Key, ResourceType, Resources};
use objects::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::seed;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::{Config, Settings};

/// What all passes share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) resources: Resources,
    pub(crate) places: Places,
    pub(crate) settings: Settings,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<Metrics>,
    pub(super) events: client::events::Recorder,
    pub(crate) renderers: Arc<Semaphore>,
    pub(crate) triggers: mpsc::Sender<Key>,
    /// A pass takes its Application's memory out, so that none waits for another; `None` while it runs.
    pub(super) memories: Mutex<BTreeMap<Key, Option<Memory>>>,
    /// Which Applications use a repository, by URL, and which URLs are watched.
    pub(super) users: Mutex<BTreeMap<String, BTreeSet<Key>>>,
    pub(super) watched: Mutex<JoinSet<()>>,
    kube_version: tokio::sync::OnceCell<String>,
    seed: tokio::sync::OnceCell<[u8; 32]>,
    /// The served types as charts see them; the same value as long as they are the same.
    api_versions: Mutex<Option<ApiVersions>>,
    pub(super) stop: CancellationToken,
}

/// The list, and the catalog it was made of.
type ApiVersions = (Arc<Catalog>, Arc<Vec<String>>);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(config: Config, triggers: mpsc::Sender<Key>) -> Self {
        let Config { client, repositories, charts, settings } = config;
        let secrets = Some((client.clone(), settings.namespace.clone()));
        let live = Live::new(client.clone(), settings.namespace.clone(), triggers.clone());
        Self {
            resources: Resources::new(client.clone()),
            events: client::events::Recorder::new(&client, crate::SERVICE_ACCOUNT),
            live: Arc::new(live),
            metrics: Arc::default(),
            renderers: Arc::new(Semaphore::new(settings.renderers.max(1))),
            triggers,
            memories: Mutex::default(),
            users: Mutex::default(),
            watched: Mutex::default(),
            kube_version: tokio::sync::OnceCell::new(),
            seed: tokio::sync::OnceCell::new(),
            api_versions: Mutex::default(),
            stop: CancellationToken::new(),
            client,
            places: Places { repositories, charts, secrets },
            settings,
        }
    }

    /// Follows the served types and wakes the Applications that wait for one.
    pub(crate) async fn run_background(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = self.resources.changes();
        let discovery = {
            let (resources, stop) = (self.resources.clone(), shutdown.clone());
            tokio::spawn(async move { resources.run(stop).await })
        };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
            let waiting: Vec<Key> = {
                let memories = lock(&self.memories);
                // A pass that runs may have seen the types as they were.
                let concerned =
                    |memory: &Option<Memory>| memory.as_ref().is_none_or(Memory::depends_on_types);
                memories.iter().filter(|(_, memory)| concerned(memory)).map(|(key, _)| key.clone()).collect()
            };
            for key in waiting {
                if self.triggers.send(key).await.is_err() {
                    break;
                }
            }
        }
        self.stop.cancel();
        let mut watched = std::mem::take(&mut *lock(&self.watched));
        while watched.join_next().await.is_some() {}
        self.live.close().await;
        let _ = discovery.await;
    }

    /// The server's version as charts see it.
    pub(super) async fn kube_version(&self) -> Result<String, client::Error> {
        self.kube_version.get_or_try_init(|| kube_version(&self.client)).await.cloned()
    }

    /// What random functions of charts draw from.
    pub(super) async fn seed(&self) -> Result<[u8; 32], client::Error> {
        self.seed
            .get_or_try_init(|| seed::read_or_make(&self.client, &self.settings.namespace))
            .await
            .copied()
    }

    pub(super) fn api_versions(&self, catalog: &Arc<Catalog>) -> Arc<Vec<String>> {
        let mut cached = lock(&self.api_versions);
        let versions = match &*cached {
            Some((of, versions)) if Arc::ptr_eq(of, catalog) => return Arc::clone(versions),
            Some((_, versions)) if **versions == catalog.api_versions() => Arc::clone(versions),
            _ => Arc::new(catalog.api_versions()),
        };
        *cached = Some((Arc::clone(catalog), Arc::clone(&versions)));
        versions
    }

    /// What is remembered of an Application; it is a pass's own until [`Shared::keep_memory`].
    pub(super) fn take_memory(&self, key: &Key) -> Memory {
        lock(&self.memories).insert(key.clone(), None).flatten().unwrap_or_default()
    }

    pub(super) fn keep_memory(&self, key: Key, memory: Memory) {
        lock(&self.memories).insert(key, Some(memory));
    }

    pub(super) fn forget(&self, key: &Key) {
        self.metrics.forget(key);
        let memory = lock(&self.memories).remove(key);
        if let Some(Some(memory)) = memory {
            self.live.interest(key, &memory.interests, &BTreeSet::new());
        }
        for users in lock(&self.users).values_mut() {
            users.remove(key);
        }
    }

    /// The kinds of everything that an Application's status says it manages.
    pub(crate) async fn kinds_in_status(&self, object: &Value) -> Vec<ResourceType> {
        let mut kinds = BTreeSet::new();
        for resource in object["status"]["resources"].as_array().into_iter().flatten() {
            let text = |field: &str| resource[field].as_str().unwrap_or_default().to_owned();
            kinds.insert((text("group"), text("kind")));
        }
        let mut types = Vec::new();
        for (group, kind) in kinds {
            if let Ok(served) = self.resources.preferred(&group, &kind).await {
                types.push(served.resource);
            }
        }
        types
    }
}

/// `v1.34.0`, without what distributions append.
pub(crate) async fn kube_version(client: &Client) -> Result<String, client::Error> {
    let version = client.apiserver_version().await.map_err(|source| client::Error::Transport {
        action: "ask for the server's version".to_owned(),
        source: Box::new(source),
    })?;
    let number = version.git_version.trim_start_matches('v');
    let number = number.split(['+', '-']).next().unwrap_or_default();
    Ok(format!("v{number}"))
}
