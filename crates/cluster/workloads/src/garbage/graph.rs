//! Who belongs to whom, by uid.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::Key;
use client::ResourceType;
use objects::meta;
use serde_json::Value;
use tokio::time::Instant;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";
/// How long a type's first list is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A uid, which is a UUID on every server; any other text is kept as its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Uid(u128);

impl Uid {
    pub(super) fn parse(text: &str) -> Option<Uid> {
        if text.is_empty() {
            return None;
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if let (32, Ok(number)) = (digits.len(), u128::from_str_radix(&digits, 16)) {
            return Some(Uid(number));
        }
        // FNV-1a, 128 bit.
        let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
        Some(Uid(hash))
    }

    pub(super) fn of(object: &Value) -> Option<Uid> {
        Uid::parse(meta::uid(object))
    }
}

/// Something to look at. What is done is decided from the server's state, not from here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// An object with owners: does any of them exist?
    Dependent(Uid),
    /// An owner that waits for its blocking dependents or for its orphans.
    Owner(Uid),
}

/// Where an object is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) resource: Arc<ResourceType>,
    pub(super) key: Key,
}

#[derive(Debug)]
struct Dependent {
    place: Place,
    owners: Box<[(Uid, bool)]>,
}

/// Objects with owners, and owners that wait.
#[derive(Debug, Default)]
pub(super) struct Graph {
    dependents: HashMap<Uid, Dependent>,
    by_owner: HashMap<Uid, BTreeSet<Uid>>,
    /// Owners that are being deleted and carry one of our finalizers.
    waiting: HashMap<Uid, Place>,
    /// Types whose first list has not come yet, and since when it is awaited.
    unlisted: HashMap<ResourceType, Instant>,
    /// Every uid seen during the first lists, to tell at once whose owners exist; empty afterwards.
    seen: HashSet<Uid>,
    settled: bool,
}

impl Graph {
    /// Nothing is decided before every watched type has been listed once.
    pub(super) fn is_synced(&self) -> bool {
        self.settled && self.unlisted.is_empty()
    }

    pub(super) fn expect(&mut self, resource: &ResourceType) {
        self.unlisted.insert(resource.clone(), Instant::now());
    }

    /// Stops waiting for types that cannot be listed: one broken type must not stop all collection. Owners of such a
    /// type are asked for at the server like all others, so nothing is deleted wrongly.
    pub(super) fn give_up_on_unlisted(&mut self) -> Vec<Task> {
        if self.unlisted.is_empty() {
            return Vec::new();
        }
        self.unlisted.retain(|resource, since| {
            let waits = since.elapsed() < PATIENCE;
            if !waits {
                tracing::warn!(%resource, "the garbage collector goes on without a type that cannot be listed");
            }
            waits
        });
        if self.settled || !self.unlisted.is_empty() { Vec::new() } else { self.settle() }
    }

    pub(super) fn forget(&mut self, resource: &ResourceType) {
        self.unlisted.remove(resource);
        self.retain(resource, |_| false);
    }

    pub(super) fn applied(&mut self, resource: &Arc<ResourceType>, object: &Value) -> Vec<Task> {
        let Some(uid) = Uid::of(object) else { return Vec::new() };
        if !self.settled {
            self.seen.insert(uid);
        }
        let place = || Place { resource: resource.clone(), key: Key::of(object) };
        let mut tasks = self.learn_owners(uid, object, place);
        let held = meta::finalizers(object).any(|finalizer| finalizer == FOREGROUND || finalizer == ORPHAN);
        if meta::is_deleting(object) && held {
            self.waiting.insert(uid, place());
            tasks.push(Task::Owner(uid));
        } else {
            self.waiting.remove(&uid);
        }
        tasks
    }

    fn learn_owners(&mut self, uid: Uid, object: &Value, place: impl Fn() -> Place) -> Vec<Task> {
        let owners: Box<[(Uid, bool)]> = meta::owner_references(object)
            .iter()
            .filter_map(|owner| Some((Uid::parse(&owner.uid)?, owner.block_owner_deletion == Some(true))))
            .collect();
        let before = self.dependents.get(&uid).map(|known| &known.owners);
        if before.is_some_and(|before| *before == owners) {
            return Vec::new();
        }
        let lost: Vec<Uid> = before.into_iter().flatten().map(|(owner, _)| *owner).collect();
        for owner in &lost {
            self.unlink(*owner, uid);
        }
        let mut tasks: Vec<Task> =
            lost.into_iter().filter(|owner| self.waiting.contains_key(owner)).map(Task::Owner).collect();
        if owners.is_empty() {
            self.dependents.remove(&uid);
            return tasks;
        }
        for (owner, _) in &owners {
            self.by_owner.entry(*owner).or_default().insert(uid);
        }
        // During the first lists most owners are merely not listed yet; `settle` looks at those that never come.
        if self.settled {
            tasks.push(Task::Dependent(uid));
        }
        self.dependents.insert(uid, Dependent { place: place(), owners });
        tasks
    }

    pub(super) fn deleted(&mut self, object: &Value) -> Vec<Task> {
        Uid::of(object).map(|uid| self.gone(uid)).unwrap_or_default()
    }

    fn gone(&mut self, uid: Uid) -> Vec<Task> {
        self.seen.remove(&uid);
        self.waiting.remove(&uid);
        let mut tasks = Vec::new();
        if let Some(known) = self.dependents.remove(&uid) {
            for (owner, _) in &known.owners {
                self.unlink(*owner, uid);
                if self.waiting.contains_key(owner) {
                    tasks.push(Task::Owner(*owner));
                }
            }
        }
        tasks.extend(
            self.by_owner.get(&uid).into_iter().flatten().map(|dependent| Task::Dependent(*dependent)),
        );
        tasks
    }

    /// A complete list of a type: forget what it does not name, and after a gap look at everything that may have lost its owner.
    pub(super) fn resynced(&mut self, resource: &Arc<ResourceType>, keys: Vec<Key>) -> Vec<Task> {
        let keys: HashSet<Key> = keys.into_iter().collect();
        let mut tasks = self.retain(resource, |key| keys.contains(key));
        let first = self.unlisted.remove(&**resource).is_some();
        if !self.settled {
            if self.unlisted.is_empty() {
                tasks.extend(self.settle());
            }
        } else if !first {
            let mut all: Vec<Uid> = self.dependents.keys().copied().collect();
            all.sort();
            tasks.extend(all.into_iter().map(Task::Dependent));
        }
        tasks
    }

    /// All first lists have come: what refers to an owner that none of them held has to be looked at.
    fn settle(&mut self) -> Vec<Task> {
        self.settled = true;
        let seen = std::mem::take(&mut self.seen);
        let mut suspects: Vec<Uid> = self
            .dependents
            .iter()
            .filter(|(_, known)| known.owners.iter().any(|(owner, _)| !seen.contains(owner)))
            .map(|(uid, _)| *uid)
            .collect();
        suspects.sort();
        let mut tasks: Vec<Task> = suspects.into_iter().map(Task::Dependent).collect();
        let mut waiting: Vec<Uid> = self.waiting.keys().copied().collect();
        waiting.sort();
        tasks.extend(waiting.into_iter().map(Task::Owner));
        tasks
    }

    fn retain(&mut self, resource: &ResourceType, keep: impl Fn(&Key) -> bool) -> Vec<Task> {
        let lost = |place: &Place| *place.resource == *resource && !keep(&place.key);
        let mut gone: Vec<Uid> = self
            .dependents
            .iter()
            .filter(|(_, known)| lost(&known.place))
            .map(|(uid, _)| *uid)
            .chain(self.waiting.iter().filter(|(_, place)| lost(place)).map(|(uid, _)| *uid))
            .collect();
        gone.sort();
        gone.dedup();
        gone.into_iter().flat_map(|uid| self.gone(uid)).collect()
    }

    fn unlink(&mut self, owner: Uid, dependent: Uid) {
        if let Some(dependents) = self.by_owner.get_mut(&owner) {
            dependents.remove(&dependent);
            if dependents.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }

    /// Where a dependent is.
    pub(super) fn dependent(&self, uid: Uid) -> Option<Place> {
        self.dependents.get(&uid).map(|known| known.place.clone())
    }

    /// Where an owner is that waits.
    pub(super) fn waiting(&self, uid: Uid) -> Option<Place> {
        self.waiting.get(&uid).cloned()
    }

    /// The dependents of an owner; `true` for those that block its deletion.
    pub(super) fn dependents_of(&self, owner: Uid) -> Vec<(Uid, Place, bool)> {
        let dependents = self.by_owner.get(&owner).into_iter().flatten();
        dependents
            .filter_map(|uid| {
                let known = self.dependents.get(uid)?;
                let blocks = known.owners.iter().any(|(other, blocks)| *other == owner && *blocks);
                Some((*uid, known.place.clone(), blocks))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use client::resource::{PODS, REPLICA_SETS};
    use serde_json::json;

    use super::*;

    fn object(name: &str, uid: &str, owners: &[(&str, bool)]) -> Value {
        let owners: Vec<Value> = owners
            .iter()
            .map(|(uid, block)| {
                json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid,
                "blockOwnerDeletion": block })
            })
            .collect();
        json!({ "metadata": { "name": name, "namespace": "a", "uid": uid, "ownerReferences": owners } })
    }

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    fn graph() -> (Graph, Arc<ResourceType>, Arc<ResourceType>) {
        let mut graph = Graph::default();
        graph.expect(&PODS);
        graph.expect(&REPLICA_SETS);
        (graph, Arc::new(PODS), Arc::new(REPLICA_SETS))
    }

    #[test]
    fn nothing_is_suspected_before_all_lists_came() {
        let (mut graph, pods, sets) = graph();
        assert_eq!(graph.applied(&pods, &object("p1", "p1", &[("rs1", true)])), []);
        assert_eq!(graph.applied(&pods, &object("p2", "p2", &[("lost", true)])), []);
        assert_eq!(graph.resynced(&pods, vec![Key::namespaced("a", "p1"), Key::namespaced("a", "p2")]), []);
        assert!(!graph.is_synced());
        graph.applied(&sets, &object("rs1", "rs1", &[]));
        assert_eq!(graph.resynced(&sets, vec![Key::namespaced("a", "rs1")]), [Task::Dependent(uid("p2"))]);
        assert!(graph.is_synced());
        assert!(graph.seen.is_empty());
    }

    fn settled() -> (Graph, Arc<ResourceType>, Arc<ResourceType>) {
        let (mut graph, pods, sets) = graph();
        graph.resynced(&pods, Vec::new());
        graph.resynced(&sets, Vec::new());
        (graph, pods, sets)
    }

    #[test]
    fn an_owner_that_goes_concerns_its_dependents() {
        let (mut graph, pods, _) = settled();
        assert_eq!(graph.applied(&pods, &object("p1", "p1", &[("rs1", true)])), [Task::Dependent(uid("p1"))]);
        assert_eq!(graph.applied(&pods, &object("p1", "p1", &[("rs1", true)])), []);
        assert_eq!(graph.deleted(&object("rs1", "rs1", &[])), [Task::Dependent(uid("p1"))]);
        assert_eq!(graph.deleted(&object("p1", "p1", &[])), []);
        assert!(graph.dependents.is_empty() && graph.by_owner.is_empty());
    }

    #[test]
    fn a_waiting_owner_is_looked_at_whenever_a_dependent_leaves() {
        let (mut graph, pods, sets) = settled();
        graph.applied(&pods, &object("p1", "p1", &[("rs1", true)]));
        graph.applied(&pods, &object("p2", "p2", &[("rs1", false)]));
        let mut owner = object("rs1", "rs1", &[]);
        owner["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        owner["metadata"]["finalizers"] = json!([FOREGROUND]);
        assert_eq!(graph.applied(&sets, &owner), [Task::Owner(uid("rs1"))]);
        let blocking: Vec<bool> = graph.dependents_of(uid("rs1")).iter().map(|(_, _, b)| *b).collect();
        assert_eq!(blocking.iter().filter(|b| **b).count(), 1);
        assert_eq!(graph.deleted(&object("p1", "p1", &[])), [Task::Owner(uid("rs1"))]);
        assert_eq!(graph.applied(&pods, &object("p2", "p2", &[])), [Task::Owner(uid("rs1"))]);
    }

    #[test]
    fn a_gap_is_closed_by_looking_at_everything() {
        let (mut graph, pods, sets) = settled();
        graph.applied(&pods, &object("p1", "p1", &[("rs1", true)]));
        graph.applied(&pods, &object("p2", "p2", &[("rs1", true)]));
        assert_eq!(graph.resynced(&pods, vec![Key::namespaced("a", "p2")]), [Task::Dependent(uid("p2"))]);
        assert!(graph.dependent(uid("p1")).is_none());
        assert_eq!(graph.resynced(&sets, Vec::new()), [Task::Dependent(uid("p2"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_type_that_cannot_be_listed_does_not_stop_the_rest() {
        let (mut graph, pods, _) = graph();
        graph.applied(&pods, &object("p1", "p1", &[("lost", true)]));
        graph.resynced(&pods, vec![Key::namespaced("a", "p1")]);
        assert_eq!(graph.give_up_on_unlisted(), []);
        assert!(!graph.is_synced());
        tokio::time::advance(PATIENCE).await;
        assert_eq!(graph.give_up_on_unlisted(), [Task::Dependent(uid("p1"))]);
        assert!(graph.is_synced());
    }

    #[test]
    fn uids_are_numbers() {
        assert_eq!(uid("00000000-0000-0000-0000-0000000000ff"), Uid(255));
        assert_ne!(uid("a"), uid("b"));
        assert_eq!(Uid::parse(""), None);
    }
}
