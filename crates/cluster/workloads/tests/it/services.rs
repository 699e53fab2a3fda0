use client::dynamic::DeleteOptions;
use client::resource::{DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES};
use serde_json::{Value, json};

use crate::world::{World, key, template};

fn ready(slices: &[Value]) -> usize {
    slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_follow_pods_and_services() {
    let world = World::start().await;
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "a" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": "http" }] } });
    world.create(&SERVICES, service).await;
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "a" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", "") } });
    world.create(&DEPLOYMENTS, deployment).await;
    let slices = world.until_list(&ENDPOINT_SLICES, "two endpoints", |s| ready(s) == 2).await;
    assert_eq!(slices[0]["ports"][0]["port"], 8080);
    world
        .until(&ENDPOINTS, "web", "two addresses", |e| {
            e["subsets"][0]["addresses"].as_array().is_some_and(|list| list.len() == 2)
        })
        .await;
    // A Pod that loses the label leaves at once, although it is still there and ready.
    let pods = world.list(&PODS).await;
    let name = objects::meta::name(&pods[0]);
    world.patch(&PODS, name, json!({ "metadata": { "labels": { "app": "other" } } })).await;
    let left = |s: &[Value]| {
        !s.iter().any(|slice| {
            slice["endpoints"].as_array().into_iter().flatten().any(|e| e["targetRef"]["name"] == name)
        })
    };
    world.until_list(&ENDPOINT_SLICES, "the pod left", left).await;
    world.api(&SERVICES).delete(&key("web"), &DeleteOptions::background()).await.unwrap();
    world.until_list(&ENDPOINT_SLICES, "no slices", <[Value]>::is_empty).await;
    world.until_gone(&ENDPOINTS, "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_others_are_left_alone() {
    let world = World::start().await;
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "outside", "namespace": "a" },
        "spec": { "ports": [{ "port": 80 }] } });
    world.create(&SERVICES, service).await;
    let endpoints = json!({ "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": "outside", "namespace": "a" },
        "subsets": [{ "addresses": [{ "ip": "192.0.2.1" }], "ports": [{ "port": 80 }] }] });
    world.create(&ENDPOINTS, endpoints.clone()).await;
    // Another Service that is handled shows that the one without a selector had its turn.
    let handled = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "handled", "namespace": "a" },
        "spec": { "selector": { "app": "x" }, "ports": [{ "port": 80 }] } });
    world.create(&SERVICES, handled).await;
    world.until(&ENDPOINTS, "handled", "made", |_| true).await;
    let kept = world.until(&ENDPOINTS, "outside", "there", |_| true).await;
    assert_eq!(kept["subsets"][0]["addresses"], endpoints["subsets"][0]["addresses"]);
}
