//! What work was done: the proof that it follows change.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start of the controller.
#[derive(Debug, Default)]
pub struct Metrics {
    passes: AtomicU64,
    renders: AtomicU64,
    render_cache_hits: AtomicU64,
    comparisons: AtomicU64,
    comparison_cache_hits: AtomicU64,
    applies: AtomicU64,
    no_op_applies: AtomicU64,
    prunes: AtomicU64,
    status_writes: AtomicU64,
    syncs: AtomicU64,
}

/// One reading of [`Metrics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Looks at one Application.
    pub passes: u64,
    /// Sources rendered.
    pub renders: u64,
    /// New revisions or parameters that changed nothing a rendering had read.
    pub render_cache_hits: u64,
    /// Manifests compared with live objects.
    pub comparisons: u64,
    /// Manifests whose last comparison still held.
    pub comparison_cache_hits: u64,
    /// Objects created, patched or replaced.
    pub applies: u64,
    /// Objects that a sync found to be as they should.
    pub no_op_applies: u64,
    pub prunes: u64,
    pub status_writes: u64,
    /// Operations that ended.
    pub syncs: u64,
}

/// Which counter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Pass,
    Render,
    RenderCacheHit,
    Comparison,
    ComparisonCacheHit,
    Apply,
    NoOpApply,
    Prune,
    StatusWrite,
    Sync,
}

impl Metrics {
    pub(crate) fn add(&self, count: Count) {
        let counter = match count {
            Count::Pass => &self.passes,
            Count::Render => &self.renders,
            Count::RenderCacheHit => &self.render_cache_hits,
            Count::Comparison => &self.comparisons,
            Count::ComparisonCacheHit => &self.comparison_cache_hits,
            Count::Apply => &self.applies,
            Count::NoOpApply => &self.no_op_applies,
            Count::Prune => &self.prunes,
            Count::StatusWrite => &self.status_writes,
            Count::Sync => &self.syncs,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            passes: read(&self.passes),
            renders: read(&self.renders),
            render_cache_hits: read(&self.render_cache_hits),
            comparisons: read(&self.comparisons),
            comparison_cache_hits: read(&self.comparison_cache_hits),
            applies: read(&self.applies),
            no_op_applies: read(&self.no_op_applies),
            prunes: read(&self.prunes),
            status_writes: read(&self.status_writes),
            syncs: read(&self.syncs),
        }
    }
}
