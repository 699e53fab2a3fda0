//! Whom an Application may reach: not what its project does not permit, and nobody's secrets.

use std::sync::Arc;

use client::dynamic::ListOptions;
use client::resource::{APPLICATION_SETS, APPLICATIONS, CONFIG_MAPS, EVENTS, SECRETS};
use gitops::{Exposition, Settings};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use test_kit::{FileServer, Repository, Serving};

use super::charts::{Published, secret_of};
use super::world::{SOON, URL, World, automated, config_map};

const HERE: &str = "https://kubernetes.default.svc";
const PRIVATE: &str = "https://git.example.org/other/private.git";
/// What nobody may see.
const WORD: &str = "sesame-open-up";

fn spec(project: &str, path: &str) -> Value {
    json!({
        "project": project,
        "source": {"repoURL": URL, "path": path, "targetRevision": "HEAD"},
        "destination": {"server": HERE, "namespace": "shop"},
        "syncPolicy": automated(),
    })
}

/// A project that permits one repository and one namespace.
fn shop() -> Value {
    json!({
        "sourceRepos": [URL],
        "destinations": [{"server": HERE, "namespace": "shop"}],
        "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
    })
}

/// The class of CVE-2022-31036: links in a repository, or in a chart's archive, that lead out of it.
#[tokio::test(flavor = "multi_thread")]
async fn links_lead_nowhere_outside() {
    let chart = [
        ("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n"),
        (
            "chart/templates/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata:\n  all: {{ .Values | toJson | quote }}\n  file: {{ .Files.Get \"linked.txt\" | quote }}\n",
        ),
    ];
    let (world, repository) = World::with_files(&chart).await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("values.yaml"), format!("key: {WORD}\n")).unwrap();
    let link = |target: &str, path: &str| {
        let path = repository.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    let absolute = outside.path().join("values.yaml").display().to_string();
    let up = format!("{}{absolute}", "../".repeat(20));
    link(&absolute, "links/absolute.yaml");
    link(&up, "links/up.yaml");
    link(&outside.path().display().to_string(), "links/directory");
    link(&absolute, "manifests/linked.yaml");
    link(&absolute, "kustomized/linked.yaml");
    repository
        .write("kustomized/kustomization.yaml", "configMapGenerator: [{name: a, files: [linked.yaml]}]\n");
    repository.commit("links");
    let running = world.start(Settings::default());
    let leaves = "symbolic link leaves the repository";
    for (name, files, message) in [
        ("absolute", "/links/absolute.yaml", leaves),
        ("up", "/links/up.yaml", leaves),
        ("directory", "/links/directory/values.yaml", leaves),
        ("dots", "../../../../../../../../etc/passwd", "outside the repository"),
    ] {
        let mut spec = spec("default", "chart");
        spec["source"]["helm"] = json!({"valueFiles": [files]});
        world.application_of(name, spec).await;
        world.condition(name, "ComparisonError", message).await;
    }
    world.application_of("manifests", spec("default", "manifests")).await;
    world.condition("manifests", "ComparisonError", leaves).await;
    world.application_of("kustomized", spec("default", "kustomized")).await;
    world.condition("kustomized", "ComparisonError", leaves).await;
    // Inside a chart: what a template asks for.
    link(&absolute, "chart/linked.txt");
    repository.commit("a link in a chart");
    world.application_of("chart", spec("default", "chart")).await;
    let reached = |application: &Value| application["status"]["sync"].is_object();
    world.until("chart", "compared", reached).await;
    nothing_told(&world, &["absolute", "up", "directory", "dots", "manifests", "kustomized", "chart"]).await;
    assert!(world.find(&CONFIG_MAPS, "shop", "map").await.is_none_or(|map| !map.to_string().contains(WORD)));
    running.stop().await;
}

/// No Application, and no Event about it, says the word.
async fn nothing_told(world: &World, names: &[&str]) {
    for name in names {
        let application = world.app(name).await;
        assert!(!application.to_string().contains(WORD), "{application}");
    }
    let events = world.api(&EVENTS).list(None, &ListOptions::all()).await.unwrap().items;
    for event in events {
        assert!(!event.to_string().contains(WORD), "{event}");
    }
}

/// The classes of CVE-2025-23216 and CVE-2024-31989: Secrets that the API refuses, or that drift, in whatever is
/// written about them.
#[tokio::test(flavor = "multi_thread")]
async fn what_secrets_hold_is_told_nowhere() {
    let secret = |name: &str, more: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\n{more}\n")
    };
    let files = [
        ("base64/a.yaml", secret("a", &format!("data: {{key: '{WORD}!'}}"))),
        ("number/a.yaml", secret("b", &format!("stringData: {{key: {{nested: {WORD}}}, n: 12345678901}}"))),
        ("list/a.yaml", secret("c", &format!("data: [{WORD}]"))),
        ("text/a.yaml", secret("d", &format!("stringData: {WORD}"))),
        ("key/a.yaml", secret("e", &format!("stringData: {{'no key!': {WORD}}}"))),
        (
            "type/a.yaml",
            secret(
                "f",
                &format!("type: kubernetes.io/dockerconfigjson\nstringData: {{'.dockerconfigjson': {WORD}}}"),
            ),
        ),
        ("fixed/a.yaml", secret("g", &format!("immutable: true\nstringData: {{key: {WORD}}}"))),
        ("fine/a.yaml", secret("h", &format!("stringData: {{key: {WORD}}}"))),
        ("server/a.yaml", secret("i", &format!("data: {{key: '{WORD}!'}}"))),
        ("broken/a.yaml", secret("j", &format!("stringData: {{key: {WORD}\n  key: [{WORD}"))),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let (world, repository) = World::with_files(&files).await;
    let running = world.start(Settings::default());
    let names = ["base64", "number", "list", "text", "key", "type", "fixed", "fine", "server", "broken"];
    for name in names {
        let mut spec = spec("default", name);
        spec["syncPolicy"]["retry"] = json!({"limit": 0});
        if name == "server" {
            spec["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true", "ServerSideApply=true"]);
        }
        world.application_of(name, spec).await;
    }
    for name in ["fine", "fixed"] {
        world.synced(name).await;
    }
    for name in ["base64", "number", "list", "text", "key", "server"] {
        let failed = |application: &Value| application["status"]["operationState"]["phase"] == "Failed";
        let application = world.until(name, "refused", failed).await;
        let message = application["status"]["operationState"]["message"].as_str().unwrap();
        assert!(message.len() > 20, "{name}: {message}");
        assert!(!message.contains("12345678901"), "{name}: {message}");
    }
    world.condition("broken", "ComparisonError", "").await;
    // One that may not be changed is; one that was edited is healed.
    repository
        .write("fixed/a.yaml", &secret("g", &format!("immutable: true\nstringData: {{key: {WORD}-2}}")));
    repository.commit("change what is fixed");
    world.until("fixed", "refused", |fixed| fixed["status"]["operationState"]["phase"] == "Failed").await;
    world.change(&SECRETS, "shop", "h", json!({"stringData": {"key": format!("{WORD}-edited")}})).await;
    let decoded = |secret: Option<&Value>| {
        use base64::Engine as _;
        let data = secret.and_then(|secret| secret["data"]["key"].as_str()).unwrap_or_default();
        base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default()
    };
    world.object(&SECRETS, "shop", "h", |secret| decoded(secret) == WORD.as_bytes()).await;
    // Manifests that a person sends along.
    let sent = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "h"}, "stringData": {"key": format!("{WORD}-sent")}});
    world.change(&APPLICATIONS, "argocd", "fine", json!({"spec": {"syncPolicy": {"automated": null}}})).await;
    world
        .change(
            &APPLICATIONS,
            "argocd",
            "fine",
            json!({"operation": {"sync": {"manifests": [sent.to_string()]}}}),
        )
        .await;
    world.object(&SECRETS, "shop", "h", |secret| decoded(secret) == format!("{WORD}-sent").as_bytes()).await;
    world.until("fine", "the operation is over", |fine| fine["operation"].is_null()).await;
    nothing_told(&world, &names).await;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(Arc::clone(&running.metrics))));
    let mut exposed = String::new();
    prometheus_client::encoding::text::encode(&mut exposed, &registry).unwrap();
    assert!(
        exposed.contains("fine") && !exposed.contains(WORD) && !exposed.contains("stringData"),
        "{exposed}"
    );
    running.stop().await;
}

/// What is answered from a place of this machine is for those projects that permit it, however it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_permitted_is_reached_by_no_way() {
    let lookup = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata:\n  all: {{ lookup \"v1\" \"Secret\" \"other\" \"\" | toJson | quote }}\n";
    let (world, repository) = World::with_files(&[
        ("base/kustomization.yaml", &format!("resources: ['{PRIVATE}//secret?ref=main']\n")),
        ("file/kustomization.yaml", "resources: ['file:///etc//']\n"),
        ("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n"),
        (
            "chart/templates/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.name }}}\n",
        ),
        ("chart/values.yaml", "name: plain\n"),
        ("lookup/Chart.yaml", "apiVersion: v2\nname: lookup\nversion: 1.0.0\n"),
        ("lookup/templates/map.yaml", lookup),
        ("fine/one.yaml", &config_map("one", "1")),
    ])
    .await;
    let directory = tempfile::tempdir().unwrap();
    let private = Repository::of(directory.path());
    private.write("secret/kustomization.yaml", "resources: [map.yaml]\n");
    private.write("secret/map.yaml", &config_map("private", WORD));
    private.write("values.yaml", &format!("name: {WORD}\n"));
    private.commit("private");
    world.repositories.map(git::Mapping::new(PRIVATE, private.path())).unwrap();
    world.project("shop", shop()).await;
    for namespace in ["other", "shop"] {
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    }
    world.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": "other"}, "stringData": {"key": WORD}})).await;
    let running = world.start(Settings::default());

    let mut sources = spec("shop", "chart");
    sources["sources"] = json!([
        {"repoURL": URL, "path": "chart", "targetRevision": "HEAD", "helm": {"valueFiles": ["$other/values.yaml"]}},
        {"repoURL": PRIVATE, "targetRevision": "HEAD", "ref": "other"},
    ]);
    sources.as_object_mut().unwrap().remove("source");
    let mut straight = spec("shop", "secret");
    straight["source"]["repoURL"] = PRIVATE.into();
    let mut scheme = spec("shop", "chart");
    scheme["source"]["helm"] = json!({"valueFiles": ["file:///etc/passwd"]});
    let mut local = spec("default", ".");
    local["source"]["repoURL"] = format!("file://{}", private.path().display()).into();
    let not_permitted = format!("repository {PRIVATE} is not permitted in project 'shop'");
    let not_permitted_source = format!("application repo {PRIVATE} is not permitted in project 'shop'");
    for (name, spec, kind, message) in [
        ("base", spec("shop", "base"), "ComparisonError", not_permitted.as_str()),
        ("sources", sources, "InvalidSpecError", &not_permitted_source),
        ("straight", straight, "InvalidSpecError", &not_permitted_source),
        ("file", spec("shop", "file"), "ComparisonError", "local path"),
        ("scheme", scheme, "ComparisonError", "URL scheme"),
        ("local", local, "ComparisonError", "local path"),
    ] {
        world.application_of(name, spec).await;
        world.condition(name, kind, message).await;
    }
    // The same for a project that may, until it may no longer.
    let mut wide = shop();
    wide["sourceRepos"] = json!([URL, PRIVATE]);
    world.project("wide", wide).await;
    world.application_of("permitted", spec("wide", "base")).await;
    world.synced("permitted").await;
    let narrow = json!({"spec": {"sourceRepos": [URL]}});
    world.change(&client::resource::APP_PROJECTS, "argocd", "wide", narrow).await;
    let message = format!("repository {PRIVATE} is not permitted in project 'wide'");
    world.condition("permitted", "ComparisonError", &message).await;
    assert!(world.find(&CONFIG_MAPS, "shop", "private").await.is_some(), "and nothing is pruned for it");
    // Rendering sees nothing of the cluster.
    world.application_of("lookup", spec("shop", "lookup")).await;
    world.synced("lookup").await;
    let seen = world.find(&CONFIG_MAPS, "shop", "seen").await.unwrap();
    assert_eq!(seen["data"]["all"], "{}");
    // A submodule is another repository.
    repository.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{},module", private.git(&["rev-parse", "HEAD"]).trim()),
    ]);
    repository.git(&["commit", "--quiet", "--message", "a submodule"]);
    world.application_of("module", spec("shop", "module")).await;
    world.condition("module", "ComparisonError", "submodule").await;
    nothing_told(&world, &["base", "sources", "straight", "file", "scheme", "local", "lookup", "module"])
        .await;
    running.stop().await;
}

/// Generated Applications are Applications: what their template says of project and destination is looked at again.
#[tokio::test(flavor = "multi_thread")]
async fn templates_reach_no_further() {
    let (world, _repository) = World::with_files(&[("fine/one.yaml", &config_map("one", "1"))]).await;
    world.project("shop", shop()).await;
    let running = world.start(Settings::default());
    let set = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
        "metadata": {"name": "set", "namespace": "argocd"},
        "spec": {
            "goTemplate": true,
            "generators": [{"list": {"elements": [{"name": "permitted", "namespace": "shop"}, {"name": "elsewhere", "namespace": "kube-system"}]}}],
            "template": {
                "metadata": {"name": "{{ .name }}"},
                "spec": {
                    "project": "shop",
                    "source": {"repoURL": URL, "path": "fine", "targetRevision": "HEAD"},
                    "destination": {"server": HERE, "namespace": "{{ .namespace }}"},
                    "syncPolicy": automated(),
                },
            },
        },
    });
    world.api(&APPLICATION_SETS).create(&set).await.unwrap();
    world.synced("permitted").await;
    world.condition("elsewhere", "InvalidSpecError", "do not match any of the allowed destinations").await;
    assert!(world.find(&CONFIG_MAPS, "kube-system", "one").await.is_none());
    running.stop().await;
}

/// A repository of a project is opened by its Applications alone, and credentials go neither to what a project does not
/// permit nor to another host.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_their_projects() {
    let published = Published::new();
    published.chart("web", "1.0.0");
    let basic = |user: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{WORD}")))
    };
    let serving = |user: &str| Serving { authorization: Some(basic(user)), ..Serving::default() };
    let theirs = FileServer::serving(&published.served(), serving("theirs"));
    let ours = FileServer::serving(&published.served(), serving("ours"));
    let listening = FileServer::start(&published.served());
    let moved = FileServer::serving(
        &published.served(),
        Serving { redirect: Some(listening.url()), ..Serving::default() },
    );
    let dependency = format!(
        "apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies:\n- {{name: web, version: 1.0.0, repository: '{}'}}\n",
        ours.url()
    );
    let (world, _repository) =
        World::with_files(&[("umbrella/Chart.yaml", &dependency), ("umbrella/values.yaml", "{}\n")]).await;
    for (name, url, user, project) in [
        ("theirs", theirs.url(), "theirs", "theirs"),
        ("ours", ours.url(), "ours", ""),
        ("moved", moved.url(), "moved", ""),
    ] {
        world.create(secret_of(name, &url, user, WORD, project)).await;
    }
    let mut anywhere = shop();
    anywhere["sourceRepos"] = json!(["*"]);
    world.project("theirs", anywhere.clone()).await;
    world.project("others", anywhere).await;
    world.project("shop", shop()).await;
    let running = world.start(Settings::default());
    let chart = |project: &str, url: &str| {
        let mut spec = spec(project, ".");
        spec["source"] = json!({"repoURL": url, "chart": "web", "targetRevision": "1.0.0"});
        spec
    };
    world.application_of("own", chart("theirs", &theirs.url())).await;
    world.synced("own").await;
    // Though it lies in the cache by now.
    world.application_of("other", chart("others", &theirs.url())).await;
    world.condition("other", "ComparisonError", "401").await;
    // Everybody's credentials, for a dependency that the project does not permit.
    world.application_of("umbrella", spec("shop", "umbrella")).await;
    world.condition("umbrella", "ComparisonError", "401").await;
    assert!(ours.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", ours.seen());
    world.application_of("moved", chart("others", &moved.url())).await;
    let reached = |application: &Value| application["status"]["sync"].is_object();
    world.until("moved", "compared", reached).await;
    test_kit::eventually("the other host was asked", SOON, || {
        if listening.seen().is_empty() { Err("not yet") } else { Ok(()) }
    });
    assert!(moved.seen().iter().any(|seen| seen.authorization.is_some()));
    assert!(listening.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", listening.seen());
    nothing_told(&world, &["own", "other", "umbrella", "moved"]).await;
    running.stop().await;
}
