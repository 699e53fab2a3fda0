//! What is remembered of objects, and which applications each of them concerns.

use std::collections::{BTreeSet, HashMap};

use client::Key;
use objects::{Value, meta};
use sha2::{Digest, Sha256};
use sync::{ResourceKey, Tracking};

/// The objects that were seen. Methods that take something new in give the applications that are to hear of it.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Where Applications live whose marks name no namespace.
    namespace: String,
    /// How objects are marked as an application's.
    tracking: Tracking,
    objects: HashMap<ResourceKey, Seen>,
    /// By application instance: the objects that carry its mark and belong to no other object.
    tracked: HashMap<String, BTreeSet<ResourceKey>>,
    /// Objects whose changes an application wants to know of.
    interests: HashMap<ResourceKey, BTreeSet<Key>>,
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

impl Index {
    pub(super) fn new(namespace: String) -> Self {
        Self { namespace, ..Self::default() }
    }

    pub(super) fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Forgets all objects: from now on they are marked otherwise.
    pub(super) fn track(&mut self, tracking: &Tracking) {
        self.tracking = tracking.clone();
        self.objects.clear();
        self.tracked.clear();
    }

    /// A watch told of a state of an object.
    pub(super) fn applied(&mut self, object: &Value) -> BTreeSet<Key> {
        let key = ResourceKey::of(object);
        let interested = self.interests.get(&key).cloned().unwrap_or_default();
        let seen = Seen::of(object, &self.tracking);
        let before = self.objects.get(&key);
        if seen.application.is_none() && interested.is_empty() && before.is_none() {
            return BTreeSet::new();
        }
        if before.is_some_and(|before| !newer(&seen.version, &before.version)) {
            return BTreeSet::new();
        }
        let mut concerned = interested;
        concerned.extend(self.application(before));
        concerned.extend(self.application(Some(&seen)));
        let news = before.is_none_or(|before| before.state != seen.state);
        self.remember(&key, Some(seen));
        if news { concerned } else { BTreeSet::new() }
    }

    /// A watch told of the end of an object.
    pub(super) fn deleted(&mut self, key: &ResourceKey) -> BTreeSet<Key> {
        let mut concerned = self.interests.get(key).cloned().unwrap_or_default();
        concerned.extend(self.application(self.objects.get(key)));
        self.remember(key, None);
        concerned
    }

    /// A list was complete: whatever else it might have held is gone.
    pub(super) fn listed(
        &mut self,
        might: impl Fn(&ResourceKey) -> bool,
        held: impl Fn(&ResourceKey) -> bool,
    ) -> BTreeSet<Key> {
        let known = self.objects.keys().filter(|key| might(key) && !held(key));
        let gone: Vec<ResourceKey> = known.cloned().collect();
        gone.iter().flat_map(|key| self.deleted(key)).collect()
    }

    /// Remembers what an application read or wrote just now, so that its event is no news. It stays news where it
    /// concerns others as well.
    pub(super) fn observed(&mut self, by: &Key, key: &ResourceKey, object: &Value) {
        let seen = Seen::of(object, &self.tracking);
        let before = self.objects.get(key);
        let outdated = before.is_some_and(|before| !newer(&seen.version, &before.version));
        let marked = self.application(before).into_iter().chain(self.application(Some(&seen)));
        let others = self.interests.get(key).into_iter().flatten().any(|other| other != by)
            || marked.into_iter().any(|other| other != *by);
        if !outdated && !others {
            self.remember(key, Some(seen));
        }
    }

    /// Remembers that an object was found to be gone, before its watch tells it.
    pub(super) fn missed(&mut self, key: &ResourceKey) {
        self.remember(key, None);
    }

    /// What is known of an object.
    pub(super) fn sight(&self, key: &ResourceKey) -> Sight {
        self.objects.get(key).map_or(Sight::Unseen, |seen| Sight::At(seen.state.clone()))
    }

    /// Objects with this application's mark that no other object owns.
    pub(super) fn tracked(&self, instance: &str) -> Vec<ResourceKey> {
        self.tracked.get(instance).into_iter().flatten().cloned().collect()
    }

    /// Replaces what an application wants to know of.
    pub(super) fn interest(
        &mut self,
        application: &Key,
        before: &BTreeSet<ResourceKey>,
        now: &BTreeSet<ResourceKey>,
    ) {
        for key in before.difference(now) {
            if let Some(interested) = self.interests.get_mut(key) {
                interested.remove(application);
                if interested.is_empty() {
                    self.interests.remove(key);
                }
            }
            let untracked = self.objects.get(key).is_some_and(|seen| seen.application.is_none());
            if untracked && !self.interests.contains_key(key) {
                self.remember(key, None);
            }
        }
        for key in now.difference(before) {
            self.interests.entry(key.clone()).or_default().insert(application.clone());
        }
    }

    /// The application that an object's mark names.
    fn application(&self, seen: Option<&Seen>) -> Option<Key> {
        let instance = seen?.application.as_deref()?;
        // Those of other namespaces carry theirs; no name has an underscore.
        let (namespace, name) = instance.split_once('_').unwrap_or((&self.namespace, instance));
        Some(Key::namespaced(namespace, name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index() -> Index {
        Index::new("argocd".to_owned())
    }

    fn app(name: &str) -> Key {
        Key::namespaced("argocd", name)
    }

    fn map(version: u64, mark: Option<&str>) -> Value {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "one", "namespace": "shop", "resourceVersion": version.to_string()}});
        if let Some(application) = mark {
            let id = format!("{application}:/ConfigMap:shop/one");
            meta::set_annotation(&mut map, "argocd.argoproj.io/tracking-id", Some(&id));
        }
        map
    }

    #[test]
    fn what_an_application_saw_itself_is_no_news_to_it() {
        let (mut index, key) = (index(), ResourceKey::of(&map(1, None)));
        index.interest(&app("shop"), &BTreeSet::new(), &BTreeSet::from([key.clone()]));
        index.observed(&app("shop"), &key, &map(2, Some("shop")));
        assert_eq!(index.sight(&key), Sight::At("2".to_owned()));
        for (version, told) in [(1, false), (2, false), (3, true)] {
            let concerned = index.applied(&map(version, Some("shop")));
            assert_eq!(!concerned.is_empty(), told, "{version}");
        }
        index.observed(&app("shop"), &key, &map(2, Some("shop")));
        assert_eq!(index.sight(&key), Sight::At("3".to_owned()), "an older state is forgotten at once");
        index.missed(&key);
        assert_eq!(index.deleted(&key), BTreeSet::from([app("shop")]), "an end is always told");
    }

    #[test]
    fn what_one_application_saw_is_news_to_another() {
        let key = ResourceKey::of(&map(1, None));
        let now = BTreeSet::from([key.clone()]);
        for mark in [None, Some("other")] {
            let mut index = index();
            index.interest(&app("shop"), &BTreeSet::new(), &now);
            if mark.is_none() {
                index.interest(&app("other"), &BTreeSet::new(), &now);
            }
            index.observed(&app("shop"), &key, &map(2, mark));
            let concerned = index.applied(&map(2, mark));
            assert_eq!(concerned, BTreeSet::from([app("shop"), app("other")]), "{mark:?}");
        }
    }

    #[test]
    fn a_mark_leads_to_applications_of_every_namespace() {
        let mut index = index();
        let concerned = index.applied(&map(1, Some("team_shop")));
        assert_eq!(concerned, BTreeSet::from([Key::namespaced("team", "shop")]));
        assert_eq!(index.tracked("team_shop").len(), 1);
        let gone = index.listed(|_| true, |_| false);
        assert_eq!(gone, BTreeSet::from([Key::namespaced("team", "shop")]));
        assert!(index.tracked("team_shop").is_empty());
    }
}
