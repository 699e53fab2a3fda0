//! From a commit to the cluster and back.

use client::resource::{CONFIG_MAPS, NAMESPACES};
use gitops::{BootstrapRequest, Settings, bootstrap};
use serde_json::json;

use super::place;
use super::world::{SOON, World, automated, config_map};

#[tokio::test(flavor = "multi_thread")]
async fn commits_drift_and_removals_are_followed() {
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let (world, repository) = World::with_files(&[("shop/one.yaml", &one), ("shop/two.yaml", &two)]).await;
    let controller = world.start(Settings::default());
    let mut policy = automated();
    // Nobody here collects what foreground deletion leaves.
    policy["syncOptions"] = json!(["CreateNamespace=true", "PrunePropagationPolicy=background"]);
    world.application("shop", "shop", policy).await;

    let application = world.synced("shop").await;
    let status = &application["status"];
    let head = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!(status["sync"]["revision"], head.as_str());
    assert_eq!(status["health"]["status"], "Healthy");
    assert_eq!(status["sourceType"], "Directory");
    assert_eq!(status["operationState"]["phase"], "Succeeded");
    assert_eq!(status["operationState"]["message"], "successfully synced (all tasks run)");
    assert_eq!(status["operationState"]["operation"]["initiatedBy"]["automated"], true);
    assert_eq!(status["history"].as_array().unwrap().len(), 1);
    assert_eq!(status["history"][0]["revision"], head.as_str());
    assert_eq!(status["resources"].as_array().unwrap().len(), 2);
    assert!(status["reconciledAt"].is_string() && status["conditions"].is_null(), "{status}");
    assert!(world.find(&NAMESPACES, "", "shop").await.is_some());
    let live = world.find(&CONFIG_MAPS, "shop", "one").await.unwrap();
    let annotations = &live["metadata"]["annotations"];
    assert_eq!(annotations["argocd.argoproj.io/tracking-id"], "shop:/ConfigMap:shop/one");
    assert!(
        annotations["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap().ends_with('\n')
    );
    assert_eq!(live["metadata"]["managedFields"][0]["manager"], "argocd-controller");

    // A commit.
    repository.write("shop/one.yaml", &config_map("one", "2"));
    let second = repository.commit("change");
    world.object(&CONFIG_MAPS, "shop", "one", |map| map.is_some_and(|map| map["data"]["key"] == "2")).await;
    let application = world
        .until("shop", "history of the second revision", |application| {
            application["status"]["history"][1]["revision"] == second.as_str()
        })
        .await;
    assert_eq!(application["status"]["history"][1]["id"], 1);

    // Drift.
    world.change(&CONFIG_MAPS, "shop", "two", json!({"data": {"key": "edited", "foreign": "stays"}})).await;
    let healed = world
        .object(&CONFIG_MAPS, "shop", "two", |map| map.is_some_and(|map| map["data"]["key"] == "1"))
        .await
        .unwrap();
    assert_eq!(healed["data"]["foreign"], "stays", "what Git does not mention is another's");
    let application = world
        .until("shop", "healed", |application| {
            let status = &application["status"];
            let healed = &status["operationState"]["operation"]["sync"]["resources"][0]["name"];
            healed == "two" && status["sync"]["status"] == "Synced"
        })
        .await;
    assert_eq!(application["status"]["history"].as_array().unwrap().len(), 2, "healing writes no history");

    // Removal.
    std::fs::remove_file(repository.path().join("shop/two.yaml")).unwrap();
    repository.commit("remove");
    world.object(&CONFIG_MAPS, "shop", "two", |map| map.is_none()).await;
    world
        .until("shop", "one resource", |application| {
            let status = &application["status"];
            status["resources"].as_array().is_some_and(|list| list.len() == 1)
                && status["operationState"]["phase"] == "Succeeded"
        })
        .await;

    // Asking for a refresh is answered and changes nothing.
    let before = controller.metrics.counts();
    let version =
        world.find(&CONFIG_MAPS, "shop", "one").await.unwrap()["metadata"]["resourceVersion"].clone();
    let annotation = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}});
    world.change(&client::resource::APPLICATIONS, "argocd", "shop", annotation).await;
    world
        .until("shop", "refreshed", |application| {
            application["metadata"]["annotations"]["argocd.argoproj.io/refresh"].is_null()
        })
        .await;
    let after = controller.metrics.counts();
    assert_eq!((after.applies, after.syncs), (before.applies, before.syncs));
    assert_eq!(
        world.find(&CONFIG_MAPS, "shop", "one").await.unwrap()["metadata"]["resourceVersion"],
        version
    );
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_follows_change() {
    let map = config_map("one", "1");
    let (world, repository) = World::with_files(&[("a/one.yaml", &map), ("b/one.yaml", &map)]).await;
    let controller = world.start(Settings::default());
    world.application("a", "a", automated()).await;
    world.application("b", "b", automated()).await;
    world.synced("a").await;
    world.synced("b").await;
    let before = controller.metrics.counts();

    repository.write("a/one.yaml", &config_map("one", "2"));
    let revision = repository.commit("only a");
    for name in ["a", "b"] {
        world
            .until(name, "the new revision", |application| {
                let status = &application["status"];
                status["sync"]["revision"] == revision.as_str() && status["sync"]["status"] == "Synced"
            })
            .await;
    }
    world.object(&CONFIG_MAPS, "a", "one", |map| map.is_some_and(|map| map["data"]["key"] == "2")).await;
    let after = controller.metrics.counts();
    assert_eq!(after.renders - before.renders, 1, "one application changed: {before:?} {after:?}");
    assert_eq!(after.applies - before.applies, 1, "{before:?} {after:?}");
    assert_eq!(after.syncs - before.syncs, 1, "{before:?} {after:?}");
}

/// As the chart of an older Argo CD brings it, beside a status field that came later.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_definition_of_applications_prunes_is_not_told_for_ever() {
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web:1}]}\n";
    let (world, _repository) = World::with_files(&[("shop/web.yaml", pod)]).await;
    let mut definition = gitops::definitions().remove(0);
    let without_images = json!({"type": "object", "properties": {"externalURLs": {
        "type": "array", "items": {"type": "string"},
    }}});
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = json!({
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"summary": without_images}},
    });
    place::define(&world.client, &definition).await;
    let controller = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    let application = world.synced("shop").await;
    assert_eq!(application["status"]["summary"], json!({}), "the server prunes it");

    let looked_at_again = async |label: u32| {
        let before = controller.metrics.counts().passes;
        let change = json!({"metadata": {"labels": {"looked-at": label.to_string()}}});
        world.change(&client::resource::APPLICATIONS, "argocd", "shop", change).await;
        test_kit::eventually_async("another pass", SOON, || async {
            let passes = controller.metrics.counts().passes;
            if passes > before { Ok(()) } else { Err(passes.to_string()) }
        })
        .await;
    };
    // It is told once more, to see that nothing of it is kept.
    for label in 0..3 {
        looked_at_again(label).await;
    }
    let before = controller.metrics.counts();
    let told = world.app("shop").await["status"].clone();
    for label in 3..8 {
        looked_at_again(label).await;
    }
    assert_eq!(controller.metrics.counts().status_writes, before.status_writes);
    assert_eq!(world.app("shop").await["status"], told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_application_holds_up_nobody_and_says_why() {
    let map = config_map("one", "1");
    let (world, repository) = World::with_files(&[
        ("good/one.yaml", &map),
        ("base/kustomization.yaml", "resources: [one.yaml]\n"),
        ("base/one.yaml", &map),
        ("kustomized/kustomization.yaml", "resources: [../base]\nnamePrefix: a-\n"),
        ("overlay/kustomization.yaml", "helmCharts: [{name: redis}]\n"),
        ("broken/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n"),
        ("other/values.txt", "nothing to render\n"),
    ])
    .await;
    let _controller = world.start(Settings::default());
    for name in ["overlay", "broken", "absent", "good", "kustomized"] {
        world.application(name, name, automated()).await;
    }
    world.synced("good").await;
    world.synced("kustomized").await;
    assert!(world.find(&CONFIG_MAPS, "kustomized", "a-one").await.is_some());
    let message = |name: &'static str| async {
        let application = world
            .until(name, "a condition", |application| application["status"]["conditions"].is_array())
            .await;
        let status = &application["status"];
        assert_eq!(status["sync"]["status"], "Unknown");
        assert_eq!(status["conditions"][0]["type"], "ComparisonError");
        status["conditions"][0]["message"].as_str().unwrap().to_owned()
    };
    let prefix = "Failed to load target state: failed to generate manifest for source 1 of 1: ";
    let overlay = format!("{prefix}no repo specified for pull, no chart found at ''");
    assert_eq!(message("overlay").await, overlay, "as kustomize says it");
    assert_eq!(message("absent").await, format!("{prefix}absent: app path does not exist"));
    let broken = message("broken").await;
    assert!(broken.starts_with(&format!("{prefix}Failed to unmarshal \"one.yaml\": ")), "{broken}");

    // Rendering that fails later prunes nothing, and what is repaired is taken up.
    repository.write("good/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n");
    repository.write("broken/one.yaml", &map);
    repository.commit("swap");
    world.synced("broken").await;
    message("good").await;
    assert!(world.find(&CONFIG_MAPS, "good", "one").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_a_root_gets_one() {
    let child = r"
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: child, namespace: argocd}
spec:
  project: default
  source: {repoURL: 'https://git.example.org/team/platform.git', path: child, targetRevision: HEAD}
  destination: {server: 'https://kubernetes.default.svc', namespace: child}
  syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
";
    let map = config_map("one", "1");
    let (world, repository) =
        World::with_files(&[("Apps/x/child.yaml", child), ("child/one.yaml", &map)]).await;
    let _controller = world.start(Settings::default());
    let request = || BootstrapRequest {
        repository: repository.path().display().to_string(),
        path: "Apps".to_owned(),
        revision: None,
        answer_own_urls: true,
    };
    let made = bootstrap(&world.client, &world.repositories, &world.charts, request()).await.unwrap();
    assert_eq!((made.created.as_slice(), made.contains_itself), (&["argocd/apps".to_owned()][..], false));
    world.synced("apps").await;
    world.synced("child").await;
    assert!(world.find(&CONFIG_MAPS, "child", "one").await.is_some());
    let before = world.app("apps").await["metadata"]["resourceVersion"].clone();
    let again = bootstrap(&world.client, &world.repositories, &world.charts, request()).await.unwrap();
    assert_eq!(again.created, made.created);
    assert_eq!(world.app("apps").await["metadata"]["resourceVersion"], before);
}
