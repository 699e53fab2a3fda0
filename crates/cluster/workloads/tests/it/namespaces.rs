use client::Key;
use client::conditions;
use client::dynamic::DeleteOptions;
use client::resource::{CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, ROLLOUTS, SECRETS, SERVICE_ACCOUNTS};
use serde_json::{Value, json};

use crate::world::{World, template};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_emptied_before_it_goes() {
    let world = World::start().await;
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "a" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", "") } });
    world.create(&DEPLOYMENTS, deployment).await;
    world.until(&DEPLOYMENTS, "web", "available", |d| d["status"]["availableReplicas"] == 2).await;
    // A kind served from a definition: deletion has to come to it through discovery.
    let rollout = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "r", "namespace": "a" },
        "spec": {} });
    world.create(&ROLLOUTS, rollout).await;
    let held = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "held", "namespace": "a", "finalizers": ["example.com/hold"] } });
    world.create(&CONFIG_MAPS, held).await;
    world.api(&NAMESPACES).delete(&Key::cluster("a"), &DeleteOptions::background()).await.unwrap();
    let waiting = world
        .until(&NAMESPACES, "a", "only the held object left", |n| {
            conditions::find(&n["status"], "NamespaceFinalizersRemaining").is_some_and(|c| {
                c["message"].as_str().is_some_and(|m| m.contains("example.com/hold in 1 resource instances"))
            })
        })
        .await;
    assert_eq!(waiting["status"]["phase"], "Terminating");
    assert!(conditions::is_true(&waiting["status"], "NamespaceContentRemaining"));
    let refused =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "late", "namespace": "a" } });
    assert!(world.api(&CONFIG_MAPS).create(&refused).await.unwrap_err().is_namespace_terminating());
    world.patch(&CONFIG_MAPS, "held", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone(&NAMESPACES, "a").await;
    for resource in [&PODS, &DEPLOYMENTS, &ROLLOUTS, &CONFIG_MAPS, &SERVICE_ACCOUNTS] {
        assert!(world.list(resource).await.is_empty(), "{resource} were left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_get_an_account_a_certificate_and_tokens() {
    let world = World::start().await;
    world.until(&SERVICE_ACCOUNTS, "default", "made", |_| true).await;
    let certified = |c: &Value| c["data"]["ca.crt"] == "the certificate";
    world.until(&CONFIG_MAPS, "kube-root-ca.crt", "the certificate", certified).await;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": "token", "namespace": "a", "annotations": { "kubernetes.io/service-account.name": "robot" } } });
    world.create(&SECRETS, secret).await;
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "robot", "namespace": "a" } });
    world.create(&SERVICE_ACCOUNTS, account).await;
    let filled = world.until(&SECRETS, "token", "filled", |s| s["data"]["token"].is_string()).await;
    assert!(filled["data"]["ca.crt"].is_string());
    assert!(filled["data"]["namespace"].is_string());
    world
        .api(&SERVICE_ACCOUNTS)
        .delete(&crate::world::key("robot"), &DeleteOptions::background())
        .await
        .unwrap();
    world.until_gone(&SECRETS, "token").await;
}
