//! The CheckMate repository, unchanged, on the API server without a node.

use std::time::Duration;

use client::resource::{APPLICATIONS, DEPLOYMENTS};
use gitops::{BootstrapRequest, HealthGates, Settings, bootstrap};
use serde_json::json;
use test_kit::{Repository, eventually_async, shared};

use super::world::{SOON, World};

const ROOT: &str = "checkmate-dev";
const CHARTS: [&str; 6] = ["gateway", "user", "community", "study", "store", "eureka"];
const REMOTE: [&str; 4] = ["cert-manager", "trust-manager", "linkerd-control-plane", "linkerd-viz"];

/// A real server serves what a new definition defines only after a moment, and charts are rendered again then.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn comes_up_from_its_root() {
    let repository = Repository::of(&shared("repos/checkmate-kubernetes"));
    let world = World::new().await;
    world.place.serve_kinds(&[repository.path()]).await;
    let controller = world.start(Settings { health_gates: HealthGates::Ignore, ..Settings::default() });
    let request = BootstrapRequest {
        repository: repository.path().display().to_string(),
        path: "applications/dev".to_owned(),
        revision: None,
        answer_own_urls: true,
    };
    let made = bootstrap(&world.client, &world.repositories, &world.charts, request).await.unwrap();
    assert!(made.contains_itself);
    assert_eq!(made.created, [format!("argocd/{ROOT}")]);
    let urls: Vec<_> = made.mappings.iter().map(|mapping| mapping.url.as_str()).collect();
    assert!(urls.contains(&"https://github.com/checkMateit/checkmate-kubernetes.git"), "{urls:?}");

    // The ServiceProfiles of wave 20 go into namespaces that child applications create meanwhile.
    let root = world
        .until(ROOT, "nothing but one namespace is missing", |application| {
            application["status"]["operationState"]["message"] == "namespaces \"jenkins\" not found"
        })
        .await;
    let status = &root["status"];
    assert_eq!(status["sync"]["status"], "OutOfSync");
    assert_eq!(status["operationState"]["phase"], "Failed");
    let out_of_sync: Vec<_> = status["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|resource| resource["status"] != "Synced")
        .map(|resource| (resource["kind"].as_str().unwrap(), resource["namespace"].as_str().unwrap()))
        .collect();
    assert_eq!(out_of_sync, [("Ingress", "jenkins")]);
    let results = status["operationState"]["syncResult"]["resources"].as_array().unwrap();
    let failed: Vec<_> = results.iter().filter(|result| result["status"] == "SyncFailed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["message"], "namespaces \"jenkins\" not found");
    // Not by the results: where a namespace came late, another sync than the last one did it.
    let resources = status["resources"].as_array().unwrap();
    let profiles = resources.iter().filter(|resource| resource["kind"] == "ServiceProfile");
    assert_eq!(profiles.count(), 4, "wave 20 was applied");
    let applications =
        world.api(&APPLICATIONS).list(Some("argocd"), &client::dynamic::ListOptions::all()).await.unwrap();
    assert_eq!(applications.items.len(), 14);

    for name in ["linkerd-crds", "linkerd-certs"].into_iter().chain(CHARTS) {
        world.synced(name).await;
    }
    for name in REMOTE {
        let application = world
            .until(name, "a condition", |application| application["status"]["conditions"].is_array())
            .await;
        let condition = &application["status"]["conditions"][0];
        assert_eq!(condition["type"], "ComparisonError");
        let url = application["spec"]["source"]["repoURL"].as_str().unwrap();
        let message = condition["message"].as_str().unwrap();
        let prefix = "Failed to load target state: failed to generate manifest for source 1 of 1: ";
        assert!(message.starts_with(&format!("{prefix}{url} is unreachable: ")), "{message}");
    }

    // The missing namespace appears.
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jenkins"}})).await;
    let root = world.synced(ROOT).await;
    assert!(root["status"]["conditions"].is_null(), "{}", root["status"]["conditions"]);
    assert_eq!(root["status"]["summary"]["isAppOfApps"], true);

    // The vendored umbrella chart is large; whatever comes of it, nothing waited for it.
    world.until("monitoring", "a status", |application| application["status"]["sync"].is_object()).await;

    // Once everything is as it should, nothing is written any more.
    let settled = eventually_async("no more passes", SOON, || async {
        let before = controller.metrics.counts();
        // Not a guess at a duration: the state waited for is "nothing happens for this long".
        tokio::time::sleep(QUIET).await;
        let after = controller.metrics.counts();
        if before == after { Ok(after) } else { Err((before, after)) }
    })
    .await;

    // A saved file of a child's chart, then a file removed from the root.
    let path = "charts/gateway/.argocd-source-gateway.yaml";
    let text = std::fs::read_to_string(repository.path().join(path)).unwrap();
    repository.write(path, &text.replace("\"7\"", "\"8\""));
    repository.commit("update gateway");
    let gvk = client::resource::ROLLOUTS;
    world
        .object(&gvk, "gateway", "gateway", |rollout| {
            rollout.is_some_and(|rollout| {
                rollout.pointer("/spec/template/spec/containers/0/image").and_then(serde_json::Value::as_str)
                    == Some("ghcr.io/checkmateit/checkmate-gateway:8")
            })
        })
        .await;
    world.synced("gateway").await;
    let after = controller.metrics.counts();
    assert_eq!(after.renders - settled.renders, 1, "{settled:?} {after:?}");

    let redis = "applications/dev/data/redis.yaml";
    std::fs::remove_file(repository.path().join(redis)).unwrap();
    repository.commit("remove redis");
    world
        .object(&DEPLOYMENTS, "data", "redis", |deployment| {
            deployment.is_none_or(|deployment| deployment["metadata"]["deletionTimestamp"].is_string())
        })
        .await;
}
