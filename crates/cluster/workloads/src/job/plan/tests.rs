use super::*;
use crate::pods::tests::pod as running;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn job(extra: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": "migrate", "namespace": "a", "uid": "j" },
        "spec": { "completions": 1, "parallelism": 1, "backoffLimit": 2,
            "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "c" }] } } },
        "status": { "startTime": "2026-01-01T00:59:00Z" },
    });
    objects::patch::merge(&mut job, &extra);
    job
}

fn member(name: &str, phase: &str) -> Value {
    let mut pod = running(name, None);
    pod["status"]["phase"] = json!(phase);
    pod["status"]["containerStatuses"] =
        json!([{ "state": { "terminated": { "finishedAt": "2026-01-01T00:59:55Z" } } }]);
    meta::add_finalizer(&mut pod, FINALIZER);
    pod
}

/// Does what the controller does between passes and yields the job with its new status.
fn pass(mut job: Value, members: &mut Vec<Value>) -> (Value, Plan) {
    job["status"] = note_ended(&job, members);
    for pod in members.iter_mut().filter(|pod| has_ended(pod)) {
        meta::remove_finalizer(pod, FINALIZER);
    }
    job["status"] = count_noted(&job, members);
    let plan = plan(&job, members, now());
    members.retain(|pod| !plan.delete.iter().any(|gone| meta::name(gone) == meta::name(pod)));
    job["status"] = status(&job, &plan, now());
    (job, plan)
}

#[test]
fn a_job_runs_once_and_completes() {
    let mut members = Vec::new();
    let (job, plan) = pass(job(json!({})), &mut members);
    assert_eq!((plan.create.as_slice(), &job["status"]["active"]), ([None].as_slice(), &json!(1)));
    members.push(member("p1", "Running"));
    let (job, plan) = pass(job, &mut members);
    assert!(plan.create.is_empty());
    members[0] = member("p1", "Succeeded");
    let (job, _) = pass(job, &mut members);
    assert_eq!(job["status"]["succeeded"], 1);
    assert_eq!(job["status"]["uncountedTerminatedPods"], json!({}));
    assert!(is_finished(&job) && conditions::is_true(&job["status"], "Complete"));
    assert!(conditions::is_true(&job["status"], "SuccessCriteriaMet"));
    assert!(job["status"]["completionTime"].is_string());
    assert!(job["status"].get("active").is_none());
}

#[test]
fn a_pod_is_counted_once_even_if_it_vanishes_in_between() {
    let mut job = job(json!({ "spec": { "completions": 5, "parallelism": 1 } }));
    let mut members = vec![member("p1", "Succeeded")];
    job["status"] = note_ended(&job, &members);
    assert_eq!(note_ended(&job, &members), job["status"]);
    assert_eq!(count_noted(&job, &members)["succeeded"], Value::Null);
    members.clear();
    job["status"] = count_noted(&job, &members);
    assert_eq!(job["status"]["succeeded"], 1);
    assert_eq!(count_noted(&job, &members), job["status"]);
}

#[test]
fn failures_back_off_and_end_the_job() {
    let mut members = vec![member("p1", "Failed")];
    let (job, plan) = pass(job(json!({})), &mut members);
    assert_eq!(job["status"]["failed"], 1);
    assert!(plan.create.is_empty());
    assert_eq!(plan.again, Some(Duration::from_secs(5)));
    members.extend([member("p2", "Failed"), member("p3", "Failed")]);
    let (job, _) = pass(job, &mut members);
    let condition = conditions::find(&job["status"], "Failed").unwrap();
    assert_eq!(condition["reason"], "BackoffLimitExceeded");
    assert_eq!(condition["message"], "Job has reached the specified backoff limit");
    assert!(is_finished(&job));
}

#[test]
fn restarts_in_place_count_too() {
    let mut pod = member("p1", "Running");
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    pod["status"]["containerStatuses"] = json!([{ "restartCount": 2 }]);
    let mut members = vec![pod];
    let (job, plan) = pass(job(json!({})), &mut members);
    assert_eq!(plan.delete.len(), 1);
    assert!(!is_finished(&job), "finished before its pod ended");
    assert!(conditions::is_true(&job["status"], "FailureTarget"));
    let (job, _) = pass(job, &mut members);
    assert!(is_finished(&job));
}

#[test]
fn deadlines_and_suspension_stop_pods() {
    let mut members = vec![member("p1", "Running")];
    let late = job(json!({ "spec": { "activeDeadlineSeconds": 60 } }));
    let (late, plan) = pass(late, &mut members.clone());
    assert_eq!(plan.delete.len(), 1);
    assert_eq!(conditions::find(&late["status"], "FailureTarget").unwrap()["reason"], "DeadlineExceeded");
    let early = job(json!({ "spec": { "activeDeadlineSeconds": 90 } }));
    assert_eq!(super::plan(&early, &members, now()).again, Some(Duration::from_secs(30)));

    let (suspended, plan) = pass(job(json!({ "spec": { "suspend": true } })), &mut members);
    assert_eq!(plan.delete.len(), 1);
    assert!(conditions::is_true(&suspended["status"], "Suspended"));
    assert!(suspended["status"].get("startTime").is_none());
    let mut resumed = suspended;
    resumed["spec"]["suspend"] = json!(false);
    let (resumed, plan) = pass(resumed, &mut members);
    assert_eq!(plan.create.len(), 1);
    assert_eq!(resumed["status"]["startTime"], "2026-01-01T01:00:00Z");
}

#[test]
fn indexed_jobs_complete_every_index_once() {
    let mut work =
        job(json!({ "spec": { "completions": 4, "parallelism": 3, "completionMode": "Indexed" } }));
    let indexed = |index: i64, phase: &str| {
        let mut pod = member(&format!("p{index}"), phase);
        meta::set_annotation(&mut pod, INDEX, Some(&index.to_string()));
        pod
    };
    let plan = super::plan(&work, &[], now());
    assert_eq!(plan.create, [Some(0), Some(1), Some(2)]);
    let mut members = vec![indexed(0, "Succeeded"), indexed(1, "Running"), indexed(2, "Succeeded")];
    (work, _) = pass(work, &mut members);
    assert_eq!(work["status"]["completedIndexes"], "0,2");
    let plan = super::plan(&work, &members, now());
    assert_eq!(plan.create, [Some(3)]);
    members[1] = indexed(1, "Succeeded");
    members.push(indexed(3, "Succeeded"));
    (work, _) = pass(work, &mut members);
    assert_eq!(
        (&work["status"]["completedIndexes"], &work["status"]["succeeded"]),
        (&json!("0-3"), &json!(4))
    );
    assert!(is_finished(&work));
    let pod = pod(&work, Some(2));
    assert_eq!(pod["spec"]["hostname"], "migrate-2");
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
}

#[test]
fn work_queues_end_with_their_last_pod() {
    let queue = job(json!({ "spec": { "completions": null, "parallelism": 3 } }));
    assert_eq!(super::plan(&queue, &[], now()).create.len(), 3);
    let mut members = vec![member("p1", "Succeeded"), member("p2", "Running")];
    let (queue, plan) = pass(queue, &mut members);
    assert!(plan.create.is_empty() && !is_finished(&queue));
    members[1] = member("p2", "Succeeded");
    let (queue, _) = pass(queue, &mut members);
    assert!(is_finished(&queue));
}

#[test]
fn finished_jobs_expire() {
    let mut done = job(json!({ "spec": { "ttlSecondsAfterFinished": 100 } }));
    assert_eq!(until_expiry(&done, now()), None);
    done["status"]["conditions"] =
        json!([{ "type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:59:00Z" }]);
    assert_eq!(until_expiry(&done, now()), Some(Duration::from_secs(40)));
}

#[test]
fn no_more_are_ready_than_active() {
    let scaled = job(json!({ "spec": { "completions": 4, "parallelism": 1 } }));
    let mut members = vec![running("p1", Some(60)), running("p2", Some(60)), running("p3", Some(60))];
    let (scaled, plan) = pass(scaled, &mut members);
    assert_eq!((plan.delete.len(), &scaled["status"]["ready"]), (2, &json!(1)));
}
