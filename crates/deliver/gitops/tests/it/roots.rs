//! A whole repository, unchanged, from its root: waffle-world, a chart that templates its own Application.

use client::dynamic::ListOptions;
use client::resource::APPLICATIONS;
use gitops::{BootstrapRequest, HealthGates, Settings, bootstrap};
use serde_json::{Value, json};
use test_kit::{Repository, eventually_async, shared};

use super::world::{SOON, World};

async fn all(world: &World) -> Vec<Value> {
    world.api(&APPLICATIONS).list(Some("argocd"), &ListOptions::all()).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread")]
async fn waffle_world_comes_up_from_its_root() {
    let repository = Repository::of(&shared("repos/waffle-world"));
    let world = World::new().await;
    world.place.serve_kinds(&[repository.path()]).await;
    let running = world.start(Settings { health_gates: HealthGates::Ignore, ..Settings::default() });
    let request = BootstrapRequest {
        repository: repository.path().display().to_string(),
        path: "apps".to_owned(),
        revision: None,
        answer_own_urls: true,
    };
    let made = bootstrap(&world.client, &world.repositories, &world.charts, request).await.unwrap();
    assert_eq!(made.created, ["argocd/autodeploy-app"]);
    world.synced("autodeploy-app").await;
    assert_eq!(all(&world).await.len(), 42);

    // Its namespaces are made by hand: each application names the one it waits for, and nothing else.
    let missing = eventually_async("what is missing is named", SOON, || async {
        let mut missing = std::collections::BTreeSet::new();
        for application in all(&world).await {
            if application["status"]["sync"]["status"] == "Synced" {
                continue;
            }
            let message = application["status"]["operationState"]["message"].as_str().unwrap_or_default();
            let namespace =
                message.strip_prefix("namespaces \"").and_then(|rest| rest.strip_suffix("\" not found"));
            let Some(namespace) = namespace else { return Err(application["status"].to_string()) };
            missing.insert(namespace.to_owned());
        }
        Ok(missing)
    })
    .await;
    assert!(!missing.is_empty());
    for namespace in missing {
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    }
    eventually_async("all applications are Synced", SOON, || async {
        let all = all(&world).await;
        let late = all.iter().find(|application| application["status"]["sync"]["status"] != "Synced");
        match late {
            None => Ok(()),
            Some(application) => {
                Err(format!("{} {}", application["metadata"]["name"], application["status"]))
            }
        }
    })
    .await;
    running.stop().await;
}
