//! How a Pod comes to its end: deletion, deadline, completion, the node's own shutdown.

use std::time::Duration;

use super::{Action, End, Leaving, Plan, StopReason, Surroundings, Verdict, View, observed, restarts};
use crate::observed::Busy;
use crate::pod::{self, RestartPolicy, Role};

/// The way a Pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Stop everything within `grace`.
    Stop { grace: Duration, release: bool },
    /// The main containers are done; only sidecars are left.
    Completed,
}

/// Whether the Pod is ending, and how. Sets the verdict or a wake-up for a deadline.
pub(super) fn ending(view: &View<'_>, plan: &mut Plan) -> Option<Ending> {
    match view.leaving {
        Some(Leaving::Deleted { grace }) => return Some(Ending::Stop { grace, release: true }),
        Some(Leaving::NodeShutdown { grace }) => {
            let cut_short = cut_short(view, plan);
            let release = !view.terminal && (cut_short || is_complete(view));
            return Some(Ending::Stop { grace, release });
        }
        None => {}
    }
    // The verdict is given again if the process ended before it was written.
    if view.terminal || cut_short(view, plan) {
        return Some(Ending::Stop { grace: pod::grace(view.pod), release: true });
    }
    if let Some(seconds) = pod::spec(view.pod).active_deadline_seconds {
        let deadline = view.start_time + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if view.now >= deadline {
            plan.verdict = Some(Verdict {
                phase: "Failed",
                reason: Some("DeadlineExceeded"),
                message: Some("Pod was active on the node longer than the specified deadline"),
                disruption: None,
            });
            return Some(Ending::Stop { grace: pod::grace(view.pod), release: true });
        }
        plan.wake_at(deadline);
    }
    is_complete(view).then_some(Ending::Completed)
}

/// Whether the stop of the node ends a Pod of which nothing may run twice, as a kubelet ends it whose machine is shut down.
/// Whoever made the Pod (a Job, mostly) then decides whether to make another. Sets the verdict.
fn cut_short(view: &View<'_>, plan: &mut Plan) -> bool {
    let interrupted = || {
        let mut instances = view.containers.values().filter_map(|observed| observed.current.as_ref());
        instances.any(|instance| instance.interrupted)
    };
    let never = RestartPolicy::of(pod::spec(view.pod)) == RestartPolicy::Never;
    let cut_short = never && !view.terminal && interrupted() && !is_complete(view);
    if cut_short {
        plan.verdict = Some(Verdict {
            phase: "Failed",
            reason: Some("Terminated"),
            message: Some(SHUT_DOWN),
            disruption: Some(SHUT_DOWN),
        });
    }
    cut_short
}

/// In the kubelet's words.
const SHUT_DOWN: &str = "Pod was terminated in response to imminent node shutdown.";

/// Nothing of the Pod will be started again: every main container is done, or an init container has failed for good.
fn is_complete(view: &View<'_>) -> bool {
    let policy = RestartPolicy::of(pod::spec(view.pod));
    if policy == RestartPolicy::Always {
        return false;
    }
    let done = |container| {
        let observed = observed(view, container);
        observed.busy.is_none()
            && observed.current.as_ref().is_some_and(|instance| {
                let over = !instance.interrupted && !instance.replaced;
                over && instance.exit().is_some_and(|exit| !restarts(policy, exit))
            })
    };
    let failed_init = policy == RestartPolicy::Never
        && pod::init_containers(view.pod).any(|(role, container)| {
            role == Role::Init
                && observed(view, container).busy.is_none()
                && observed(view, container)
                    .current
                    .as_ref()
                    .is_some_and(|i| !i.interrupted && i.exit().is_some_and(|exit| exit.code != 0))
        });
    failed_init || pod::spec(view.pod).containers.iter().all(done)
}

/// Stops what runs: first the containers that sidecars serve, then the sidecars, last started first.
pub(super) fn plan_end(view: &View<'_>, ending: Ending, plan: &mut Plan) {
    let (grace, release) = match ending {
        Ending::Stop { grace, release } => (grace, release),
        Ending::Completed => (pod::grace(view.pod), true),
    };
    let mut active = false;
    for (role, container) in pod::containers(view.pod) {
        if role != Role::Sidecar {
            active |= stop(view, plan, &container.name, grace);
        }
    }
    let sidecars: Vec<_> =
        pod::init_containers(view.pod).filter(|(role, _)| *role == Role::Sidecar).map(|(_, c)| c).collect();
    for container in sidecars.into_iter().rev() {
        if active {
            break;
        }
        active |= stop(view, plan, &container.name, grace);
    }
    if active || view.surroundings == Surroundings::Busy {
        return;
    }
    plan.end = Some(if release { End::ForGood } else { End::UntilNextStart });
    if !release {
        return;
    }
    match view.surroundings {
        Surroundings::Absent => {}
        Surroundings::Held { retry_at } if retry_at > view.now => plan.wake_at(retry_at),
        _ => plan.actions.push(Action::Release),
    }
}

/// Asks for the stop of one container; false once it has ended.
fn stop(view: &View<'_>, plan: &mut Plan, name: &str, grace: Duration) -> bool {
    let Some(observed) = view.containers.get(name) else { return false };
    match observed.busy {
        Some(Busy::Starting) => {
            plan.actions.push(Action::CancelStart { container: name.to_owned() });
            // An instance whose postStart hook still runs is stopped without waiting for the hook.
            if observed.is_running() {
                push_stop(plan, name, grace);
            }
            true
        }
        Some(Busy::Stopping { grace: given }) => {
            // A second deletion may shorten the time, never lengthen it.
            if grace < given {
                push_stop(plan, name, grace);
            }
            true
        }
        None if observed.is_running() => {
            push_stop(plan, name, grace);
            true
        }
        None => false,
    }
}

fn push_stop(plan: &mut Plan, name: &str, grace: Duration) {
    plan.actions.push(Action::Stop { container: name.to_owned(), grace, why: StopReason::PodEnds });
}
