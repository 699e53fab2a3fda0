//! When to try again: retries of a failed operation and repeated self-healing.

use std::time::Duration;

use objects::Value;

/// How often and how soon a failed operation is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// `None`: without limit.
    pub limit: Option<u32>,
    pub duration: Duration,
    pub factor: u32,
    pub longest: Duration,
}

/// Retries of an automated sync whose application says nothing about them.
const AUTOMATED_LIMIT: i64 = 5;

impl RetryPolicy {
    /// From `spec.syncPolicy.retry` for an automated sync; five times where it says nothing.
    #[must_use]
    pub fn automated(policy: &Value) -> Self {
        Self::from_value(policy, if policy.is_null() { AUTOMATED_LIMIT } else { 0 })
    }

    /// From an operation's own `retry`; none where it says nothing.
    #[must_use]
    pub fn manual(policy: &Value) -> Self {
        Self::from_value(policy, 0)
    }

    fn from_value(policy: &Value, limit: i64) -> Self {
        let limit = policy["limit"].as_i64().unwrap_or(limit);
        let backoff = &policy["backoff"];
        let duration = |field: &str| backoff[field].as_str().and_then(parse_duration);
        let factor = backoff["factor"].as_u64().and_then(|factor| u32::try_from(factor).ok());
        Self {
            limit: u32::try_from(limit).ok(),
            duration: duration("duration").unwrap_or(Duration::from_secs(5)),
            factor: factor.filter(|factor| *factor > 0).unwrap_or(2),
            longest: duration("maxDuration").unwrap_or(Duration::from_secs(180)),
        }
    }

    /// How long to wait before retry number `retry` (from 1); `None` if there is none any more. The wait is
    /// `duration × factor^retry`, so the first one is already `duration × factor`, as upstream.
    #[must_use]
    pub fn wait(&self, retry: u32) -> Option<Duration> {
        if self.limit.is_some_and(|limit| retry > limit) {
            return None;
        }
        let factor = self.factor.checked_pow(retry);
        let wait = factor.and_then(|factor| self.duration.checked_mul(factor));
        Some(wait.unwrap_or(self.longest).min(self.longest))
    }
}

const FIRST_HEAL: Duration = Duration::from_secs(2);
const HEAL_FACTOR: u32 = 3;
const LONGEST_HEAL: Duration = Duration::from_secs(300);

/// How long after the last operation's end the next self-healing may start, after so many attempts at one revision:
/// at once, 2, 6, 18, 54, 162, then 300 seconds.
#[must_use]
pub fn heal_wait(attempts: u32) -> Duration {
    let Some(exponent) = attempts.checked_sub(1) else { return Duration::ZERO };
    let factor = HEAL_FACTOR.checked_pow(exponent);
    factor.and_then(|factor| FIRST_HEAL.checked_mul(factor)).unwrap_or(LONGEST_HEAL).min(LONGEST_HEAL)
}

/// A duration as Go writes it (`1h30m`, `10s`, `1.5s`, `300ms`); a bare number is seconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(amount * unit).ok()?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn retries_wait_as_upstream() {
        let seconds = |policy: RetryPolicy| -> Vec<_> {
            (1..=8).map_while(|retry| policy.wait(retry)).map(|wait| wait.as_secs()).collect()
        };
        assert_eq!(seconds(RetryPolicy::automated(&Value::Null)), [10, 20, 40, 80, 160]);
        assert_eq!(seconds(RetryPolicy::manual(&Value::Null)), [0; 0]);
        let preview = json!({"limit": 3, "backoff": {"duration": "10s"}});
        assert_eq!(seconds(RetryPolicy::automated(&preview)), [20, 40, 80]);
        let endless = json!({"limit": -1, "backoff": {"duration": "60", "maxDuration": "2m"}});
        assert_eq!(seconds(RetryPolicy::automated(&endless)), [120; 8]);
        assert_eq!(RetryPolicy::automated(&endless).wait(1000), Some(Duration::from_secs(120)));
    }

    #[test]
    fn healing_slows_down() {
        let waits: Vec<_> = (0..8).map(|attempts| heal_wait(attempts).as_secs()).collect();
        assert_eq!(waits, [0, 2, 6, 18, 54, 162, 300, 300]);
        assert_eq!(heal_wait(u32::MAX), Duration::from_secs(300));
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [("10", 10_000), ("1h30m", 5_400_000), ("1.5s", 1500), ("300ms", 300)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "1x", "-5s", "1e9h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
