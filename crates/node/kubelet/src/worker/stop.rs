//! Stopping a container: preStop hook, stop signal, grace, kill.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::chain;
use k8s_openapi::api::core::v1::Container;
use tokio::sync::watch;
use tokio::time::Instant;

use super::hooks::run_hook;
use crate::pod::PodId;
use crate::probe::Target;
use crate::shared::Shared;

/// What is left for the process after a preStop hook has used the time up, as the kubelet grants.
const AFTER_HOOK: Duration = Duration::from_secs(2);
/// How long the kernel may take to end a killed container before it is reported.
const KILL_DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct StopJob {
    pub(super) shared: Arc<Shared>,
    pub(super) id: PodId,
    pub(super) container: Container,
    pub(super) container_id: String,
    pub(super) ip: IpAddr,
    pub(super) signal: i32,
    /// Counted from the beginning of the stop; may be shortened meanwhile.
    pub(super) grace: watch::Receiver<Duration>,
}

impl StopJob {
    /// Returns when the container has ended, or could not be ended.
    pub(super) async fn run(mut self) {
        let began = Instant::now();
        let runtime = Arc::clone(self.shared.runtime());
        let id = self.container_id.clone();
        let end = runtime.wait(&id);
        let mut end = std::pin::pin!(end);
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
        let mut least = Duration::ZERO;
        if let Some(hook) = hook {
            let target = Target { runtime: Arc::clone(&runtime), container_id: id.clone() };
            let limit = *self.grace.borrow();
            let (container, ip) = (self.container.clone(), self.ip);
            let running = run_hook(&hook, &container, ip, &target, limit);
            tokio::select! {
                problem = running => if let Some(problem) = problem {
                    let message = format!("PreStopHook failed: {problem}");
                    self.shared.warning(&self.id, Some(&self.container.name), "FailedPreStopHook", message);
                },
                () = deadline(&mut self.grace, began, Duration::ZERO) => {}
                _ = &mut end => return,
            }
            least = began.elapsed() + AFTER_HOOK;
        }
        if let Err(error) = runtime.signal(&id, self.signal).await {
            tracing::debug!(container = id, error = chain(&error), "the container takes no stop signal");
        }
        tokio::select! {
            _ = &mut end => return,
            () = deadline(&mut self.grace, began, least) => {}
        }
        match tokio::time::timeout(KILL_DEADLINE, runtime.kill(&id)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(container = id, error = chain(&error), "a container could not be killed")
            }
            Err(_) => tracing::error!(container = id, "a killed container does not end"),
        }
    }
}

/// Waits for the end of the grace period, but at least until `least` after the beginning.
async fn deadline(grace: &mut watch::Receiver<Duration>, began: Instant, least: Duration) {
    loop {
        let until = began + (*grace.borrow_and_update()).max(least);
        tokio::select! {
            () = tokio::time::sleep_until(until) => return,
            changed = grace.changed() => if changed.is_err() {
                tokio::time::sleep_until(until).await;
                return;
            },
        }
    }
}
