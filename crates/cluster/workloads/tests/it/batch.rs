use client::conditions;
use client::dynamic::DeleteOptions;
use client::resource::{CRON_JOBS, DAEMON_SETS, JOBS, PODS};
use serde_json::{Value, json};

use crate::world::{World, key, template};

fn job(behave: &str, extra: Value) -> Value {
    let mut template = template("job", behave);
    template["spec"]["restartPolicy"] = json!("Never");
    let mut job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "job", "namespace": "a" },
        "spec": { "template": template } });
    objects::patch::merge(&mut job, &extra);
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_to_its_end() {
    let world = World::start().await;
    world.create(&JOBS, job("succeed", json!({ "spec": { "completions": 4, "parallelism": 2 } }))).await;
    let done = world.until(&JOBS, "job", "complete", |j| conditions::is_true(&j["status"], "Complete")).await;
    assert_eq!(done["status"]["succeeded"], 4);
    assert!(done["status"].get("active").is_none());
    assert_eq!(world.list(&PODS).await.len(), 4);
    // Nothing of the count holds a finished Pod back.
    world.api(&JOBS).delete(&key("job"), &DeleteOptions::background()).await.unwrap();
    world.until_list(&PODS, "no pods", <[Value]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_job_gives_up_and_expires() {
    let world = World::start().await;
    world
        .create(&JOBS, job("fail", json!({ "spec": { "backoffLimit": 0, "ttlSecondsAfterFinished": 1 } })))
        .await;
    let failed = world.until(&JOBS, "job", "failed", |j| conditions::is_true(&j["status"], "Failed")).await;
    assert_eq!(conditions::find(&failed["status"], "Failed").unwrap()["reason"], "BackoffLimitExceeded");
    assert_eq!(failed["status"]["failed"], 1);
    world.until_gone(&JOBS, "job").await;
    world.until_list(&PODS, "no pods", <[Value]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_makes_jobs_at_its_times() {
    let world = World::start().await;
    let template = job("succeed", json!({}))["spec"].clone();
    let cron_job = json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "tick", "namespace": "a" },
        "spec": { "schedule": "@every 1s", "successfulJobsHistoryLimit": 1, "jobTemplate": { "spec": template } } });
    world.create(&CRON_JOBS, cron_job).await;
    world.until(&CRON_JOBS, "tick", "a success", |c| c["status"]["lastSuccessfulTime"].is_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_runs_on_the_node_and_is_updated() {
    let world = World::start().await;
    let set = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "agent", "namespace": "a" },
        "spec": { "selector": { "matchLabels": { "app": "agent" } }, "template": template("agent", "") } });
    world.create(&DAEMON_SETS, set).await;
    let available = |s: &Value| {
        s["status"]["numberAvailable"] == 1
            && s["status"]["updatedNumberScheduled"] == 1
            && s["status"]["observedGeneration"] == s["metadata"]["generation"]
    };
    world.until(&DAEMON_SETS, "agent", "available", available).await;
    let change = json!({ "spec": { "template": { "metadata": { "annotations": { "v": "2" } } } } });
    world.patch(&DAEMON_SETS, "agent", change).await;
    world.until(&DAEMON_SETS, "agent", "updated", available).await;
    let pods = world.until_list(&PODS, "one pod", |pods| pods.len() == 1).await;
    assert_eq!(pods[0]["metadata"]["annotations"]["v"], "2");
}
