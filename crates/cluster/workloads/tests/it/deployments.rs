use client::conditions;
use client::dynamic::ListOptions;
use client::resource::{DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS};
use objects::meta;
use serde_json::{Value, json};

use crate::world::{World, template};

fn deployment(replicas: i64) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "a" },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", "") } })
}

fn complete(deployment: &Value) -> bool {
    let status = &deployment["status"];
    let progressing = conditions::find(status, "Progressing");
    status["observedGeneration"].as_i64() == Some(meta::generation(deployment))
        && progressing.is_some_and(|condition| condition["reason"] == "NewReplicaSetAvailable")
        && status["updatedReplicas"] == deployment["spec"]["replicas"]
        && status["replicas"] == deployment["spec"]["replicas"]
        && status["availableReplicas"] == deployment["spec"]["replicas"]
}

fn revision(object: &Value) -> &str {
    meta::annotation(object, "deployment.kubernetes.io/revision").unwrap_or("")
}

fn image(tag: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": format!("example.com/image:{tag}") }] } } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_forward_and_back() {
    let world = World::start().await;
    world.create(&DEPLOYMENTS, deployment(3)).await;
    let first = world.until(&DEPLOYMENTS, "web", "complete", complete).await;
    assert_eq!(revision(&first), "1");
    assert!(conditions::is_true(&first["status"], "Available"));
    let sets = world.list(&REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    let hash = meta::label(&sets[0], "pod-template-hash").unwrap();
    assert_eq!(meta::name(&sets[0]), format!("web-{hash}"));
    assert!(world.list(&PODS).await.iter().all(|pod| meta::label(pod, "pod-template-hash") == Some(hash)));

    world.patch(&DEPLOYMENTS, "web", image("2")).await;
    let second = world
        .until(&DEPLOYMENTS, "web", "complete at revision 2", |d| complete(d) && revision(d) == "2")
        .await;
    assert_eq!(second["status"]["replicas"], 3);
    world.patch(&DEPLOYMENTS, "web", image("1")).await;
    // `kubectl rollout undo` writes the old template back: the old set is used again, under the highest revision.
    world.until(&DEPLOYMENTS, "web", "complete at revision 3", |d| complete(d) && revision(d) == "3").await;
    let sets = world.list(&REPLICA_SETS).await;
    let mut seen: Vec<(&str, i64)> =
        sets.iter().map(|set| (revision(set), set["spec"]["replicas"].as_i64().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("2", 0), ("3", 3)]);
    let reused = sets.iter().find(|set| revision(set) == "3").unwrap();
    assert_eq!(meta::annotation(reused, "deployment.kubernetes.io/revision-history"), Some("1"));

    let events = world.list(&EVENTS).await;
    assert!(events.iter().any(|event| event["reason"] == "ScalingReplicaSet"
        && event["message"].as_str().unwrap().ends_with("from 0 to 3")));
    let pods = world.api(&PODS).list(Some("a"), &ListOptions::all()).await.unwrap().items;
    assert!(pods.iter().all(|pod| pod["spec"]["nodeName"] == "node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_leaves_the_good_one_serving() {
    let world = World::start().await;
    world.create(&DEPLOYMENTS, deployment(4)).await;
    world.until(&DEPLOYMENTS, "web", "complete", complete).await;
    let bad = json!({ "spec": { "progressDeadlineSeconds": 1, "template": { "metadata": { "labels": { "behave": "unready" } } } } });
    world.patch(&DEPLOYMENTS, "web", bad).await;
    let stuck = world
        .until(&DEPLOYMENTS, "web", "timed out", |d| {
            conditions::find(&d["status"], "Progressing")
                .is_some_and(|c| c["reason"] == "ProgressDeadlineExceeded")
        })
        .await;
    assert!(stuck["status"]["availableReplicas"].as_i64().unwrap() >= 3);
    assert!(conditions::is_true(&stuck["status"], "Available"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_and_pausing() {
    let world = World::start().await;
    world.create(&DEPLOYMENTS, deployment(2)).await;
    world.until(&DEPLOYMENTS, "web", "complete", complete).await;
    world.api(&DEPLOYMENTS).scale(&crate::world::key("web"), 5).await.unwrap();
    world.until(&DEPLOYMENTS, "web", "scaled", |d| complete(d) && d["status"]["replicas"] == 5).await;
    let mut pause = image("2");
    pause["spec"]["paused"] = json!(true);
    world.patch(&DEPLOYMENTS, "web", pause).await;
    world
        .until(&DEPLOYMENTS, "web", "paused", |d| {
            d["status"]["observedGeneration"].as_i64() == Some(meta::generation(d))
                && conditions::find(&d["status"], "Progressing")
                    .is_some_and(|c| c["reason"] == "DeploymentPaused")
        })
        .await;
    assert_eq!(world.list(&REPLICA_SETS).await.len(), 1);
    world.patch(&DEPLOYMENTS, "web", json!({ "spec": { "paused": false } })).await;
    world.until(&DEPLOYMENTS, "web", "resumed", |d| complete(d) && revision(d) == "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recreate_never_mixes_versions() {
    let world = World::start().await;
    let mut object = deployment(2);
    object["spec"]["strategy"] = json!({ "type": "Recreate" });
    world.create(&DEPLOYMENTS, object).await;
    world.until(&DEPLOYMENTS, "web", "complete", complete).await;
    world.patch(&DEPLOYMENTS, "web", image("2")).await;
    world.until(&DEPLOYMENTS, "web", "complete", |d| complete(d) && revision(d) == "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_says_so_and_starts_when_it_does() {
    let world = World::start().await;
    let mut object = deployment(1);
    object["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({ "requests": { "cpu": "100" } });
    world.create(&DEPLOYMENTS, object).await;
    let pending = |pods: &[Value]| {
        pods.first().is_some_and(|pod| conditions::find(&pod["status"], "PodScheduled").is_some())
    };
    let pods = world.until_list(&PODS, "an unschedulable pod", pending).await;
    let condition = conditions::find(&pods[0]["status"], "PodScheduled").unwrap();
    assert_eq!(condition["reason"], "Unschedulable");
    assert_eq!(condition["message"], "0/1 nodes are available: 1 Insufficient cpu.");
    let failed = |events: &[Value]| events.iter().any(|event| event["reason"] == "FailedScheduling");
    world.until_list(&EVENTS, "a FailedScheduling event", failed).await;
    let room = json!({ "allocatable": { "cpu": "128", "memory": "4Gi", "pods": "110" } });
    let node = client::Key::cluster("node");
    world.api(&client::resource::NODES).patch_status(&node, room).await.unwrap();
    world.until(&DEPLOYMENTS, "web", "complete", complete).await;
}
