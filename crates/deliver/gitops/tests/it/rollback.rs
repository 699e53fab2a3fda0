//! Operations that deploy something else than what is tracked.

use client::resource::{APPLICATIONS, CONFIG_MAPS};
use gitops::Settings;
use serde_json::{Value, json};

use super::world::{URL, World, config_map};

async fn ask(world: &World, name: &str, sync: Value) {
    let ask = json!({"operation": {"sync": sync, "initiatedBy": {"username": "somebody"}}});
    world.change(&APPLICATIONS, "argocd", name, ask).await;
}

async fn ended(world: &World, name: &str, phase: &str) -> Value {
    world
        .until(name, phase, |application| {
            application["operation"].is_null() && application["status"]["operationState"]["phase"] == phase
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_deploys_what_the_history_says_even_when_the_head_does_not_render() {
    let (world, repository) = World::with_files(&[("shop/a.yaml", &config_map("a", "one"))]).await;
    let running = world.start(Settings::default());
    world.application("shop", "shop", json!({"syncOptions": ["CreateNamespace=true"]})).await;
    world.until("shop", "compared", |application| application["status"]["sync"].is_object()).await;
    ask(&world, "shop", json!({})).await;
    ended(&world, "shop", "Succeeded").await;
    repository.write("shop/a.yaml", &config_map("a", "two"));
    repository.write("shop/b.yaml", &config_map("b", "two"));
    repository.commit("two");
    world.until("shop", "OutOfSync", |a| a["status"]["sync"]["status"] == "OutOfSync").await;
    ask(&world, "shop", json!({"prune": true})).await;
    let second = ended(&world, "shop", "Succeeded").await;
    let history = second["status"]["history"].as_array().unwrap().clone();
    assert_eq!(history.len(), 2, "{history:?}");
    repository.write("shop/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [");
    repository.commit("three");
    world.condition("shop", "ComparisonError", "").await;

    // What is tracked cannot be synced; what the history says can.
    ask(&world, "shop", json!({})).await;
    let failed = ended(&world, "shop", "Error").await;
    let message = failed["status"]["operationState"]["message"].as_str().unwrap();
    assert!(message.contains("c.yaml"), "{message}");
    let (revision, source) = (&history[0]["revision"], &history[0]["source"]);
    ask(&world, "shop", json!({"revision": revision, "source": source, "prune": true})).await;
    let back = ended(&world, "shop", "Succeeded").await;
    assert_eq!(back["status"]["operationState"]["syncResult"]["revision"], *revision);
    let last = back["status"]["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["revision"], &last["id"]), (revision, &json!(2)));
    let a = world.find(&CONFIG_MAPS, "shop", "a").await.unwrap();
    assert_eq!(a["data"]["key"], "one");
    let b = world.find(&CONFIG_MAPS, "shop", "b").await.unwrap();
    assert!(b["metadata"]["deletionTimestamp"].is_string(), "it was not there then, and goes: {b}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_name_revisions_sources_and_manifests() {
    let (world, repository) = World::with_files(&[
        ("shop/a.yaml", &config_map("a", "one")),
        ("other/a.yaml", &config_map("a", "other")),
    ])
    .await;
    let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    repository.write("shop/a.yaml", &config_map("a", "two"));
    repository.commit("two");
    let running = world.start(Settings::default());
    world
        .project(
            "team",
            json!({"sourceRepos": [URL], "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}),
        )
        .await;
    world
        .application_of(
            "shop",
            json!({"project": "team", "source": {"repoURL": URL, "path": "shop"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
        "syncPolicy": {"syncOptions": ["CreateNamespace=true"]}}),
        )
        .await;
    world.until("shop", "compared", |application| application["status"]["sync"].is_object()).await;
    let value = || async { world.find(&CONFIG_MAPS, "shop", "a").await.map(|a| a["data"]["key"].clone()) };
    ask(&world, "shop", json!({"revision": first})).await;
    ended(&world, "shop", "Succeeded").await;
    assert_eq!(value().await, Some(json!("one")));
    assert_eq!(world.app("shop").await["status"]["sync"]["status"], "OutOfSync");
    ask(&world, "shop", json!({"source": {"repoURL": URL, "path": "other"}})).await;
    ended(&world, "shop", "Succeeded").await;
    assert_eq!(value().await, Some(json!("other")));
    let local =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "local"}});
    ask(&world, "shop", json!({"manifests": [local.to_string()]})).await;
    ended(&world, "shop", "Succeeded").await;
    assert_eq!(value().await, Some(json!("local")));

    // Nothing that the project does not permit, and nothing that is not there.
    let refusals = [
        (
            json!({"source": {"repoURL": "https://git.example.org/x.git", "path": "p"}}),
            "is not permitted in project 'team'",
        ),
        (json!({"revision": "nothing"}), "unable to resolve 'nothing' to a commit SHA"),
    ];
    for (sync, reason) in refusals {
        ask(&world, "shop", sync).await;
        world
            .until("shop", reason, |application| {
                let state = &application["status"]["operationState"];
                state["phase"] == "Error" && state["message"].as_str().unwrap().contains(reason)
            })
            .await;
    }
    assert_eq!(value().await, Some(json!("local")));
    running.stop().await;
}
