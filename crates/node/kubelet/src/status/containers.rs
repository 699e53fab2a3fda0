//! `containerStatuses` and `initContainerStatuses`.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, VolumeMountStatus,
};

use super::{Facts, Statuses, time};
use crate::observed::{Exit, Instance, InstanceState, Observed, Waiting};
use crate::plan::End;
use crate::pod::{self, RestartPolicy, Role};

pub(super) fn statuses(facts: &Facts<'_>) -> Statuses {
    let mut statuses = Statuses { init: Vec::new(), main: Vec::new() };
    for (role, container) in pod::containers(facts.pod) {
        let status = status(facts, role, container);
        if role == Role::Main { statuses.main.push(status) } else { statuses.init.push(status) }
    }
    statuses
}

fn status(facts: &Facts<'_>, role: Role, container: &Container) -> ContainerStatus {
    let fresh = Observed::default();
    let observed = facts.containers.get(&container.name).unwrap_or(&fresh);
    let waiting = facts.plan.waiting.get(&container.name);
    let current = observed.current.as_ref();
    let (state, last) = states(facts, role, observed, waiting);
    let (state, last) = lawful(facts, role, container, observed, (state, last));
    let running = state.running.is_some();
    let started =
        running && observed.busy != Some(crate::observed::Busy::Starting) && observed.health.started;
    let ready = match role {
        Role::Init => state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0),
        _ => started && observed.health.ready,
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: current.map(|instance| instance.image_id.clone()).unwrap_or_default(),
        container_id: current.map(container_id),
        restart_count: current.map_or(0, |instance| i32::try_from(instance.attempt).unwrap_or(i32::MAX)),
        state: Some(state),
        last_state: Some(last),
        ready,
        started: Some(started),
        resources: container.resources.clone().filter(|_| running),
        allocated_resources: container
            .resources
            .as_ref()
            .filter(|_| running)
            .and_then(|r| r.requests.clone()),
        volume_mounts: mounts(container),
        ..ContainerStatus::default()
    }
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts: Vec<_> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: mount
                .read_only
                .filter(|read_only| *read_only)
                .map(|_| "Disabled".to_owned()),
        })
        .collect();
    Some(mounts).filter(|mounts| !mounts.is_empty())
}

/// The state and the state before it.
fn states(
    facts: &Facts<'_>,
    role: Role,
    observed: &Observed,
    waiting: Option<&Waiting>,
) -> (ContainerState, ContainerState) {
    let previous = observed.previous.as_ref().and_then(terminated).unwrap_or_default();
    match observed.current.as_ref() {
        Some(Instance { state: InstanceState::Running { started_at }, .. }) => {
            (running(*started_at), previous)
        }
        Some(instance) => match (instance.exit(), waiting) {
            (Some(_), Some(waiting)) => (state_waiting(waiting), terminated(instance).unwrap_or_default()),
            (Some(exit), None) => {
                let ended = terminated(instance).unwrap_or_default();
                match revival(facts, role, instance, exit) {
                    Some(waiting) => (state_waiting(&waiting), ended),
                    None => (ended, previous),
                }
            }
            (None, _) => (state_waiting(&Waiting::new("ContainerCreating")), previous),
        },
        None if facts.plan.end == Some(End::ForGood) && facts.pod.metadata.deletion_timestamp.is_some() => {
            (never_located(), previous)
        }
        None => (state_waiting(waiting.unwrap_or(&Waiting::new("ContainerCreating"))), previous),
    }
}

/// What the container of an instance waits for that has ended and yet is not the last of it.
fn revival(facts: &Facts<'_>, role: Role, instance: &Instance, exit: &Exit) -> Option<Waiting> {
    let phase = facts.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if facts.plan.end == Some(End::ForGood) || phase.is_some_and(super::is_terminal) {
        return None;
    }
    if instance.replaced {
        return Some(Waiting::new("ContainerCreating"));
    }
    let never = RestartPolicy::of(pod::spec(facts.pod)) == RestartPolicy::Never;
    let done = role == Role::Init && exit.code == 0;
    (instance.interrupted && !never && !done).then(|| Waiting {
        message: Some("the node was stopped; the container runs again at its next start".to_owned()),
        ..Waiting::new("NodeStopped")
    })
}

/// A container that has ended for good, as everybody was told, stays so: the API takes nothing else. An init container that
/// runs again after the node was stopped, because what it prepared may be gone, is shown as it ended until it ends again.
fn lawful(
    facts: &Facts<'_>,
    role: Role,
    container: &Container,
    observed: &Observed,
    (state, last): (ContainerState, ContainerState),
) -> (ContainerState, ContainerState) {
    let policy = RestartPolicy::of(pod::spec(facts.pod));
    if role == Role::Sidecar || policy == RestartPolicy::Always || state.terminated.is_some() {
        return (state, last);
    }
    let told = facts.pod.status.as_ref().and_then(|status| {
        let lists = [&status.init_container_statuses, &status.container_statuses];
        lists.into_iter().flatten().flatten().find(|status| status.name == container.name)
    });
    let ended = |state: &&ContainerState| {
        state.terminated.as_ref().is_some_and(|ended| policy == RestartPolicy::Never || ended.exit_code == 0)
    };
    let Some(told) = told.and_then(|told| told.state.as_ref()).filter(ended) else { return (state, last) };
    let again = observed.current.as_ref().and_then(terminated);
    (again.unwrap_or_else(|| told.clone()), ContainerState::default())
}

fn running(started_at: jiff::Timestamp) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(time(started_at)) }),
        ..ContainerState::default()
    }
}

fn state_waiting(waiting: &Waiting) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(waiting.reason.clone()),
            message: waiting.message.clone(),
        }),
        ..ContainerState::default()
    }
}

fn terminated(instance: &Instance) -> Option<ContainerState> {
    let Exit { code, signal, reason, message, started_at, finished_at } = instance.exit()?;
    Some(ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(container_id(instance)),
            exit_code: *code,
            signal: *signal,
            reason: Some(reason.clone()),
            message: message.clone().filter(|message| !message.is_empty()),
            // A container that never ran has the zero time of the protocol.
            started_at: Some(time(started_at.unwrap_or(jiff::Timestamp::UNIX_EPOCH))),
            finished_at: Some(time(*finished_at)),
        }),
        ..ContainerState::default()
    })
}

/// In the kubelet's words, for a container of a Pod that ended before the container was made.
fn never_located() -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

pub(super) fn container_id(instance: &Instance) -> String {
    format!("mainstay://{}", instance.id)
}
