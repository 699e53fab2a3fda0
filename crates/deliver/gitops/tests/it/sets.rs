//! ApplicationSets: generators, policies, what an update keeps.

use std::time::{Duration, Instant};

use client::Key;
use client::dynamic::{DeleteOptions, ListOptions};
use client::resource::{APPLICATION_SETS, APPLICATIONS, CONFIG_MAPS};
use gitops::{GitOps, Settings};
use serde_json::{Value, json};
use test_kit::{Cluster, Faults, Trouble, eventually_async};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clusters::secret;
use super::world::{SOON, URL, World, automated, config_map};

/// A set of Applications over the directory that a parameter names.
fn set(name: &str, generators: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
        "metadata": {"name": name, "namespace": "argocd"},
        "spec": {
            "goTemplate": true,
            "goTemplateOptions": ["missingkey=error"],
            "generators": generators,
            "template": {
                // Nobody here collects what foreground deletion leaves.
                "metadata": {"name": "{{.name}}", "labels": {"set": name},
                    "finalizers": ["resources-finalizer.argocd.argoproj.io/background"]},
                "spec": {
                    "project": "default",
                    "source": {"repoURL": URL, "path": "shop", "targetRevision": "HEAD"},
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": "{{.name}}"},
                    "syncPolicy": automated(),
                },
            },
        },
    })
}

fn list(names: &[&str]) -> Value {
    let elements: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    json!([{"list": {"elements": elements}}])
}

async fn shop() -> (World, test_kit::Repository) {
    World::with_files(&[("shop/one.yaml", &config_map("one", "1"))]).await
}

/// Waits until these are all the Applications there are.
async fn applications(world: &World, expected: &[&str]) {
    eventually_async("the Applications", SOON, || async {
        let all = world.api(&APPLICATIONS).list(Some("argocd"), &ListOptions::all()).await.unwrap();
        let names: Vec<String> =
            all.items.iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        if names == expected { Ok(()) } else { Err(names) }
    })
    .await;
}

/// Waits until a condition of a set has this status and says this.
async fn condition(world: &World, set: &str, kind: &str, status: &str, message: &str) -> Value {
    let said = |object: Option<&Value>| {
        let conditions = object.and_then(|object| object["status"]["conditions"].as_array());
        conditions.into_iter().flatten().any(|condition| {
            condition["type"] == kind
                && condition["status"] == status
                && condition["message"].as_str().unwrap_or_default().contains(message)
        })
    };
    world.object(&APPLICATION_SETS, "argocd", set, said).await.unwrap()
}

async fn generators(world: &World, set: &str, generators: Value) {
    world.change(&APPLICATION_SETS, "argocd", set, json!({"spec": {"generators": generators}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_follow_the_list() {
    let (world, _repository) = shop().await;
    let running = world.start(Settings::default());
    let made = world.create(set("set", list(&["a", "b"]))).await;
    applications(&world, &["a", "b"]).await;
    let application = world.synced("a").await;
    let owner = &application["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("ApplicationSet"), &json!("set"), &json!(true))
    );
    assert_eq!(owner["uid"], made["metadata"]["uid"]);
    assert_eq!(
        application["metadata"]["finalizers"],
        json!(["resources-finalizer.argocd.argoproj.io/background"])
    );
    assert!(world.find(&CONFIG_MAPS, "b", "one").await.is_some() || world.synced("b").await.is_object());
    condition(
        &world,
        "set",
        "ResourcesUpToDate",
        "True",
        "All applications have been generated successfully",
    )
    .await;
    let listed = |set: Option<&Value>| {
        let resources = set.map(|set| &set["status"]["resources"]);
        resources.is_some_and(|list| {
            list[0]["name"] == "a"
                && list[0]["status"] == "Synced"
                && list[1]["health"]["status"] == "Healthy"
        })
    };
    world.object(&APPLICATION_SETS, "argocd", "set", listed).await;
    generators(&world, "set", list(&["b", "c"])).await;
    applications(&world, &["b", "c"]).await;
    assert!(world.find(&CONFIG_MAPS, "a", "one").await.is_none(), "the cascade took its objects along");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_reset_and_what_is_ignored_stays() {
    let (world, _repository) = shop().await;
    let running = world.start(Settings::default());
    let mut with_rules = set("set", list(&["a"]));
    with_rules["spec"]["ignoreApplicationDifferences"] =
        json!([{"jsonPointers": ["/spec/source/kustomize/images"]}]);
    with_rules["spec"]["preservedFields"] = json!({"annotations": ["mine"]});
    world.create(with_rules).await;
    applications(&world, &["a"]).await;
    let change = json!({
        "metadata": {"annotations": {"mine": "1", "theirs": "1"}},
        "spec": {"source": {"path": "elsewhere", "kustomize": {"images": ["i:2"]}}},
    });
    world.change(&APPLICATIONS, "argocd", "a", change).await;
    let application = world
        .until("a", "reset", |application| {
            application["spec"]["source"]["path"] == "shop"
                && application["metadata"]["annotations"]["theirs"].is_null()
        })
        .await;
    assert_eq!(application["spec"]["source"]["kustomize"]["images"], json!(["i:2"]));
    assert_eq!(application["metadata"]["annotations"]["mine"], "1");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_fails_deletes_nothing() {
    let (world, _repository) = shop().await;
    let running = world.start(Settings::default());
    world.create(set("set", list(&["a", "b"]))).await;
    applications(&world, &["a", "b"]).await;
    generators(&world, "set", json!([{"list": {"elements": [{"name": "a"}, {"nome": "b"}]}}])).await;
    let failed = condition(&world, "set", "ErrorOccurred", "True", "map has no entry for key \"name\"").await;
    condition(&world, "set", "ParametersGenerated", "False", "map has no entry").await;
    assert_eq!(failed["status"]["conditions"][0]["reason"], "RenderTemplateParamsError");
    generators(&world, "set", json!([{"scmProvider": {"github": {"organization": "o"}}}])).await;
    condition(
        &world,
        "set",
        "ErrorOccurred",
        "True",
        "spec.generators[0].scmProvider: this generator is not supported",
    )
    .await;
    applications(&world, &["a", "b"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_applications_are_told_and_the_others_made() {
    let (world, _repository) = shop().await;
    let running = world.start(Settings::default());
    let mut mixed = set(
        "set",
        json!([{"list": {"elements": [
            {"name": "a", "cluster": "in-cluster", "project": "default"},
            {"name": "b", "cluster": "nowhere", "project": "default"},
            {"name": "c", "cluster": "in-cluster", "project": "nobodys"},
            {"name": "a", "cluster": "in-cluster", "project": "default"},
        ]}}]),
    );
    mixed["spec"]["template"]["spec"]["destination"] = json!({"name": "{{.cluster}}", "namespace": "shop"});
    mixed["spec"]["template"]["spec"]["project"] = "{{.project}}".into();
    world.create(mixed).await;
    applications(&world, &["a"]).await;
    condition(
        &world,
        "set",
        "ErrorOccurred",
        "True",
        "application references project nobodys which does not exist (and 2 more)",
    )
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_say_what_a_set_may_do() {
    let (world, _repository) = shop().await;
    let running = world.start(Settings::default());
    let with = |name: &str, policy: &str| {
        let first = format!("{name}-1");
        let mut set = set(name, list(&[&first]));
        set["spec"]["syncPolicy"] = json!({"applicationsSync": policy});
        set
    };
    for policy in ["create-only", "create-update", "create-delete"] {
        world.create(with(policy, policy)).await;
    }
    applications(&world, &["create-delete-1", "create-only-1", "create-update-1"]).await;
    for policy in ["create-only", "create-update", "create-delete"] {
        let second = format!("{policy}-2");
        let mut change = json!({"spec": {"generators": list(&[&second])}});
        change["spec"]["template"] = json!({"metadata": {"labels": {"changed": "yes"}}});
        world.change(&APPLICATION_SETS, "argocd", policy, change).await;
    }
    applications(
        &world,
        &["create-delete-2", "create-only-1", "create-only-2", "create-update-1", "create-update-2"],
    )
    .await;
    let again = |policy: &str| list(&[&format!("{policy}-2")]);
    for policy in ["create-only", "create-update"] {
        let change = json!({"spec": {"generators": again(policy), "template": {"metadata": {"labels": {"changed": "again"}}}}});
        world.change(&APPLICATION_SETS, "argocd", policy, change).await;
    }
    world.until("create-update-2", "updated", |one| one["metadata"]["labels"]["changed"] == "again").await;
    assert_eq!(world.app("create-only-2").await["metadata"]["labels"]["changed"], "yes");
    // Deleting a set that may not delete lets its Applications go.
    let key = Key::namespaced("argocd", "create-only");
    let finalizer = json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}});
    world.change(&APPLICATION_SETS, "argocd", "create-only", finalizer).await;
    world.api(&APPLICATION_SETS).delete(&key, &DeleteOptions::default()).await.unwrap();
    world.object(&APPLICATION_SETS, "argocd", "create-only", |set| set.is_none()).await;
    assert!(world.app("create-only-1").await["metadata"]["ownerReferences"].is_null());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_a_repository_become_applications() {
    let map = config_map("one", "1");
    let (world, repository) =
        World::with_files(&[("apps/a/one.yaml", &map), ("apps/b/one.yaml", &map), ("apps/x/one.yaml", &map)])
            .await;
    let running = world.start(Settings::default());
    let git = json!([{"git": {"repoURL": URL, "revision": "HEAD", "directories": [{"path": "apps/*"}, {"path": "apps/x", "exclude": true}]}}]);
    let mut set = set("set", git);
    set["spec"]["template"]["metadata"]["name"] = "{{.path.basename}}".into();
    set["spec"]["template"]["spec"]["source"]["path"] = "{{.path.path}}".into();
    set["spec"]["template"]["spec"]["destination"]["namespace"] = "{{.path.basename}}".into();
    world.create(set).await;
    applications(&world, &["a", "b"]).await;
    world.synced("a").await;
    repository.write("apps/c/one.yaml", &map);
    std::fs::remove_dir_all(repository.path().join("apps/b")).unwrap();
    repository.commit("c for b");
    applications(&world, &["a", "c"]).await;
    world.synced("c").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_repository_become_applications() {
    let file = "name: first\nnamespace: ns-1\n";
    let (world, repository) =
        World::with_files(&[("shop/one.yaml", &config_map("one", "1")), ("envs/first/config.yaml", file)])
            .await;
    let running = world.start(Settings::default());
    let git =
        json!([{"git": {"repoURL": URL, "revision": "HEAD", "files": [{"path": "envs/**/config.yaml"}]}}]);
    world.create(set("set", git)).await;
    applications(&world, &["first"]).await;
    repository.write("envs/second/config.yaml", "- name: second\n- name: third\n");
    repository.commit("an array");
    applications(&world, &["first", "second", "third"]).await;
    // A file that cannot be read stops everything and deletes nothing.
    repository.write("envs/first/config.yaml", "name: [\n");
    repository.commit("broken");
    condition(&world, "set", "ErrorOccurred", "True", "unable to process file 'envs/first/config.yaml'")
        .await;
    applications(&world, &["first", "second", "third"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_become_applications_as_they_are_registered() {
    let (world, _repository) = shop().await;
    let stage = Cluster::start().await;
    let listening = stage.listen().await;
    let running = world.start(Settings::default());
    let mut everywhere = set("set", json!([{"clusters": {}}]));
    everywhere["spec"]["template"]["spec"]["destination"] = json!({"name": "{{.name}}", "namespace": "shop"});
    world.create(everywhere).await;
    applications(&world, &["in-cluster"]).await;
    world.create(secret("stage", &listening)).await;
    applications(&world, &["in-cluster", "stage"]).await;
    world.synced("stage").await;
    generators(&world, "set", json!([{"clusters": {"selector": {"matchLabels": {"env": "stage"}}}}])).await;
    applications(&world, &["stage"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matrix_of_clusters_and_directories() {
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[
        ("stage/a/one.yaml", &map),
        ("stage/b/one.yaml", &map),
        ("prod/a/one.yaml", &map),
    ])
    .await;
    let running = world.start(Settings::default());
    let matrix = json!([{"matrix": {"generators": [
        {"list": {"elements": [{"env": "stage"}, {"env": "prod"}]}},
        {"git": {"repoURL": URL, "revision": "HEAD", "directories": [{"path": "{{.env}}/*"}]}},
    ]}}]);
    let mut set = set("set", matrix);
    set["spec"]["template"]["metadata"]["name"] = "{{.env}}-{{.path.basename}}".into();
    set["spec"]["template"]["spec"]["source"]["path"] = "{{.path.path}}".into();
    set["spec"]["template"]["spec"]["destination"]["namespace"] = "{{.env}}".into();
    set["spec"]["templatePatch"] =
        "{{ if eq .env \"prod\" }}spec: {syncPolicy: {automated: null}}{{ end }}".into();
    world.create(set).await;
    applications(&world, &["prod-a", "stage-a", "stage-b"]).await;
    assert!(world.app("prod-a").await["spec"]["syncPolicy"]["automated"].is_null());
    assert!(world.app("stage-a").await["spec"]["syncPolicy"]["automated"].is_object());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sets_application_is_not_taken() {
    let (world, _repository) = shop().await;
    let running = world.start(Settings::default());
    world.create(set("first", list(&["a"]))).await;
    applications(&world, &["a"]).await;
    world.create(set("second", list(&["a"]))).await;
    condition(
        &world,
        "second",
        "ErrorOccurred",
        "True",
        "Object argocd/a is already owned by another ApplicationSet controller first",
    )
    .await;
    assert_eq!(world.app("a").await["metadata"]["labels"]["set"], "first");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_follow_pull_requests() {
    let (world, _repository) = shop().await;
    let served = tempfile::tempdir().unwrap();
    let file = served.path().join("repos/o/r/pulls");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let pull = |number: u64| {
        json!({"number": number, "title": "t", "user": {"login": "alice"}, "labels": [{"name": "preview"}],
            "head": {"ref": "HEAD", "sha": "0123456789abcdef"}, "base": {"ref": "main"}})
    };
    std::fs::write(&file, json!([pull(7), pull(8)]).to_string()).unwrap();
    let github = test_kit::FileServer::start(served.path());
    let token = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "github", "namespace": "argocd"},
        "stringData": {"token": "sesame"}});
    let running = world.start(Settings::default());
    let block = json!({"owner": "o", "repo": "r", "api": github.url(), "labels": ["preview"],
        "tokenRef": {"secretName": "github", "key": "token"}});
    let generator = json!([{"pullRequest": {"github": block, "requeueAfterSeconds": 1}}]);
    let mut previews = set("previews", generator);
    previews["spec"]["template"]["metadata"]["name"] = "preview-{{.number}}".into();
    previews["spec"]["template"]["spec"]["destination"]["namespace"] = "preview-{{.number}}".into();
    world.create(previews).await;
    condition(&world, "previews", "ErrorOccurred", "True", "Secret argocd/github not found").await;
    world.create(token).await;
    refresh(&world).await;
    applications(&world, &["preview-7", "preview-8"]).await;
    world.synced("preview-7").await;
    assert!(github.seen().iter().all(|seen| seen.authorization.as_deref() == Some("Bearer sesame")));

    // One is closed; while the host does not answer, nothing is deleted.
    std::fs::write(&file, json!([pull(8)]).to_string()).unwrap();
    refresh(&world).await;
    applications(&world, &["preview-8"]).await;
    std::fs::remove_file(&file).unwrap();
    refresh(&world).await;
    let set = condition(&world, "previews", "ErrorOccurred", "True", "404").await;
    assert!(!set.to_string().contains("sesame"));
    applications(&world, &["preview-8"]).await;
    running.stop().await;
}

async fn refresh(world: &World) {
    let annotations = json!({"argocd.argoproj.io/application-set-refresh": "true"});
    world
        .change(&APPLICATION_SETS, "argocd", "previews", json!({"metadata": {"annotations": annotations}}))
        .await;
}

/// A controller of a world whose requests go through a transport that notes them, and may go wrong.
fn watched(world: &World, faults: &Faults) -> (CancellationToken, JoinHandle<()>) {
    let controller = GitOps::new(gitops::Config {
        client: faults.client(&world.account()),
        repositories: world.repositories.clone(),
        charts: world.charts.clone(),
        settings: Settings::default(),
    });
    let shutdown = CancellationToken::new();
    (shutdown.clone(), tokio::spawn(controller.run(shutdown)))
}

const HERE: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

#[tokio::test(flavor = "multi_thread")]
async fn a_look_costs_what_belongs_to_the_set() {
    let (world, _repository) = shop().await;
    for number in 0..20 {
        world.application(&format!("other-{number:02}"), "shop", json!({})).await;
    }
    let faults = Faults::none();
    let (shutdown, running) = watched(&world, &faults);
    world.create(set("set", list(&["a", "b"]))).await;
    let told = |set: Option<&Value>| {
        let resources = set.map(|set| &set["status"]["resources"]);
        resources.is_some_and(|list| [0, 1].into_iter().all(|at| list[at]["status"] == "Synced"))
    };
    world.object(&APPLICATION_SETS, "argocd", "set", told).await;
    for number in 0..20 {
        let looked = |one: &Value| one["status"]["reconciledAt"].is_string();
        world.until(&format!("other-{number:02}"), "it was looked at", looked).await;
    }
    let before = faults.calls().len();
    let refresh = "argocd.argoproj.io/application-set-refresh";
    let asked = json!({"metadata": {"annotations": {refresh: "true"}}});
    world.change(&APPLICATION_SETS, "argocd", "set", asked).await;
    let looked =
        |set: Option<&Value>| set.is_some_and(|set| set["metadata"]["annotations"].get(refresh).is_none());
    world.object(&APPLICATION_SETS, "argocd", "set", looked).await;
    let calls = faults.calls().split_off(before);
    let lists = calls.iter().filter(|call| **call == format!("GET {HERE}")).count();
    assert_eq!(lists, 0, "{calls:?}");
    for name in ["a", "b"] {
        let reads = calls.iter().filter(|call| **call == format!("GET {HERE}/{name}")).count();
        // The look itself, and one at what it wrote.
        assert!((1..=2).contains(&reads), "{name}: {calls:?}");
    }
    shutdown.cancel();
    running.await.unwrap();
}

/// What an API refuses now and may not refuse the next time is tried again soon.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_tried_again_soon() {
    let (world, _repository) = shop().await;
    let faults = Faults::none();
    let (shutdown, running) = watched(&world, &faults);
    for trouble in [Trouble::ServerError, Trouble::TimeoutBefore] {
        faults.plan(&format!("POST {HERE}"), trouble);
    }
    let begun = Instant::now();
    world.create(set("set", list(&["a", "b"]))).await;
    applications(&world, &["a", "b"]).await;
    faults.plan(&format!("DELETE {HERE}/b"), Trouble::Conflict);
    generators(&world, "set", list(&["a"])).await;
    applications(&world, &["a"]).await;
    condition(&world, "set", "ErrorOccurred", "False", "").await;
    assert_eq!(faults.troubles().values().sum::<u32>(), 3, "{:?}", faults.troubles());
    // Without that it would be the three minutes after which a set that is wrong is looked at again.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    shutdown.cancel();
    running.await.unwrap();
}
