//! Carrying out what the planner asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::start::{Outcome, StartJob};
use super::stop::StopJob;
use super::{Done, Worker};
use crate::observed::{Busy, Instance, InstanceState, Waiting};
use crate::plan::{Action, Plan, StopReason, Surroundings};
use crate::pod;
use crate::records;

impl Worker {
    pub(super) fn carry_out(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::SetUp => self.set_up(),
                Action::Start { container, attempt } => self.start(container, *attempt),
                Action::CancelStart { container } => {
                    if let Some(token) = self.starts.get(container) {
                        token.cancel();
                    }
                }
                Action::Stop { container, grace, why } => self.stop(container, *grace, why),
                Action::Release => self.release(),
            }
        }
        for (container, waiting) in &plan.waiting {
            if waiting.reason == "CrashLoopBackOff" {
                self.note_back_off(container, waiting);
            }
        }
    }

    /// One Event for each wait.
    fn note_back_off(&mut self, container: &str, waiting: &Waiting) {
        let Some(observed) = self.containers.get_mut(container) else { return };
        if observed.waiting.as_ref() != Some(waiting) {
            observed.waiting = Some(waiting.clone());
            let message = format!("Back-off restarting failed container {container} in pod {}", self.id);
            self.shared.warning(&self.id, Some(container), "BackOff", message);
        }
    }

    fn start(&mut self, name: &str, attempt: u32) {
        let Some((_, container)) = pod::container(&self.pod, name) else { return };
        let now = self.shared.now();
        let observed = self.containers.entry(name.to_owned()).or_default();
        observed.busy = Some(Busy::Starting);
        if let Some(exit) =
            observed.current.as_ref().filter(|instance| !instance.interrupted).and_then(Instance::exit)
        {
            // A failed pull is no restart: its attempt is counted once, when the container is really begun anew.
            if observed.waiting.as_ref().is_none_or(|waiting| waiting.reason == "CrashLoopBackOff") {
                observed.backoff.attempt(exit.finished_at, now);
            }
        }
        if observed.waiting.as_ref().is_some_and(|waiting| waiting.reason == "CrashLoopBackOff") {
            observed.waiting = None;
        }
        let cancel = CancellationToken::new();
        self.starts.insert(name.to_owned(), cancel.clone());
        let job = StartJob {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
            pod: Arc::clone(&self.pod),
            container: container.clone(),
            attempt,
            network: self.network.as_ref().map(|network| network.namespace.clone()),
            ip: self.pod_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            volumes: self.volumes.clone(),
            cancel,
            log: self.log_path(name, attempt),
        };
        let container = name.to_owned();
        self.ops.push(Box::pin(async move {
            let outcome = job.run().await;
            Done::Started { container, attempt, outcome }
        }));
    }

    pub(super) fn started(&mut self, name: &str, attempt: u32, outcome: Outcome) {
        self.starts.remove(name);
        let health = self.fresh_health(name);
        let observed = self.containers.entry(name.to_owned()).or_default();
        observed.busy = observed.busy.filter(|busy| *busy != Busy::Starting);
        let (record, state) = match outcome {
            Outcome::Cancelled => return,
            Outcome::Waiting(waiting) => {
                self.try_later(name, waiting);
                return;
            }
            Outcome::Running(record) => (record, InstanceState::Created),
            Outcome::Crashed(record, exit) => (record, InstanceState::Exited(exit)),
        };
        let id = records::container_id(&self.id.uid, name, attempt);
        let instance = Instance {
            attempt,
            id: id.clone(),
            image: record.image.clone(),
            image_id: record.image_id.clone(),
            interrupted: false,
            replaced: false,
            state,
        };
        let running = matches!(instance.state, InstanceState::Created);
        let old = observed.previous.take();
        observed.previous = observed.current.replace(instance);
        observed.health = health;
        observed.waiting = None;
        self.records.insert(id, record);
        self.tries.remove(name);
        if let Some(old) = old {
            self.discard(name, &old);
        }
        if self.shutdown.is_some() {
            self.interrupt();
        }
        if running {
            self.begin_post_start(name, attempt);
        }
    }

    /// Decides when a failed attempt is made again.
    fn try_later(&mut self, name: &str, mut waiting: Waiting) {
        let now = self.shared.now();
        let tries = self.tries.entry(name.to_owned()).or_default();
        match waiting.reason.as_str() {
            "CreateContainerConfigError" => waiting.retry_at = Some(now + RESYNC),
            _ => {
                tries.attempt(now, now);
                waiting.retry_at = Some(tries.wait(now).map_or(now, |(_, until)| until));
            }
        }
        if waiting.reason == "ErrImagePull" {
            self.pull_failed.push(name.to_owned());
        }
        self.set_waiting(name, Some(waiting));
    }

    /// A failed pull is shown once as what it is and from then on as waiting for the next. True if anything changed.
    pub(super) fn settle_pulls(&mut self) -> bool {
        let names = std::mem::take(&mut self.pull_failed);
        for name in &names {
            let image = pod::container(&self.pod, name).and_then(|(_, container)| container.image.clone());
            let image = image.unwrap_or_default();
            let Some(waiting) = self.containers.get_mut(name).and_then(|observed| observed.waiting.as_mut())
            else {
                continue;
            };
            let cause = waiting.message.take().unwrap_or_default();
            waiting.message = Some(format!("Back-off pulling image \"{image}\": ErrImagePull: {cause}"));
            waiting.reason = "ImagePullBackOff".to_owned();
            self.shared.normal(
                &self.id,
                Some(name),
                "BackOff",
                format!("Back-off pulling image \"{image}\""),
            );
            self.shared.warning(&self.id, Some(name), "Failed", "Error: ImagePullBackOff".to_owned());
        }
        !names.is_empty()
    }

    /// Removes an attempt that neither the status nor `--previous` shows any more.
    fn discard(&mut self, name: &str, old: &Instance) {
        self.records.remove(&old.id);
        let shared = Arc::clone(&self.shared);
        let (id, attempt, name) = (old.id.clone(), old.attempt, name.to_owned());
        let dir = self.shared.pod_dir(&self.id.uid);
        let log = self.log_path(&name, attempt);
        let pod = self.id.clone();
        // Not awaited by anything: what is left behind after a crash is removed with the Pod.
        self.ops.push(Box::pin(async move {
            if let Err(error) = shared.runtime().delete(&id).await {
                tracing::warn!(%pod, error = client::chain(&error), "an old container could not be removed");
            }
            let _ = tokio::task::spawn_blocking(move || {
                let _ = records::remove_instance(&dir, &name, attempt);
                crate::logs::remove(&log);
            })
            .await;
            Done::Discarded
        }));
    }

    fn stop(&mut self, name: &str, grace: Duration, why: &StopReason) {
        if let Some(sender) = self.stops.get(name) {
            let _ = sender.send(grace);
            if let Some(observed) = self.containers.get_mut(name) {
                observed.busy = Some(Busy::Stopping { grace });
            }
            return;
        }
        let Some((_, container)) = pod::container(&self.pod, name) else { return };
        let Some(observed) = self.containers.get_mut(name) else { return };
        let Some(instance) = &mut observed.current else { return };
        instance.replaced |= *why == StopReason::SpecChanged;
        observed.busy = Some(Busy::Stopping { grace });
        let message = match why {
            StopReason::PodEnds => format!("Stopping container {name}"),
            StopReason::ProbeFailed(probe) => {
                format!("Container {name} failed {probe} probe, will be restarted")
            }
            StopReason::SpecChanged => format!("Container {name} definition changed, will be restarted"),
            StopReason::HookFailed => format!("Container {name} failed its postStart hook"),
        };
        self.shared.normal(&self.id, Some(name), "Killing", message);
        let (sender, receiver) = watch::channel(grace);
        let signal = self.records.get(&instance.id).map_or(sigterm(), |record| record.stop_signal);
        let job = StopJob {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
            container: container.clone(),
            container_id: instance.id.clone(),
            ip: self.ip(),
            signal,
            grace: receiver,
        };
        self.stops.insert(name.to_owned(), sender);
        let container = name.to_owned();
        self.ops.push(Box::pin(async move {
            job.run().await;
            Done::Stopped { container }
        }));
    }

    pub(super) fn stop_for_hook(&mut self, name: &str) {
        let grace = pod::grace(&self.pod);
        self.stop(name, grace, &StopReason::HookFailed);
    }

    fn release(&mut self) {
        self.surroundings = Surroundings::Busy;
        let (shared, id, pod) = (Arc::clone(&self.shared), self.id.clone(), Arc::clone(&self.pod));
        let paths = self.volume_paths();
        self.probers.clear();
        self.ops.push(Box::pin(async move {
            let sources = crate::env::Sources::new();
            let job =
                crate::volumes::Job { shared: &shared, id: &id, pod: &pod, pod_ip: "", paths: &paths, sources: &sources };
            let volumes = crate::volumes::tear_down(job).await;
            let network = shared.runtime().detach(&id.uid).await;
            if let Err(error) = &volumes {
                tracing::warn!(pod = %id, error = client::chain(error), "volumes could not be given back");
            }
            if let Err(error) = &network {
                tracing::warn!(pod = %id, error = client::chain(error), "the network could not be given back");
            }
            Done::Released(volumes.is_ok() && network.is_ok())
        }));
    }
}

/// A configuration error is tried again when what it names changes; this only makes good a lost event.
const RESYNC: Duration = Duration::from_secs(120);

fn sigterm() -> i32 {
    nix::sys::signal::Signal::SIGTERM as i32
}
