//! Delays between attempts, as the kubelet's `flowcontrol.Backoff` counts them.
//!
//! The first attempt after a failure is free; each further one waits twice as long as the one before, from
//! [`INITIAL`] to [`MAX`]. A quiet time of twice [`MAX`] forgets the history.

use std::time::Duration;

use jiff::Timestamp;

/// The wait before the second restart.
pub(crate) const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
pub(crate) const MAX: Duration = Duration::from_secs(300);

/// The history of one container's restarts, or of one image's pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl Backoff {
    /// The wait in force after a failure at `failed`, with the time it ends.
    pub(crate) fn wait(&self, failed: Timestamp) -> Option<(Duration, Timestamp)> {
        let entry = self.entry.filter(|entry| !expired(entry, failed))?;
        Some((entry.delay, failed + entry.delay))
    }

    /// Counts an attempt made at `now` because of a failure at `failed`.
    pub(crate) fn attempt(&mut self, failed: Timestamp, now: Timestamp) {
        let delay = match self.entry.filter(|entry| !expired(entry, failed)) {
            Some(entry) => (entry.delay * 2).min(MAX),
            None => INITIAL,
        };
        self.entry = Some(Entry { delay, updated: now });
    }
}

fn expired(entry: &Entry, failed: Timestamp) -> bool {
    failed.duration_since(entry.updated).unsigned_abs() > MAX * 2 && failed > entry.updated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn doubles_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(at(0)), None, "the first restart does not wait");
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            backoff.attempt(at(now), at(now));
            let (delay, until) = backoff.wait(at(now)).unwrap();
            assert_eq!(until, at(now) + delay);
            waits.push(delay.as_secs());
            now += delay.as_secs() as i64;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_forget() {
        let mut backoff = Backoff::default();
        backoff.attempt(at(0), at(0));
        backoff.attempt(at(10), at(10));
        assert_eq!(backoff.wait(at(610)).map(|(delay, _)| delay.as_secs()), Some(20));
        assert_eq!(backoff.wait(at(611)), None);
        backoff.attempt(at(611), at(611));
        assert_eq!(backoff.wait(at(611)).map(|(delay, _)| delay.as_secs()), Some(10));
    }
}
