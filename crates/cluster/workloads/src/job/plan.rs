//! What a Job needs, from its Pods and counts.

use std::collections::BTreeSet;
use std::time::Duration;

use client::conditions::{self, Condition};
use jiff::{SignedDuration, Timestamp};
use objects::meta;
use serde_json::{Value, json};

use crate::pods;

pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Wait after a failed Pod, doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How a Job ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Complete,
    Failed { reason: String, message: String },
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Completion indexes of Pods to make; `None` for Jobs that have no indexes.
    pub(super) create: Vec<Option<i64>>,
    pub(super) delete: Vec<Value>,
    /// Pods that run or will.
    active: usize,
    ready: usize,
    terminating: usize,
    /// The Job is over once no Pod of it is left running.
    pub(super) end: Option<End>,
    pub(super) again: Option<Duration>,
}

pub(super) fn is_finished(job: &Value) -> bool {
    ["Complete", "Failed"].into_iter().any(|kind| conditions::is_true(&job["status"], kind))
}

fn is_suspended(job: &Value) -> bool {
    job["spec"]["suspend"] == true
}

fn is_indexed(job: &Value) -> bool {
    job["spec"]["completionMode"] == "Indexed"
}

fn count(job: &Value, field: &str) -> i64 {
    job["status"][field].as_i64().unwrap_or(0)
}

/// Uids that were noted as ended and are not yet counted.
pub(super) fn uncounted(job: &Value) -> Vec<String> {
    let noted = &job["status"]["uncountedTerminatedPods"];
    let lists = [&noted["succeeded"], &noted["failed"]];
    lists.into_iter().flat_map(strings).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn has_finalizer(pod: &Value) -> bool {
    meta::finalizers(pod).any(|finalizer| finalizer == FINALIZER)
}

fn succeeded(pod: &Value) -> bool {
    pods::phase(pod) == "Succeeded"
}

/// A Pod counts as failed when it says so, or when it is deleted before its end.
fn failed(pod: &Value) -> bool {
    pods::phase(pod) == "Failed" || meta::is_deleting(pod) && !succeeded(pod)
}

/// Nothing more will come of the Pod.
pub(super) fn has_ended(pod: &Value) -> bool {
    succeeded(pod) || failed(pod)
}

/// The status with the uids of newly ended Pods noted. For an indexed Job a success counts once per index.
pub(super) fn note_ended(job: &Value, members: &[Value]) -> Value {
    let mut status = job["status"].clone();
    let noted = uncounted(job);
    let done = completed_indexes(job);
    let mut succeeded_uids = strings(&status["uncountedTerminatedPods"]["succeeded"]);
    let mut failed_uids = strings(&status["uncountedTerminatedPods"]["failed"]);
    let new = members.iter().filter(|pod| has_finalizer(pod) && !noted.contains(&meta::uid(pod).to_owned()));
    let mut changed = false;
    for pod in new {
        if succeeded(pod) {
            // A second success of one index adds nothing; its Pod is merely let go.
            if is_indexed(job) && index(pod).is_none_or(|index| done.contains(&index)) {
                continue;
            }
            succeeded_uids.push(meta::uid(pod).to_owned());
            changed = true;
        } else if failed(pod) && !(is_suspended(job) && pods::phase(pod) != "Failed") {
            // A Pod that a suspension stopped is no failure.
            failed_uids.push(meta::uid(pod).to_owned());
            changed = true;
        }
    }
    if changed {
        status["uncountedTerminatedPods"] = noted_lists(&succeeded_uids, &failed_uids);
    }
    status
}

fn noted_lists(succeeded: &[String], failed: &[String]) -> Value {
    let mut lists = json!({});
    for (field, list) in [("succeeded", succeeded), ("failed", failed)] {
        if !list.is_empty() {
            lists[field] = json!(list);
        }
    }
    lists
}

/// The status with noted Pods counted that have lost their finalizer or are gone.
pub(super) fn count_noted(job: &Value, members: &[Value]) -> Value {
    let mut status = job["status"].clone();
    let held: BTreeSet<&str> = members.iter().filter(|pod| has_finalizer(pod)).map(meta::uid).collect();
    let mut left = [Vec::new(), Vec::new()];
    let mut completed = completed_indexes(job);
    for (place, field) in ["succeeded", "failed"].into_iter().enumerate() {
        let noted = strings(&status["uncountedTerminatedPods"][field]);
        let (kept, released): (Vec<String>, Vec<String>) =
            noted.into_iter().partition(|uid| held.contains(uid.as_str()));
        if field == "succeeded" && is_indexed(job) {
            completed.extend(
                released.iter().filter_map(|uid| {
                    members.iter().find(|pod| meta::uid(pod) == uid.as_str()).and_then(index)
                }),
            );
        } else if !released.is_empty() {
            let total = count(job, field) + i64::try_from(released.len()).unwrap_or(0);
            status[field] = json!(total);
        }
        left[place] = kept;
    }
    if is_indexed(job) && !completed.is_empty() {
        status["succeeded"] = json!(completed.len());
        status["completedIndexes"] = json!(format_indexes(&completed));
    }
    let [succeeded, failed] = left;
    if status.get("uncountedTerminatedPods").is_some() {
        status["uncountedTerminatedPods"] = noted_lists(&succeeded, &failed);
    }
    status
}

fn index(pod: &Value) -> Option<i64> {
    meta::annotation(pod, INDEX)?.parse().ok()
}

/// `0-2,5` as a set.
fn completed_indexes(job: &Value) -> BTreeSet<i64> {
    let limit = job["spec"]["completions"].as_i64().unwrap_or(0);
    let text = job["status"]["completedIndexes"].as_str().unwrap_or("");
    let ranges = text.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse::<i64>().ok()?, last.parse::<i64>().ok()?))
    });
    ranges.flat_map(|(first, last)| first.max(0)..=last.min(limit - 1)).collect()
}

fn format_indexes(indexes: &BTreeSet<i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for &index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    let parts: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    parts.join(",")
}

pub(super) fn plan(job: &Value, members: &[Value], now: Timestamp) -> Plan {
    let uncounted = uncounted(job);
    let active: Vec<&Value> = members.iter().filter(|pod| pods::is_active(pod)).collect();
    let mut plan = Plan {
        active: active.len(),
        ready: active.iter().filter(|pod| pods::is_ready(pod)).count(),
        terminating: members.iter().filter(|pod| meta::is_deleting(pod) && !pods::is_finished(pod)).count(),
        ..Plan::default()
    };
    plan.end = end(job, members, &uncounted, now);
    if plan.end.is_some() || is_suspended(job) {
        plan.delete = active.into_iter().cloned().collect();
        plan.active = 0;
        plan.ready = 0;
        return plan;
    }
    let wait = backoff(members, count(job, "failed"), now);
    let parallelism = job["spec"]["parallelism"].as_i64().unwrap_or(1);
    let wanted = match job["spec"]["completions"].as_i64() {
        Some(completions) => parallelism.min(completions - count(job, "succeeded")).max(0),
        // A work queue: no new Pods once one has succeeded.
        None if count(job, "succeeded") > 0 => i64::try_from(active.len()).unwrap_or(0).min(parallelism),
        None => parallelism,
    };
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if active.len() > wanted {
        let mut surplus: Vec<Value> = active.into_iter().cloned().collect();
        pods::sort_for_deletion(&mut surplus);
        surplus.truncate(surplus.len() - wanted);
        plan.active -= surplus.len();
        // Never more than are active, whichever of them the surplus is.
        plan.ready = plan.ready.min(plan.active);
        plan.delete = surplus;
    } else if active.len() < wanted {
        if let Some(wait) = wait {
            plan.again = Some(wait);
        } else {
            plan.create = missing(job, members, wanted - active.len());
            plan.active += plan.create.len();
        }
    }
    let deadline = until_deadline(job, now);
    plan.again = [plan.again, deadline].into_iter().flatten().min();
    plan
}

/// Which Pods to make: the lowest indexes that neither run nor are complete.
fn missing(job: &Value, members: &[Value], room: usize) -> Vec<Option<i64>> {
    if !is_indexed(job) {
        return vec![None; room];
    }
    let mut taken = completed_indexes(job);
    taken.extend(members.iter().filter(|pod| !failed(pod)).filter_map(index));
    let completions = job["spec"]["completions"].as_i64().unwrap_or(0);
    (0..completions).filter(|index| !taken.contains(index)).take(room).map(Some).collect()
}

fn end(job: &Value, members: &[Value], uncounted: &[String], now: Timestamp) -> Option<End> {
    // Once decided it stays so, whatever the Pods that are stopped then do.
    let decided =
        |kind| conditions::find(&job["status"], kind).filter(|condition| condition["status"] == "True");
    if decided("SuccessCriteriaMet").is_some() {
        return Some(End::Complete);
    }
    if let Some(target) = decided("FailureTarget") {
        let text = |field: &str| target[field].as_str().unwrap_or("").to_owned();
        return Some(End::Failed { reason: text("reason"), message: text("message") });
    }
    let active = members.iter().any(pods::is_active);
    let succeeded = count(job, "succeeded");
    let complete = match job["spec"]["completions"].as_i64() {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0 && !active && uncounted.is_empty(),
    };
    if complete {
        return Some(End::Complete);
    }
    let limit = job["spec"]["backoffLimit"].as_i64().unwrap_or(6);
    let in_place: i64 = members
        .iter()
        .filter(|pod| pod["spec"]["restartPolicy"] == "OnFailure" && pods::phase(pod) != "Succeeded")
        .map(restarts)
        .sum();
    if count(job, "failed") > limit || in_place > 0 && in_place >= limit.max(1) {
        let message = "Job has reached the specified backoff limit".to_owned();
        return Some(End::Failed { reason: "BackoffLimitExceeded".to_owned(), message });
    }
    if until_deadline(job, now) == Some(Duration::ZERO) {
        let message = "Job was active longer than specified deadline".to_owned();
        return Some(End::Failed { reason: "DeadlineExceeded".to_owned(), message });
    }
    None
}

fn restarts(pod: &Value) -> i64 {
    let lists = [&pod["status"]["containerStatuses"], &pod["status"]["initContainerStatuses"]];
    let statuses = lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten());
    statuses.filter_map(|status| status["restartCount"].as_i64()).sum()
}

/// How long until `activeDeadlineSeconds` have passed since the start.
fn until_deadline(job: &Value, now: Timestamp) -> Option<Duration> {
    let seconds = job["spec"]["activeDeadlineSeconds"].as_i64()?;
    let start: Timestamp = job["status"]["startTime"].as_str()?.parse().ok()?;
    let left = (start + SignedDuration::from_secs(seconds)).duration_since(now);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
}

/// How long until a Pod may be made after failures: 10 s after the latest, doubled for each one, at most 10 minutes.
fn backoff(members: &[Value], failures: i64, now: Timestamp) -> Option<Duration> {
    if failures == 0 {
        return None;
    }
    let latest = members.iter().filter(|pod| failed(pod)).filter_map(finished_at).max()?;
    let exponent = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(16);
    let wait = FIRST_WAIT.saturating_mul(1 << exponent).min(LONGEST_WAIT);
    let due = latest + SignedDuration::try_from(wait).ok()?;
    Duration::try_from(due.duration_since(now)).ok().filter(|left| !left.is_zero())
}

fn finished_at(pod: &Value) -> Option<Timestamp> {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let latest = statuses
        .filter_map(|status| status["state"]["terminated"]["finishedAt"].as_str()?.parse().ok())
        .max();
    latest.or_else(|| meta::deletion_timestamp(pod)?.parse().ok()).or_else(|| meta::created_at(pod))
}

/// The Pod of a Job.
pub(super) fn pod(job: &Value, index: Option<i64>) -> Value {
    let mut pod = pods::from_template(&job["spec"]["template"], job);
    let name = meta::name(job);
    let prefix = &name[..name.len().min(50)];
    pod["metadata"]["generateName"] = match index {
        Some(index) => json!(format!("{prefix}-{index}-")),
        None => json!(format!("{prefix}-")),
    };
    meta::add_finalizer(&mut pod, FINALIZER);
    if let Some(index) = index {
        let text = index.to_string();
        meta::set_annotation(&mut pod, INDEX, Some(&text));
        meta::set_label(&mut pod, INDEX, Some(&text));
        pod["spec"]["hostname"] = json!(format!("{name}-{index}"));
        add_index_variable(&mut pod);
    }
    pod
}

fn add_index_variable(pod: &mut Value) {
    let variable = json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": {
        "fieldPath": format!("metadata.labels['{INDEX}']") } } });
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            match container["env"].as_array_mut() {
                Some(env) if env.iter().any(|v| v["name"] == "JOB_COMPLETION_INDEX") => {}
                Some(env) => env.push(variable.clone()),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

/// The status after a pass.
pub(super) fn status(job: &Value, plan: &Plan, now: Timestamp) -> Value {
    let mut status = job["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    crate::set_count(&mut status, "active", plan.active);
    status["ready"] = json!(plan.ready);
    status["terminating"] = json!(plan.terminating);
    if is_suspended(job) && plan.end.is_none() {
        let condition = Condition::new("Suspended", "True", "JobSuspended", "Job suspended");
        conditions::set_plain(&mut status, &condition, now);
        // The deadline counts from when the Job is resumed.
        status.as_object_mut().map(|map| map.remove("startTime"));
        return status;
    }
    if conditions::is_true(&status, "Suspended") {
        let condition = Condition::new("Suspended", "False", "JobResumed", "Job resumed");
        conditions::set_plain(&mut status, &condition, now);
        status["startTime"] = json!(meta::format_time(now));
    }
    if !status["startTime"].is_string() {
        status["startTime"] = json!(meta::format_time(now));
    }
    let Some(end) = &plan.end else { return status };
    let (interim, last) = match end {
        End::Complete => {
            let message = "Reached expected number of succeeded pods";
            let of = |kind| Condition::new(kind, "True", "CompletionsReached", message);
            (of("SuccessCriteriaMet"), of("Complete"))
        }
        End::Failed { reason, message } => {
            let of = |kind| Condition::new(kind, "True", &**reason, &**message);
            (of("FailureTarget"), of("Failed"))
        }
    };
    conditions::set_plain(&mut status, &interim, now);
    // It is over only when nothing of it runs any more and all is counted.
    if plan.delete.is_empty() && plan.terminating == 0 && uncounted(job).is_empty() {
        conditions::set_plain(&mut status, &last, now);
        if *end == End::Complete {
            status["completionTime"] = json!(meta::format_time(now));
        }
    }
    status
}

/// How long a finished Job is kept; `None` for ever.
pub(super) fn until_expiry(job: &Value, now: Timestamp) -> Option<Duration> {
    let seconds = job["spec"]["ttlSecondsAfterFinished"].as_i64()?;
    let finished = ["Complete", "Failed"].into_iter().find_map(|kind| {
        let condition = conditions::find(&job["status"], kind).filter(|c| c["status"] == "True")?;
        condition["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok()
    })?;
    let left = (finished + SignedDuration::from_secs(seconds)).duration_since(now);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;
