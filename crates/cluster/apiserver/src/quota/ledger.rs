//! What quotas have in use, kept up with the store's events: counting again costs what changed since the last time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use objects::quantity::Quantity;
use serde_json::Value;
use store::{EventKind, Key, ListOptions, Scope, Store, Watch};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Amounts, usage};
use crate::admission::amounts;
use crate::error::ApiError;
use crate::object;

/// Events that are looked at in one piece, so that nothing holds all of a long window.
const EVENTS: usize = 1000;

/// The gate before all quotas, and what each of them has counted.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Lets writes of namespaces with quotas through one by one.
    gate: Semaphore,
    tallies: Mutex<BTreeMap<Key, Tally>>,
}

/// The count of one quota.
#[derive(Debug)]
struct Tally {
    /// Of the quota: another one is counted from the beginning.
    spec: Value,
    places: Vec<Place>,
}

/// One resource that a quota limits something of.
#[derive(Debug)]
struct Place {
    group: String,
    plural: String,
    /// Its position is what `used` is as of.
    watch: Watch,
    used: Amounts,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger { gate: Semaphore::new(1), tallies: Mutex::default() }
    }

    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.gate.acquire().await.map_err(|_| ApiError::unavailable("the server is shutting down"))
    }

    /// What a quota limits and how much of it is in use. Whoever calls it has passed the gate.
    pub(super) fn used(&self, store: &Store, key: &Key, quota: &Value) -> Value {
        let known = self.tallies().remove(key).filter(|tally| tally.spec == quota["spec"]);
        let tally = known.and_then(Tally::follow).or_else(|| Tally::begin(store, key, quota));
        let hard = amounts(&quota["spec"]["hard"]);
        let mut used: Amounts = hard.into_keys().map(|what| (what, Quantity::ZERO)).collect();
        for place in tally.iter().flat_map(|tally| &tally.places) {
            for (what, amount) in &place.used {
                used.entry(what.clone()).and_modify(|sum| *sum = sum.plus(*amount));
            }
        }
        if let Some(tally) = tally {
            self.tallies().insert(key.clone(), tally);
        }
        used.into_iter().map(|(what, sum)| (what, Value::from(sum.to_string()))).collect()
    }

    /// A quota is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.tallies().remove(key);
    }

    fn tallies(&self) -> MutexGuard<'_, BTreeMap<Key, Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Counts everything that is stored.
    fn begin(store: &Store, key: &Key, quota: &Value) -> Option<Tally> {
        let mut resources: Vec<String> =
            amounts(&quota["spec"]["hard"]).keys().map(|what| usage::counted_in(what)).collect();
        resources.sort_unstable();
        resources.dedup();
        let mut tally = Tally { spec: quota["spec"].clone(), places: Vec::new() };
        for resource in resources {
            let scope = Scope::new(&*resource, key.namespace());
            let page = store.list(&scope, &ListOptions::default()).ok()?;
            let watch = store.watch(scope, page.revision).ok()?;
            let (group, plural) = resource.split_once('/').unwrap_or(("", &resource));
            let mut place =
                Place { group: group.to_owned(), plural: plural.to_owned(), watch, used: Amounts::new() };
            for (_, stored) in &page.items {
                place.add(&tally.spec, stored, Quantity::plus);
            }
            tally.places.push(place);
        }
        Some(tally)
    }

    /// Takes in what happened since; `None` if that is not known any more.
    fn follow(mut self) -> Option<Tally> {
        for place in &mut self.places {
            loop {
                let events = place.watch.poll(EVENTS).ok()?;
                for event in &events {
                    if let Some(previous) = &event.previous {
                        place.add(&self.spec, previous, Quantity::minus);
                    }
                    if event.kind != EventKind::Deleted {
                        place.add(&self.spec, &event.object, Quantity::plus);
                    }
                }
                if events.len() < EVENTS {
                    break;
                }
            }
        }
        Some(self)
    }
}

impl Place {
    /// Changes what is in use by what one object uses.
    fn add(&mut self, spec: &Value, stored: &store::Object, change: fn(Quantity, Quantity) -> Quantity) {
        let Ok(object) = object::decode(&stored.bytes) else { return };
        let pods = self.group.is_empty() && self.plural == "pods";
        if usage::is_scoped(spec) && !(pods && usage::in_scope(spec, &object)) {
            return;
        }
        for (what, amount) in usage::of(&self.group, &self.plural, &object) {
            let sum = self.used.entry(what).or_insert(Quantity::ZERO);
            *sum = change(*sum, amount);
        }
    }
}
