//! What may be written to a status: counts that are possible, addresses, and no steps back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::certificate::{self, Written};
use super::field::Field;
use super::names::{self, Form};
use super::{Problems, addresses, cluster, job, resources};

pub(super) fn check(group: &str, plural: &str, old: &Value, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let status = root.get("status");
    let before = &old["status"];
    match (group, plural) {
        ("apps", _) | ("", "replicationcontrollers") => workload(plural, before, &status, problems),
        ("batch", "jobs") => job::status::check(&root, before, problems),
        ("autoscaling", "horizontalpodautoscalers") => {
            counts(&status, &["currentReplicas", "desiredReplicas"], problems);
        }
        ("policy", "poddisruptionbudgets") => {
            conditions(&status.get("conditions"), problems);
            let fields = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
            counts(&status, &fields, problems);
        }
        ("", "pods") => pod(&root, old, problems),
        ("", "services") => service(&root, before, problems),
        ("networking.k8s.io", "ingresses") => {
            let balancer = status.get("loadBalancer");
            let list = balancer.get("ingress");
            for entry in list.items() {
                reached_at(&entry, &before["loadBalancer"], problems);
                named_as(&entry, problems);
            }
        }
        ("", "resourcequotas") => quota(&status, problems),
        ("", "persistentvolumeclaims") => claim(&status, problems),
        ("", "namespaces") => namespace(&root, problems),
        ("", "nodes") => cluster::node(Some(old), object, problems),
        ("apiregistration.k8s.io", "apiservices") => {
            for condition in status.get("conditions").items() {
                let met = condition.get("status");
                if !["True", "False", "Unknown"].contains(&met.text()) {
                    met.with(&met.text().into()).not_supported(&["True", "False", "Unknown"], problems);
                }
            }
        }
        ("certificates.k8s.io", _) => certificate::status(Written::Status, old, object, problems),
        _ => {}
    }
}

/// Conditions of the kind that all newer APIs have.
fn conditions(list: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST_REASON: usize = 1024;
    const LONGEST_MESSAGE: usize = 32 * 1024;
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let kind = condition.get("type");
        if !seen.insert(kind.text()) {
            kind.duplicate(problems);
        }
        kind.with(&kind.text().into()).qualified(problems);
        let met = condition.get("status");
        if !["True", "False", "Unknown"].contains(&met.text()) {
            met.with(&met.text().into()).not_supported(&["False", "True", "Unknown"], problems);
        }
        let generation = condition.get("observedGeneration");
        if generation.number() < 0 {
            generation.invalid("must be greater than or equal to zero", problems);
        }
        let since = condition.get("lastTransitionTime");
        if !since.is_set() {
            since.required("", problems);
        }
        let reason = condition.get("reason");
        if reason.text().is_empty() {
            reason.required("", problems);
        } else {
            if !names::is_reason(reason.text()) {
                reason.invalid(names::REASON, problems);
            }
            if reason.text().len() > LONGEST_REASON {
                reason.too_long(LONGEST_REASON, problems);
            }
        }
        let message = condition.get("message");
        if message.text().len() > LONGEST_MESSAGE {
            message.too_long(LONGEST_MESSAGE, problems);
        }
    }
}

/// None of the fields is negative.
fn counts(status: &Field<'_, '_>, fields: &[&str], problems: &mut Problems) {
    fields.iter().for_each(|field| status.get(field).not_negative(problems));
}

fn workload(plural: &str, before: &Value, status: &Field<'_, '_>, problems: &mut Problems) {
    // What must not be negative; what cannot be more than all; how the Pods that are ready are called.
    let (fields, parts, ready): (&[&str], &[&str], &str) = match plural {
        "deployments" => (
            &[
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "collisionCount",
            ],
            &["updatedReplicas", "readyReplicas", "availableReplicas"],
            "readyReplicas",
        ),
        "replicasets" | "replicationcontrollers" => (
            &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
            &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
            "readyReplicas",
        ),
        "statefulsets" => (
            &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ],
            &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
            "status.readyReplicas",
        ),
        _ => (
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            &[],
            "",
        ),
    };
    counts(status, fields, problems);
    let all = status.get("replicas").number();
    for part in parts {
        let part = status.get(part);
        if part.number() > all {
            let detail = "cannot be greater than status.replicas";
            part.invalid_as(part.number().into(), detail, problems);
        }
    }
    let available = status.get("availableReplicas");
    if !parts.is_empty() && available.number() > status.get("readyReplicas").number() {
        let detail = format!("cannot be greater than {ready}");
        available.invalid_as(available.number().into(), detail, problems);
    }
    let collisions = status.get("collisionCount");
    if fields.contains(&"collisionCount")
        && let Some(before) = before["collisionCount"].as_i64()
        && collisions.int().is_none_or(|now| now < before)
    {
        collisions.invalid_as(collisions.number().into(), "cannot be decremented", problems);
    }
}

fn pod(root: &Field<'_, '_>, old: &Value, problems: &mut Problems) {
    let status = root.get("status");
    let before = &old["status"];
    for condition in status.get("conditions").items() {
        let generation = condition.get("observedGeneration");
        if generation.number() < 0 {
            generation.invalid("must be a non-negative integer", problems);
        }
        if !matches!(condition.get("type").text(), "PodScheduled" | "Ready" | "Initialized") {
            condition.named("type", "Type").qualified(problems);
        }
    }
    let node = status.get("nominatedNodeName");
    if !node.text().is_empty() && before["nominatedNodeName"] != *node.value() {
        node.name(Form::Subdomain, problems);
    }
    let generation = status.get("observedGeneration");
    if generation.number() < 0 {
        generation.invalid("must be a non-negative integer", problems);
    }
    status.get("qosClass").fixed(&before["qosClass"], problems);
    let again = old["spec"]["restartPolicy"].as_str().unwrap_or_default();
    let goes_on = |code: &Value| again == "Always" || (again == "OnFailure" && *code != 0);
    let lasting: Vec<&str> = Field::root(&old["spec"]["initContainers"])
        .list()
        .iter()
        .filter(|container| container["restartPolicy"] == "Always")
        .filter_map(|container| container["name"].as_str())
        .collect();
    no_revival(&status.get("containerStatuses"), before, "containerStatuses", problems, |_, code| {
        goes_on(code)
    });
    let list = "initContainerStatuses";
    no_revival(&status.get(list), before, list, problems, |name, code| {
        goes_on(code) || lasting.contains(&name)
    });
    let list = "ephemeralContainerStatuses";
    no_revival(&status.get(list), before, list, problems, |_, _| false);
    let address = status.get("hostIP");
    pod_addresses(&status.get("podIPs"), &before["podIPs"], None, problems);
    pod_addresses(&status.get("hostIPs"), &before["hostIPs"], Some(address.text()), problems);
}

/// Containers that have ended do not run again, unless they may.
fn no_revival(
    list: &Field<'_, '_>,
    before: &Value,
    field: &str,
    problems: &mut Problems,
    may: impl Fn(&str, &Value) -> bool,
) {
    let Some(before) = before[field].as_array() else { return };
    let ended = |status: &Value| status["state"]["terminated"].is_object();
    let now: BTreeMap<&str, bool> =
        list.list().iter().filter_map(|status| Some((status["name"].as_str()?, ended(status)))).collect();
    for (index, status) in before.iter().enumerate().filter(|(_, status)| ended(status)) {
        let name = status["name"].as_str().unwrap_or_default();
        let code = &status["state"]["terminated"]["exitCode"];
        if now.get(name) == Some(&false) && !may(name, code) {
            let detail = "may not be transitioned to non-terminated state";
            list.index(index).child("state").forbidden(detail, problems);
        }
    }
}

/// At most one address of each family. The first must be `first`, if that is given.
fn pod_addresses(list: &Field<'_, '_>, before: &Value, first: Option<&str>, problems: &mut Problems) {
    if let (Some(first), Some(entry)) = (first, list.items().next())
        && entry.get("ip").text() != first
    {
        entry.get("ip").invalid("must be equal to `hostIP`", problems);
    }
    let known: Vec<Value> =
        before.as_array().into_iter().flatten().map(|entry| entry["ip"].clone()).collect();
    let mut families = [0, 0];
    for entry in list.items() {
        // The entry is told of, and shown as its address.
        let address = entry.get("ip").value();
        let entry = entry.with(address);
        if let Some(address) = addresses::address(&entry, &known, problems) {
            families[usize::from(address.is_ipv6())] += 1;
        }
    }
    if list.list().len() > 1 && families != [1, 1] {
        let shown: Vec<Value> = list.list().iter().map(|entry| json!({"IP": entry["ip"]})).collect();
        list.invalid_as(shown.into(), "may specify no more than one IP for each IP family", problems);
    }
}

fn service(root: &Field<'_, '_>, before: &Value, problems: &mut Problems) {
    let (status, spec) = (root.get("status"), root.get("spec"));
    let balancer = status.get("loadBalancer");
    let list = balancer.get("ingress");
    if spec.get("type").text() != "LoadBalancer" {
        if !list.is_empty() {
            list.forbidden("may only be used when `spec.type` is 'LoadBalancer'", problems);
        }
        return;
    }
    for entry in list.items() {
        reached_at(&entry, &before["loadBalancer"], problems);
        let (mode, address) = (entry.get("ipMode"), entry.get("ip"));
        if mode.is_set() && address.text().is_empty() {
            mode.forbidden("may not be specified when `ip` is not set", problems);
        } else {
            mode.one_of_if_set(&["Proxy", "VIP"], problems);
        }
        named_as(&entry, problems);
    }
}

/// The address of a load balancer.
fn reached_at(entry: &Field<'_, '_>, before: &Value, problems: &mut Problems) {
    let address = entry.get("ip");
    if !address.text().is_empty() {
        let known: Vec<Value> =
            before["ingress"].as_array().into_iter().flatten().map(|entry| entry["ip"].clone()).collect();
        addresses::address(&address, &known, problems);
    }
}

/// The name of a load balancer.
fn named_as(entry: &Field<'_, '_>, problems: &mut Problems) {
    let name = entry.get("hostname");
    if !name.text().is_empty() {
        name.name(Form::Subdomain, problems);
        if addresses::parse(name.text()).is_some() {
            name.invalid("must be a DNS name, not an IP address", problems);
        }
    }
}

fn quota(status: &Field<'_, '_>, problems: &mut Problems) {
    for list in ["hard", "used"] {
        for (name, amount) in status.get(list).entries() {
            resources::quota_name(&amount, name, problems);
            resources::quantity(&amount, name, problems);
        }
    }
}

fn claim(status: &Field<'_, '_>, problems: &mut Problems) {
    const STEPS: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    for (_, amount) in status.get("capacity").entries() {
        resources::basic(&amount, problems);
    }
    let steps = status.get("allocatedResourceStatuses");
    for (name, step) in steps.entries() {
        claimed(&steps, name, problems);
        if !STEPS.contains(&step.text()) {
            steps.with(&name.into()).not_supported(&STEPS, problems);
        }
    }
    let allocated = status.get("allocatedResources");
    for (name, amount) in allocated.entries() {
        if claimed(&allocated, name, problems) && resources::basic(&amount, problems) {
            resources::quantity(&amount, "storage", problems);
        }
    }
}

/// A resource of claims: storage, or one of somebody's own.
fn claimed(list: &Field<'_, '_>, name: &str, problems: &mut Problems) -> bool {
    let told = problems.len();
    let value = name.into();
    let key = list.with(&value);
    key.qualified(problems);
    if problems.len() == told && resources::is_native(name) && name != "storage" {
        key.not_supported(&["storage"], problems);
    }
    problems.len() == told
}

fn namespace(root: &Field<'_, '_>, problems: &mut Problems) {
    let (metadata, status) = (root.get("metadata"), root.get("status"));
    let phase = status.named("phase", "Phase");
    let (expected, detail) = if metadata.get("deletionTimestamp").is_set() {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    } else {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    };
    if phase.text() != expected {
        phase.invalid_as(phase.text().into(), detail, problems);
    }
}
