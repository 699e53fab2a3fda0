//! Several clusters, registered by Secrets.

use base64::Engine as _;
use client::Key;
use client::resource::{APPLICATIONS, CONFIG_MAPS, SECRETS};
use gitops::Settings;
use serde_json::{Value, json};
use test_kit::{Cluster, Listening, eventually_async, free_port};

use super::world::{SOON, URL, World, automated, config_map};

/// What registers a cluster.
pub(crate) fn secret(name: &str, listening: &Listening) -> Value {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let tls = json!({
        "insecure": false,
        "caData": encode(&listening.authority),
        "certData": encode(&listening.certificate),
        "keyData": encode(&listening.key),
    });
    registered(name, &listening.url, &json!({"tlsClientConfig": tls}))
}

pub(crate) fn registered(name: &str, server: &str, config: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("cluster-{name}"), "namespace": "argocd",
            "labels": {"argocd.argoproj.io/secret-type": "cluster", "env": name}},
        "stringData": {"name": name, "server": server, "config": config.to_string()},
    })
}

fn spec(destination: Value) -> Value {
    json!({
        "project": "default",
        "source": {"repoURL": URL, "path": "shop", "targetRevision": "HEAD"},
        "destination": destination,
        "syncPolicy": automated(),
    })
}

async fn there(cluster: &Cluster, namespace: &str, name: &str) -> Option<Value> {
    client::Api::new(&cluster.admin(), &CONFIG_MAPS).find(&Key::namespaced(namespace, name)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_goes_to_the_cluster_it_names() {
    let map = config_map("one", "1");
    let (world, repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let stage = Cluster::start().await;
    let listening = stage.listen().await;
    let running = world.start(Settings::default());
    world.application_of("staged", spec(json!({"name": "stage", "namespace": "shop"}))).await;
    world.condition("staged", "InvalidSpecError", "there are no clusters with this name: stage").await;
    world.create(secret("stage", &listening)).await;
    let application = world.synced("staged").await;
    assert!(application["status"]["conditions"].is_null(), "{application}");
    assert_eq!(there(&stage, "shop", "one").await.unwrap()["data"]["key"], "1");
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none(), "not here");
    let text = application.to_string();
    assert!(!text.contains("PRIVATE KEY") && !text.contains("keyData"));

    // By server too, and beside it one that stays here.
    let server = format!("{}/", listening.url);
    world.application_of("served", spec(json!({"server": server, "namespace": "served"}))).await;
    world.application_of("here", spec(json!({"name": "in-cluster", "namespace": "shop"}))).await;
    world.synced("served").await;
    world.synced("here").await;
    assert!(there(&stage, "served", "one").await.is_some());
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_some());

    // Drift there is healed, a commit follows, a deletion cascades.
    let patch = client::dynamic::Patch::Merge(json!({"data": {"key": "edited"}}));
    let key = Key::namespaced("shop", "one");
    let api = client::Api::new(&stage.admin(), &CONFIG_MAPS);
    api.patch(&key, &patch, &client::dynamic::PatchOptions::manager("someone")).await.unwrap();
    let reached = |expected: &'static str| {
        let stage = stage.clone();
        async move {
            eventually_async("the map on the other cluster", SOON, || async {
                let map = there(&stage, "shop", "one").await;
                let key = map.as_ref().map_or(Value::Null, |map| map["data"]["key"].clone());
                if key == expected { Ok(()) } else { Err(key) }
            })
            .await;
        }
    };
    reached("1").await;
    repository.write("shop/one.yaml", &config_map("one", "2"));
    repository.commit("two");
    reached("2").await;
    let finalizer =
        json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io/background"]}});
    world.change(&APPLICATIONS, "argocd", "staged", finalizer).await;
    let key = Key::namespaced("argocd", "staged");
    world.api(&APPLICATIONS).delete(&key, &client::dynamic::DeleteOptions::default()).await.unwrap();
    world.object(&APPLICATIONS, "argocd", "staged", |object| object.is_none()).await;
    assert!(there(&stage, "shop", "one").await.is_none());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_stops_only_its_own_applications() {
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let running = world.start(Settings::default());
    let away = format!("https://127.0.0.1:{}", free_port());
    world.create(registered("away", &away, &json!({"bearerToken": "sesame"}))).await;
    for number in 0..12 {
        let destination = json!({"name": "away", "namespace": format!("shop-{number}")});
        world.application_of(&format!("away-{number}"), spec(destination)).await;
    }
    world.application("shop", "shop", automated()).await;
    world.synced("shop").await;
    let message = format!(
        "Failed to load live state: failed to get cluster info for \"{away}\": error synchronizing cache state : "
    );
    for number in 0..12 {
        let application = world.condition(&format!("away-{number}"), "ComparisonError", &message).await;
        assert_eq!(application["status"]["sync"]["status"], "Unknown");
        assert!(!application.to_string().contains("sesame"));
    }
    // It comes: another Secret for the same name.
    let stage = Cluster::start().await;
    let listening = stage.listen().await;
    let there = secret("away", &listening);
    world.change(&SECRETS, "argocd", "cluster-away", json!({"stringData": there["stringData"]})).await;
    world.synced("away-0").await;
    world.synced("away-11").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_says_why() {
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let running = world.start(Settings::default());
    let server = "https://127.0.0.1:1";
    world.create(registered("eks", server, &json!({"awsAuthConfig": {"clusterName": "x"}}))).await;
    world.application_of("eks", spec(json!({"name": "eks", "namespace": "shop"}))).await;
    world
        .condition("eks", "InvalidSpecError", "cluster \"eks\": config.awsAuthConfig is not supported")
        .await;
    world.application_of("both", spec(json!({"name": "eks", "server": server, "namespace": "shop"}))).await;
    world
        .condition(
            "both",
            "InvalidSpecError",
            "application destination can't have both name and server defined",
        )
        .await;
    world
        .application_of("unknown", spec(json!({"server": "https://nowhere:6443", "namespace": "shop"})))
        .await;
    world.condition("unknown", "InvalidSpecError", "cluster \"https://nowhere:6443\" not found").await;
    world.application_of("none", spec(json!({"namespace": "shop"}))).await;
    world.condition("none", "InvalidSpecError", "Destination server missing from app spec").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_may_be_managed_by_namespaces() {
    let map = config_map("one", "1");
    let elsewhere = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: far, namespace: other}\n";
    let (world, _repository) =
        World::with_files(&[("shop/one.yaml", &map), ("far/far.yaml", elsewhere)]).await;
    let stage = Cluster::start().await;
    let listening = stage.listen().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    client::Api::new(&stage.admin(), &client::resource::NAMESPACES).create(&namespace).await.unwrap();
    let mut secret = secret("stage", &listening);
    secret["stringData"]["namespaces"] = "shop, prod".into();
    let running = world.start(Settings::default());
    world.create(secret).await;
    world.application_of("shop", spec(json!({"name": "stage", "namespace": "shop"}))).await;
    world.synced("shop").await;
    let mut far = spec(json!({"name": "stage", "namespace": "shop"}));
    far["source"]["path"] = "far".into();
    world.application_of("far", far).await;
    world
        .until("far", "refused", |application| {
            let message = application["status"]["operationState"]["message"].as_str().unwrap_or_default();
            message.contains("Namespace \"other\" for ConfigMap \"far\" is not managed")
        })
        .await;
    running.stop().await;
}
