//! The Pod conditions this node answers for.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};

use super::{Facts, Statuses, time};
use crate::pod::{self, Role};

/// A condition's status with the reason and message that explain a `False`.
struct Finding {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Finding {
    fn yes() -> Finding {
        Finding { holds: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Finding {
        Finding { holds: false, reason: Some(reason), message }
    }
}

pub(super) fn conditions(facts: &Facts<'_>, phase: &str, statuses: &Statuses) -> Vec<PodCondition> {
    let sandbox = facts.pod_ip.is_some() && !super::is_terminal(phase);
    let containers_ready = containers_ready(facts, phase, statuses);
    let ready = ready(facts, &containers_ready);
    let disruption = facts.plan.verdict.as_ref().and_then(|verdict| verdict.disruption);
    let disruption = disruption.map(|message| {
        let (reason, message) = (Some("TerminationByKubelet"), Some(message.to_owned()));
        ("DisruptionTarget", Finding { holds: true, reason, message })
    });
    [
        ("PodReadyToStartContainers", Finding { holds: sandbox, reason: None, message: None }),
        ("Initialized", initialized(facts, phase, statuses)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Finding::yes()),
    ]
    .into_iter()
    .chain(disruption)
    .map(|(type_, finding)| condition(facts, type_, finding))
    .collect()
}

fn condition(facts: &Facts<'_>, type_: &str, finding: Finding) -> PodCondition {
    let status = if finding.holds { "True" } else { "False" };
    let old = facts.pod.status.as_ref().and_then(|old| {
        old.conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == type_ && condition.status == status)
    });
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.map(str::to_owned),
        message: finding.message,
        last_transition_time: old
            .and_then(|condition| condition.last_transition_time.clone())
            .or_else(|| Some(time(facts.now))),
        last_probe_time: None,
        observed_generation: facts.pod.metadata.generation,
    }
}

fn initialized(facts: &Facts<'_>, phase: &str, statuses: &Statuses) -> Finding {
    if phase == "Succeeded" {
        return Finding { holds: true, reason: Some("PodCompleted"), message: None };
    }
    let incomplete: Vec<&str> = pod::init_containers(facts.pod)
        .zip(&statuses.init)
        .filter(|((role, _), status)| match role {
            Role::Sidecar => status.started != Some(true),
            _ => !status.ready,
        })
        .map(|(_, status)| status.name.as_str())
        .collect();
    // Once a main container was made, the init containers have done their work.
    let went_on = statuses.main.iter().any(|status| status.container_id.is_some());
    if incomplete.is_empty() || went_on {
        return Finding::yes();
    }
    Finding::no(
        "ContainersNotInitialized",
        Some(format!("containers with incomplete status: [{}]", incomplete.join(" "))),
    )
}

fn containers_ready(facts: &Facts<'_>, phase: &str, statuses: &Statuses) -> Finding {
    match phase {
        "Succeeded" => return Finding::no("PodCompleted", None),
        "Failed" => return Finding::no("PodFailed", None),
        _ => {}
    }
    let sidecars = pod::init_containers(facts.pod)
        .zip(&statuses.init)
        .filter(|((role, _), _)| *role == Role::Sidecar)
        .map(|(_, status)| status);
    let unready = |status: &&ContainerStatus| !status.ready;
    let names: Vec<&str> =
        sidecars.chain(&statuses.main).filter(unready).map(|status| status.name.as_str()).collect();
    if names.is_empty() {
        return Finding::yes();
    }
    Finding::no("ContainersNotReady", Some(format!("containers with unready status: [{}]", names.join(" "))))
}

fn ready(facts: &Facts<'_>, containers_ready: &Finding) -> Finding {
    if !containers_ready.holds {
        return Finding::no(
            containers_ready.reason.unwrap_or("ContainersNotReady"),
            containers_ready.message.clone(),
        );
    }
    let conditions = facts.pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut problems = Vec::new();
    for gate in pod::spec(facts.pod).readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match conditions.into_iter().flatten().find(|condition| condition.type_ == *name) {
            None => problems
                .push(format!("corresponding condition of pod readiness gate \"{name}\" does not exist.")),
            Some(condition) if condition.status != "True" => problems.push(format!(
                "the status of pod readiness gate \"{name}\" is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if problems.is_empty() {
        return Finding::yes();
    }
    Finding::no("ReadinessGatesNotReady", Some(problems.join(", ")))
}
