//! What the controller remembers of live objects: for those it manages or is interested in, which version was seen
//! last, and whose they are. Objects themselves are read when they are needed.

mod around;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::watch::{Event, WatchOptions, watch};
use client::{Client, Key, ResourceType};
use futures::StreamExt as _;
use objects::{Value, meta};
use sha2::{Digest, Sha256};
use sync::{ResourceKey, Tracking};
use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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
    /// Where Applications live.
    namespace: String,
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
    /// How objects are marked as an application's.
    tracking: Tracking,
    /// Kinds that are watched.
    kinds: BTreeMap<GroupKind, Listing>,
    /// Of kinds that are watched by namespace: those whose first list is awaited.
    parts: BTreeMap<GroupKind, BTreeSet<String>>,
    objects: HashMap<ResourceKey, Seen>,
    /// By application instance: the objects that carry its tracking id and belong to no other object.
    tracked: HashMap<String, BTreeSet<ResourceKey>>,
    /// Objects whose changes an application wants to know of.
    interests: HashMap<ResourceKey, BTreeSet<Key>>,
}

/// How far the first list of a kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Awaited,
    /// It was waited for once, in vain.
    Late,
    Done,
}

#[derive(Debug, Clone)]
struct Seen {
    /// The resourceVersion, which orders states.
    version: String,
    /// What stays the same as long as nothing changed that matters to a comparison.
    state: String,
    /// The application that its mark names.
    application: Option<String>,
    owned: bool,
}

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Not since the interest began.
    Unseen,
    /// In the state with this [`state_of`].
    At(String),
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
            namespace,
            state: Mutex::default(),
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
        if self.state().tracking == *tracking {
            return;
        }
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        let mut state = self.state();
        let interests = std::mem::take(&mut state.interests);
        *state = State { tracking: tracking.clone(), interests, ..State::default() };
        self.looked_around.store(false, Ordering::Release);
        self.retracked.notify_one();
    }

    /// How objects are marked.
    pub(crate) fn tracking(&self) -> Tracking {
        self.state().tracking.clone()
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
                Event::Applied(object) => self.applied(&object),
                Event::Deleted(object) => self.deleted(&ResourceKey::of(&object)),
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

    /// Remembers a state of an object; the applications to tell.
    fn applied(&self, object: &Value) -> BTreeSet<Key> {
        let key = ResourceKey::of(object);
        let mut state = self.state();
        let interested = state.interests.get(&key).cloned().unwrap_or_default();
        let seen = Seen::of(object, &state.tracking);
        if seen.application.is_none() && interested.is_empty() && !state.objects.contains_key(&key) {
            return BTreeSet::new();
        }
        let before = state.objects.get(&key);
        if before.is_some_and(|seen| !newer(meta::resource_version(object), &seen.version)) {
            return BTreeSet::new();
        }
        let mut concerned = interested;
        concerned.extend(self.application(before));
        concerned.extend(self.application(Some(&seen)));
        let news = before.is_none_or(|before| before.state != seen.state);
        state.remember(&key, Some(seen));
        if news { concerned } else { BTreeSet::new() }
    }

    fn application(&self, seen: Option<&Seen>) -> Option<Key> {
        let name = seen?.application.as_deref()?;
        Some(Key::namespaced(&self.namespace, name))
    }

    fn deleted(&self, key: &ResourceKey) -> BTreeSet<Key> {
        let mut state = self.state();
        let mut concerned = state.interests.get(key).cloned().unwrap_or_default();
        concerned.extend(self.application(state.objects.get(key)));
        state.remember(key, None);
        concerned
    }

    fn resynced(&self, (group, kind): &GroupKind, namespace: Option<&str>, keys: &[Key]) -> BTreeSet<Key> {
        let present: BTreeSet<(&str, &str)> = keys
            .iter()
            .map(|key| (key.namespace.as_deref().unwrap_or_default(), key.name.as_str()))
            .collect();
        let mut concerned = BTreeSet::new();
        let gone: Vec<ResourceKey> = {
            let mut state = self.state();
            state.listed((group.clone(), kind.clone()), namespace);
            let of_kind = state.objects.keys().filter(|key| {
                key.group == *group
                    && key.kind == *kind
                    && namespace.is_none_or(|namespace| key.namespace == namespace)
            });
            of_kind
                .filter(|key| !present.contains(&(key.namespace.as_str(), key.name.as_str())))
                .cloned()
                .collect()
        };
        for key in gone {
            concerned.extend(self.deleted(&key));
        }
        concerned
    }

    /// What is known of an object.
    pub(crate) fn sight(&self, key: &ResourceKey) -> Sight {
        self.state().objects.get(key).map_or(Sight::Unseen, |seen| Sight::At(seen.state.clone()))
    }

    /// Remembers what was read or written just now, so that its own event is no news.
    pub(crate) fn observed(&self, key: &ResourceKey, object: Option<&Value>) {
        let mut state = self.state();
        let seen = object.map(|object| Seen::of(object, &state.tracking));
        let outdated = match (&seen, state.objects.get(key)) {
            (Some(seen), Some(before)) => !newer(&seen.version, &before.version),
            _ => false,
        };
        if !outdated {
            state.remember(key, seen);
        }
    }

    /// Objects with this application's tracking id that no other object owns.
    pub(crate) fn tracked(&self, instance: &str) -> Vec<ResourceKey> {
        self.state().tracked.get(instance).into_iter().flatten().cloned().collect()
    }

    /// Replaces what an application wants to know of.
    pub(crate) fn interest(
        &self,
        application: &Key,
        before: &BTreeSet<ResourceKey>,
        now: &BTreeSet<ResourceKey>,
    ) {
        let mut state = self.state();
        for key in before.difference(now) {
            if let Some(interested) = state.interests.get_mut(key) {
                interested.remove(application);
                if interested.is_empty() {
                    state.interests.remove(key);
                }
            }
            let untracked = state.objects.get(key).is_some_and(|seen| seen.application.is_none());
            if untracked && !state.interests.contains_key(key) {
                state.remember(key, None);
            }
        }
        for key in now.difference(before) {
            state.interests.entry(key.clone()).or_default().insert(application.clone());
        }
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

    fn remember(&mut self, key: &ResourceKey, seen: Option<Seen>) {
        let before = match &seen {
            Some(seen) => self.objects.insert(key.clone(), seen.clone()),
            None => self.objects.remove(key),
        };
        let tracked = |seen: Option<Seen>| seen.filter(|seen| !seen.owned).and_then(|seen| seen.application);
        let (before, now) = (tracked(before), tracked(seen));
        if before == now {
            return;
        }
        if let Some(application) = before
            && let Some(keys) = self.tracked.get_mut(&application)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.tracked.remove(&application);
            }
        }
        if let Some(application) = now {
            self.tracked.entry(application).or_default().insert(key.clone());
        }
    }
}

impl Seen {
    fn of(object: &Value, tracking: &Tracking) -> Self {
        Self {
            version: meta::resource_version(object).to_owned(),
            state: state_of(object),
            application: tracking.owner(object).map(|owner| owner.application),
            owned: !meta::owner_references(object).is_empty(),
        }
    }
}

/// What stays the same as long as nothing changed that matters to a comparison: the resourceVersion. Applications
/// are the exception, because their status moves with every one of ours and has no part in their parent's health.
pub(crate) fn state_of(object: &Value) -> String {
    let is_application = meta::kind(object) == "Application"
        && object["apiVersion"].as_str().is_some_and(|version| version.starts_with("argoproj.io/"));
    if !is_application {
        return meta::resource_version(object).to_owned();
    }
    let metadata = &object["metadata"];
    let parts = ["labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp", "uid"];
    let mut hash = Sha256::new();
    hash.update(object["spec"].to_string());
    for part in parts {
        hash.update([0]);
        hash.update(metadata[part].to_string());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a resourceVersion is later than another. Kubernetes promises an order since 1.35 and has always had one;
/// what is no number is only compared for equality.
fn newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}
