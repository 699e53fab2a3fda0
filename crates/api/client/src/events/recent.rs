//! What a recorder remembers, so that repeated events are counted and floods end.

use std::collections::HashMap;

use jiff::Timestamp;
use objects::meta::Key;

/// How many events and how many objects are remembered.
const REMEMBERED: usize = 4096;
/// An object may cause this many events in a row …
const BURST: f64 = 25.0;
/// … and regains one each five minutes.
const PER_SECOND: f64 = 1.0 / 300.0;
/// An equal event later than this is written anew: the old one has probably been removed.
const WINDOW_SECONDS: i64 = 3300;

/// What to do with an event.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    New,
    Repeat { key: Key, count: i64 },
    Suppressed,
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    events: HashMap<String, Written>,
    budgets: HashMap<String, Budget>,
}

#[derive(Debug)]
struct Written {
    key: Key,
    count: i64,
    last: Timestamp,
}

#[derive(Debug)]
struct Budget {
    left: f64,
    at: Timestamp,
}

impl Recent {
    pub(super) fn next(&mut self, object: &str, identity: &str, now: Timestamp) -> Next {
        if !self.spend(object, now) {
            return Next::Suppressed;
        }
        match self.events.get(identity) {
            Some(event) if (now - event.last).get_seconds() < WINDOW_SECONDS => {
                Next::Repeat { key: event.key.clone(), count: event.count }
            }
            _ => Next::New,
        }
    }

    pub(super) fn written(&mut self, identity: String, key: Key, now: Timestamp) {
        if self.events.len() >= REMEMBERED {
            halve(&mut self.events, |event| event.last);
        }
        self.events.insert(identity, Written { key, count: 1, last: now });
    }

    pub(super) fn repeated(&mut self, identity: &str, count: i64, now: Timestamp) {
        if let Some(event) = self.events.get_mut(identity) {
            event.count = count;
            event.last = now;
        }
    }

    fn spend(&mut self, object: &str, now: Timestamp) -> bool {
        if self.budgets.len() >= REMEMBERED && !self.budgets.contains_key(object) {
            halve(&mut self.budgets, |budget| budget.at);
        }
        let budget = self.budgets.entry(object.to_owned()).or_insert(Budget { left: BURST, at: now });
        let seconds = (now - budget.at).total(jiff::Unit::Second).unwrap_or(0.0).max(0.0);
        budget.left = (budget.left + seconds * PER_SECOND).min(BURST);
        budget.at = now;
        let allowed = budget.left >= 1.0;
        if allowed {
            budget.left -= 1.0;
        }
        allowed
    }
}

/// Forgets the older half.
fn halve<T>(map: &mut HashMap<String, T>, time: impl Fn(&T) -> Timestamp) {
    let mut times: Vec<Timestamp> = map.values().map(&time).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    map.retain(|_, entry| time(entry) > middle);
}
