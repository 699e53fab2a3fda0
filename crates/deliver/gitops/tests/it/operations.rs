//! Waves, hooks, deferral, deletion.

use client::resource::{CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, JOBS};
use gitops::{HealthGates, Settings};
use serde_json::{Value, json};

use super::world::{World, automated, config_map};

const DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

fn in_wave(manifest: &str, wave: i64) -> String {
    let marker = "metadata:\n";
    assert!(manifest.contains(marker));
    manifest.replacen(
        marker,
        &format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-wave: \"{wave}\"}}\n"),
        1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_waits_for_the_health_of_the_one_before() {
    let late = in_wave(&config_map("late", "1"), 5);
    let (world, _repository) =
        World::with_files(&[("shop/web.yaml", DEPLOYMENT), ("shop/late.yaml", &late)]).await;
    let controller = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    let waiting = world
        .until("shop", "waits", |application| {
            application["status"]["operationState"]["message"]
                == "waiting for healthy state of apps/Deployment/web"
        })
        .await;
    assert_eq!(waiting["status"]["operationState"]["phase"], "Running");
    assert_eq!(waiting["status"]["health"]["status"], "Progressing");
    assert!(world.find(&CONFIG_MAPS, "shop", "late").await.is_none());

    // Cut off in the middle, it goes on from there.
    controller.stop().await;
    let _controller = world.start(Settings::default());
    make_available(&world).await;
    world.synced("shop").await;
    assert!(world.find(&CONFIG_MAPS, "shop", "late").await.is_some());
}

/// What the Deployment controller and a node would report.
async fn make_available(world: &World) {
    let key = client::Key::namespaced("shop", "web");
    let live = world.find(&DEPLOYMENTS, "shop", "web").await.unwrap();
    let status = json!({"observedGeneration": live["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1,
        "readyReplicas": 1, "availableReplicas": 1});
    world.api(&DEPLOYMENTS).patch_status(&key, status).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_waves_do_not_wait_for_health() {
    let late = in_wave(&config_map("late", "1"), 5);
    let (world, _repository) =
        World::with_files(&[("shop/web.yaml", DEPLOYMENT), ("shop/late.yaml", &late)]).await;
    let _controller = world.start(Settings { health_gates: HealthGates::Ignore, ..Settings::default() });
    world.application("shop", "shop", automated()).await;
    world.synced("shop").await;
    assert!(world.find(&CONFIG_MAPS, "shop", "late").await.is_some());
}

pub(crate) fn job(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations: {{{annotations}}}\nspec:\n  template:\n    \
         spec:\n      restartPolicy: Never\n      containers: [{{name: job, image: 'job:1'}}]\n"
    )
}

pub(crate) async fn complete(world: &World, name: &str, condition: &str) {
    // As much as a server wants to see of a Job that ended.
    let time = objects::meta::format_time(jiff::Timestamp::now());
    let before = if condition == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    let conditions =
        [before, condition].map(|kind| json!({"type": kind, "status": "True", "message": "said so"}));
    let mut status = json!({"startTime": time, "conditions": conditions});
    if condition == "Complete" {
        status["completionTime"] = time.into();
        status["succeeded"] = 1.into();
    }
    world.object(&JOBS, "shop", name, |job| job.is_some()).await;
    world.api(&JOBS).patch_status(&client::Key::namespaced("shop", name), status).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_in_their_phases_and_are_deleted_as_they_say() {
    let migrate = job(
        "migrate",
        "argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: HookSucceeded",
    );
    let smoke = job("smoke", "helm.sh/hook: post-install");
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[
        ("shop/migrate.yaml", &migrate),
        ("shop/one.yaml", &map),
        ("shop/smoke.yaml", &smoke),
    ])
    .await;
    let _controller = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;

    world
        .until("shop", "waits for the first hook", |application| {
            application["status"]["operationState"]["message"]
                == "waiting for completion of hook batch/Job/migrate"
        })
        .await;
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none());
    let live = world.find(&JOBS, "shop", "migrate").await.unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["argocd.argoproj.io/hook-finalizer"]));

    complete(&world, "migrate", "Complete").await;
    complete(&world, "smoke", "Complete").await;
    let done = world
        .until("shop", "Succeeded", |application| {
            application["status"]["operationState"]["phase"] == "Succeeded"
        })
        .await;
    assert_eq!(done["status"]["operationState"]["message"], "successfully synced (no more tasks)");
    assert_eq!(done["status"]["sync"]["status"], "Synced");
    let results = done["status"]["operationState"]["syncResult"]["resources"].as_array().unwrap();
    let result = |name: &str| results.iter().find(|result| result["name"] == name).unwrap();
    assert_eq!(result("migrate")["hookType"], "PreSync");
    assert_eq!(result("migrate")["hookPhase"], "Succeeded");
    assert_eq!(result("smoke")["syncPhase"], "PostSync");
    world
        .object(&JOBS, "shop", "migrate", |job| {
            job.is_none_or(|job| job["metadata"]["deletionTimestamp"].is_string())
        })
        .await;
    let smoke = world.find(&JOBS, "shop", "smoke").await.unwrap();
    assert!(smoke["metadata"]["finalizers"].is_null(), "{smoke}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_hook_fails_the_sync_and_nothing_after_it_is_applied() {
    let migrate = job("migrate", "argocd.argoproj.io/hook: PreSync");
    let map = config_map("one", "1");
    let (world, _repository) =
        World::with_files(&[("shop/migrate.yaml", &migrate), ("shop/one.yaml", &map)]).await;
    let _controller = world.start(Settings::default());
    let mut policy = automated();
    policy["retry"] = json!({"limit": 0});
    world.application("shop", "shop", policy).await;
    complete(&world, "migrate", "Failed").await;
    let failed = world
        .until("shop", "Failed", |application| application["status"]["operationState"]["phase"] == "Failed")
        .await;
    let message = failed["status"]["operationState"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "one or more synchronization tasks completed unsuccessfully, reason: batch/Job/migrate: said so"
    );
    let condition = &failed["status"]["conditions"][0];
    assert_eq!(condition["type"], "SyncError");
    assert!(condition["message"].as_str().unwrap().ends_with(message), "{condition}");
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_or_kind_defers_only_that_resource() {
    let elsewhere = config_map("elsewhere", "1").replacen("  name", "  namespace: later\n  name", 1);
    let thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata:\n  name: thing\nspec: {size: 1}\n";
    let late = in_wave(&config_map("late", "1"), 9);
    let (world, _repository) = World::with_files(&[
        ("shop/elsewhere.yaml", &elsewhere),
        ("shop/thing.yaml", thing),
        ("shop/late.yaml", &late),
    ])
    .await;
    let controller = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    let failed = world
        .until("shop", "Failed", |application| application["status"]["operationState"]["phase"] == "Failed")
        .await;
    let message = failed["status"]["operationState"]["message"].as_str().unwrap();
    let unknown = "The Kubernetes API could not find example.org/Thing for requested resource shop/thing. Make sure the \
                   \"Thing\" CRD is installed on the destination cluster.";
    assert_eq!(message, format!("namespaces \"later\" not found, {unknown}"));
    assert_eq!(failed["status"]["sync"]["status"], "OutOfSync");
    assert!(world.find(&CONFIG_MAPS, "shop", "late").await.is_some(), "the later wave was applied");

    // Drift of the others is still healed.
    world.change(&CONFIG_MAPS, "shop", "late", json!({"data": {"key": "edited"}})).await;
    world.object(&CONFIG_MAPS, "shop", "late", |map| map.is_some_and(|map| map["data"]["key"] == "1")).await;

    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}})).await;
    world.object(&CONFIG_MAPS, "later", "elsewhere", |map| map.is_some()).await;
    // A restart in between loses nothing.
    controller.stop().await;
    let _controller = world.start(Settings::default());
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    world.api(&CUSTOM_RESOURCE_DEFINITIONS).create(&definition).await.unwrap();
    let application = world.synced("shop").await;
    assert!(application["status"]["conditions"].is_null(), "{}", application["status"]["conditions"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_failure_stops_later_waves_and_is_retried() {
    let invalid =
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: bad\nspec: {ports: [{port: 99999999}]}\n";
    let late = in_wave(&config_map("late", "1"), 9);
    let (world, repository) =
        World::with_files(&[("shop/bad.yaml", invalid), ("shop/late.yaml", &late)]).await;
    let _controller = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    let retrying = world
        .until("shop", "retries", |application| application["status"]["operationState"]["retryCount"] == 1)
        .await;
    let state = &retrying["status"]["operationState"];
    assert_eq!(state["phase"], "Running");
    let message = state["message"].as_str().unwrap();
    assert!(
        message.starts_with("one or more objects failed to apply, reason: Service \"bad\" is invalid"),
        "{message}"
    );
    assert!(message.contains("Retrying attempt #1 at "), "{message}");
    assert!(world.find(&CONFIG_MAPS, "shop", "late").await.is_none());

    // A commit that repairs it does not wait for the retry.
    repository.write("shop/bad.yaml", &invalid.replace("99999999", "80"));
    repository.commit("repair");
    world.synced("shop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_synced_or_pruned_that_was_not_asked_for() {
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let (world, repository) = World::with_files(&[("shop/one.yaml", &one), ("shop/two.yaml", &two)]).await;
    let _controller = world.start(Settings::default());
    world.application("shop", "shop", json!({"syncOptions": ["CreateNamespace=true"]})).await;
    let manual = world
        .until("shop", "OutOfSync", |application| application["status"]["sync"]["status"] == "OutOfSync")
        .await;
    assert_eq!(manual["status"]["health"]["status"], "Missing");
    assert!(manual["status"]["operationState"].is_null());

    let ask = json!({"operation": {"sync": {"prune": false}, "initiatedBy": {"username": "somebody"}}});
    world.change(&client::resource::APPLICATIONS, "argocd", "shop", ask.clone()).await;
    let done = world.synced("shop").await;
    assert!(done["operation"].is_null(), "{done}");
    assert_eq!(done["status"]["history"][0]["initiatedBy"]["username"], "somebody");

    std::fs::remove_file(repository.path().join("shop/two.yaml")).unwrap();
    repository.commit("remove");
    world
        .until("shop", "requires pruning", |application| {
            let resources = application["status"]["resources"].as_array();
            resources.into_iter().flatten().any(|resource| resource["requiresPruning"] == true)
        })
        .await;
    world.change(&client::resource::APPLICATIONS, "argocd", "shop", ask).await;
    let done = world
        .until("shop", "the second operation", |application| {
            let results = application["status"]["operationState"]["syncResult"]["resources"].as_array();
            results.into_iter().flatten().any(|result| result["message"] == "ignored (requires pruning)")
        })
        .await;
    assert_eq!(done["status"]["sync"]["status"], "OutOfSync");
    assert!(world.find(&CONFIG_MAPS, "shop", "two").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_application_deletes_what_it_manages() {
    let keep = config_map("keep", "1").replacen(
        "metadata:\n",
        "metadata:\n  annotations: {argocd.argoproj.io/sync-options: Delete=false}\n",
        1,
    );
    let (one, two) = (config_map("one", "1"), in_wave(&config_map("two", "1"), 3));
    let (world, _repository) =
        World::with_files(&[("shop/one.yaml", &one), ("shop/two.yaml", &two), ("shop/keep.yaml", &keep)])
            .await;
    let _controller = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    world.synced("shop").await;
    let finalizers =
        json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io/background"]}});
    world.change(&client::resource::APPLICATIONS, "argocd", "shop", finalizers).await;
    let key = client::Key::namespaced("argocd", "shop");
    world
        .api(&client::resource::APPLICATIONS)
        .delete(&key, &client::dynamic::DeleteOptions::default())
        .await
        .unwrap();
    world
        .object(&client::resource::APPLICATIONS, "argocd", "shop", |application| application.is_none())
        .await;
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none());
    assert!(world.find(&CONFIG_MAPS, "shop", "two").await.is_none());
    assert!(world.find(&CONFIG_MAPS, "shop", "keep").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_where_asked() {
    let map = config_map("one", "1");
    let (world, repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let _controller = world.start(Settings::default());
    let mut policy = automated();
    policy["syncOptions"] = json!(["CreateNamespace=true", "ServerSideApply=true"]);
    world.application("shop", "shop", policy).await;
    world.synced("shop").await;
    let live = world.find(&CONFIG_MAPS, "shop", "one").await.unwrap();
    assert_eq!(live["metadata"]["managedFields"][0]["operation"], "Apply");
    assert!(live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].is_null());
    repository.write("shop/one.yaml", &map.replace("key:", "other:"));
    repository.commit("rename");
    let live = world
        .object(&CONFIG_MAPS, "shop", "one", |map| map.is_some_and(|map| map["data"]["other"] == "1"))
        .await
        .unwrap();
    assert_eq!(live["data"]["key"], Value::Null, "a field that is no longer applied goes");
    world.synced("shop").await;
}
