//! Applications whose charts come from chart repositories.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use client::resource::CONFIG_MAPS;
use gitops::Settings;
use serde_json::{Value, json};
use test_kit::{FileFault, FileServer, ImageRegistry, Serving, find_program, free_port};

use super::world::{URL, World, automated};

/// A repository made by the real `helm`.
pub(crate) struct Published {
    directory: tempfile::TempDir,
}

impl Published {
    pub(crate) fn new() -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(this.path("served")).unwrap();
        this
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Publishes a chart of one ConfigMap and brings the index up to date.
    pub(crate) fn chart(&self, name: &str, version: &str) {
        let source = self.path(&format!("sources/{name}"));
        std::fs::create_dir_all(source.join("templates")).unwrap();
        let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
        std::fs::write(source.join("Chart.yaml"), metadata).unwrap();
        std::fs::write(source.join("values.yaml"), "key: default\n").unwrap();
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Chart.Name }}\ndata:\n  version: {{ .Chart.Version | quote }}\n  key: {{ .Values.key | quote }}\n";
        std::fs::write(source.join("templates/map.yaml"), template).unwrap();
        self.helm(&["package", &format!("sources/{name}"), "--destination", "served"]);
        self.helm(&["repo", "index", "served"]);
    }

    pub(crate) fn served(&self) -> std::path::PathBuf {
        self.path("served")
    }

    fn helm(&self, arguments: &[&str]) {
        helm(self.directory.path(), arguments);
    }
}

fn helm(directory: &Path, arguments: &[&str]) {
    let output = Command::new(find_program("helm"))
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What tells the credentials of a repository, of one project where that is not empty.
pub(crate) fn secret_of(name: &str, url: &str, username: &str, password: &str, project: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("repo-{name}"), "namespace": "argocd", "labels": {"argocd.argoproj.io/secret-type": "repository"}},
        "stringData": {"url": url, "type": "helm", "username": username, "password": password, "project": project},
    })
}

async fn create(world: &World, name: &str, sources: Value) {
    let mut spec = json!({
        "project": "default",
        "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
        "syncPolicy": automated(),
    });
    let field = if sources.is_array() { "sources" } else { "source" };
    spec[field] = sources;
    world
        .create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd"}, "spec": spec,
        }))
        .await;
}

async fn map_data(world: &World, namespace: &str, name: &str, expected: Value) {
    let reached = |object: Option<&Value>| object.is_some_and(|object| object["data"] == expected);
    world.object(&CONFIG_MAPS, namespace, name, reached).await;
}

fn quick() -> Settings {
    let soon = Duration::from_millis(200);
    Settings { chart_polling: soon, generation_retry: soon, ..Settings::default() }
}

/// A range follows what is published, an exact version stays, and a value file may come from Git.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_follow_what_is_published() {
    let published = Published::new();
    published.chart("web", "1.0.0");
    let server = FileServer::start(&published.served());
    let (world, _repository) = World::with_files(&[("values/web.yaml", "key: from git\n")]).await;
    let running = world.start(quick());
    let chart = |version: &str| json!({"repoURL": server.url(), "chart": "web", "targetRevision": version});
    create(&world, "exact", chart("1.0.0")).await;
    create(&world, "ranged", chart("1.x")).await;
    let fetched = published.served().join("values.yaml");
    std::fs::write(&fetched, "key: fetched\n").unwrap();
    let mut from_url = chart("1.0.0");
    from_url["helm"] = json!({"valueFiles": [format!("{}/values.yaml", server.url())]});
    create(&world, "fetched", from_url.clone()).await;
    from_url["helm"] = json!({"valueFiles": ["file:///etc/passwd"]});
    create(&world, "refused", from_url).await;
    let mut with_values = chart("~1.0");
    with_values["helm"] =
        json!({"valueFiles": ["$git/values/web.yaml"], "parameters": [{"name": "unused", "value": "1"}]});
    create(&world, "both", json!([with_values, {"repoURL": URL, "targetRevision": "HEAD", "ref": "git"}]))
        .await;

    let exact = world.synced("exact").await;
    assert_eq!(exact["status"]["sync"]["revision"], "1.0.0");
    assert_eq!(exact["status"]["sourceType"], "Helm");
    map_data(&world, "ranged", "web", json!({"version": "1.0.0", "key": "default"})).await;
    map_data(&world, "both", "web", json!({"version": "1.0.0", "key": "from git"})).await;
    world.synced("fetched").await;
    map_data(&world, "fetched", "web", json!({"version": "1.0.0", "key": "fetched"})).await;
    let refused = |one: &Value| {
        let message = one["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
        message.contains("the URL scheme of value file file:///etc/passwd is not allowed")
    };
    world.until("refused", "the scheme is refused", refused).await;
    let both = world.synced("both").await;
    assert_eq!(both["status"]["sync"]["revisions"][0], "1.0.0");

    published.chart("web", "1.3.0");
    map_data(&world, "ranged", "web", json!({"version": "1.3.0", "key": "default"})).await;
    world.until("ranged", "1.3.0", |one| one["status"]["sync"]["revision"] == "1.3.0").await;
    assert_eq!(world.app("exact").await["status"]["sync"]["revision"], "1.0.0");
    map_data(&world, "both", "web", json!({"version": "1.0.0", "key": "from git"})).await;
    running.stop().await;
}

/// What Argo CD's Secrets say opens a repository, also once it comes late; a registry needs no scheme.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_secrets() {
    let published = Published::new();
    published.chart("web", "1.0.0");
    let secret = base64::engine::general_purpose::STANDARD.encode("alice:sesame");
    let serving = Serving { authorization: Some(format!("Basic {secret}")), ..Serving::default() };
    let server = FileServer::serving(&published.served(), serving);
    let registry = ImageRegistry::start();
    let host = registry.url().trim_start_matches("http://").to_owned();
    published.helm(&["push", "served/web-1.0.0.tgz", &format!("oci://{host}/team"), "--plain-http"]);
    let world = World::new().await;
    let running = world.start(quick());
    create(&world, "private", json!({"repoURL": server.url(), "chart": "web", "targetRevision": "*"})).await;
    create(
        &world,
        "registry",
        json!({"repoURL": format!("{host}/team"), "chart": "web", "targetRevision": "1.x"}),
    )
    .await;
    let message = |application: &Value| {
        application["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned()
    };
    let denied = world.until("private", "denied", |one| message(one).contains("401 Unauthorized")).await;
    assert!(message(&denied).contains(&server.url()), "{}", message(&denied));
    map_data(&world, "registry", "web", json!({"version": "1.0.0", "key": "default"})).await;

    world
        .create(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "charts", "namespace": "argocd", "labels": {"argocd.argoproj.io/secret-type": "repo-creds"}},
            "stringData": {"url": server.url(), "type": "helm", "username": "alice", "password": "sesame"},
        }))
        .await;
    map_data(&world, "private", "web", json!({"version": "1.0.0", "key": "default"})).await;
    running.stop().await;
}

/// A chart in Git whose dependencies are not there is built; one whose repository is away says so and is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn missing_dependencies_are_built() {
    let published = Published::new();
    published.chart("web", "1.0.0");
    let server = FileServer::start(&published.served());
    let away = format!("http://127.0.0.1:{}/charts", free_port());
    let umbrella = |repository: &str| {
        format!(
            "apiVersion: v2\nname: umbrella\nversion: 0.1.0\ndependencies:\n- name: web\n  version: 1.x\n  repository: {repository}\n- name: beside\n  version: 0.1.0\n  repository: file://../beside\n"
        )
    };
    let beside = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside}\ndata: {key: \"{{ .Values.global.key }}\"}\n";
    let (world, repository) = World::with_files(&[
        ("umbrella/Chart.yaml", &umbrella(&server.url())),
        ("umbrella/values.yaml", "global: {key: shared}\nweb: {key: of the parent}\n"),
        ("beside/Chart.yaml", "apiVersion: v2\nname: beside\nversion: 0.1.0\n"),
        ("beside/templates/map.yaml", beside),
        ("broken/Chart.yaml", &umbrella(&away)),
    ])
    .await;
    let running = world.start(quick());
    world.application("umbrella", "umbrella", automated()).await;
    world.synced("umbrella").await;
    map_data(&world, "umbrella", "web", json!({"version": "1.0.0", "key": "of the parent"})).await;
    map_data(&world, "umbrella", "beside", json!({"key": "shared"})).await;
    // Another file of the chart changes: its dependencies are still known.
    repository.write("umbrella/values.yaml", "global: {key: changed}\n");
    repository.commit("values");
    map_data(&world, "umbrella", "beside", json!({"key": "changed"})).await;
    map_data(&world, "umbrella", "web", json!({"version": "1.0.0", "key": "default"})).await;
    assert_eq!(server.count("/web-1.0.0.tgz", 200), 1);

    // A change elsewhere renders nothing and asks nobody; a refresh looks for newer versions.
    published.chart("web", "1.4.0");
    let before = (running.metrics.counts().renders, server.seen().len());
    repository.write("elsewhere.yaml", "x: 1\n");
    let commit = repository.commit("elsewhere");
    world
        .until("umbrella", "the new commit", |one| one["status"]["sync"]["revision"] == commit.as_str())
        .await;
    assert_eq!((running.metrics.counts().renders, server.seen().len()), before);
    let refresh = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}});
    world.change(&client::resource::APPLICATIONS, "argocd", "umbrella", refresh).await;
    map_data(&world, "umbrella", "web", json!({"version": "1.4.0", "key": "default"})).await;

    world.application("broken", "broken", automated()).await;
    let broken = world
        .until("broken", "unreachable", |one| {
            let message = one["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
            message.contains(&format!("{away} is unreachable: "))
        })
        .await;
    assert_eq!(broken["status"]["sync"]["status"], "Unknown");
    running.stop().await;
}

/// A local place still answers for a chart repository before anybody is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_place_answers_first() {
    let published = Published::new();
    published.chart("web", "1.0.0");
    let url = "https://charts.invalid/stable";
    let world = World::new().await;
    world.repositories.map(git::Mapping::new(url, published.path("sources"))).unwrap();
    let running = world.start(quick());
    create(&world, "local", json!({"repoURL": url, "chart": "web", "targetRevision": "9.9.9"})).await;
    map_data(&world, "local", "web", json!({"version": "1.0.0", "key": "default"})).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_takes_a_chart_from_its_repository() {
    let published = Published::new();
    published.chart("settings", "1.0.0");
    published.chart("settings", "1.1.0");
    let server = FileServer::start(&published.served());
    let kustomization = format!(
        "namePrefix: team-\nhelmCharts:\n- {{name: settings, repo: {}, version: ^1.0.0, releaseName: own, valuesInline: {{key: inline}}}}\n",
        server.url()
    );
    let (world, _repository) = World::with_files(&[("app/kustomization.yaml", &kustomization)]).await;
    let _controller = world.start(Settings::default());
    world.application("app", "app", automated()).await;
    map_data(&world, "app", "team-settings", json!({"version": "1.1.0", "key": "inline"})).await;
}

/// A repository whose files break off: the Application says so, keeps what it has, and goes on once the repository is
/// whole again.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_repository_takes_nothing_away() {
    let published = Published::new();
    published.chart("app", "1.0.0");
    published.chart("web", "1.0.0");
    let server = FileServer::start(&published.served());
    let (world, _repository) = World::with_files(&[("none/one.yaml", "")]).await;
    let running = world.start(quick());
    create(&world, "shop", json!({"repoURL": server.url(), "chart": "web", "targetRevision": "1.x"})).await;
    world.synced("shop").await;
    // The archive of a new version, which the index announces already.
    server.break_off(".tgz", FileFault::Short, 100);
    published.chart("web", "1.1.0");
    keeps_and_says(&world, "web-1.1.0.tgz").await;
    server.heal();
    map_data(&world, "shop", "web", json!({"version": "1.1.0", "key": "default"})).await;
    world.synced("shop").await;
    // Half an index that can still be read, in which the chart is missing.
    let index = std::fs::read_to_string(published.served().join("index.yaml")).unwrap();
    server.break_off("index.yaml", FileFault::Unsaid, index.find("  web:").unwrap());
    published.chart("web", "1.2.0");
    keeps_and_says(&world, "it breaks off").await;
    server.heal();
    map_data(&world, "shop", "web", json!({"version": "1.2.0", "key": "default"})).await;
    running.stop().await;
}

/// Waits until the Application `shop` says something, while what it deployed stays as it is.
async fn keeps_and_says(world: &World, text: &str) {
    let live = async || {
        let live = world.find(&CONFIG_MAPS, "shop", "web").await.expect("it is not pruned");
        live["metadata"]["resourceVersion"].clone()
    };
    let before = live().await;
    world.until("shop", text, |one| one["status"]["conditions"].to_string().contains(text)).await;
    assert_eq!(live().await, before);
}
