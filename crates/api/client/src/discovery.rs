//! Which types a server serves.
//!
//! [`Resources`] holds one answer of the server and asks again when a type is missing (at most every 500 ms, so that an object of
//! a kind that does not exist costs nothing), and when a CustomResourceDefinition changed while [`Resources::run`] runs.

mod read;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use objects::gvk::GroupVersionKind;
use objects::meta::Key;
use serde_json::Value;
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::resource::CUSTOM_RESOURCE_DEFINITIONS;
use crate::watch::{Event, WatchOptions, watch};
use crate::{Error, ResourceType};

/// The least time between two questions caused by a missing type.
const MISS_INTERVAL: Duration = Duration::from_millis(500);

/// A served type with what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub resource: ResourceType,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: BTreeSet<String>,
    /// `status`, `scale`, …
    pub subresources: BTreeSet<String>,
    pub short_names: Vec<String>,
    pub singular: String,
    pub categories: Vec<String>,
    /// Whether this version is the one its group prefers.
    pub preferred: bool,
}

impl Served {
    /// Whether objects of this type can be treated with `verb`.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.contains(verb)
    }
}

/// One complete answer of discovery.
#[derive(Debug, Default)]
pub struct Catalog {
    types: Vec<Served>,
    by_gvk: HashMap<GroupVersionKind, usize>,
}

impl Catalog {
    fn new(types: Vec<Served>) -> Catalog {
        let by_gvk = types.iter().enumerate().map(|(i, served)| (served.resource.gvk(), i)).collect();
        Catalog { types, by_gvk }
    }

    /// Every served type, each version of it once, in the server's order.
    pub fn types(&self) -> &[Served] {
        &self.types
    }

    /// One type by group, version and kind.
    pub fn get(&self, gvk: &GroupVersionKind) -> Option<&Served> {
        self.by_gvk.get(gvk).map(|&index| &self.types[index])
    }

    /// The preferred version of a kind.
    pub fn preferred(&self, group: &str, kind: &str) -> Option<&Served> {
        let mut found = self.types.iter().filter(|s| s.resource.group == group && s.resource.kind == kind);
        let first = found.next()?;
        if first.preferred { Some(first) } else { found.find(|s| s.preferred).or(Some(first)) }
    }

    /// One version of each type: the preferred one where the type is served in it.
    pub fn preferred_types(&self) -> Vec<&Served> {
        let mut chosen: Vec<&Served> = Vec::new();
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        for served in &self.types {
            let name = (&*served.resource.group, &*served.resource.plural);
            match places.get(&name) {
                Some(&place) if served.preferred && !chosen[place].preferred => chosen[place] = served,
                Some(_) => {}
                None => {
                    places.insert(name, chosen.len());
                    chosen.push(served);
                }
            }
        }
        chosen
    }

    /// What Helm's `.Capabilities.APIVersions` holds: `apps/v1` and `apps/v1/Deployment`, sorted.
    pub fn api_versions(&self) -> Vec<String> {
        let mut versions = BTreeSet::new();
        for served in &self.types {
            let api_version = served.resource.api_version();
            versions.insert(format!("{api_version}/{}", served.resource.kind));
            versions.insert(api_version);
        }
        versions.into_iter().collect()
    }
}

/// Cached discovery, shared by clones.
#[derive(Clone)]
pub struct Resources {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    state: RwLock<State>,
    /// Held while the server is asked, so that many misses ask once.
    asking: tokio::sync::Mutex<()>,
    generation: channel::Sender<u64>,
}

#[derive(Default)]
struct State {
    catalog: Arc<Catalog>,
    asked: Option<Instant>,
    stale: bool,
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resources")
            .field("generation", &*self.inner.generation.borrow())
            .finish_non_exhaustive()
    }
}

impl Resources {
    /// Nothing is asked before the first use.
    pub fn new(client: Client) -> Resources {
        let (generation, _) = channel::channel(0);
        let asking = tokio::sync::Mutex::new(());
        Resources { inner: Arc::new(Inner { client, state: RwLock::default(), asking, generation }) }
    }

    /// The type of a kind; [`Error::UnknownKind`] when the server has none.
    pub async fn resolve(&self, gvk: &GroupVersionKind) -> Result<ResourceType, Error> {
        Ok(self.served(gvk).await?.resource)
    }

    /// The type of an object by its `apiVersion` and `kind`.
    pub async fn resolve_object(&self, object: &Value) -> Result<ResourceType, Error> {
        let gvk = GroupVersionKind::of(object).ok_or_else(|| Error::Request {
            action: format!("resolve the type of {}", Key::of(object)),
            problem: "apiVersion or kind is missing or malformed".to_owned(),
        })?;
        self.resolve(&gvk).await
    }

    /// [`Resources::resolve`] with verbs and subresources.
    pub async fn served(&self, gvk: &GroupVersionKind) -> Result<Served, Error> {
        self.look_up(|catalog| catalog.get(gvk).cloned())
            .await?
            .ok_or_else(|| Error::UnknownKind { api_version: gvk.api_version(), kind: gvk.kind.clone() })
    }

    /// A kind in the version its group prefers.
    pub async fn preferred(&self, group: &str, kind: &str) -> Result<Served, Error> {
        self.look_up(|catalog| catalog.preferred(group, kind).cloned())
            .await?
            .ok_or_else(|| Error::UnknownKind { api_version: group.to_owned(), kind: kind.to_owned() })
    }

    /// Everything the server serves; asks only when nothing usable is cached.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Error> {
        match self.cached() {
            Some(catalog) => Ok(catalog),
            None => self.refresh(None).await,
        }
    }

    /// Makes the next use ask the server.
    pub fn invalidate(&self) {
        self.inner.state.write().expect("no panic while held").stale = true;
        self.inner.generation.send_modify(|generation| *generation += 1);
    }

    /// Counts up whenever the set of types may have changed.
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.inner.generation.subscribe()
    }

    /// Follows CustomResourceDefinitions and APIServices-like changes until shutdown, so that new kinds are known at once.
    pub async fn run(&self, shutdown: CancellationToken) {
        let events = watch(&self.inner.client, &CUSTOM_RESOURCE_DEFINITIONS, WatchOptions::default());
        let mut events = std::pin::pin!(events);
        let mut listed = false;
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Event::Resynced(_)) => {
                    listed = true;
                    self.invalidate();
                }
                Some(Event::Applied(_) | Event::Deleted(_)) if listed => self.invalidate(),
                Some(_) => {}
            }
        }
    }

    async fn look_up<T>(&self, find: impl Fn(&Catalog) -> Option<T>) -> Result<Option<T>, Error> {
        let catalog = self.catalog().await?;
        if let Some(found) = find(&catalog) {
            return Ok(Some(found));
        }
        let catalog = self.refresh(Some(MISS_INTERVAL)).await?;
        Ok(find(&catalog))
    }

    fn cached(&self) -> Option<Arc<Catalog>> {
        let state = self.inner.state.read().expect("no panic while held");
        (state.asked.is_some() && !state.stale).then(|| state.catalog.clone())
    }

    /// Asks the server, unless the cache is usable and (with `interval`) younger than that.
    async fn refresh(&self, interval: Option<Duration>) -> Result<Arc<Catalog>, Error> {
        let _asking = self.inner.asking.lock().await;
        {
            let state = self.inner.state.read().expect("no panic while held");
            let young = state.asked.is_some_and(|asked| interval.is_none_or(|limit| asked.elapsed() < limit));
            if young && !state.stale {
                return Ok(state.catalog.clone());
            }
        }
        // Cleared before asking: an invalidation during the request must survive it.
        self.inner.state.write().expect("no panic while held").stale = false;
        match read::read(&self.inner.client).await {
            Ok(types) => {
                let catalog = Arc::new(Catalog::new(types));
                let mut state = self.inner.state.write().expect("no panic while held");
                state.catalog = catalog.clone();
                state.asked = Some(Instant::now());
                Ok(catalog)
            }
            Err(error) => {
                self.inner.state.write().expect("no panic while held").stale = true;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
