//! Which Applications belong to which set, followed by a watch: a look at a set reads what is the set's, and not all
//! Applications there are.
//!
//! Only names are kept. What is remembered and not there any more costs a read that finds nothing; what a set creates is
//! remembered before its event comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use client::controller::controller_owner;
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Key, resource};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use objects::{Value, meta};

use super::{Pass, Sets, lock};
use crate::error::Error;

/// Applications of one set that are read at the same time.
const READS: usize = 16;

/// The Applications of each set.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether all Applications were listed once.
    whole: bool,
    by_set: BTreeMap<Key, BTreeSet<Key>>,
}

impl Index {
    pub(super) fn is_whole(&self) -> bool {
        lock(&self.0).whole
    }

    fn of(&self, set: &Key) -> Vec<Key> {
        lock(&self.0).by_set.get(set).into_iter().flatten().cloned().collect()
    }

    pub(super) fn add(&self, set: &Key, application: Key) {
        lock(&self.0).by_set.entry(set.clone()).or_default().insert(application);
    }

    /// The sets that an event concerns.
    fn take(&self, event: Event) -> Vec<Key> {
        let owner = |application: &Value| controller_owner(application, &resource::APPLICATION_SETS);
        let mut known = lock(&self.0);
        match event {
            Event::Applied(application) => {
                let sets = owner(&application);
                for set in &sets {
                    known.by_set.entry(set.clone()).or_default().insert(Key::of(&application));
                }
                sets
            }
            Event::Deleted(application) => {
                let sets = owner(&application);
                for set in &sets {
                    known.forget(set, &Key::of(&application));
                }
                sets
            }
            Event::Resynced(there) => {
                let there: BTreeSet<Key> = there.into_iter().collect();
                known.whole = true;
                let mut moved = Vec::new();
                known.by_set.retain(|set, applications| {
                    let before = applications.len();
                    applications.retain(|application| there.contains(application));
                    if applications.len() < before {
                        moved.push(set.clone());
                    }
                    !applications.is_empty()
                });
                moved
            }
        }
    }

    fn remove(&self, set: &Key, application: &Key) {
        lock(&self.0).forget(set, application);
    }
}

impl Known {
    fn forget(&mut self, set: &Key, application: &Key) {
        let Some(applications) = self.by_set.get_mut(set) else { return };
        applications.remove(application);
        if applications.is_empty() {
            self.by_set.remove(set);
        }
    }
}

impl Sets {
    /// Follows the Applications, and wakes the sets whose they are.
    pub(super) async fn follow_applications(self: Arc<Self>) {
        let namespace = Some(self.shared.settings.namespace.clone());
        let options = WatchOptions { namespace, ..WatchOptions::metadata() };
        let mut events = watch(&self.shared.client, &resource::APPLICATIONS, options).boxed();
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            let concerned = self.index.take(event);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.wake(concerned) => {}
            }
        }
    }
}

impl Pass<'_> {
    /// The Applications of the set as they are, by their names.
    pub(super) async fn owned(&self) -> Result<Vec<Value>, Error> {
        let api = Api::new(&self.sets.shared.client, &resource::APPLICATIONS);
        let read = async |key: Key| -> Result<Option<Value>, Error> {
            let found = api.find(&key).await?;
            let owned = found.filter(|application| applicationsets::update::owns(self.set, application));
            if owned.is_none() {
                self.sets.index.remove(self.key, &key);
            }
            Ok(owned)
        };
        let reads = stream::iter(self.sets.index.of(self.key)).map(read).buffered(READS);
        reads.try_filter_map(async |found| Ok(found)).try_collect().await
    }
}

/// Notes what became of one of the Applications that are ordered by their names.
pub(super) fn put(owned: &mut Vec<Value>, application: Value) {
    match owned.binary_search_by_key(&meta::name(&application), meta::name) {
        Ok(at) => owned[at] = application,
        Err(at) => owned.insert(at, application),
    }
}

/// The Application of a name.
pub(super) fn named<'a>(owned: &'a [Value], name: &str) -> Option<&'a Value> {
    owned.binary_search_by_key(&name, meta::name).ok().map(|at| &owned[at])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(name: &str, set: &str) -> Value {
        let owner = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": set, "uid": "u",
            "controller": true}]);
        json!({"metadata": {"name": name, "namespace": "argocd", "ownerReferences": owner}})
    }

    fn key(name: &str) -> Key {
        Key::namespaced("argocd", name)
    }

    #[test]
    fn what_is_owned_is_followed() {
        let index = Index::default();
        assert_eq!(index.take(Event::Applied(application("a", "teams"))), [key("teams")]);
        assert_eq!(index.take(Event::Applied(application("b", "teams"))), [key("teams")]);
        let nobodys = json!({"metadata": {"name": "c", "namespace": "argocd"}});
        assert!(index.take(Event::Applied(nobodys)).is_empty());
        assert!(!index.is_whole(), "others may follow");
        assert!(index.take(Event::Resynced(vec![key("a"), key("b"), key("c")])).is_empty());
        assert!(index.is_whole());
        assert_eq!(index.of(&key("teams")), [key("a"), key("b")]);
        assert_eq!(index.take(Event::Deleted(application("a", "teams"))), [key("teams")]);
        assert_eq!(index.of(&key("teams")), [key("b")]);
        // A gap in the watch: whoever lost something has to look.
        assert_eq!(index.take(Event::Resynced(vec![key("c")])), [key("teams")]);
        assert!(index.of(&key("teams")).is_empty());
    }

    #[test]
    fn what_a_pass_did_is_what_it_reports() {
        let mut owned = vec![application("a", "teams"), application("c", "teams")];
        put(&mut owned, application("b", "teams"));
        let mut changed = application("c", "teams");
        changed["spec"] = json!({"project": "other"});
        put(&mut owned, changed);
        let names: Vec<&str> = owned.iter().map(meta::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(named(&owned, "c").unwrap()["spec"]["project"], "other");
        assert!(named(&owned, "d").is_none());
    }
}
