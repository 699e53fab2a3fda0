//! Which step a StatefulSet takes next.

use jiff::Timestamp;
use objects::int_or_string::{Round, scaled};
use objects::meta;
use serde_json::{Value, json};

use crate::pods;
use crate::revisions::{self, History};

pub(super) const REVISION_LABEL: &str = "controller-revision-hash";
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// A Pod of the set.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) ordinal: i64,
    pub(super) pod: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Make the Pod of this number from the revision of this name.
    Create {
        ordinal: i64,
        revision: String,
    },
    /// Labels or claims of a Pod may be missing.
    Repair(Box<Value>),
    Delete(Box<Value>),
}

/// The numbers a set's Pods have: from the start number, `replicas` many.
pub(super) fn range(set: &Value) -> (i64, i64) {
    let start = set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
    (start, start + set["spec"]["replicas"].as_i64().unwrap_or(1))
}

/// The number in a Pod's name, if it is one of this set's names.
pub(super) fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    number_after(meta::name(pod), meta::name(set))
}

fn number_after(name: &str, prefix: &str) -> Option<i64> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    let number: i64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The number of the Pod that a claim was made for, if it is one of this set's.
pub(super) fn claim_ordinal(set: &Value, claim: &Value) -> Option<i64> {
    let templates = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    templates
        .filter_map(|template| {
            let prefix = format!("{}-{}", meta::name(template), meta::name(set));
            number_after(meta::name(claim), &prefix)
        })
        .next()
}

pub(super) fn members(set: &Value, pods: Vec<Value>) -> Vec<Member> {
    let mut members: Vec<Member> =
        pods.into_iter().filter_map(|pod| Some(Member { ordinal: ordinal(set, &pod)?, pod })).collect();
    members.sort_by_key(|member| member.ordinal);
    members
}

pub(super) fn revision(pod: &Value) -> Option<&str> {
    meta::label(pod, REVISION_LABEL)
}

/// The steps of one pass: one at most when Pods are managed in order, all that are due when in parallel.
pub(super) fn steps(
    set: &Value,
    members: &[Member],
    current: &str,
    update: &str,
    now: Timestamp,
) -> Vec<Step> {
    let parallel = set["spec"]["podManagementPolicy"] == "Parallel";
    let (start, end) = range(set);
    let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let healthy = |pod: &Value| !meta::is_deleting(pod) && pods::is_available(pod, min_ready, now);
    let mut steps = Vec::new();
    for ordinal in start..end {
        let member = members.iter().find(|member| member.ordinal == ordinal).map(|member| &member.pod);
        let blocks = match member {
            None => {
                let revision = revision_for(set, ordinal, current, update);
                steps.push(Step::Create { ordinal, revision: revision.to_owned() });
                true
            }
            Some(pod) if pods::is_finished(pod) && !meta::is_deleting(pod) => {
                steps.push(Step::Delete(Box::new(pod.clone())));
                true
            }
            Some(pod) => {
                if !meta::is_deleting(pod) && with_identity(set, pod.clone()) != *pod {
                    steps.push(Step::Repair(Box::new(pod.clone())));
                }
                !healthy(pod)
            }
        };
        // In order, each Pod waits until the one before it is available.
        if blocks && !parallel {
            return steps;
        }
    }
    let condemned = members.iter().rev().filter(|m| m.ordinal < start || m.ordinal >= end);
    for member in condemned {
        if meta::is_deleting(&member.pod) {
            if parallel {
                continue;
            }
            return steps;
        }
        steps.push(Step::Delete(Box::new(member.pod.clone())));
        if !parallel {
            return steps;
        }
    }
    if steps.is_empty() || parallel {
        steps.extend(update_steps(set, members, update, &healthy));
    }
    steps
}

/// A Pod below the partition, or one of the first in an update not yet begun, keeps the current revision.
fn revision_for<'a>(set: &Value, ordinal: i64, current: &'a str, update: &'a str) -> &'a str {
    if set["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return update;
    }
    let (start, _) = range(set);
    let partition = set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64();
    match partition {
        Some(partition) if ordinal < start + partition => current,
        // Without a partition, Pods that the update has not reached yet come back as they were.
        None => {
            let updated = set["status"]["updatedReplicas"].as_i64().unwrap_or(0);
            let (_, end) = range(set);
            if current != update && ordinal < end - updated - 1 { current } else { update }
        }
        Some(_) => update,
    }
}

/// Replaces Pods of older revisions, the highest number first, as many at a time as may be unavailable.
fn update_steps(
    set: &Value,
    members: &[Member],
    update: &str,
    healthy: &impl Fn(&Value) -> bool,
) -> Vec<Step> {
    let strategy = &set["spec"]["updateStrategy"];
    if strategy["type"] == "OnDelete" {
        return Vec::new();
    }
    let (start, end) = range(set);
    let partition = strategy["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    let wanted = end - start;
    let allowed = match &strategy["rollingUpdate"]["maxUnavailable"] {
        Value::Null => 1,
        value => scaled(value, wanted, Round::Up).unwrap_or(1).max(1),
    };
    let mut unavailable =
        members.iter().filter(|m| (start..end).contains(&m.ordinal) && !healthy(&m.pod)).count();
    unavailable += usize::try_from(wanted)
        .unwrap_or(0)
        .saturating_sub(members.iter().filter(|m| (start..end).contains(&m.ordinal)).count());
    let mut steps = Vec::new();
    let due = members.iter().rev().filter(|m| m.ordinal >= start + partition && m.ordinal < end);
    for member in due {
        let old = revision(&member.pod) != Some(update);
        let leaving = meta::is_deleting(&member.pod);
        if old && !leaving {
            // A Pod that is down anyway costs nothing to replace.
            let down = !healthy(&member.pod);
            if down || unavailable < usize::try_from(allowed).unwrap_or(1) {
                steps.push(Step::Delete(Box::new(member.pod.clone())));
                unavailable += usize::from(!down);
            }
            if unavailable >= usize::try_from(allowed).unwrap_or(1) {
                return steps;
            }
        } else if !healthy(&member.pod) && unavailable >= usize::try_from(allowed).unwrap_or(1) {
            // An updated Pod has to become available before the next one goes.
            return steps;
        }
    }
    steps
}

/// The claims of one Pod of the set.
pub(super) fn claims(set: &Value, ordinal: i64) -> Vec<Value> {
    let templates = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    templates
        .map(|template| {
            let mut labels = meta::labels(template).cloned().unwrap_or_default();
            if let Some(own) = set["spec"]["selector"]["matchLabels"].as_object() {
                labels.extend(own.clone());
            }
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": claim_name(set, template, ordinal),
                    "namespace": meta::namespace(set),
                    "labels": labels,
                    "annotations": template["metadata"]["annotations"],
                },
                "spec": template["spec"],
            })
        })
        .collect()
}

fn claim_name(set: &Value, template: &Value, ordinal: i64) -> String {
    format!("{}-{}-{ordinal}", meta::name(template), meta::name(set))
}

/// The Pod of this number in this revision.
pub(super) fn pod(set: &Value, ordinal: i64, revision: &Value) -> Value {
    let mut pod = pods::from_template(&revisions::template_of(revision), set);
    let name = format!("{}-{ordinal}", meta::name(set));
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    meta::set_label(&mut pod, REVISION_LABEL, Some(meta::name(revision)));
    let templates = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let own: Vec<Value> = templates
        .map(|template| {
            json!({ "name": meta::name(template),
                "persistentVolumeClaim": { "claimName": claim_name(set, template, ordinal), "readOnly": false } })
        })
        .collect();
    // A claim of the set takes the place of a volume of the same name in the template.
    let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    volumes.retain(|volume| !own.iter().any(|claim| claim["name"] == volume["name"]));
    volumes.extend(own);
    if !volumes.is_empty() {
        pod["spec"]["volumes"] = Value::Array(volumes);
    }
    with_identity(set, pod)
}

/// The Pod with the labels that tell its name and number.
pub(super) fn with_identity(set: &Value, mut pod: Value) -> Value {
    let name = meta::name(&pod).to_owned();
    if let Some(ordinal) = ordinal(set, &pod) {
        meta::set_label(&mut pod, POD_NAME_LABEL, Some(&name));
        meta::set_label(&mut pod, POD_INDEX_LABEL, Some(&ordinal.to_string()));
    }
    pod
}

/// The status after a pass. The update is complete, and becomes current, once every Pod is of it and ready.
pub(super) fn status(
    set: &Value,
    members: &[Member],
    current: &str,
    history: &History,
    now: Timestamp,
) -> Value {
    let update = meta::name(&history.update);
    let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let existing: Vec<&Value> =
        members.iter().map(|member| &member.pod).filter(|pod| !pods::is_finished(pod)).collect();
    let count = |what: &dyn Fn(&Value) -> bool| existing.iter().filter(|pod| what(pod)).count();
    let of = |name: &str, pod: &Value| !meta::is_deleting(pod) && revision(pod) == Some(name);
    let ready = count(&|pod| pods::is_ready(pod));
    let updated = count(&|pod| of(update, pod));
    let wanted = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    let rolling = set["spec"]["updateStrategy"]["type"] != "OnDelete";
    let complete = rolling && updated == wanted && existing.len() == wanted && ready == wanted;
    let current = if complete { update } else { current };
    let mut status = json!({
        "observedGeneration": meta::generation(set),
        "replicas": existing.len(),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": history.collisions,
        // Upstream's clients expect this count even at zero.
        "availableReplicas": count(&|pod| pods::is_available(pod, min_ready, now)),
    });
    if let Some(conditions) = set["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    let counts = [
        ("readyReplicas", ready),
        ("currentReplicas", count(&|pod| of(current, pod))),
        ("updatedReplicas", updated),
    ];
    for (field, count) in counts {
        crate::set_count(&mut status, field, count);
    }
    status
}

#[cfg(test)]
mod tests;
