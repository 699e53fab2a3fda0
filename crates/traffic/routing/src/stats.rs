//! What was counted of a route: requests by class of status, and how long answers took to begin.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the latency buckets, in milliseconds; one more bucket holds what took longer.
pub const BUCKETS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// The class of an HTTP status: its first digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(usize);

impl Class {
    #[must_use]
    pub fn of(status: u16) -> Self {
        Self(usize::from(status / 100).clamp(1, 5))
    }
}

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Stats {
    classes: [AtomicU64; 5],
    latency: [AtomicU64; BUCKETS.len() + 1],
    latency_sum_us: AtomicU64,
    retries: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests by class of status, `1xx` first.
    pub classes: [u64; 5],
    /// Requests by latency bucket (see [`BUCKETS`]), not cumulative.
    pub latency: [u64; BUCKETS.len() + 1],
    /// The sum of latencies, in microseconds.
    pub latency_sum_us: u64,
    /// Attempts beyond a request's first.
    pub retries: u64,
}

impl Stats {
    pub fn record(&self, class: Class, latency: Duration) {
        self.classes[class.0 - 1].fetch_add(1, Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| micros <= bound * 1_000).unwrap_or(BUCKETS.len());
        self.latency[bucket].fetch_add(1, Relaxed);
        self.latency_sum_us.fetch_add(micros, Relaxed);
    }

    pub fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Snapshot {
            classes: std::array::from_fn(|index| read(&self.classes[index])),
            latency: std::array::from_fn(|index| read(&self.latency[index])),
            latency_sum_us: read(&self.latency_sum_us),
            retries: read(&self.retries),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_class_and_bucket() {
        let stats = Stats::default();
        stats.record(Class::of(200), Duration::from_millis(1));
        stats.record(Class::of(503), Duration::from_micros(1_001));
        stats.record(Class::of(404), Duration::from_secs(60));
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.classes, [0, 1, 0, 1, 1]);
        assert_eq!((snapshot.latency[0], snapshot.latency[1], snapshot.latency[BUCKETS.len()]), (1, 1, 1));
        assert_eq!(snapshot.latency_sum_us, 60_002_001);
    }
}
