//! Kubernetes' own kinds. In each check the first rule that fits decides.

use objects::{Value, meta};
use serde_json::json;

use super::conditions::{self, Conditions};
use super::{Health, HealthStatus, degraded, healthy, number, progressing, suspended, text, unknown};

fn generation_not_observed(object: &Value) -> bool {
    meta::generation(object) > number(object, "/status/observedGeneration")
}

pub(super) fn deployment(object: &Value) -> Health {
    if object["spec"]["paused"] == true {
        return suspended("Deployment is paused");
    }
    if generation_not_observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed deployment generation less than desired generation",
        );
    }
    let (updated, available) =
        (number(object, "/status/updatedReplicas"), number(object, "/status/availableReplicas"));
    let replicas = number(object, "/status/replicas");
    if Conditions::of(object).named("Progressing").is_some_and(|c| c.reason() == "ProgressDeadlineExceeded") {
        return degraded(format!("Deployment {:?} exceeded its progress deadline", meta::name(object)));
    }
    if let Some(desired) = object["spec"]["replicas"].as_i64()
        && updated < desired
    {
        return progressing(format!(
            "Waiting for rollout to finish: {updated} out of {desired} new replicas have been updated..."
        ));
    }
    if replicas > updated {
        let old = replicas - updated;
        return progressing(format!(
            "Waiting for rollout to finish: {old} old replicas are pending termination..."
        ));
    }
    if available < updated {
        return progressing(format!(
            "Waiting for rollout to finish: {available} of {updated} updated replicas are available..."
        ));
    }
    healthy()
}

pub(super) fn stateful_set(object: &Value) -> Health {
    let observed = number(object, "/status/observedGeneration");
    if observed == 0 || meta::generation(object) > observed {
        return progressing("Waiting for statefulset spec update to be observed...");
    }
    let ready = number(object, "/status/readyReplicas");
    if let Some(replicas) = object["spec"]["replicas"].as_i64()
        && ready < replicas
    {
        let missing = replicas - ready;
        return progressing(format!("Waiting for {missing} pods to be ready..."));
    }
    let strategy = text(object, "/spec/updateStrategy/type");
    if strategy == "RollingUpdate"
        && let Some(rolling) =
            object.pointer("/spec/updateStrategy/rollingUpdate").filter(|block| !block.is_null())
    {
        if let (Some(replicas), Some(partition)) =
            (object["spec"]["replicas"].as_i64(), rolling["partition"].as_i64())
        {
            let updated = number(object, "/status/updatedReplicas");
            let wanted = replicas - partition;
            if updated < wanted {
                return progressing(format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {wanted} new pods have been updated..."
                ));
            }
            return Health::new(
                HealthStatus::Healthy,
                format!("partitioned roll out complete: {updated} new pods have been updated..."),
            );
        }
        return healthy();
    }
    if strategy == "OnDelete" {
        let ready = number(object, "/status/readyReplicas");
        return Health::new(HealthStatus::Healthy, format!("statefulset has {ready} ready pods"));
    }
    let (update, current) = (text(object, "/status/updateRevision"), text(object, "/status/currentRevision"));
    if update != current {
        return progressing(format!(
            "waiting for statefulset rolling update to complete {} pods at revision {update}...",
            number(object, "/status/updatedReplicas")
        ));
    }
    Health::new(
        HealthStatus::Healthy,
        format!(
            "statefulset rolling update complete {} pods at revision {current}...",
            number(object, "/status/currentReplicas")
        ),
    )
}

pub(super) fn daemon_set(object: &Value) -> Health {
    if generation_not_observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed daemon set generation less than desired generation",
        );
    }
    let (updated, desired) =
        (number(object, "/status/updatedNumberScheduled"), number(object, "/status/desiredNumberScheduled"));
    let name = meta::name(object);
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::new(
            HealthStatus::Healthy,
            format!("daemon set {updated} out of {desired} new pods have been updated"),
        );
    }
    if updated < desired {
        return progressing(format!(
            "Waiting for daemon set {name:?} rollout to finish: {updated} out of {desired} new pods have been updated..."
        ));
    }
    let available = number(object, "/status/numberAvailable");
    if available < desired {
        return progressing(format!(
            "Waiting for daemon set {name:?} rollout to finish: {available} of {desired} updated pods are available..."
        ));
    }
    healthy()
}

pub(super) fn replica_set(object: &Value) -> Health {
    if generation_not_observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed replica set generation less than desired generation",
        );
    }
    if let Some(failure) = Conditions::of(object).named("ReplicaFailure").filter(|c| c.is("True")) {
        return degraded(failure.message());
    }
    let available = number(object, "/status/availableReplicas");
    if let Some(replicas) = object["spec"]["replicas"].as_i64()
        && available < replicas
    {
        return progressing(format!(
            "Waiting for rollout to finish: {available} out of {replicas} new replicas are available..."
        ));
    }
    healthy()
}

pub(super) fn ingress(object: &Value) -> Health {
    if has_address(object) { healthy() } else { progressing("") }
}

pub(super) fn service(object: &Value) -> Health {
    if text(object, "/spec/type") == "LoadBalancer" && !has_address(object) {
        return progressing("");
    }
    healthy()
}

fn has_address(object: &Value) -> bool {
    object
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty())
}

pub(super) fn volume_claim(object: &Value) -> Health {
    match text(object, "/status/phase") {
        "Lost" => degraded(""),
        "Pending" => progressing(""),
        "Bound" => healthy(),
        _ => unknown(""),
    }
}

/// Looks at the types of conditions, not at their status, except for a suspended job.
pub(super) fn job(object: &Value) -> Health {
    let conditions = Conditions::of(object);
    if let Some(failed) = conditions.named("Failed") {
        return degraded(failed.message());
    }
    if let Some(condition) = conditions.named("Suspended") {
        if condition.is("True") {
            return suspended(condition.message());
        }
        return Health::new(HealthStatus::Healthy, condition.message());
    }
    match conditions.named("Complete") {
        Some(complete) => Health::new(HealthStatus::Healthy, complete.message()),
        None => progressing("Waiting for Job to complete"),
    }
}

pub(super) fn autoscaler(object: &Value) -> Health {
    const FAILURES: [&str; 6] = [
        "FailedGetResourceMetric",
        "FailedGetObjectMetric",
        "FailedGetPodsMetric",
        "FailedGetExternalMetric",
        "FailedComputeMetricsReplicas",
        "InvalidSelector",
    ];
    let in_annotation = meta::annotation(object, "autoscaling.alpha.kubernetes.io/conditions")
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .map(|conditions| json!({"status": {"conditions": conditions}}));
    let conditions = Conditions::of(in_annotation.as_ref().unwrap_or(object));
    for condition in conditions.iter() {
        let failed = match condition.kind() {
            "AbleToScale" => matches!(condition.reason(), "FailedGetScale" | "FailedUpdateScale"),
            "ScalingActive" => FAILURES.contains(&condition.reason()),
            _ => false,
        };
        if failed {
            return degraded(condition.message());
        }
    }
    for condition in conditions.iter() {
        if matches!(condition.kind(), "AbleToScale" | "ScalingLimited") && condition.is("True") {
            return Health::new(HealthStatus::Healthy, condition.message());
        }
    }
    progressing("Waiting to Autoscale")
}

pub(super) fn api_service(object: &Value) -> Health {
    match Conditions::of(object).named("Available") {
        Some(available) => {
            let message = format!("{}: {}", available.reason(), available.message());
            if available.is("True") {
                Health::new(HealthStatus::Healthy, message)
            } else {
                progressing(message)
            }
        }
        None => progressing("Waiting to be processed"),
    }
}

pub(super) fn workflow(object: &Value) -> Health {
    let message = text(object, "/status/message");
    match text(object, "/status/phase") {
        "" | "Pending" | "Running" => progressing(message),
        "Succeeded" => Health::new(HealthStatus::Healthy, message),
        "Failed" | "Error" => degraded(message),
        _ => unknown(message),
    }
}

/// Being deleted or without conditions it is on its way; then every condition speaks in turn.
pub(super) fn definition(object: &Value) -> Health {
    if meta::is_deleting(object) {
        return progressing("CRD is being terminated");
    }
    let conditions = Conditions::of(object);
    if conditions.is_empty() {
        return progressing("Status conditions not found");
    }
    let mut established = None;
    for condition in conditions.iter() {
        match condition.kind() {
            "Terminating" if condition.is("True") => return progressing("CRD is being terminated"),
            "NamesAccepted" if condition.is("False") => {
                return degraded(format!("CRD names have not been accepted: {}", condition.message()));
            }
            "NonStructuralSchema" if condition.is("True") => {
                return degraded(format!("Schema violations found: {}", condition.message()));
            }
            "Established" if !condition.is("True") && condition.reason() == "Installing" => {
                return progressing(format!("CRD is being installed: {}", condition.message()));
            }
            "Established" => established = Some(condition.is("True")),
            _ => {}
        }
    }
    match established {
        Some(true) => Health::new(HealthStatus::Healthy, "CRD is healthy"),
        _ => degraded("CRD is not established"),
    }
}

pub(super) fn disruption_budget(object: &Value) -> Health {
    let conditions = Conditions::of(object);
    if let Some(condition) = conditions.iter().find(|c| c.is("False") && c.reason() != "InsufficientPods") {
        return degraded(format!("PodDisruptionBudget has {}", condition.reason()));
    }
    if conditions.is_empty() { progressing("Waiting for status") } else { healthy() }
}

pub(super) fn cron_job(object: &Value) -> Health {
    if object["spec"]["suspend"] == true {
        return Health::new(HealthStatus::Healthy, "CronJob is Suspended");
    }
    let status = &object["status"];
    if status.as_object().is_none_or(serde_json::Map::is_empty) {
        return progressing("Waiting for CronJob status");
    }
    let time = |field: &str| status[field].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let Some(scheduled) = time("lastScheduleTime") else {
        return Health::new(HealthStatus::Healthy, "CronJob has not been scheduled yet");
    };
    let Some(succeeded) = time("lastSuccessfulTime") else {
        return Health::new(HealthStatus::Healthy, "CronJob has not completed successfully yet");
    };
    if status["active"].as_array().is_some_and(|active| !active.is_empty()) {
        return Health::new(HealthStatus::Healthy, "CronJob has active jobs");
    }
    if succeeded < scheduled {
        return degraded("CronJob has not completed its last execution successfully");
    }
    Health::new(HealthStatus::Healthy, "CronJob has completed its last execution successfully")
}

/// Helpers for the kinds whose condition `Ready` (or another) is all there is to know.
pub(super) fn by_condition(object: &Value, name: &str, waiting: &str) -> Health {
    conditions::ready(object, name, waiting)
}
