//! When a CronJob's next Job is due, and what is kept of earlier ones.

use client::Key;
use client::conditions;
use jiff::{SignedDuration, Timestamp};
use objects::meta::{self, OwnerReference};
use objects::schedule::Schedule;
use serde_json::{Value, json};

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What a look at the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The schedule names no time that will ever come.
    Never,
    Later,
    Now(Timestamp),
    /// The time passed longer ago than `startingDeadlineSeconds` allow.
    Missed(Timestamp),
}

/// The latest time of the schedule since the last Job (or the creation), if it has come.
pub(super) fn due(cron_job: &Value, schedule: &Schedule, now: Timestamp) -> Due {
    let last: Option<Timestamp> =
        cron_job["status"]["lastScheduleTime"].as_str().and_then(|time| time.parse().ok());
    let since = last.or_else(|| meta::created_at(cron_job)).unwrap_or(now);
    if schedule.next(now).is_none() && schedule.next(since).is_none() {
        return Due::Never;
    }
    let deadline = cron_job["spec"]["startingDeadlineSeconds"].as_i64();
    match schedule.latest(since, now) {
        None => Due::Later,
        Some(at) if deadline.is_some_and(|limit| at + SignedDuration::from_secs(limit) < now) => {
            Due::Missed(at)
        }
        Some(at) => Due::Now(at),
    }
}

pub(super) fn is_finished(job: &Value) -> bool {
    is(job, "Complete") || is(job, "Failed")
}

fn is(job: &Value, condition: &str) -> bool {
    conditions::is_true(&job["status"], condition)
}

/// The Job for one time, named by it, so that it is made once.
pub(super) fn job(cron_job: &Value, at: Timestamp) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let name = meta::name(cron_job);
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("{}-{}", &name[..name.len().min(52)], at.as_second() / 60),
            "namespace": meta::namespace(cron_job),
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [OwnerReference::controller(cron_job).to_value()],
        },
        "spec": template["spec"],
    });
    meta::set_annotation(&mut job, SCHEDULED_AT, Some(&meta::format_time(at)));
    job
}

fn reference(job: &Value) -> Value {
    json!({ "apiVersion": "batch/v1", "kind": "Job", "name": meta::name(job), "namespace": meta::namespace(job),
        "uid": meta::uid(job), "resourceVersion": meta::resource_version(job) })
}

/// The status that the existing Jobs give: which are active, and when one last succeeded.
pub(super) fn observe(cron_job: &Value, jobs: &[Value]) -> Value {
    let mut status = cron_job["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let known = status["active"].as_array().cloned().unwrap_or_default();
    let active: Vec<Value> = jobs
        .iter()
        .filter(|job| !is_finished(job))
        .map(|job| {
            // The reference keeps the version it was made with, or each change of a Job would change this status.
            let same = known.iter().find(|reference| reference["uid"] == meta::uid(job));
            same.cloned().unwrap_or_else(|| reference(job))
        })
        .collect();
    set_active(&mut status, active);
    let succeeded = jobs
        .iter()
        .filter(|job| is(job, "Complete"))
        .filter_map(|job| job["status"]["completionTime"].as_str())
        .max();
    if let Some(latest) = succeeded
        && status["lastSuccessfulTime"].as_str().is_none_or(|known| known < latest)
    {
        status["lastSuccessfulTime"] = json!(latest);
    }
    status
}

fn set_active(status: &mut Value, active: Vec<Value>) {
    if active.is_empty() {
        status.as_object_mut().map(|map| map.remove("active"));
    } else {
        status["active"] = Value::Array(active);
    }
}

pub(super) fn add_active(status: &mut Value, job: &Value) {
    let mut active = status["active"].as_array().cloned().unwrap_or_default();
    if !active.iter().any(|reference| reference["uid"] == meta::uid(job)) {
        active.push(reference(job));
    }
    set_active(status, active);
}

pub(super) fn remove_active(status: &mut Value, job: &Value) {
    let mut active = status["active"].as_array().cloned().unwrap_or_default();
    active.retain(|reference| reference["uid"] != meta::uid(job));
    set_active(status, active);
}

/// Finished Jobs that the history limits have no room for, oldest first.
pub(super) fn superfluous(cron_job: &Value, jobs: &[Value]) -> Vec<Key> {
    let limits = [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)];
    let mut keys = Vec::new();
    for (condition, field, default) in limits {
        let limit = cron_job["spec"][field].as_i64().unwrap_or(default);
        let mut ended: Vec<&Value> = jobs.iter().filter(|job| is(job, condition)).collect();
        ended.sort_by_key(|job| {
            (job["status"]["startTime"].as_str().unwrap_or("").to_owned(), meta::name(job).to_owned())
        });
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        keys.extend(ended.into_iter().take(surplus).map(Key::of));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron_job(extra: Value) -> Value {
        let mut cron_job = json!({ "metadata": { "name": "backup", "namespace": "a", "uid": "c",
                "creationTimestamp": "2026-01-01T00:00:30Z" },
            "spec": { "schedule": "*/10 * * * *", "jobTemplate": { "spec": { "template": {} } } } });
        objects::patch::merge(&mut cron_job, &extra);
        cron_job
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn look(cron_job: &Value, now: &str) -> Due {
        due(cron_job, &Schedule::of(cron_job).unwrap(), at(now))
    }

    #[test]
    fn only_the_latest_time_is_made_up_for() {
        let fresh = cron_job(json!({}));
        assert_eq!(look(&fresh, "2026-01-01T00:09:59Z"), Due::Later);
        assert_eq!(look(&fresh, "2026-01-01T00:10:00Z"), Due::Now(at("2026-01-01T00:10:00Z")));
        assert_eq!(look(&fresh, "2026-03-01T00:47:00Z"), Due::Now(at("2026-03-01T00:40:00Z")));
        let ran = cron_job(json!({ "status": { "lastScheduleTime": "2026-01-01T00:10:00Z" } }));
        assert_eq!(look(&ran, "2026-01-01T00:19:00Z"), Due::Later);
    }

    #[test]
    fn deadlines_let_times_pass() {
        let strict = cron_job(json!({ "spec": { "startingDeadlineSeconds": 30 } }));
        assert_eq!(look(&strict, "2026-01-01T00:10:30Z"), Due::Now(at("2026-01-01T00:10:00Z")));
        assert_eq!(look(&strict, "2026-01-01T00:10:31Z"), Due::Missed(at("2026-01-01T00:10:00Z")));
    }

    #[test]
    fn impossible_dates_never_come() {
        assert_eq!(
            look(&cron_job(json!({ "spec": { "schedule": "0 0 31 2 *" } })), "2026-01-01T00:10:00Z"),
            Due::Never
        );
    }

    #[test]
    fn history_and_active_jobs() {
        let ended = |n: i64, condition: &str| {
            json!({ "metadata": { "name": format!("j{n}"), "namespace": "a", "uid": format!("u{n}") },
                "status": { "startTime": format!("2026-01-01T00:0{n}:00Z"), "completionTime": format!("2026-01-01T00:0{n}:30Z"),
                    "conditions": [{ "type": condition, "status": "True" }] } })
        };
        let mut jobs: Vec<Value> = (1..=5).map(|n| ended(n, "Complete")).collect();
        jobs.extend([ended(6, "Failed"), ended(7, "Failed")]);
        jobs.push(json!({ "metadata": { "name": "run", "uid": "r" }, "status": {} }));
        let names: Vec<String> =
            superfluous(&cron_job(json!({})), &jobs).into_iter().map(|k| k.name).collect();
        assert_eq!(names, ["j1", "j2", "j6"]);
        let mut status = observe(&cron_job(json!({})), &jobs);
        assert_eq!(status["lastSuccessfulTime"], "2026-01-01T00:05:30Z");
        assert_eq!(status["active"][0]["name"], "run");
        remove_active(&mut status, &jobs[7]);
        assert!(status.get("active").is_none());
        let job = job(&cron_job(json!({})), at("2026-01-01T00:10:00Z"));
        assert_eq!(meta::name(&job), format!("backup-{}", at("2026-01-01T00:10:00Z").as_second() / 60));
    }
}
