//! Waiting for a state with a deadline.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How often a state that cannot be watched is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `probe` gives `Ok`, and panics with what it last gave once `deadline` has passed.
///
/// # Panics
/// At the deadline.
#[track_caller]
pub fn eventually<T, E: Debug>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= end => {
                panic!("{what}: not within {deadline:?}; last seen: {last:?}")
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the interval between two looks, not a guess at a duration"
            )]
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// As [`eventually`], for a probe that is a future. Each look counts against the deadline too.
///
/// # Panics
/// At the deadline.
pub async fn eventually_async<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = None;
    loop {
        let began = Instant::now();
        match tokio::time::timeout_at(end.into(), probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => last = Some(error),
            Err(_) => {
                let took = began.elapsed();
                panic!(
                    "{what}: not within {deadline:?}, when a look had taken {took:?}; seen before: {last:?}"
                )
            }
        }
        // A look that begins at the deadline sees nothing.
        assert!(Instant::now() + INTERVAL < end, "{what}: not within {deadline:?}; last seen: {last:?}");
        tokio::time::sleep(INTERVAL).await;
    }
}
