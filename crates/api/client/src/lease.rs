//! One leader among several processes, by a `coordination.k8s.io` Lease.
//!
//! Follows client-go's `leaderelection`, so that the Lease reads as any controller's does and other people's tools
//! understand it:
//! - Whether somebody else's lease has run out is measured by this process's own clock, from the moment it saw the lease
//!   change last. The times written in the Lease are for people: clocks of different machines are never compared.
//! - Every write names the `resourceVersion` it follows, so of two that reach for a free lease one wins.
//! - A leader that could not renew for [`Timings::renew_deadline`] is told so by [`Election::hold`] while the lease still
//!   keeps everybody else out for `duration - renew_deadline`. In that time it must have stopped all writing.
//!
//! Kept out: what the leader does, and how it stops.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use objects::meta::{self, Key};
use serde_json::{Value, json};
use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dynamic::WriteOptions;
use crate::{Api, Error, ResourceType, chain};

/// The type of the object that the election is about.
pub const LEASES: ResourceType = ResourceType::namespaced("coordination.k8s.io", "v1", "Lease", "leases");

/// How much a wait between two attempts is stretched at random, so that candidates do not ask in step.
const JITTER: f64 = 1.2;

/// How long things take. The default is client-go's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// How long a lease that is not renewed keeps others out. Whole seconds are written; less counts as one.
    pub duration: Duration,
    /// How long a leader tries to renew before it must stop. Shorter than `duration` by what stopping takes.
    pub renew_deadline: Duration,
    /// The pause between two attempts to acquire or renew.
    pub retry: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Why a leader is none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Somebody else holds the lease.
    Taken { by: String },
    /// It could not be renewed in time; the last reason.
    NotRenewed { reason: String },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Taken { by } => write!(f, "{by} holds the lease"),
            Lost::NotRenewed { reason } => write!(f, "the lease could not be renewed in time: {reason}"),
        }
    }
}

/// One candidate.
pub struct Election {
    api: Api,
    key: Key,
    identity: String,
    timings: Timings,
    /// The lease as it was seen last, and since when it has been like that.
    seen: Option<(Value, Instant)>,
    /// When the last attempt that succeeded began.
    renewed: Instant,
    holder: channel::Sender<String>,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election")
            .field("lease", &self.key)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Election {
    /// A candidate for the lease of this namespace and name. `identity` must differ for every process.
    #[must_use]
    pub fn new(client: &Client, key: Key, identity: String, timings: Timings) -> Self {
        // One hanging answer must leave time for another attempt.
        let api = Api::new(client, &LEASES).deadline(timings.renew_deadline / 2);
        let holder = channel::Sender::new(String::new());
        Self { api, key, identity, timings, seen: None, renewed: Instant::now(), holder }
    }

    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Who holds the lease, as far as this candidate knows; empty for nobody.
    #[must_use]
    pub fn holder(&self) -> channel::Receiver<String> {
        self.holder.subscribe()
    }

    /// Waits until this candidate holds the lease. Never gives up; what stands in its way is logged once.
    pub async fn acquire(&mut self) {
        let mut said = String::new();
        loop {
            match self.attempt(Leading::No).await {
                Ok(()) => {
                    tracing::info!(lease = %self.key, identity = self.identity, "this process leads");
                    return;
                }
                Err(Refusal::Held { .. }) => said.clear(),
                Err(Refusal::Failed(reason)) => {
                    if reason != said {
                        tracing::warn!(lease = %self.key, reason, "the lease cannot be had");
                    }
                    said = reason;
                }
            }
            sleep(self.timings.retry.mul_f64(1.0 + fastrand::f64() * JITTER)).await;
        }
    }

    /// Renews the lease until that is no longer possible. After that the caller must write nothing any more.
    pub async fn hold(&mut self) -> Lost {
        loop {
            // From the beginning of the attempt: the lease lasts from when it was written, which was later.
            let deadline = self.renewed + self.timings.renew_deadline;
            let mut last = "no attempt was answered".to_owned();
            let renewed = async {
                loop {
                    match self.attempt(Leading::Yes).await {
                        Ok(()) => return Ok(()),
                        Err(Refusal::Held { by }) => return Err(by),
                        Err(Refusal::Failed(reason)) => {
                            tracing::warn!(lease = %self.key, reason, "the lease was not renewed, trying again");
                            last = reason;
                        }
                    }
                    sleep(self.timings.retry).await;
                }
            };
            match timeout_at(deadline, renewed).await {
                Ok(Ok(())) => sleep(self.timings.retry).await,
                Ok(Err(by)) => return Lost::Taken { by },
                Err(_) => {
                    self.holder.send_if_modified(|holder| !std::mem::take(holder).is_empty());
                    return Lost::NotRenewed { reason: last };
                }
            }
        }
    }

    /// Gives the lease back, so that another candidate need not wait for it to run out. Only for a leader that has
    /// stopped writing.
    ///
    /// # Errors
    /// If the lease cannot be read or written; then it runs out by itself.
    pub async fn release(&mut self) -> Result<(), Error> {
        let mut lease = self.api.get(&self.key).await?;
        if lease["spec"]["holderIdentity"].as_str() != Some(self.identity.as_str()) {
            return Ok(());
        }
        let now = meta::format_micro_time(Timestamp::now());
        let transitions = lease["spec"]["leaseTransitions"].as_i64().unwrap_or(0);
        lease["spec"] = json!({
            "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": transitions,
            "acquireTime": now, "renewTime": now,
        });
        self.api.replace_with(&lease, &WriteOptions::manager(&self.identity)).await?;
        self.seen = None;
        self.holder.send_replace(String::new());
        Ok(())
    }

    /// Takes or renews the lease once.
    async fn attempt(&mut self, leading: Leading) -> Result<(), Refusal> {
        let begun = Instant::now();
        self.reach(leading).await?;
        self.renewed = begun;
        Ok(())
    }

    async fn reach(&mut self, leading: Leading) -> Result<(), Refusal> {
        // A leader knows the version it wrote: one request renews it. Whoever else wrote makes that fail.
        if leading == Leading::Yes
            && let Some((lease, _)) = self.seen.clone()
            && holder_of(&lease) == self.identity
            && self.write(&lease, leading).await.is_ok()
        {
            return Ok(());
        }
        let lease = match self.api.find(&self.key).await {
            Ok(Some(lease)) => lease,
            Ok(None) => return self.create().await,
            Err(error) => return Err(Refusal::Failed(chain(&error))),
        };
        self.look(&lease);
        let holder = holder_of(&lease).to_owned();
        let others = !holder.is_empty() && holder != self.identity;
        // Who leads and finds another's lease has lost, even if that one has run out too.
        if others && (leading == Leading::Yes || !self.has_run_out()) {
            return Err(Refusal::Held { by: holder });
        }
        self.write(&lease, leading).await.map_err(|error| Refusal::Failed(chain(&error)))
    }

    async fn create(&mut self) -> Result<(), Refusal> {
        let now = meta::format_micro_time(Timestamp::now());
        let lease = json!({
            "apiVersion": LEASES.api_version(), "kind": LEASES.kind,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
            "spec": {
                "holderIdentity": self.identity, "leaseDurationSeconds": self.seconds(),
                "acquireTime": now, "renewTime": now, "leaseTransitions": 0,
            },
        });
        let created = self.api.create_with(&lease, &WriteOptions::manager(&self.identity)).await;
        let created = created.map_err(|error| Refusal::Failed(chain(&error)))?;
        self.look(&created);
        Ok(())
    }

    async fn write(&mut self, lease: &Value, leading: Leading) -> Result<(), Error> {
        let mut lease = lease.clone();
        let now = meta::format_micro_time(Timestamp::now());
        let spec = &mut lease["spec"];
        if leading == Leading::No || spec["holderIdentity"] != self.identity.as_str() {
            let changes = i64::from(spec["holderIdentity"] != self.identity.as_str());
            spec["acquireTime"] = now.clone().into();
            spec["leaseTransitions"] = (spec["leaseTransitions"].as_i64().unwrap_or(0) + changes).into();
        }
        spec["holderIdentity"] = self.identity.clone().into();
        spec["leaseDurationSeconds"] = self.seconds().into();
        spec["renewTime"] = now.into();
        let written = self.api.replace_with(&lease, &WriteOptions::manager(&self.identity)).await?;
        self.look(&written);
        Ok(())
    }

    /// Notes what the lease says now; the clock of a lease starts when it is first seen to say so.
    fn look(&mut self, lease: &Value) {
        let same = |seen: &Value| meta::resource_version(seen) == meta::resource_version(lease);
        if !self.seen.as_ref().is_some_and(|(seen, _)| same(seen)) {
            self.seen = Some((lease.clone(), Instant::now()));
        }
        let now = holder_of(lease);
        self.holder.send_if_modified(|holder| {
            let moved = holder.as_str() != now;
            if moved {
                now.clone_into(holder);
            }
            moved
        });
    }

    /// Whether the lease that was seen last has not changed for as long as it says it lasts.
    fn has_run_out(&self) -> bool {
        self.seen.as_ref().is_none_or(|(lease, since)| {
            let lasts = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(0);
            since.elapsed() > Duration::from_secs(lasts)
        })
    }

    fn seconds(&self) -> u64 {
        self.timings.duration.as_secs().max(1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leading {
    Yes,
    No,
}

enum Refusal {
    Held { by: String },
    Failed(String),
}

fn holder_of(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::testing;

    /// A server with room for one lease, which can be told to fail.
    fn server() -> (Client, Arc<AtomicBool>) {
        let fails = Arc::new(AtomicBool::new(false));
        let lease: Arc<Mutex<Option<Value>>> = Arc::default();
        let failing = Arc::clone(&fails);
        let client = testing::client(move |request| {
            if failing.load(Ordering::SeqCst) {
                return testing::json(500, &json!({"kind": "Status", "message": "etcd is down"}));
            }
            let mut lease = lease.lock().unwrap();
            // The bodies do not matter here: whoever writes is the only candidate.
            if request.method() != http::Method::GET {
                let version = lease
                    .as_ref()
                    .map_or(1, |lease| meta::resource_version(lease).parse::<u64>().expect("a number") + 1);
                *lease = Some(json!({
                    "metadata": {"name": "leader", "namespace": "a", "resourceVersion": version.to_string()},
                    "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15},
                }));
            }
            match &*lease {
                Some(lease) => testing::json(200, lease),
                None => testing::json(404, &json!({"kind": "Status", "reason": "NotFound"})),
            }
        });
        (client, fails)
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_hears_in_time_that_it_cannot_renew() {
        let (client, fails) = server();
        let timings = Timings::default();
        let mut leader = Election::new(&client, Key::namespaced("a", "leader"), "one".to_owned(), timings);
        leader.acquire().await;
        assert!(tokio::time::timeout(timings.duration * 4, leader.hold()).await.is_err());
        fails.store(true, Ordering::SeqCst);
        let cut = Instant::now();
        let lost = tokio::time::timeout(timings.duration, leader.hold()).await.expect("in time");
        let Lost::NotRenewed { reason } = lost else { panic!("{lost:?}") };
        assert!(reason.contains("etcd is down"), "{reason}");
        assert!(cut.elapsed() <= timings.renew_deadline, "{:?}", cut.elapsed());
        assert_eq!(*leader.holder().borrow(), "");
    }
}
