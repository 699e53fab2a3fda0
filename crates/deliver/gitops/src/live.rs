//! What the controller remembers of live objects: for those it manages or is interested in, which version was seen
//! last, and whose they are. Objects themselves are read when they are needed.

mod around;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::watch::{Event, WatchOptions, watch};
use client::{Client, Key, ResourceType};
use futures::StreamExt as _;
use objects::Value;
use sync::{ResourceKey, Tracking};
use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use index::Index;
pub(crate) use index::{Sight, state_of};

/// How long a pass waits for the first list of a kind before it goes on without knowing what to prune.
const FIRST_LIST: Duration = Duration::from_secs(3);

/// Group and kind: an object served in several versions is one object.
type GroupKind = (String, String);

/// The part of a cluster that is managed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Empty for all.
    pub namespaces: Vec<String>,
    /// Whether objects without a namespace are managed in spite of a list of namespaces.
    pub cluster_resources: bool,
}

impl Scope {
    /// Why an object is outside of it; `None` if it is inside.
    pub(crate) fn refuses(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        if self.namespaces.is_empty() {
            return None;
        }
        if namespace.is_empty() {
            let message = format!("Cluster level {kind} {name:?} can not be managed when in namespaced mode");
            return (!self.cluster_resources).then_some(message);
        }
        let managed = self.namespaces.iter().any(|managed| managed == namespace);
        (!managed).then(|| format!("Namespace {namespace:?} for {kind} {name:?} is not managed"))
    }

    /// The watches that a kind takes: `None` is one over all of the cluster.
    pub(crate) fn watches(&self, kind: &ResourceType) -> Vec<Option<String>> {
        match (self.namespaces.is_empty(), kind.namespaced) {
            (true, _) => vec![None],
            (false, true) => self.namespaces.iter().cloned().map(Some).collect(),
            (false, false) if self.cluster_resources => vec![None],
            (false, false) => Vec::new(),
        }
    }
}

/// The index, filled by one watch per kind in use.
pub(crate) struct Live {
    client: Client,
    scope: Scope,
    state: Mutex<State>,
    triggers: mpsc::Sender<Key>,
    /// Moves whenever a kind's first list is complete.
    listed: channel::Sender<u64>,
    stop: CancellationToken,
    watches: Mutex<JoinSet<()>>,
    looked_around: AtomicBool,
    /// Told when objects are marked otherwise than before.
    retracked: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Kinds that are watched.
    kinds: BTreeMap<GroupKind, Listing>,
    /// Of kinds that are watched by namespace: those whose first list is awaited.
    parts: BTreeMap<GroupKind, BTreeSet<String>>,
    index: Index,
}

/// How far the first list of a kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Awaited,
    /// It was waited for once, in vain.
    Late,
    Done,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn new(client: Client, namespace: String, scope: Scope, triggers: mpsc::Sender<Key>) -> Self {
        Self {
            client,
            scope,
            state: Mutex::new(State { index: Index::new(namespace), ..State::default() }),
            triggers,
            listed: channel::Sender::new(0),
            stop: CancellationToken::new(),
            watches: Mutex::default(),
            looked_around: AtomicBool::new(false),
            retracked: Notify::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part of the cluster that is managed, and who is told of what moves in it.
    pub(crate) fn scope(&self) -> (&Scope, &mpsc::Sender<Key>) {
        (&self.scope, &self.triggers)
    }

    /// Takes objects for whose they are by this from now on. Where it is something else than before, everything is
    /// listed anew: what was nobody's was not remembered.
    pub(crate) fn track(&self, tracking: &Tracking) {
        if self.state().index.tracking() == tracking {
            return;
        }
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        let mut state = self.state();
        let mut index = std::mem::take(&mut state.index);
        index.track(tracking);
        *state = State { index, ..State::default() };
        self.looked_around.store(false, Ordering::Release);
        self.retracked.notify_one();
    }

    /// How objects are marked.
    pub(crate) fn tracking(&self) -> Tracking {
        self.state().index.tracking().clone()
    }

    /// Ends all watches and waits for them.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        let mut watches = std::mem::take(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner));
        while watches.join_next().await.is_some() {}
    }

    /// Watches these kinds from now on and waits until each was listed once, but not for long and only the first time.
    /// Whether all were listed.
    pub(crate) async fn follow(self: &std::sync::Arc<Self>, kinds: &[ResourceType]) -> bool {
        let group_kind =
            |kind: &ResourceType| (kind.group.clone().into_owned(), kind.kind.clone().into_owned());
        for kind in kinds {
            let new = {
                let mut state = self.state();
                let watched = state.kinds.contains_key(&group_kind(kind));
                if !watched {
                    state.kinds.insert(group_kind(kind), Listing::Awaited);
                }
                !watched
            };
            if new && !self.stop.is_cancelled() {
                self.begin(kind, &group_kind(kind));
            }
        }
        let mut listed = self.listed.subscribe();
        let any = |listing| {
            let state = self.state();
            kinds.iter().any(|kind| state.kinds.get(&group_kind(kind)) == Some(&listing))
        };
        let wait = async {
            while any(Listing::Awaited) {
                if listed.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(FIRST_LIST, wait).await.is_err() {
            let mut state = self.state();
            for kind in kinds {
                if let Some(listing @ Listing::Awaited) = state.kinds.get_mut(&group_kind(kind)) {
                    *listing = Listing::Late;
                }
            }
        }
        !any(Listing::Late)
    }

    fn begin(self: &std::sync::Arc<Self>, kind: &ResourceType, group_kind: &GroupKind) {
        let parts = self.scope.watches(kind);
        if parts.is_empty() {
            self.state().kinds.insert(group_kind.clone(), Listing::Done);
        }
        if parts.len() > 1 {
            self.state().parts.insert(group_kind.clone(), parts.iter().flatten().cloned().collect());
        }
        for namespace in parts {
            let watching = std::sync::Arc::clone(self).watch(kind.clone(), namespace);
            self.watches.lock().unwrap_or_else(PoisonError::into_inner).spawn(watching);
        }
    }

    async fn watch(self: std::sync::Arc<Self>, kind: ResourceType, namespace: Option<String>) {
        let group_kind = (kind.group.clone().into_owned(), kind.kind.clone().into_owned());
        let options = WatchOptions { namespace: namespace.clone(), ..WatchOptions::default() };
        let mut events = std::pin::pin!(watch(&self.client, &kind, options));
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            let concerned = match event {
                Event::Applied(object) => self.state().index.applied(&object),
                Event::Deleted(object) => self.state().index.deleted(&ResourceKey::of(&object)),
                Event::Resynced(keys) => {
                    let gone = self.resynced(&group_kind, namespace.as_deref(), &keys);
                    self.listed.send_modify(|count| *count += 1);
                    gone
                }
            };
            for key in concerned {
                if self.triggers.send(key).await.is_err() {
                    return;
                }
            }
        }
    }

    fn resynced(&self, (group, kind): &GroupKind, namespace: Option<&str>, keys: &[Key]) -> BTreeSet<Key> {
        let present: BTreeSet<(&str, &str)> = keys
            .iter()
            .map(|key| (key.namespace.as_deref().unwrap_or_default(), key.name.as_str()))
            .collect();
        let mut state = self.state();
        state.listed((group.clone(), kind.clone()), namespace);
        state.index.listed(
            |key| {
                key.group == *group
                    && key.kind == *kind
                    && namespace.is_none_or(|namespace| key.namespace == namespace)
            },
            |key| present.contains(&(key.namespace.as_str(), key.name.as_str())),
        )
    }

    /// What is known of an object.
    pub(crate) fn sight(&self, key: &ResourceKey) -> Sight {
        self.state().index.sight(key)
    }

    /// Remembers what an application read or wrote just now, so that its event is no news to it.
    pub(crate) fn observed(&self, by: &Key, key: &ResourceKey, object: &Value) {
        self.state().index.observed(by, key, object);
    }

    /// Remembers that an object was found to be gone, before its watch tells it.
    pub(crate) fn missed(&self, key: &ResourceKey) {
        self.state().index.missed(key);
    }

    /// Objects with this application's mark that no other object owns.
    pub(crate) fn tracked(&self, instance: &str) -> Vec<ResourceKey> {
        self.state().index.tracked(instance)
    }

    /// Replaces what an application wants to know of.
    pub(crate) fn interest(
        &self,
        application: &Key,
        before: &BTreeSet<ResourceKey>,
        now: &BTreeSet<ResourceKey>,
    ) {
        self.state().index.interest(application, before, now);
    }
}

impl State {
    /// A kind's first list, or the last of its lists, is complete.
    fn listed(&mut self, kind: GroupKind, namespace: Option<&str>) {
        if let (Some(parts), Some(namespace)) = (self.parts.get_mut(&kind), namespace) {
            parts.remove(namespace);
            if !parts.is_empty() {
                return;
            }
        }
        self.parts.remove(&kind);
        self.kinds.insert(kind, Listing::Done);
    }
}
