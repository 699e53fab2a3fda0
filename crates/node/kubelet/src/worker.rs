//! One worker per Pod: it asks the planner, carries the answer out, and writes the status.
//!
//! Everything slow is an operation ([`Done`] is its result) that runs while the worker listens on. The worker owns all its
//! operations and probes: when it goes, they go; the containers stay.

mod act;
mod adopt;
mod hooks;
mod image;
mod probes;
mod report;
mod set_up;
mod start;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use containers::Status;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::env::Reference;
use crate::mailbox::Mailbox;
use crate::observed::{Containers, Failed, InstanceState, Waiting};
use crate::plan::{self, End, Leaving, Plan, Surroundings, View};
use crate::pod::{self, PodId};
use crate::probe::Kind;
use crate::records::Record;
use crate::runtime::PodNetwork;
use crate::shared::Shared;
use crate::spec::Volumes;
use crate::volumes::{Prepared, Tokens, VolumePaths};
use crate::{refusals, volumes};

/// When to try again to give back what could not be.
const RELEASE_AGAIN: Duration = Duration::from_secs(1);

/// Something a worker waited for has happened.
#[derive(Debug)]
enum Done {
    SetUp(Box<Result<set_up::Surrounded, set_up::Failure>>),
    Refreshed(Result<Prepared, volumes::VolumeFailure>),
    Released(bool),
    Started {
        container: String,
        attempt: u32,
        outcome: start::Outcome,
    },
    HookRan {
        container: String,
        attempt: u32,
        problem: Option<String>,
    },
    Stopped {
        container: String,
    },
    /// An old attempt was removed.
    Discarded,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// Nothing of the Pod is left.
    Removed,
    /// Its containers were stopped; the next process runs again what may be.
    Stopped,
    /// This process ends; the containers run on.
    Abandoned,
}

/// The state of one Pod on this node.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    id: PodId,
    mailbox: Arc<Mailbox>,
    pod: Arc<Pod>,
    containers: Containers,
    /// Of the attempts in `containers`, by container id.
    records: BTreeMap<String, Record>,
    surroundings: Surroundings,
    network: Option<PodNetwork>,
    pod_ip: Option<Ipv4Addr>,
    volumes: Volumes,
    tokens: Tokens,
    refresh_at: Option<Timestamp>,
    /// The volumes show something that has changed meanwhile.
    stale: bool,
    set_up_failures: u32,
    start_time: Timestamp,
    refused: Option<String>,
    gone: bool,
    shutdown: Option<Duration>,
    terminal: bool,
    /// Containers of an earlier process run: the first status needs the network, or it would take the address away.
    quiet: bool,
    ops: FuturesUnordered<BoxFuture<'static, Done>>,
    starts: BTreeMap<String, CancellationToken>,
    stops: BTreeMap<String, watch::Sender<Duration>>,
    probers: BTreeMap<(String, Kind), probes::Prober>,
    /// Waits between attempts to pull or create, by container.
    tries: BTreeMap<String, Backoff>,
    /// Containers whose failed pull has been shown and is to become a back-off.
    pull_failed: Vec<String>,
    retry_report: Option<Timestamp>,
    report_failures: u32,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("pod", &self.id).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker for a Pod of which `found` containers exist already.
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: PodId,
        mailbox: Arc<Mailbox>,
        pod: Arc<Pod>,
        found: Vec<(String, u32, Status)>,
    ) -> Worker {
        let status = pod.status.as_ref();
        let start_time =
            status.and_then(|status| status.start_time.as_ref()).map_or_else(|| shared.now(), |time| time.0);
        let terminal =
            status.and_then(|status| status.phase.as_deref()).is_some_and(crate::status::is_terminal);
        let refusals = refusals::refusals(&pod, shared.privileged());
        let refused = Some(refusals.join("; ")).filter(|text| !text.is_empty());
        let mut worker = Worker {
            containers: Containers::new(),
            records: BTreeMap::new(),
            surroundings: Surroundings::Partial { retry_at: None },
            network: None,
            pod_ip: None,
            volumes: Volumes::new(),
            tokens: Tokens::new(),
            refresh_at: None,
            stale: false,
            set_up_failures: 0,
            start_time,
            refused,
            gone: false,
            shutdown: None,
            terminal,
            quiet: false,
            ops: FuturesUnordered::new(),
            starts: BTreeMap::new(),
            stops: BTreeMap::new(),
            probers: BTreeMap::new(),
            tries: BTreeMap::new(),
            pull_failed: Vec::new(),
            retry_report: None,
            report_failures: 0,
            shared,
            id,
            mailbox,
            pod,
        };
        worker.adopt(found);
        worker
    }

    /// Runs until the Pod is gone, the node stops, or `abandon` is cancelled.
    pub(crate) async fn run(mut self, abandon: CancellationToken) -> Finished {
        self.begin();
        loop {
            self.read_mail();
            self.refresh().await;
            let plan = self.plan();
            self.carry_out(&plan);
            self.sync_probers();
            self.refresh_volumes();
            let reported = self.report(&plan).await;
            if reported
                && self.ops.is_empty()
                && let Some(finished) = self.finish(&plan).await
            {
                self.shared.independent(&self.id);
                return finished;
            }
            if reported && self.settle_pulls() {
                continue;
            }
            let wake = [plan.wake, self.refresh_at, self.retry_report].into_iter().flatten().min();
            let sleep = wake.map(|wake| until(wake, self.shared.now()));
            tokio::select! {
                () = self.mailbox.notified() => {}
                Some(done) = self.ops.next(), if !self.ops.is_empty() => self.done(done),
                () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => {}
                () = abandon.cancelled() => {
                    self.shared.independent(&self.id);
                    return Finished::Abandoned;
                }
            }
        }
    }

    fn begin(&mut self) {
        let references = self.references();
        self.shared.depend(&self.id, &self.mailbox, &references);
        if let Some(refusal) = &self.refused {
            self.shared.warning(&self.id, None, "Failed", format!("Error: {refusal}"));
        } else if self.containers.is_empty() && !self.terminal {
            for notice in refusals::notices(&self.pod) {
                self.shared.warning(&self.id, None, "NotSupported", notice);
            }
        }
    }

    fn plan(&self) -> Plan {
        plan::plan(&View {
            pod: &self.pod,
            id: &self.id,
            now: self.shared.now(),
            start_time: self.start_time,
            containers: &self.containers,
            surroundings: self.surroundings,
            leaving: self.leaving(),
            refused: self.refused.as_deref(),
            terminal: self.terminal,
        })
    }

    fn leaving(&self) -> Option<Leaving> {
        let grace = pod::grace(&self.pod);
        if self.gone || self.pod.metadata.deletion_timestamp.is_some() {
            return Some(Leaving::Deleted { grace });
        }
        self.shutdown.map(|limit| Leaving::NodeShutdown { grace: grace.min(limit) })
    }

    /// Takes in what happened outside.
    fn read_mail(&mut self) {
        let mail = self.mailbox.take();
        if let Some(pod) = mail.pod.filter(|pod| pod::version(pod) >= pod::version(&self.pod)) {
            let shown = (&pod.metadata.labels, &pod.metadata.annotations);
            self.stale |= shown != (&self.pod.metadata.labels, &self.pod.metadata.annotations);
            self.pod = pod;
        }
        self.gone |= mail.gone;
        if !mail.dependencies.is_empty() {
            self.stale = true;
            self.stop_waiting(&mail.dependencies);
            if let Surroundings::Partial { retry_at } = &mut self.surroundings {
                *retry_at = None;
            }
        }
        for ((container, kind), (attempt, outcome)) in mail.probes {
            self.take_outcome(&container, kind, attempt, outcome);
        }
        if let Some(limit) = mail.shutdown.filter(|_| self.shutdown.is_none()) {
            self.shutdown = Some(limit);
            self.interrupt();
        }
    }

    /// Whatever waited for one of these objects is tried again.
    fn stop_waiting(&mut self, changed: &BTreeSet<Reference>) {
        let pull_secrets = image::pull_secrets(&self.pod);
        let may_pull = changed.iter().any(|reference| pull_secrets.contains(reference));
        for waiting in self.containers.values_mut().filter_map(|observed| observed.waiting.as_mut()) {
            let concerned = match waiting.reason.as_str() {
                "CreateContainerConfigError" => true,
                "ErrImagePull" | "ImagePullBackOff" => may_pull,
                _ => false,
            };
            if concerned {
                waiting.retry_at = Some(Timestamp::UNIX_EPOCH);
            }
        }
    }

    fn take_outcome(&mut self, container: &str, kind: Kind, attempt: u32, outcome: bool) {
        let Some(observed) = self.containers.get_mut(container) else { return };
        if observed.current.as_ref().map(|instance| instance.attempt) != Some(attempt) {
            return;
        }
        match (kind, outcome) {
            (Kind::Readiness, ready) => observed.health.ready = ready,
            (Kind::Startup, true) => observed.health.started = true,
            (Kind::Liveness, true) => {}
            (kind, false) => {
                let probe =
                    pod::container(&self.pod, container).and_then(|(_, container)| kind.of(container));
                let grace = probe.and_then(|probe| probe.termination_grace_period_seconds);
                let grace = grace.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
                observed.health.failed = Some(Failed { probe: kind.name(), grace });
            }
        }
    }

    /// Takes in the result of an operation.
    fn done(&mut self, done: Done) {
        match done {
            Done::SetUp(result) => self.set_up_done(*result),
            Done::Refreshed(result) => self.refreshed(result),
            Done::Released(clean) => {
                let retry_at = self.shared.now() + RELEASE_AGAIN;
                self.surroundings =
                    if clean { Surroundings::Absent } else { Surroundings::Held { retry_at } };
            }
            Done::Started { container, attempt, outcome } => self.started(&container, attempt, outcome),
            Done::HookRan { container, attempt, problem } => self.hook_ran(&container, attempt, problem),
            Done::Discarded => {}
            Done::Stopped { container } => {
                self.stops.remove(&container);
                if let Some(observed) = self.containers.get_mut(&container) {
                    observed.busy = None;
                }
            }
        }
    }

    /// Ends the worker when nothing is left to do for its Pod.
    async fn finish(&mut self, plan: &Plan) -> Option<Finished> {
        match plan.end? {
            End::UntilNextStart => Some(Finished::Stopped),
            End::ForGood => {
                let leaves = self.gone || self.pod.metadata.deletion_timestamp.is_some();
                match (leaves, self.surroundings == Surroundings::Absent) {
                    (true, true) => self.remove().await.then_some(Finished::Removed),
                    // It ended as the node stops; its object is kept.
                    (false, true) if self.shutdown.is_some() => Some(Finished::Stopped),
                    _ => None,
                }
            }
        }
    }

    fn volume_paths(&self) -> VolumePaths {
        VolumePaths {
            disk: self.shared.pod_dir(&self.id.uid).join("volumes"),
            memory: self.shared.memory_dir().join(&self.id.uid),
        }
    }

    fn ip(&self) -> IpAddr {
        IpAddr::V4(self.pod_ip.unwrap_or(Ipv4Addr::LOCALHOST))
    }

    fn set_waiting(&mut self, container: &str, waiting: Option<Waiting>) {
        self.containers.entry(container.to_owned()).or_default().waiting = waiting;
    }

    fn is_running(&self, container: &str) -> bool {
        self.containers
            .get(container)
            .and_then(|observed| observed.current.as_ref())
            .is_some_and(|instance| matches!(instance.state, InstanceState::Running { .. }))
    }
}

/// How long until `time`; nothing when it has passed.
fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or(Duration::ZERO)
}
