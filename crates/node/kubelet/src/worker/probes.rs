//! The probes of the containers that run.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{Worker, until};
use crate::observed::{Busy, InstanceState};
use crate::pod::{self, Role};
use crate::probe::{self, Check, Kind, Report, Target, Timing};

/// A probe's task, about one attempt.
pub(super) struct Prober {
    attempt: u32,
    _task: AbortOnDropHandle<()>,
}

impl Worker {
    /// Starts the probes that should run and ends those that should not.
    pub(super) fn sync_probers(&mut self) {
        let pod = Arc::clone(&self.pod);
        for (role, container) in pod::containers(&pod) {
            if role == Role::Init {
                continue;
            }
            for kind in Kind::ALL {
                let key = (container.name.clone(), kind);
                match self.wanted(&container.name, kind) {
                    None => {
                        self.probers.remove(&key);
                    }
                    Some(attempt) => {
                        if self.probers.get(&key).is_none_or(|prober| prober.attempt != attempt) {
                            let started = self.start_prober(container, kind, attempt);
                            self.probers.remove(&key);
                            self.probers.extend(started.map(|prober| (key, prober)));
                        }
                    }
                }
            }
        }
    }

    /// The attempt that this probe should ask now.
    fn wanted(&self, name: &str, kind: Kind) -> Option<u32> {
        // Without its address a container cannot be asked.
        self.pod_ip?;
        let observed = self.containers.get(name)?;
        let instance = observed.current.as_ref().filter(|_| self.is_running(name))?;
        let stopping = matches!(observed.busy, Some(Busy::Stopping { .. }));
        let wanted = match kind {
            // A failed startup probe stays: it has said what it had to say about this attempt.
            Kind::Startup => !observed.health.started && !stopping,
            Kind::Liveness => observed.health.started && !stopping,
            // While a container stops, its readiness still tells whether to send it requests.
            Kind::Readiness => observed.health.started,
        };
        wanted.then_some(instance.attempt)
    }

    fn start_prober(
        &self,
        container: &k8s_openapi::api::core::v1::Container,
        kind: Kind,
        attempt: u32,
    ) -> Option<Prober> {
        let probe = kind.of(container)?;
        let instance = self.containers.get(&container.name)?.current.as_ref()?;
        let InstanceState::Running { started_at } = instance.state else { return None };
        let running_for = until(self.shared.now(), started_at);
        let target = Target { runtime: Arc::clone(self.shared.runtime()), container_id: instance.id.clone() };
        let check = Check::of_probe(probe, container, self.ip());
        let (shared, id, mailbox) = (Arc::clone(&self.shared), self.id.clone(), Arc::clone(&self.mailbox));
        let name = container.name.clone();
        let report = move |report| match report {
            Report::Outcome(outcome) => mailbox.probe(&name, kind, attempt, outcome),
            Report::Failed(text) => {
                let message = format!("{} probe failed: {text}", kind.title());
                shared.warning(&id, Some(&name), "Unhealthy", message);
            }
        };
        let asking = probe::run(kind, Timing::of(probe), check, target, running_for, report);
        let task = self.shared.probers.spawn(asking);
        Some(Prober { attempt, _task: AbortOnDropHandle::new(task) })
    }
}
