//! Keys that wait to be reconciled.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use objects::meta::Key;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::exponential;

/// A queue that holds each key once, never hands out a key that is being worked on, and owns the waits after failures.
///
/// A key is in at most one of these states: ready, delayed (with the earliest time asked for), running, or running
/// and wanted again. Its size is bounded by the number of keys that exist, so it needs no other limit.
#[derive(Debug)]
pub struct Queue<K = Key> {
    state: Mutex<State<K>>,
    /// Wakes the one consumer.
    changed: Notify,
    first_wait: Duration,
    longest_wait: Duration,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    running: HashSet<K>,
    /// Running keys for which an event arrived meanwhile.
    again: HashSet<K>,
    delayed: HashMap<K, Instant>,
    /// The same delays by time.
    timeline: BTreeMap<Instant, Vec<K>>,
    failures: HashMap<K, u32>,
}

impl<K> Default for State<K> {
    fn default() -> State<K> {
        State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            delayed: HashMap::new(),
            timeline: BTreeMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Waits after failures start with `first_wait` and double up to `longest_wait`.
    pub fn new(first_wait: Duration, longest_wait: Duration) -> Queue<K> {
        Queue { state: Mutex::default(), changed: Notify::new(), first_wait, longest_wait }
    }

    /// Wants a pass for `key` as soon as possible; also ends a delay.
    pub fn add(&self, key: &K) {
        self.with(|state| state.add(key));
        self.changed.notify_one();
    }

    /// Wants a pass for `key` after `wait`, unless an earlier one is already due.
    pub fn add_after(&self, key: &K, wait: Duration) {
        let due = Instant::now() + wait;
        self.with(|state| state.delay(key, due));
        self.changed.notify_one();
    }

    /// The next key, which stays out of everybody else's hands until [`Queue::succeeded`] or [`Queue::failed`].
    /// Meant for one consumer. Cancelling loses nothing.
    pub async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let (key, next_due) = self.with(|state| {
                state.ripen(now);
                (state.pop(), state.timeline.keys().next().copied())
            });
            if let Some(key) = key {
                return key;
            }
            match next_due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// The pass succeeded: the next failure waits the first wait again.
    pub fn succeeded(&self, key: &K) {
        self.with(|state| {
            state.failures.remove(key);
            state.finish(key);
        });
        self.changed.notify_one();
    }

    /// The pass failed: it is repeated after the wait that is returned, whatever events arrive before. A failing key must not
    /// be hurried by the events that its own half-done passes cause.
    pub fn failed(&self, key: &K) -> Duration {
        let now = Instant::now();
        let wait = self.with(|state| {
            let failures = state.failures.entry(key.clone()).or_default();
            let wait = exponential(self.first_wait, self.longest_wait, *failures);
            *failures = failures.saturating_add(1);
            state.again.remove(key);
            state.running.remove(key);
            state.delay(key, now + wait);
            wait
        });
        self.changed.notify_one();
        wait
    }

    /// How many keys are ready, delayed or running.
    pub fn len(&self) -> usize {
        self.with(|state| state.ready.len() + state.delayed.len() + state.running.len())
    }

    /// Whether there is nothing to do, now or later.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, act: impl FnOnce(&mut State<K>) -> T) -> T {
        act(&mut self.state.lock().expect("no panic while held"))
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: &K) {
        if self.running.contains(key) {
            self.again.insert(key.clone());
            return;
        }
        self.undelay(key);
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key.clone());
        }
    }

    fn delay(&mut self, key: &K, due: Instant) {
        let sooner = self.delayed.get(key).is_some_and(|known| *known <= due);
        if sooner || self.queued.contains(key) || self.again.contains(key) {
            return;
        }
        self.undelay(key);
        self.delayed.insert(key.clone(), due);
        self.timeline.entry(due).or_default().push(key.clone());
    }

    fn undelay(&mut self, key: &K) {
        let Some(due) = self.delayed.remove(key) else { return };
        if let Some(keys) = self.timeline.get_mut(&due) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.timeline.remove(&due);
            }
        }
    }

    /// Moves what is due to the ready keys.
    fn ripen(&mut self, now: Instant) {
        while let Some(entry) = self.timeline.first_entry() {
            if *entry.key() > now {
                return;
            }
            for key in entry.remove() {
                self.delayed.remove(&key);
                self.add(&key);
            }
        }
    }

    fn pop(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    fn finish(&mut self, key: &K) {
        self.running.remove(key);
        if self.again.remove(key) {
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn key(name: &str) -> Key {
        Key::namespaced("a", name)
    }

    fn queue() -> Queue {
        Queue::new(Duration::from_millis(5), Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_held_once_and_in_order() {
        let queue = queue();
        for name in ["x", "y", "x", "y", "z"] {
            queue.add(&key(name));
        }
        for name in ["x", "y", "z"] {
            assert_eq!(queue.next().await, key(name));
        }
        assert!(queue.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_during_a_pass_causes_one_more_pass_after_it() {
        let queue = queue();
        queue.add(&key("x"));
        queue.next().await;
        queue.add(&key("x"));
        queue.add(&key("x"));
        assert!(queue.next().now_or_never().is_none(), "handed out while running");
        queue.succeeded(&key("x"));
        assert_eq!(queue.next().now_or_never(), Some(key("x")));
        queue.succeeded(&key("x"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_and_a_success_resets() {
        let queue = queue();
        queue.add(&key("x"));
        let mut waits = Vec::new();
        for _ in 0..10 {
            let before = Instant::now();
            let key = queue.next().await;
            waits.push(before.elapsed().as_millis());
            queue.failed(&key);
        }
        assert_eq!(waits, [0, 5, 10, 20, 40, 80, 160, 320, 640, 1000]);
        queue.next().await;
        queue.succeeded(&key("x"));
        queue.add(&key("x"));
        queue.next().await;
        assert_eq!(queue.failed(&key("x")), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn events_during_a_failing_pass_do_not_hurry_it() {
        let queue = queue();
        queue.add(&key("x"));
        queue.next().await;
        queue.add(&key("x"));
        queue.failed(&key("x"));
        assert!(queue.next().now_or_never().is_none());
        let before = Instant::now();
        queue.next().await;
        assert_eq!(before.elapsed(), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_delay_wins_and_an_event_ends_it() {
        let queue = queue();
        queue.add_after(&key("x"), Duration::from_secs(60));
        queue.add_after(&key("x"), Duration::from_secs(10));
        queue.add_after(&key("x"), Duration::from_secs(30));
        queue.add_after(&key("y"), Duration::from_secs(20));
        let start = Instant::now();
        assert_eq!(queue.next().await, key("x"));
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        queue.succeeded(&key("x"));
        queue.add(&key("y"));
        assert_eq!(queue.next().now_or_never(), Some(key("y")));
        queue.succeeded(&key("y"));
        assert!(queue.is_empty(), "a delay outlived the pass it asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn other_keys_pass_a_failing_one() {
        let queue = queue();
        queue.add(&key("bad"));
        queue.add(&key("good"));
        let bad = queue.next().await;
        queue.failed(&bad);
        assert_eq!(queue.next().await, key("good"));
    }
}
