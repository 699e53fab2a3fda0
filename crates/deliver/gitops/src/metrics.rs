//! What work was done, in all and for each Application: the proof that it follows change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use client::Key;
use objects::Value;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use webhooks::Host;

/// Counters since the start of the controller.
#[derive(Debug, Default)]
pub struct Metrics {
    total: Arc<Counters>,
    applications: Mutex<BTreeMap<Key, Arc<Work>>>,
    /// Requests by host and status of the answer.
    webhooks: Mutex<BTreeMap<(String, u16), u64>>,
}

/// The work done for one Application.
#[derive(Debug, Default)]
pub(crate) struct Work {
    own: Counters,
    total: Arc<Counters>,
    requests: Arc<AtomicU64>,
    state: Mutex<State>,
}

/// What the status of an Application said last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct State {
    project: String,
    sync: String,
    health: String,
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

impl Count {
    const ALL: [Count; 10] = [
        Count::Pass,
        Count::Render,
        Count::RenderCacheHit,
        Count::Comparison,
        Count::ComparisonCacheHit,
        Count::Apply,
        Count::NoOpApply,
        Count::Prune,
        Count::StatusWrite,
        Count::Sync,
    ];

    /// The value of the label `work`.
    fn name(self) -> &'static str {
        match self {
            Count::Pass => "pass",
            Count::Render => "render",
            Count::RenderCacheHit => "render_cache_hit",
            Count::Comparison => "comparison",
            Count::ComparisonCacheHit => "comparison_cache_hit",
            Count::Apply => "apply",
            Count::NoOpApply => "no_op_apply",
            Count::Prune => "prune",
            Count::StatusWrite => "status_write",
            Count::Sync => "sync",
        }
    }
}

#[derive(Debug, Default)]
struct Counters([AtomicU64; Count::ALL.len()]);

impl Counters {
    fn add(&self, count: Count) {
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

impl Work {
    pub(crate) fn add(&self, count: Count) {
        self.own.add(count);
        self.total.add(count);
    }

    /// Where requests to the API are counted.
    pub(crate) fn requests(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.requests)
    }

    /// Remembers what an Application's status says.
    pub(crate) fn says(&self, object: &Value, status: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or("Unknown").to_owned();
        let now = State {
            project: text(&object["spec"]["project"]),
            sync: text(&status["sync"]["status"]),
            health: text(&status["health"]["status"]),
        };
        *lock(&self.state) = now;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// The counters of one Application.
    pub(crate) fn of(&self, application: &Key) -> Arc<Work> {
        let mut applications = lock(&self.applications);
        if let Some(work) = applications.get(application) {
            return Arc::clone(work);
        }
        let work = Arc::new(Work { total: Arc::clone(&self.total), ..Work::default() });
        applications.insert(application.clone(), Arc::clone(&work));
        work
    }

    /// A webhook was answered.
    pub(crate) fn webhook(&self, host: Option<Host>, status: u16) {
        let host = host.map_or_else(|| "unknown".to_owned(), |host| host.to_string());
        *lock(&self.webhooks).entry((host, status)).or_default() += 1;
    }

    /// Drops what is counted for an Application that is gone; the totals stay.
    pub(crate) fn forget(&self, application: &Key) {
        lock(&self.applications).remove(application);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |count: Count| self.total.get(count);
        Counts {
            passes: read(Count::Pass),
            renders: read(Count::Render),
            render_cache_hits: read(Count::RenderCacheHit),
            comparisons: read(Count::Comparison),
            comparison_cache_hits: read(Count::ComparisonCacheHit),
            applies: read(Count::Apply),
            no_op_applies: read(Count::NoOpApply),
            prunes: read(Count::Prune),
            status_writes: read(Count::StatusWrite),
            syncs: read(Count::Sync),
        }
    }
}

/// The metrics under names that a Prometheus server collects; a clone of the [`Arc`] keeps counting.
#[derive(Debug)]
pub struct Exposition(pub Arc<Metrics>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let applications: Vec<(Key, Arc<Work>)> =
            lock(&self.0.applications).iter().map(|(key, work)| (key.clone(), Arc::clone(work))).collect();
        let mut family = encoder.encode_descriptor(
            "mainstay_gitops_work",
            "Work done by the Application controller",
            None,
            MetricType::Counter,
        )?;
        for count in Count::ALL {
            let labels = [("work", count.name())];
            ConstCounter::new(self.0.total.get(count)).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "mainstay_application_work",
            "Work done for one Application",
            None,
            MetricType::Counter,
        )?;
        for (key, work) in &applications {
            let namespace = key.namespace.as_deref().unwrap_or_default();
            let of = |work| [("name", key.name.as_str()), ("namespace", namespace), ("work", work)];
            for count in Count::ALL {
                // Most applications never do most kinds of work: what is zero is left out.
                let done = work.own.get(count);
                if done > 0 {
                    ConstCounter::new(done).encode(family.encode_family(&of(count.name()))?)?;
                }
            }
            let requests = work.requests.load(Ordering::Relaxed);
            ConstCounter::new(requests).encode(family.encode_family(&of("api_request"))?)?;
        }
        let mut family = encoder.encode_descriptor(
            "mainstay_webhooks",
            "Webhooks answered, by host and status",
            None,
            MetricType::Counter,
        )?;
        for ((host, status), count) in lock(&self.0.webhooks).clone() {
            let labels = [("host", host), ("status", status.to_string())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        info(&mut encoder, &applications)
    }
}

/// As Argo CD names it, with those of its labels that dashboards select by.
fn info(encoder: &mut DescriptorEncoder<'_>, applications: &[(Key, Arc<Work>)]) -> Result<(), fmt::Error> {
    let help = "Information about an Application";
    let mut family = encoder.encode_descriptor("argocd_app_info", help, None, MetricType::Gauge)?;
    for (key, work) in applications {
        let state = lock(&work.state).clone();
        let labels = [
            ("name", key.name.as_str()),
            ("namespace", key.namespace.as_deref().unwrap_or_default()),
            ("project", &state.project),
            ("sync_status", &state.sync),
            ("health_status", &state.health),
        ];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;
    use serde_json::json;

    #[test]
    fn counts_appear_in_all_and_by_application() {
        let metrics = Arc::new(Metrics::default());
        let key = Key::namespaced("argocd", "web");
        let work = metrics.of(&key);
        work.add(Count::Render);
        work.says(&json!({"spec": {"project": "default"}}), &json!({"sync": {"status": "Synced"}}));
        metrics.of(&Key::namespaced("argocd", "other")).add(Count::Render);
        metrics.webhook(Some(Host::GitHub), 200);
        metrics.webhook(None, 400);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition(Arc::clone(&metrics))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"mainstay_gitops_work_total{work="render"} 2"#,
            r#"mainstay_application_work_total{name="web",namespace="argocd",work="render"} 1"#,
            r#"mainstay_webhooks_total{host="GitHub",status="200"} 1"#,
            r#"mainstay_webhooks_total{host="unknown",status="400"} 1"#,
            r#"argocd_app_info{name="web",namespace="argocd",project="default",sync_status="Synced",health_status="Unknown"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        metrics.forget(&key);
        assert_eq!(metrics.counts().renders, 2);
    }
}
