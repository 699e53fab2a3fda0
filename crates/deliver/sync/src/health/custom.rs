//! Kinds whose checks Argo CD bundles as scripts, as far as repositories use them.

use objects::{Value, meta};

use super::conditions::Conditions;
use super::{
    Health, HealthStatus, degraded, healthy, number, progressing, suspended, text, unknown, workloads,
};

/// The check for a kind; custom checks go before the compiled ones.
pub(super) fn check(group: &str, kind: &str) -> Option<fn(&Value) -> Health> {
    Some(match (group, kind) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => workloads::definition,
        ("policy", "PodDisruptionBudget") => workloads::disruption_budget,
        ("batch", "CronJob") => workloads::cron_job,
        ("argoproj.io", "Rollout") => rollout,
        ("argoproj.io", "AnalysisRun" | "Experiment") => analysis_run,
        ("argoproj.io", "ApplicationSet") => application_set,
        ("cert-manager.io" | "certmanager.k8s.io", "Certificate") => certificate,
        ("cert-manager.io" | "certmanager.k8s.io", "Issuer")
        | ("cert-manager.io", "ClusterIssuer")
        | (
            "external-secrets.io",
            "ExternalSecret" | "SecretStore" | "ClusterSecretStore" | "ClusterExternalSecret" | "PushSecret",
        ) => {
            |object| workloads::by_condition(object, "Ready", &format!("Waiting for {}", meta::kind(object)))
        }
        ("bitnami.com", "SealedSecret") => {
            |object| workloads::by_condition(object, "Synced", "Waiting for Sealed Secret to be decrypted")
        }
        ("gateway.networking.k8s.io", "Gateway") => gateway,
        ("gateway.networking.k8s.io", "HTTPRoute") => |object| route(object, true),
        ("gateway.networking.k8s.io", "GRPCRoute") => |object| route(object, false),
        ("snapshot.storage.k8s.io", "VolumeSnapshot") => snapshot,
        ("keda.sh", "ScaledObject") => scaled_object,
        ("monitoring.coreos.com", "Prometheus") => prometheus,
        _ => return None,
    })
}

/// `status.phase` is the controller's own judgement, once it has seen the newest specification.
fn rollout(object: &Value) -> Health {
    let observed = &object["status"]["observedGeneration"];
    let observed = observed
        .as_str()
        .map_or_else(|| observed.as_i64().map(|n| n.to_string()), |text| Some(text.to_owned()));
    if observed.is_none_or(|observed| observed != meta::generation(object).to_string()) {
        return progressing("Waiting for rollout spec update to be observed");
    }
    let workload = meta::annotation(object, "rollout.argoproj.io/workload-generation");
    if let (Some(workload), true) = (workload, object["spec"]["workloadRef"].is_object())
        && text(object, "/status/workloadObservedGeneration") != workload
    {
        return progressing("Waiting for rollout spec update to be observed for the reference workload");
    }
    let message = text(object, "/status/message");
    match text(object, "/status/phase") {
        "Paused" => suspended(message),
        "" => rollout_without_phase(object),
        phase => match HealthStatus::parse(phase) {
            Some(status) => Health::new(status, message),
            None => unknown(format!("unknown rollout phase {phase:?}")),
        },
    }
}

/// Controllers older than 1.0 set no phase.
fn rollout_without_phase(object: &Value) -> Health {
    for condition in Conditions::of(object).iter() {
        match (condition.kind(), condition.reason()) {
            ("InvalidSpec", _) => return degraded(condition.message()),
            ("Progressing", "RolloutAborted" | "ProgressDeadlineExceeded") => {
                return degraded(condition.message());
            }
            _ => {}
        }
    }
    if object["spec"]["paused"] == true {
        return suspended("Rollout is paused");
    }
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    if number(object, "/status/updatedReplicas") < replicas {
        return progressing("Waiting for roll out to finish: More replicas need to be updated");
    }
    if number(object, "/status/availableReplicas") < number(object, "/status/updatedReplicas") {
        return progressing("Waiting for roll out to finish: updated replicas are still becoming available");
    }
    healthy()
}

fn analysis_run(object: &Value) -> Health {
    let message = text(object, "/status/message");
    match text(object, "/status/phase") {
        "Pending" | "Running" | "" => progressing(message),
        "Successful" => Health::new(HealthStatus::Healthy, message),
        "Failed" | "Error" => degraded(message),
        _ => unknown(message),
    }
}

fn application_set(object: &Value) -> Health {
    let conditions = Conditions::of(object);
    let found = |kind: &str, status: &str| conditions.named(kind).filter(|condition| condition.is(status));
    if let Some(error) = found("ErrorOccurred", "True") {
        return degraded(error.message());
    }
    if let Some(stale) = found("ResourcesUpToDate", "False") {
        return degraded(stale.message());
    }
    if let Some(rollout) = found("RolloutProgressing", "True") {
        return progressing(rollout.message());
    }
    match found("ResourcesUpToDate", "True") {
        Some(current) => Health::new(HealthStatus::Healthy, current.message()),
        None => progressing("Waiting for health status to be determined"),
    }
}

fn certificate(object: &Value) -> Health {
    if let Some(issuing) = Conditions::of(object).named("Issuing").filter(|condition| condition.is("True")) {
        return progressing(issuing.message());
    }
    workloads::by_condition(object, "Ready", "Waiting for certificate")
}

/// The first of the three conditions that stands in the way.
fn blocked(conditions: &Conditions<'_>) -> Option<Health> {
    for kind in ["ResolvedRefs", "Accepted"] {
        if let Some(condition) = conditions.named(kind).filter(|condition| condition.is("False")) {
            return Some(degraded(condition.message()));
        }
    }
    let programmed = conditions.named("Programmed")?;
    (!programmed.is("True")).then(|| progressing(programmed.message()))
}

fn gateway(object: &Value) -> Health {
    let own = Conditions::of(object);
    if let Some(health) = blocked(&own) {
        return health;
    }
    let listeners = object["status"]["listeners"].as_array();
    for listener in listeners.into_iter().flatten() {
        if let Some(health) = blocked(&Conditions::in_list(&listener["conditions"])) {
            return health;
        }
    }
    if own.is_empty() && listeners.is_none_or(Vec::is_empty) {
        return progressing("Waiting for the status of the Gateway");
    }
    Health::new(HealthStatus::Healthy, "Gateway is healthy")
}

fn route(object: &Value, by_generation: bool) -> Health {
    let mut seen = false;
    for parent in object["status"]["parents"].as_array().into_iter().flatten() {
        let conditions = Conditions::in_list(&parent["conditions"]);
        let current =
            |generation: Option<i64>| generation.is_none_or(|seen| seen == meta::generation(object));
        if by_generation && !conditions.iter().all(|condition| current(condition.observed_generation())) {
            continue;
        }
        if let Some(health) = blocked(&conditions) {
            return health;
        }
        seen |= !conditions.is_empty();
    }
    if seen {
        Health::new(HealthStatus::Healthy, "Route is healthy")
    } else {
        progressing("Waiting for the route's status")
    }
}

fn snapshot(object: &Value) -> Health {
    if object["status"]["readyToUse"] == true {
        return healthy();
    }
    if object["status"]["error"].is_object() {
        return degraded(text(object, "/status/error/message"));
    }
    progressing("Waiting for status")
}

fn scaled_object(object: &Value) -> Health {
    let conditions = Conditions::of(object);
    let is = |kind: &str, status: &str| conditions.named(kind).is_some_and(|condition| condition.is(status));
    if is("Ready", "False") || is("Fallback", "True") {
        return degraded(conditions.named("Ready").map_or("", |condition| condition.message()));
    }
    if !is("Ready", "True") {
        return progressing("Creating HorizontalPodAutoscaler Object");
    }
    if is("Paused", "True") { suspended("ScaledObject is paused") } else { healthy() }
}

fn prometheus(object: &Value) -> Health {
    match Conditions::of(object).named("Available") {
        Some(available) if available.is("True") => healthy(),
        Some(available) if available.reason() == "SomePodsNotReady" => progressing(available.message()),
        Some(available) => degraded(available.message()),
        None => progressing("Prometheus initializing"),
    }
}
