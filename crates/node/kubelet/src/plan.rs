//! What to do next with a Pod: a pure function of its specification, what is known of its containers, and the time.
//!
//! The planner is level-triggered. It is called again after every change and every [`Plan::wake`]; asking twice in the
//! same situation gives the same answer, and an action that is already under way is not asked for again.

mod end;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::observed::{Busy, Containers, Exit, InstanceState, Observed, Waiting};
use crate::pod::{self, RestartPolicy, Role};

/// The situation to decide on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) id: &'a pod::PodId,
    pub(crate) now: Timestamp,
    /// When this node first saw the Pod; `activeDeadlineSeconds` counts from here.
    pub(crate) start_time: Timestamp,
    pub(crate) containers: &'a Containers,
    /// Network and volumes.
    pub(crate) surroundings: Surroundings,
    pub(crate) leaving: Option<Leaving>,
    /// The Pod asks for something this node does not do: nothing of it is started.
    pub(crate) refused: Option<&'a str>,
    /// The Pod reached `Failed` or `Succeeded` before; nothing of it is ever started again.
    pub(crate) terminal: bool,
}

/// The state of what containers need around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// Nothing is set up.
    Absent,
    /// Something may be set up: the last attempt failed, or an earlier process left it.
    Partial {
        retry_at: Option<Timestamp>,
    },
    /// The last attempt to give it back failed.
    Held {
        retry_at: Timestamp,
    },
    /// Being set up, brought up to date or given back.
    Busy,
    Ready,
}

/// Why a Pod that could run is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Deleted in the API, gracefully or not.
    Deleted { grace: Duration },
    /// The node stops. It runs the Pod again later, unless the Pod says that nothing of it ever is.
    NodeShutdown { grace: Duration },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Attach the network and set up the volumes.
    SetUp,
    Start {
        container: String,
        attempt: u32,
    },
    /// Give up an attempt to start that is under way.
    CancelStart {
        container: String,
    },
    Stop {
        container: String,
        grace: Duration,
        why: StopReason,
    },
    /// Every container has ended for good: give back network and volumes.
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    PodEnds,
    /// `liveness` or `startup`.
    ProbeFailed(&'static str),
    SpecChanged,
    /// Its postStart hook failed.
    HookFailed,
}

/// The final word on a Pod that ends without having been deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) phase: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) message: Option<&'static str>,
    /// Why the node cut the Pod short, which is then no failure of its own.
    pub(crate) disruption: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    /// Ask again no later than this.
    pub(crate) wake: Option<Timestamp>,
    /// Why containers without a running instance wait.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// Set when the Pod is to be `Failed` whatever its containers' exit codes.
    pub(crate) verdict: Option<Verdict>,
    /// Set once no container runs any more and none is to be started.
    pub(crate) end: Option<End>,
}

/// How final an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    ForGood,
    /// The node stopped; its next start runs the Pod again.
    UntilNextStart,
}

impl Plan {
    pub(super) fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }
}

/// Decides what to do next.
pub(crate) fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan::default();
    if let Some(ending) = end::ending(view, &mut plan) {
        end::plan_end(view, ending, &mut plan);
        return plan;
    }
    if let Some(refusal) = view.refused {
        refuse(view, refusal, &mut plan);
        return plan;
    }
    plan_surroundings(view, &mut plan);
    if plan_init(view, &mut plan) {
        plan_main(view, &mut plan);
    }
    plan
}

/// The Pod stays `Pending` and says why: failing it would make its controller replace it forever.
fn refuse(view: &View<'_>, refusal: &str, plan: &mut Plan) {
    for (_, container) in pod::containers(view.pod) {
        let message = Some(refusal.to_owned());
        let waiting = Waiting { reason: "CreateContainerConfigError".to_owned(), message, retry_at: None };
        plan.waiting.insert(container.name.clone(), waiting);
    }
}

fn plan_surroundings(view: &View<'_>, plan: &mut Plan) {
    let retry_at = match view.surroundings {
        Surroundings::Absent => None,
        Surroundings::Partial { retry_at } => retry_at.filter(|at| *at > view.now),
        Surroundings::Held { retry_at } => Some(retry_at).filter(|at| *at > view.now),
        Surroundings::Busy | Surroundings::Ready => return,
    };
    match retry_at {
        Some(at) => plan.wake_at(at),
        None => plan.actions.push(Action::SetUp),
    }
}

/// The reason a container waits that nothing has been tried for yet.
fn not_yet(view: &View<'_>, role: Role) -> Waiting {
    let has_init = pod::init_containers(view.pod).next().is_some();
    Waiting::new(if has_init && role == Role::Main { "PodInitializing" } else { "ContainerCreating" })
}

/// Brings the init containers up in their order. True once the main containers may start.
fn plan_init(view: &View<'_>, plan: &mut Plan) -> bool {
    let initialized = is_initialized(view);
    let mut may_go_on = true;
    for (role, container) in pod::init_containers(view.pod) {
        let observed = observed(view, container);
        if role == Role::Init && initialized {
            continue;
        }
        if !may_go_on {
            wait_for_turn(view, plan, role, container);
            continue;
        }
        let policy = match role {
            Role::Sidecar => RestartPolicy::Always,
            // A finished init container is not run again; a failed one is, unless nothing ever is.
            _ if RestartPolicy::of(pod::spec(view.pod)) == RestartPolicy::Never => RestartPolicy::Never,
            _ => RestartPolicy::OnFailure,
        };
        plan_container(view, plan, role, container, policy);
        may_go_on = match role {
            Role::Sidecar => {
                initialized || (observed.is_running() && observed.busy.is_none() && observed.health.started)
            }
            _ => observed.busy.is_none() && succeeded(observed),
        };
    }
    if !may_go_on && !initialized {
        for container in &pod::spec(view.pod).containers {
            wait_for_turn(view, plan, Role::Main, container);
        }
    }
    may_go_on || initialized
}

fn wait_for_turn(view: &View<'_>, plan: &mut Plan, role: Role, container: &Container) {
    let observed = observed(view, container);
    if observed.current.is_none() {
        plan.waiting.insert(container.name.clone(), Waiting::new("PodInitializing"));
    } else if role == Role::Sidecar {
        // A sidecar that ran once is kept running even while one before it is being restarted.
        plan_container(view, plan, role, container, RestartPolicy::Always);
    }
}

/// The init containers have done their work once a main container has been made after them.
fn is_initialized(view: &View<'_>) -> bool {
    pod::spec(view.pod)
        .containers
        .iter()
        .filter_map(|container| observed(view, container).current.as_ref())
        .any(|instance| !instance.interrupted)
}

fn succeeded(observed: &Observed) -> bool {
    observed.current.as_ref().is_some_and(|i| !i.interrupted && i.exit().is_some_and(|exit| exit.code == 0))
}

fn plan_main(view: &View<'_>, plan: &mut Plan) {
    let policy = RestartPolicy::of(pod::spec(view.pod));
    let mut held = false;
    for container in &pod::spec(view.pod).containers {
        let observed = observed(view, container);
        if held && observed.current.is_none() && observed.busy.is_none() {
            let waiting = observed.waiting.clone().unwrap_or_else(|| not_yet(view, Role::Main));
            plan.waiting.insert(container.name.clone(), waiting);
            continue;
        }
        plan_container(view, plan, Role::Main, container, policy);
        // Containers start in order, and a postStart hook holds the ones after its own back.
        let hook = container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some());
        held |= hook && (observed.current.is_none() || observed.busy == Some(Busy::Starting));
    }
}

fn plan_container(
    view: &View<'_>,
    plan: &mut Plan,
    role: Role,
    container: &Container,
    policy: RestartPolicy,
) {
    let name = &container.name;
    let observed = observed(view, container);
    if observed.busy.is_some() {
        if !observed.is_running() && observed.exit().is_none() {
            let waiting = observed.waiting.clone().unwrap_or_else(|| not_yet(view, role));
            plan.waiting.insert(name.clone(), waiting);
        }
        return;
    }
    match observed.current.as_ref().map(|instance| (instance, &instance.state)) {
        None => start(view, plan, role, name, 0),
        Some((instance, InstanceState::Created | InstanceState::Running { .. })) => {
            let changed = container.image.as_ref().is_some_and(|image| *image != instance.image);
            if let Some(failed) = &observed.health.failed {
                let grace = failed.grace.unwrap_or_else(|| pod::grace(view.pod));
                let why = StopReason::ProbeFailed(failed.probe);
                plan.actions.push(Action::Stop { container: name.clone(), grace, why });
            } else if changed && role != Role::Init {
                let grace = pod::grace(view.pod);
                plan.actions.push(Action::Stop {
                    container: name.clone(),
                    grace,
                    why: StopReason::SpecChanged,
                });
            }
        }
        Some((instance, InstanceState::Exited(exit))) => {
            let again = instance.attempt + 1;
            if instance.interrupted || instance.replaced {
                start(view, plan, role, name, again);
            } else if restarts(policy, exit) {
                restart(view, plan, role, name, again, exit);
            }
        }
    }
}

/// Whether the policy asks for another instance after this end.
pub(super) fn restarts(policy: RestartPolicy, exit: &Exit) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit.code != 0,
        RestartPolicy::Never => false,
    }
}

fn restart(view: &View<'_>, plan: &mut Plan, role: Role, name: &str, attempt: u32, exit: &Exit) {
    let observed = &view.containers[name];
    match observed.backoff.wait(exit.finished_at).filter(|(_, until)| *until > view.now) {
        Some((delay, until)) => {
            let waiting = Waiting {
                reason: "CrashLoopBackOff".to_owned(),
                message: Some(format!(
                    "back-off {} restarting failed container={name} pod={}",
                    go_duration(delay),
                    view.id
                )),
                retry_at: Some(until),
            };
            plan.wake_at(until);
            plan.waiting.insert(name.to_owned(), waiting);
        }
        None => start(view, plan, role, name, attempt),
    }
}

/// Starts a container unless its surroundings are missing or the last attempt asks for patience.
fn start(view: &View<'_>, plan: &mut Plan, role: Role, name: &str, attempt: u32) {
    static FRESH: std::sync::LazyLock<Observed> = std::sync::LazyLock::new(Observed::default);
    let observed = view.containers.get(name).unwrap_or(&FRESH);
    let waiting = observed.waiting.clone();
    let patient = waiting.as_ref().is_some_and(|waiting| match waiting.retry_at {
        Some(at) => {
            let later = at > view.now;
            if later {
                plan.wake_at(at);
            }
            later
        }
        None => true,
    });
    plan.waiting.insert(name.to_owned(), waiting.unwrap_or_else(|| not_yet(view, role)));
    if !patient && view.surroundings == Surroundings::Ready {
        plan.actions.push(Action::Start { container: name.to_owned(), attempt });
    }
}

pub(super) fn observed<'a>(view: &View<'a>, container: &Container) -> &'a Observed {
    static FRESH: std::sync::LazyLock<Observed> = std::sync::LazyLock::new(Observed::default);
    view.containers.get(&container.name).unwrap_or(&FRESH)
}

/// As Go prints whole seconds: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    match minutes {
        0 => format!("{seconds}s"),
        _ => format!("{minutes}m{seconds}s"),
    }
}
