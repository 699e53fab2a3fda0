//! Figures of one operation, and the table they go into.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How much of everything is done.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// Requests of each operation, and objects in the list.
    pub(crate) requests: usize,
    pub(crate) lists: usize,
    pub(crate) watchers: usize,
    /// Writes that all watchers see.
    pub(crate) fanned: usize,
    /// Objects for the memory figure.
    pub(crate) crowd: usize,
    pub(crate) fill_bytes: usize,
    /// Requests in flight.
    pub(crate) concurrency: usize,
    /// No operation takes longer; it counts what it got done.
    pub(crate) limit: Duration,
}

impl Sizes {
    pub(crate) fn of(arguments: &[String]) -> Sizes {
        let whole = Sizes {
            requests: 10_000,
            lists: 40,
            watchers: 100,
            fanned: 2_000,
            crowd: 50_000,
            fill_bytes: 1 << 30,
            concurrency: 64,
            limit: Duration::from_secs(60),
        };
        if arguments.iter().any(|argument| argument == "--quick") {
            return Sizes {
                requests: 1_000,
                lists: 5,
                fanned: 200,
                crowd: 2_000,
                fill_bytes: 32 << 20,
                limit: Duration::from_secs(15),
                ..whole
            };
        }
        whole
    }
}

/// How fast something went.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) done: usize,
    pub(crate) took: Duration,
    pub(crate) latencies: Vec<Duration>,
}

impl Figures {
    pub(crate) fn new(done: usize, took: Duration, mut latencies: Vec<Duration>) -> Figures {
        latencies.sort_unstable();
        Figures { done, took, latencies }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Does `work` for the numbers below `count`, `concurrency` at a time, for at most `limit`.
pub(crate) async fn repeat<F, R>(
    count: usize,
    concurrency: usize,
    limit: Duration,
    work: F,
) -> Result<Figures>
where
    F: Fn(usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (next, work) = (next.clone(), work.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while begun.elapsed() < limit {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let asked = Instant::now();
                    work(number).await?;
                    latencies.push(asked.elapsed());
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    ensure!(!latencies.is_empty(), "nothing was done within {limit:?}");
    Ok(Figures::new(latencies.len(), begun.elapsed(), latencies))
}

/// Rows printed as they are known.
#[derive(Debug)]
pub(crate) struct Table {
    with_peer: bool,
}

impl Table {
    pub(crate) fn new(with_peer: bool) -> Table {
        println!("| figure | ours | kube-apiserver and etcd | ratio | must be |\n|---|---|---|---|---|");
        Table { with_peer }
    }

    pub(crate) fn row(&self, figure: &str, ours: &str, peer: Option<String>, ratio: String, bound: &str) {
        let missing = if self.with_peer { "" } else { "not running" };
        println!(
            "| {figure} | {ours} | {} | {ratio} | {bound} |",
            peer.unwrap_or_else(|| missing.to_owned())
        );
    }

    pub(crate) fn memory(&self, figure: &str, ours: u64, peer: Option<u64>, bound: &str) {
        let text = |bytes: u64| format!("{} MB", bytes >> 20);
        let ratio = peer.map_or(String::new(), |peer| format!("{:.2}", ours as f64 / peer as f64));
        self.row(figure, &text(ours), peer.map(text), ratio, bound);
    }

    pub(crate) fn speed(&self, figure: &str, unit: &str, ours: &Figures, peer: Option<&Figures>) {
        let rate = |figures: &Figures| format!("{:.0} {unit}/s", figures.rate());
        let ratio = peer.map_or(String::new(), |peer| format!("{:.1}", ours.rate() / peer.rate()));
        self.row(figure, &rate(ours), peer.map(rate), ratio, "≥ 3");
        for (name, share, bound) in [("median", 0.5, ""), ("p99", 0.99, "no worse")] {
            let time = |figures: &Figures| format!("{:.1} ms", figures.percentile(share).as_secs_f64() * 1e3);
            let ratio = peer.map_or(String::new(), |peer| {
                format!("{:.2}", ours.percentile(share).as_secs_f64() / peer.percentile(share).as_secs_f64())
            });
            self.row(&format!("{figure}: {name}"), &time(ours), peer.map(time), ratio, bound);
        }
    }
}
