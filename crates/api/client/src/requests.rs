//! Counting the requests that one task sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static COUNTER: Arc<AtomicU64>;
}

/// Runs `work` and adds every request it sends to `counter`. Tasks that it spawns count for themselves.
pub async fn counted<F: Future>(counter: Arc<AtomicU64>, work: F) -> F::Output {
    COUNTER.scope(counter, work).await
}

pub(crate) fn sent() {
    // Outside a scope nobody asked to know.
    let _ = COUNTER.try_with(|counter| counter.fetch_add(1, Ordering::Relaxed));
}
