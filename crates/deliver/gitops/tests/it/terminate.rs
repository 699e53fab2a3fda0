//! A sync that is cut off: by a person, and by the end of its process.

use client::resource::{APPLICATIONS, CONFIG_MAPS, JOBS, SECRETS};
use client::{Api, Key};
use gitops::Settings;
use serde_json::{Value, json};
use test_kit::{Cluster, Faults, Repository, Trouble, eventually_async, free_port};

use super::clusters::secret;
use super::operations::{complete, job};
use super::world::{SOON, URL, World, automated, config_map};

const WAITS: &str = "waiting for completion of hook batch/Job/migrate";

/// What is applied after a hook that runs until somebody ends it.
async fn hooked() -> (World, Repository) {
    let migrate = job("migrate", "argocd.argoproj.io/hook: PreSync");
    World::with_files(&[("shop/migrate.yaml", &migrate), ("shop/one.yaml", &config_map("one", "1"))]).await
}

fn policy(automatic: bool) -> Value {
    // Nobody here collects what foreground deletion leaves.
    let mut policy = automated();
    policy["syncOptions"] = json!(["CreateNamespace=true", "PrunePropagationPolicy=background"]);
    if !automatic {
        policy["automated"] = Value::Null;
    }
    policy
}

/// Asks for a sync, of what is tracked or of one revision.
async fn ask(world: &World, revision: Option<&str>) {
    let mut operation =
        json!({"operation": {"initiatedBy": {"username": "tester"}, "sync": {"prune": true}}});
    if let Some(revision) = revision {
        operation["operation"]["sync"]["revision"] = revision.into();
    }
    world.change(&APPLICATIONS, "argocd", "shop", operation).await;
}

async fn waits(world: &World) {
    let waits = |application: &Value| application["status"]["operationState"]["message"] == WAITS;
    world.until("shop", "waits for its hook", waits).await;
}

async fn terminate(world: &World) {
    let terminating = json!({"status": {"operationState": {"phase": "Terminating"}}});
    world.change(&APPLICATIONS, "argocd", "shop", terminating).await;
}

async fn terminated(world: &World) {
    let ended = |application: &Value| {
        let state = &application["status"]["operationState"];
        state["phase"] == "Failed"
            && state["message"] == "Operation terminated"
            && application["operation"].is_null()
    };
    world.until("shop", "terminated", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_next_terminates_what_an_earlier_process_ran() {
    for (automatic, of_revision) in [(true, false), (false, false), (false, true)] {
        let (world, repository) = hooked().await;
        let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
        repository.write("shop/one.yaml", &config_map("one", "2"));
        repository.commit("another value");
        let controller = world.start(Settings::default());
        world.application("shop", "shop", policy(automatic)).await;
        if !automatic {
            ask(&world, of_revision.then_some(&first)).await;
        }
        waits(&world).await;
        controller.stop().await;
        terminate(&world).await;

        let controller = world.start(Settings::default());
        terminated(&world).await;
        assert!(world.find(&JOBS, "shop", "migrate").await.is_none(), "{automatic} {of_revision}");
        assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none(), "{automatic} {of_revision}");
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_a_person_asked_for_goes_on_in_the_next_process() {
    for of_revision in [false, true] {
        let (world, repository) = hooked().await;
        let first = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
        repository.write("shop/one.yaml", &config_map("one", "2"));
        repository.commit("another value");
        let controller = world.start(Settings::default());
        world.application("shop", "shop", policy(false)).await;
        ask(&world, of_revision.then_some(&first)).await;
        waits(&world).await;
        let before = world.find(&JOBS, "shop", "migrate").await.expect("the hook runs");
        controller.stop().await;

        let controller = world.start(Settings::default());
        complete(&world, "migrate", "Complete").await;
        let done = |application: &Value| application["status"]["operationState"]["phase"] == "Succeeded";
        world.until("shop", "Succeeded", done).await;
        let after = world.find(&JOBS, "shop", "migrate").await.expect("its policy leaves it");
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it ran once");
        let one = world.find(&CONFIG_MAPS, "shop", "one").await.expect("it is applied");
        assert_eq!(one["data"]["key"], if of_revision { "1" } else { "2" });
        controller.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_terminated_when_it_can() {
    let (world, _repository) = hooked().await;
    let stage = Cluster::start().await;
    let listening = stage.listen().await;
    let there = secret("stage", &listening);
    world.create(there.clone()).await;
    let controller = world.start(Settings::default());
    let spec = json!({
        "project": "default",
        "source": {"repoURL": URL, "path": "shop", "targetRevision": "HEAD"},
        "destination": {"name": "stage", "namespace": "shop"},
        "syncPolicy": policy(true),
    });
    world.application_of("shop", spec).await;
    waits(&world).await;

    let nowhere = json!({"stringData": {"server": format!("https://127.0.0.1:{}", free_port())}});
    world.change(&SECRETS, "argocd", "cluster-stage", nowhere).await;
    world.condition("shop", "ComparisonError", "failed to get cluster info").await;
    let before = controller.metrics.counts().passes;
    terminate(&world).await;
    // The pass that this wakes cannot end it, and does not say that it runs on.
    eventually_async("another pass", SOON, || async {
        let passes = controller.metrics.counts().passes;
        if passes > before { Ok(()) } else { Err(passes.to_string()) }
    })
    .await;
    assert_eq!(world.app("shop").await["status"]["operationState"]["phase"], "Terminating");

    world.change(&SECRETS, "argocd", "cluster-stage", json!({"stringData": there["stringData"]})).await;
    terminated(&world).await;
    let jobs = Api::new(&stage.admin(), &JOBS);
    eventually_async("the hook is gone", SOON, || async {
        let job = jobs.find(&Key::namespaced("shop", "migrate")).await.unwrap();
        job.map_or(Ok(()), |job| Err(job.to_string()))
    })
    .await;
}

const DELETION: &str = "DELETE /apis/batch/v1/namespaces/shop/jobs/migrate";

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_cannot_be_deleted_is_tried_again_before_the_sync_is_terminated() {
    let (world, _repository) = hooked().await;
    let faults = Faults::none();
    faults.plan(DELETION, Trouble::ServerError);
    let _controller = world.start_with(&faults);
    world.application("shop", "shop", policy(true)).await;
    waits(&world).await;
    terminate(&world).await;
    terminated(&world).await;
    assert_eq!(faults.troubles()[&Trouble::ServerError], 1);
    assert!(world.find(&JOBS, "shop", "migrate").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_hook_that_cannot_be_deleted_is_tried_again_before_the_sync_ends() {
    let annotations = "argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: HookFailed";
    let (world, _repository) = World::with_files(&[
        ("shop/migrate.yaml", &job("migrate", annotations)),
        ("shop/one.yaml", &config_map("one", "1")),
    ])
    .await;
    let faults = Faults::none();
    faults.plan(DELETION, Trouble::ServerError);
    let _controller = world.start_with(&faults);
    let mut once = policy(true);
    once["retry"] = json!({"limit": 0});
    world.application("shop", "shop", once).await;
    complete(&world, "migrate", "Failed").await;
    let failed = |application: &Value| application["status"]["operationState"]["phase"] == "Failed";
    world.until("shop", "Failed", failed).await;
    assert_eq!(faults.troubles()[&Trouble::ServerError], 1);
    assert!(world.find(&JOBS, "shop", "migrate").await.is_none());
}
