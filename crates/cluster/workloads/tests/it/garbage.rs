use client::ResourceType;
use client::dynamic::{DeleteOptions, Propagation};
use client::resource::{CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, PODS, REPLICA_SETS};
use objects::meta::{self, OwnerReference};
use serde_json::{Value, json};

use crate::world::{World, key, template};

fn config_map(name: &str, owner: Option<&Value>) -> Value {
    let owners: Vec<Value> =
        owner.map(|owner| OwnerReference::controller(owner).to_value()).into_iter().collect();
    json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "a", "ownerReferences": owners } })
}

fn options(propagation: Propagation) -> DeleteOptions {
    DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_deployment_takes_everything_below_along() {
    let world = World::start().await;
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "a" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", "") } });
    for propagation in [Propagation::Background, Propagation::Foreground] {
        world.create(&DEPLOYMENTS, deployment.clone()).await;
        world.until(&DEPLOYMENTS, "web", "available", |d| d["status"]["availableReplicas"] == 2).await;
        world.api(&DEPLOYMENTS).delete(&key("web"), &options(propagation)).await.unwrap();
        world.until_gone(&DEPLOYMENTS, "web").await;
        if propagation == Propagation::Foreground {
            assert!(world.list(&REPLICA_SETS).await.is_empty(), "the owner went before what blocks it");
        }
        world.until_list(&REPLICA_SETS, "no replica sets", <[Value]>::is_empty).await;
        world.until_list(&PODS, "no pods", <[Value]>::is_empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_and_are_adopted_again() {
    let world = World::start().await;
    let set = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "web", "namespace": "a" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", "") } });
    let ready = |s: &Value| s["status"]["readyReplicas"] == 2;
    world.create(&REPLICA_SETS, set.clone()).await;
    world.until(&REPLICA_SETS, "web", "ready", ready).await;
    let before: Vec<String> = world.list(&PODS).await.iter().map(|p| meta::uid(p).to_owned()).collect();
    world.api(&REPLICA_SETS).delete(&key("web"), &options(Propagation::Orphan)).await.unwrap();
    world.until_gone(&REPLICA_SETS, "web").await;
    let free =
        |pods: &[Value]| pods.len() == 2 && pods.iter().all(|pod| meta::owner_references(pod).is_empty());
    world.until_list(&PODS, "free pods", free).await;
    world.create(&REPLICA_SETS, set).await;
    world.until(&REPLICA_SETS, "web", "ready again", ready).await;
    let after: Vec<String> = world.list(&PODS).await.iter().map(|p| meta::uid(p).to_owned()).collect();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_with_their_last_owner_only() {
    let world = World::start().await;
    let one = world.create(&CONFIG_MAPS, config_map("one", None)).await;
    let two = world.create(&CONFIG_MAPS, config_map("two", None)).await;
    let mut shared = config_map("shared", Some(&one));
    let second = OwnerReference::to(&two).to_value();
    shared["metadata"]["ownerReferences"].as_array_mut().unwrap().push(second);
    world.create(&CONFIG_MAPS, shared).await;
    world.create(&CONFIG_MAPS, config_map("only-one", Some(&one))).await;
    world.api(&CONFIG_MAPS).delete(&key("one"), &DeleteOptions::background()).await.unwrap();
    world.until_gone(&CONFIG_MAPS, "only-one").await;
    let left = world
        .until(&CONFIG_MAPS, "shared", "one owner", |object| meta::owner_references(object).len() == 1)
        .await;
    assert_eq!(meta::owner_references(&left)[0].name, "two");
    world.api(&CONFIG_MAPS).delete(&key("two"), &DeleteOptions::background()).await.unwrap();
    world.until_gone(&CONFIG_MAPS, "shared").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_own_and_are_owned() {
    let world = World::start().await;
    let crd = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": { "group": "example.com", "scope": "Namespaced", "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] } });
    world.create(&CUSTOM_RESOURCE_DEFINITIONS, crd).await;
    let established = |c: &Value| client::conditions::is_true(&c["status"], "Established");
    world.until(&CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com", "established", established).await;
    let widgets = ResourceType::namespaced("example.com", "v1", "Widget", "widgets");
    let widget = |name: &str, owner: Option<&Value>| {
        let mut object = config_map(name, owner);
        object["apiVersion"] = json!("example.com/v1");
        object["kind"] = json!("Widget");
        object
    };
    let top = world.create(&CONFIG_MAPS, config_map("top", None)).await;
    let middle = world.create(&widgets, widget("middle", Some(&top))).await;
    world.create(&CONFIG_MAPS, config_map("bottom", Some(&middle))).await;
    world.api(&CONFIG_MAPS).delete(&key("top"), &DeleteOptions::background()).await.unwrap();
    world.until_gone(&widgets, "middle").await;
    world.until_gone(&CONFIG_MAPS, "bottom").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_made_for_an_owner_that_never_was_is_collected() {
    let world = World::start().await;
    let ghost = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "ghost", "uid": "8f9c8a50-0000-4000-8000-000000000000" } });
    world.create(&CONFIG_MAPS, config_map("child", Some(&ghost))).await;
    world.until_gone(&CONFIG_MAPS, "child").await;
}
