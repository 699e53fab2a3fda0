//! The retry budget: retries may add a fifth to the load, and ten a second in any case.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use tokio::time::Instant;

/// What a retry costs, in thousandths.
const COST: i64 = 1_000;

/// What each request adds: a fifth of a retry.
const DEPOSIT: i64 = 200;

/// What each millisecond adds: ten retries a second.
const PER_MILLISECOND: i64 = 10;

/// What can be saved up: the deposits of ten seconds without requests.
const MOST: i64 = 10 * 10 * COST;

/// A token bucket without a lock. Races can grant a retry too many, never lose the account.
#[derive(Debug)]
pub(crate) struct Budget {
    start: Instant,
    balance: AtomicI64,
    /// When the passing of time was last credited, in milliseconds since `start`.
    credited: AtomicI64,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, balance: AtomicI64::new(MOST / 10), credited: AtomicI64::new(0) }
    }

    /// Counts a request.
    pub(crate) fn deposit(&self) {
        if self.balance.load(Relaxed) < MOST {
            self.balance.fetch_add(DEPOSIT, Relaxed);
        }
    }

    /// Takes a retry from the budget, if it holds one.
    pub(crate) fn withdraw(&self, now: Instant) -> bool {
        let elapsed = i64::try_from(now.duration_since(self.start).as_millis()).unwrap_or(i64::MAX);
        let passed = elapsed - self.credited.swap(elapsed, Relaxed);
        let room = MOST - self.balance.load(Relaxed);
        self.balance.fetch_add((passed.max(0) * PER_MILLISECOND).min(room.max(0)), Relaxed);
        if self.balance.fetch_sub(COST, Relaxed) >= COST {
            return true;
        }
        self.balance.fetch_add(COST, Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn spends_what_requests_and_time_brought() {
        let start = Instant::now();
        let budget = Budget::new(start);
        let granted = |now| {
            std::iter::repeat_with(|| budget.withdraw(now)).take(500).filter(|granted| *granted).count()
        };
        assert_eq!(granted(start), 10, "what it starts with");
        for _ in 0..50 {
            budget.deposit();
        }
        assert_eq!(granted(start), 10, "a fifth of fifty requests");
        assert_eq!(granted(start + Duration::from_secs(1)), 10, "ten for a second");
        assert_eq!(granted(start + Duration::from_secs(3_600)), 100, "savings are bounded");
    }
}
