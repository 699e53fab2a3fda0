//! Waiting times between attempts: exponential, capped, with jitter.

use std::time::Duration;

/// Exponential back-off between a first and a longest wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// `first` is what the first failure waits (before jitter), `longest` the cap.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, attempts: 0 }
    }

    /// The next wait: doubled each time, capped, then spread over 75 % to 125 % so that many clients that lost one
    /// server do not come back in one instant.
    pub fn next_wait(&mut self) -> Duration {
        let wait = exponential(self.first, self.longest, self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        wait.mul_f64(0.75 + fastrand::f64() * 0.5)
    }

    /// After a success: the next failure starts from the first wait again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// `first` doubled `failures` times, at most `longest`.
pub(crate) fn exponential(first: Duration, longest: Duration, failures: u32) -> Duration {
    let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_until_the_cap() {
        let (first, longest) = (Duration::from_millis(5), Duration::from_secs(1));
        let waits: Vec<u128> = (0..10).map(|n| exponential(first, longest, n).as_millis()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(exponential(first, longest, 40), longest);
        assert_eq!(exponential(first, longest, u32::MAX), longest);
    }

    #[test]
    fn jitter_stays_within_a_quarter_and_reset_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for expected in [100u64, 200, 400, 400] {
            let wait = backoff.next_wait();
            let expected = Duration::from_millis(expected);
            assert!(wait >= expected.mul_f64(0.75) && wait <= expected.mul_f64(1.25), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(125));
    }
}
