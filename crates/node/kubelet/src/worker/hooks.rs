//! postStart and preStop hooks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::{Done, Worker};
use crate::observed::Busy;
use crate::pod;
use crate::probe::{Answer, Check, Target};

/// A postStart hook has no time limit in Kubernetes; here it ends some time.
const POST_START_DEADLINE: Duration = Duration::from_secs(600);

/// Runs a hook within `limit`; `Some` says what went wrong.
pub(super) async fn run_hook(
    hook: &LifecycleHandler,
    container: &Container,
    ip: IpAddr,
    target: &Target,
    limit: Duration,
) -> Option<String> {
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)).min(limit)).await;
        return None;
    }
    match Check::of_hook(hook, container, ip)?.run(target, limit).await {
        Answer::Success => None,
        Answer::Failure(problem) => Some(problem),
    }
}

impl Worker {
    /// A container counts as starting until its hook has run.
    pub(super) fn begin_post_start(&mut self, name: &str, attempt: u32) {
        let Some((_, container)) = pod::container(&self.pod, name) else { return };
        let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone())
        else {
            return;
        };
        let (container, ip) = (container.clone(), self.ip());
        let Some(observed) = self.containers.get_mut(name) else { return };
        let Some(instance) = &observed.current else { return };
        observed.busy = Some(Busy::Starting);
        let target = Target { runtime: Arc::clone(self.shared.runtime()), container_id: instance.id.clone() };
        let name = name.to_owned();
        self.ops.push(Box::pin(async move {
            let problem = run_hook(&hook, &container, ip, &target, POST_START_DEADLINE).await;
            Done::HookRan { container: name, attempt, problem }
        }));
    }

    pub(super) fn hook_ran(&mut self, name: &str, attempt: u32, problem: Option<String>) {
        let Some(observed) = self.containers.get_mut(name) else { return };
        if observed.current.as_ref().map(|instance| instance.attempt) != Some(attempt)
            || observed.busy != Some(Busy::Starting)
        {
            return;
        }
        observed.busy = None;
        if let Some(problem) = problem {
            let message = format!("PostStartHook failed: {problem}");
            self.shared.warning(&self.id, Some(name), "FailedPostStartHook", message);
            self.stop_for_hook(name);
        }
    }
}
