//! What stands beside the objects of applications in their namespaces: looked at only where a project asks for orphans.
//!
//! One watch of metadata for every kind that has namespaces, begun when the first application asks. Of each object only
//! what tells whose it is is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::watch::{Event, WatchOptions, watch};
use client::{Client, Key, ResourceType, Resources};
use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use objects::{Value, meta};
use sync::orphans::{Node, Nodes, is_ignored};
use sync::{ResourceKey, Tracking};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::live::Live;

/// Applications are told no more often: in a namespace much may move.
const PACE: Duration = Duration::from_millis(500);

/// Group and kind.
type GroupKind = (String, String);

/// What is known of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    state: Mutex<State>,
    begin: Notify,
}

/// What it is found out with.
#[derive(Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub(crate) client: &'a Client,
    pub(crate) resources: &'a Resources,
    /// Knows how objects are marked.
    pub(crate) live: &'a Live,
}

#[derive(Debug, Default)]
struct State {
    /// Lists that are awaited; `None` before it is known which.
    awaited: Option<BTreeSet<(GroupKind, Option<String>)>>,
    namespaces: BTreeMap<String, Nodes>,
    /// The namespace that an application asks about.
    asking: BTreeMap<Key, String>,
    /// Namespaces in which something moved.
    moved: BTreeSet<String>,
}

impl Neighbours {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an application be told of what moves in a namespace from now on; whether everything in it is known.
    pub(crate) fn ask(&self, application: &Key, namespace: &str) -> bool {
        let mut state = self.state();
        state.asking.insert(application.clone(), namespace.to_owned());
        self.begin.notify_one();
        state.awaited.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// The application asks no more.
    pub(crate) fn leave(&self, application: &Key) {
        self.state().asking.remove(application);
    }

    /// What is in a namespace.
    pub(crate) fn within<T>(&self, namespace: &str, look: impl FnOnce(&Nodes) -> T) -> T {
        let state = self.state();
        let nothing = Nodes::new();
        look(state.namespaces.get(namespace).unwrap_or(&nothing))
    }

    /// Follows what is there from the moment when somebody asks; never ends by itself.
    pub(crate) async fn run(&self, looking: Looking<'_>) {
        self.begin.notified().await;
        let (_, triggers) = looking.live.scope();
        let mut events: SelectAll<BoxStream<'static, Noted>> = SelectAll::new();
        let mut changes = looking.resources.changes();
        let mut watched = BTreeSet::new();
        let mut tracking = looking.live.tracking();
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Its sender lives in what is borrowed here.
                Ok(()) = changes.changed() => self.follow(looking, &mut events, &mut watched).await,
                Some(noted) = events.next() => self.take(noted, &tracking),
                _ = pace.tick() => {
                    let now = looking.live.tracking();
                    if now != tracking {
                        // Whose everything is has to be found out anew.
                        (tracking, events) = (now, SelectAll::new());
                        watched.clear();
                        self.state().forget();
                    }
                    if self.state().awaited.is_none() {
                        self.follow(looking, &mut events, &mut watched).await;
                    }
                    for key in self.concerned() {
                        if triggers.send(key).await.is_err() {
                            // The controller ends, and this with it.
                            std::future::pending::<()>().await;
                        }
                    }
                }
            }
        }
    }

    /// Begins watching the kinds that are not watched yet.
    async fn follow(
        &self,
        looking: Looking<'_>,
        events: &mut SelectAll<BoxStream<'static, Noted>>,
        watched: &mut BTreeSet<GroupKind>,
    ) {
        let Ok(catalog) = looking.resources.catalog().await else { return };
        let kinds = catalog.preferred_types().into_iter();
        let kinds = kinds.filter(|served| {
            let kind = &served.resource;
            kind.namespaced
                && served.can("list")
                && served.can("watch")
                && !is_ignored(&kind.group, &kind.kind)
        });
        for kind in kinds.map(|served| &served.resource) {
            let group_kind = (kind.group.clone().into_owned(), kind.kind.clone().into_owned());
            if !watched.insert(group_kind.clone()) {
                continue;
            }
            for namespace in looking.live.scope().0.watches(kind) {
                let part = (group_kind.clone(), namespace.clone());
                self.state().awaited.get_or_insert_default().insert(part);
                events.push(stream(looking.client, kind, group_kind.clone(), namespace));
            }
        }
        self.state().awaited.get_or_insert_default();
    }

    fn take(&self, noted: Noted, tracking: &Tracking) {
        let Noted { kind, namespace, event } = noted;
        let mut state = self.state();
        match event {
            Event::Applied(object) => state.put(&object, Some(Node::of(&object, tracking))),
            Event::Deleted(object) => state.put(&object, None),
            Event::Resynced(keys) => {
                let present: BTreeSet<(&str, &str)> =
                    keys.iter().map(|key| (key.namespace_str(), key.name.as_str())).collect();
                let of_list = |key: &ResourceKey| {
                    (&key.group, &key.kind) == (&kind.0, &kind.1)
                        && namespace.as_ref().is_none_or(|namespace| key.namespace == *namespace)
                };
                let gone = |key: &ResourceKey| {
                    of_list(key) && !present.contains(&(key.namespace.as_str(), key.name.as_str()))
                };
                let State { namespaces, moved, .. } = &mut *state;
                for (name, nodes) in namespaces {
                    let before = nodes.len();
                    nodes.retain(|key, _| !gone(key));
                    if nodes.len() != before {
                        moved.insert(name.clone());
                    }
                }
                let part = (kind, namespace);
                if let Some(awaited) = &mut state.awaited
                    && awaited.remove(&part)
                    && awaited.is_empty()
                {
                    let asked: Vec<String> = state.asking.values().cloned().collect();
                    state.moved.extend(asked);
                }
            }
        }
    }

    /// The applications that ask about namespaces in which something moved.
    fn concerned(&self) -> Vec<Key> {
        let mut state = self.state();
        if !state.awaited.as_ref().is_some_and(BTreeSet::is_empty) {
            return Vec::new();
        }
        let moved = std::mem::take(&mut state.moved);
        let asking = state.asking.iter().filter(|(_, namespace)| moved.contains(*namespace));
        asking.map(|(key, _)| key.clone()).collect()
    }
}

impl State {
    /// Everything but who asks.
    fn forget(&mut self) {
        let asking = std::mem::take(&mut self.asking);
        *self = Self { asking, ..Self::default() };
    }

    fn put(&mut self, object: &Value, node: Option<Node>) {
        let Some(namespace) = meta::namespace(object) else { return };
        let nodes = self.namespaces.entry(namespace.to_owned()).or_default();
        let key = ResourceKey::of(object);
        // Most events are of states: whose an object is seldom moves.
        let moved = match node {
            Some(node) if nodes.get(&key) == Some(&node) => false,
            Some(node) => {
                nodes.insert(key, node);
                true
            }
            None => nodes.remove(&key).is_some(),
        };
        if moved {
            self.moved.insert(namespace.to_owned());
        }
    }
}

fn stream(
    client: &Client,
    kind: &ResourceType,
    group_kind: GroupKind,
    namespace: Option<String>,
) -> BoxStream<'static, Noted> {
    let options = WatchOptions { namespace: namespace.clone(), ..WatchOptions::metadata() };
    let events = watch(client, kind, options);
    events.map(move |event| Noted { kind: group_kind.clone(), namespace: namespace.clone(), event }).boxed()
}

/// An event, and of which list it is.
struct Noted {
    kind: GroupKind,
    namespace: Option<String>,
    event: Event,
}
