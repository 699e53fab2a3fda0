//! The Pod status as a kubelet writes it: a pure function of what is known.

mod conditions;
mod containers;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::observed::Containers;
use crate::plan::{End, Plan};
use crate::pod::{self, RestartPolicy, Role};

/// Conditions this node writes; others on the same Pod belong to somebody else.
const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// What the status is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The Pod with the status last seen in the API.
    pub(crate) pod: &'a Pod,
    pub(crate) containers: &'a Containers,
    pub(crate) plan: &'a Plan,
    pub(crate) pod_ip: Option<&'a str>,
    pub(crate) host_ip: &'a str,
    pub(crate) start_time: Timestamp,
    pub(crate) now: Timestamp,
}

/// Wire times have whole seconds.
pub(crate) fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Builds the status; of the conditions only this node's own.
pub(crate) fn build(facts: &Facts<'_>) -> PodStatus {
    let statuses = containers::statuses(facts);
    let phase = phase(facts, &statuses);
    let verdict = facts.plan.verdict.as_ref().filter(|_| is_terminal(&phase));
    let old = facts.pod.status.as_ref();
    let keeps_verdict = verdict.is_none() && is_terminal(&phase);
    PodStatus {
        conditions: Some(conditions::conditions(facts, &phase, &statuses)),
        reason: verdict
            .and_then(|verdict| verdict.reason.map(str::to_owned))
            .or_else(|| old.filter(|_| keeps_verdict)?.reason.clone()),
        message: verdict
            .and_then(|verdict| verdict.message.map(str::to_owned))
            .or_else(|| old.filter(|_| keeps_verdict)?.message.clone()),
        phase: Some(phase),
        host_ip: Some(facts.host_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: facts.host_ip.to_owned() }]),
        pod_ip: facts.pod_ip.map(str::to_owned),
        pod_ips: facts.pod_ip.map(|ip| vec![PodIP { ip: ip.to_owned() }]),
        start_time: Some(time(facts.start_time)),
        qos_class: Some(crate::resources::qos_class(facts.pod).to_owned()),
        observed_generation: facts.pod.metadata.generation,
        init_container_statuses: Some(statuses.init).filter(|list| !list.is_empty()),
        container_statuses: Some(statuses.main),
        ..PodStatus::default()
    }
}

pub(crate) fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Failed" | "Succeeded")
}

/// Container statuses in the order of the specification.
pub(super) struct Statuses {
    pub(super) init: Vec<k8s_openapi::api::core::v1::ContainerStatus>,
    pub(super) main: Vec<k8s_openapi::api::core::v1::ContainerStatus>,
}

/// A Pod is `Failed` or `Succeeded` only once nothing of it runs any more, so that its controller may replace it.
fn phase(facts: &Facts<'_>, statuses: &Statuses) -> String {
    let old = facts.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if let Some(phase) = old.filter(|phase| is_terminal(phase)) {
        return phase.to_owned();
    }
    let counted = match &facts.plan.verdict {
        Some(verdict) => verdict.phase,
        None => count_phase(facts, statuses),
    };
    if is_terminal(counted) && facts.plan.end != Some(End::ForGood) {
        return "Running".to_owned();
    }
    counted.to_owned()
}

/// As `getPhase` of the kubelet counts.
fn count_phase(facts: &Facts<'_>, statuses: &Statuses) -> &'static str {
    let policy = RestartPolicy::of(pod::spec(facts.pod));
    let (mut pending_init, mut failed_init) = (0, 0);
    for ((role, _), status) in pod::init_containers(facts.pod).zip(&statuses.init) {
        let state = status.state.as_ref();
        let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        match role {
            Role::Sidecar => pending_init += usize::from(status.started != Some(true) && last.is_none()),
            _ => match state.and_then(|state| state.terminated.as_ref()) {
                Some(ended) => failed_init += usize::from(ended.exit_code != 0),
                None => match last {
                    Some(ended) if ended.exit_code != 0 => failed_init += 1,
                    _ => pending_init += 1,
                },
            },
        }
    }
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for status in &statuses.main {
        let state = status.state.clone().unwrap_or_default();
        let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        if state.running.is_some() {
            running += 1;
        } else if let Some(ended) = &state.terminated {
            stopped += 1;
            succeeded += usize::from(ended.exit_code == 0);
        } else if last.is_some() {
            stopped += 1;
        } else {
            waiting += 1;
        }
    }
    if is_interrupted(facts) {
        return if running + stopped > 0 { "Running" } else { "Pending" };
    }
    if failed_init > 0 && policy == RestartPolicy::Never {
        return "Failed";
    }
    let started_main = running + stopped > 0;
    let ended = facts.plan.end == Some(End::ForGood) && running == 0;
    if pending_init + failed_init > 0 && !started_main {
        if ended && waiting == 0 { "Failed" } else { "Pending" }
    } else if waiting > 0 {
        if stopped > 0 { "Running" } else { "Pending" }
    } else if running > 0 {
        "Running"
    } else if stopped > 0 {
        match policy {
            RestartPolicy::Always if !ended => "Running",
            _ if stopped == succeeded => "Succeeded",
            RestartPolicy::Never => "Failed",
            _ if ended => "Failed",
            _ => "Running",
        }
    } else {
        "Pending"
    }
}

/// The node stopped these containers and will run them again: their exit codes say nothing.
fn is_interrupted(facts: &Facts<'_>) -> bool {
    let goes_on = facts.plan.end != Some(End::ForGood);
    goes_on
        && facts.containers.values().any(|observed| {
            observed
                .current
                .as_ref()
                .is_some_and(|instance| instance.interrupted && instance.exit().is_some())
        })
}

/// Whether the API already shows this status, foreign conditions aside.
pub(crate) fn same(old: Option<&PodStatus>, new: &PodStatus) -> bool {
    let Some(old) = old else { return false };
    let mut old = old.clone();
    if let Some(conditions) = &mut old.conditions {
        let given: Vec<&str> = new.conditions.iter().flatten().map(|given| given.type_.as_str()).collect();
        let kind = |condition: &PodCondition| {
            let kind = condition.type_.as_str();
            OWN_CONDITIONS.contains(&kind) || given.contains(&kind)
        };
        conditions.retain(kind);
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
    let mut new = new.clone();
    if let Some(conditions) = &mut new.conditions {
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
    // Written by others, or never by this node.
    new.nominated_node_name.clone_from(&old.nominated_node_name);
    new.resource_claim_statuses.clone_from(&old.resource_claim_statuses);
    new.resize.clone_from(&old.resize);
    for list in
        [&mut old.init_container_statuses, &mut old.container_statuses, &mut old.ephemeral_container_statuses]
    {
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    }
    old == new
}

/// A strategic merge patch of `pods/status` that turns whatever is there into `new` and leaves foreign conditions alone.
/// The uid guards against a later Pod of the same name.
pub(crate) fn patch(uid: &str, new: &PodStatus) -> Value {
    let mut status = serde_json::to_value(new).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        for absent in ["reason", "message", "podIP", "podIPs", "initContainerStatuses"] {
            fields.entry(absent).or_insert(Value::Null);
        }
        for (list, key) in [("podIPs", "ip"), ("hostIPs", "ip")] {
            if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                debug_assert!(items.iter().all(|item| item.get(key).is_some()));
                items.insert(0, json!({"$patch": "replace"}));
            }
        }
        for condition in fields.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                for absent in ["reason", "message"] {
                    condition.entry(absent).or_insert(Value::Null);
                }
            }
        }
    }
    json!({"metadata": {"uid": uid}, "status": status})
}
