//! One fetch at a time for one thing: whoever asks meanwhile gets the same answer, a failure included.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Error, Freshness};

/// After the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// Things remembered; nobody waits for those that go first.
const LIMIT: usize = 4096;

#[derive(Debug)]
pub(crate) struct Flights<T> {
    states: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<State<T>>>>>,
}

#[derive(Debug)]
pub(crate) struct State<T> {
    value: Option<(Instant, T)>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    wait: Duration,
    error: Error,
}

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { states: Mutex::default() }
    }

    /// What is known and younger than `age`, or what `fetch` gives; it is handed what was known before. A failure is
    /// repeated without fetching until its wait is over.
    pub(crate) async fn get<F: Future<Output = Result<T, Error>>>(
        &self,
        key: &str,
        freshness: Freshness,
        age: Duration,
        fetch: impl FnOnce(Option<T>) -> F,
    ) -> Result<T, Error> {
        let asked = Instant::now();
        let state = self.state(key);
        let mut state = state.lock().await;
        if let Some(answer) = state.answer(asked, Instant::now(), freshness, age) {
            return answer;
        }
        let fetched = fetch(state.value.as_ref().map(|(_, value)| value.clone())).await;
        state.note(fetched.clone(), Instant::now());
        fetched
    }

    fn state(&self, key: &str) -> Arc<tokio::sync::Mutex<State<T>>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= LIMIT {
            states.retain(|_, state| Arc::strong_count(state) > 1);
        }
        let new = || Arc::new(tokio::sync::Mutex::new(State { value: None, failed: None }));
        Arc::clone(states.entry(key.to_owned()).or_insert_with(new))
    }
}

impl<T: Clone> State<T> {
    /// What needs no fetch at `now`, for somebody who asked at `asked`.
    fn answer(
        &self,
        asked: Instant,
        now: Instant,
        freshness: Freshness,
        age: Duration,
    ) -> Option<Result<T, Error>> {
        let good = |at: Instant, lasts: Duration| {
            at >= asked || freshness == Freshness::Recent && now.duration_since(at) < lasts
        };
        if let Some((at, value)) = &self.value
            && self.failed.is_none()
            && good(*at, age)
        {
            return Some(Ok(value.clone()));
        }
        let failed = self.failed.as_ref().filter(|failed| good(failed.at, failed.wait))?;
        Some(Err(failed.error.clone()))
    }

    fn note(&mut self, fetched: Result<T, Error>, now: Instant) {
        match fetched {
            Ok(value) => *self = Self { value: Some((now, value)), failed: None },
            Err(error) => {
                let wait =
                    self.failed.take().map_or(FIRST_RETRY, |failed| (failed.wait * 2).min(LONGEST_RETRY));
                self.failed = Some(Failed { at: now, wait, error });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const AGE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn many_ask_and_one_fetches() {
        let (flights, fetched) = (Flights::new(), AtomicU32::new(0));
        let ask = |freshness| {
            flights.get("index", freshness, AGE, |_| async {
                tokio::task::yield_now().await;
                Ok(fetched.fetch_add(1, Ordering::Relaxed))
            })
        };
        let (a, b, c) = tokio::join!(ask(Freshness::Recent), ask(Freshness::Recent), ask(Freshness::Latest));
        assert_eq!((a, b, c), (Ok(0), Ok(0), Ok(0)), "who waited for the answer has it");
        assert_eq!(ask(Freshness::Recent).await, Ok(0));
        assert_eq!(ask(Freshness::Latest).await, Ok(1));
    }

    #[test]
    fn a_failure_costs_nothing_until_its_wait_is_over() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State { value: None, failed: None };
        let ask =
            |state: &State<u32>, seconds, freshness| state.answer(at(seconds), at(seconds), freshness, AGE);
        assert_eq!(ask(&state, 0, Freshness::Recent), None);
        state.note(Err(Error::Stopped), at(0));
        assert_eq!(ask(&state, 4, Freshness::Recent), Some(Err(Error::Stopped)));
        assert_eq!(ask(&state, 4, Freshness::Latest), None, "whoever asks for the latest does not wait");
        assert_eq!(ask(&state, 5, Freshness::Recent), None);
        state.note(Err(Error::Stopped), at(5));
        assert_eq!(
            ask(&state, 14, Freshness::Recent),
            Some(Err(Error::Stopped)),
            "the second wait is longer"
        );
        assert_eq!(ask(&state, 15, Freshness::Recent), None);
        state.note(Ok(7), at(15));
        assert_eq!(ask(&state, 74, Freshness::Recent), Some(Ok(7)));
        assert_eq!(ask(&state, 75, Freshness::Recent), None);
    }
}
