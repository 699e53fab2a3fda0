//! The server of webhooks over a socket, and generators of pull requests that are told.

use std::net::SocketAddr;

use client::dynamic::ListOptions;
use client::resource::{APPLICATION_SETS, APPLICATIONS};
use gitops::{Settings, Webhooks};
use serde_json::json;
use test_kit::eventually_async;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::world::{SOON, World, config_map};

/// Sends one request; the status line and body of the answer.
async fn send(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request =
        format!("{head}\r\nhost: here\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", head.lines().next().unwrap().trim_start_matches("HTTP/1.1 "))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_hosts_and_nobody_else() {
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &config_map("one", "1"))]).await;
    let controller = world.controller(Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(controller.webhooks().serve(listener, shutdown.clone()));
    let push = "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: push";
    // Before it is known what is kept beside the Applications, whoever will lead is told through the API.
    let payload = json!({"ref": "refs/heads/main", "repository": {"html_url": "https://git.example.org/team/platform"}});
    world.application("early", "shop", json!({})).await;
    assert_eq!(send(address, push, &payload.to_string()).await, "200 OK ");
    let early = world.find(&APPLICATIONS, "argocd", "early").await.unwrap();
    assert_eq!(early["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal");
    let running = tokio::spawn(controller.run(shutdown.clone()));
    eventually_async("the controller listens", SOON, || async {
        let answer = send(address, "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: ping", "{}").await;
        if answer == "200 OK " { Ok(()) } else { Err(answer) }
    })
    .await;
    assert!(send(address, "GET /api/webhook HTTP/1.1\r\nX-GitHub-Event: ping", "").await.starts_with("405"));
    assert!(send(address, "POST /api/v1/applications HTTP/1.1", "{}").await.starts_with("404"));
    assert_eq!(
        send(address, "POST /api/webhook HTTP/1.1", "{}").await,
        "400 Bad Request Unknown webhook event\n"
    );
    assert_eq!(send(address, push, &payload.to_string()).await, "200 OK ");
    shutdown.cancel();
    server.await.unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn generators_of_pull_requests_are_told() {
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &config_map("one", "1"))]).await;
    let served = tempfile::tempdir().unwrap();
    let file = served.path().join("repos/o/r/pulls");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let pull = |number: u64| {
        json!({"number": number, "title": "t", "user": {"login": "alice"}, "labels": [],
            "head": {"ref": "HEAD", "sha": "0123456789abcdef"}, "base": {"ref": "main"}})
    };
    std::fs::write(&file, json!([pull(7)]).to_string()).unwrap();
    let github = test_kit::FileServer::start(served.path());
    let controller = world.controller(Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(controller.webhooks().serve(listener, shutdown.clone()));
    let running = tokio::spawn(controller.run(shutdown.clone()));
    world
        .create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
            "metadata": {"name": "previews", "namespace": "argocd"},
            "spec": {
                "goTemplate": true,
                // By itself it would ask again in half an hour.
                "generators": [{"pullRequest": {"github": {"owner": "o", "repo": "r", "api": github.url()}}}],
                "template": {
                    "metadata": {"name": "preview-{{.number}}"},
                    "spec": {"project": "default", "destination": {"name": "in-cluster", "namespace": "p"},
                        "source": {"repoURL": super::world::URL, "path": "shop", "targetRevision": "HEAD"}},
                },
            },
        }))
        .await;
    world.object(&APPLICATIONS, "argocd", "preview-7", |found| found.is_some()).await;
    std::fs::write(&file, json!([pull(7), pull(8)]).to_string()).unwrap();
    let event = json!({"action": "opened", "repository": {"name": "r", "owner": {"login": "o"},
        "url": format!("{}/repos/o/r", github.url())}});
    let head = "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: pull_request";
    assert_eq!(send(address, head, &event.to_string()).await, "200 OK ");
    world.object(&APPLICATIONS, "argocd", "preview-8", |found| found.is_some()).await;
    assert!(world.find(&APPLICATION_SETS, "argocd", "previews").await.is_some());
    shutdown.cancel();
    server.await.unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_has_whoever_leads_look() {
    let world = World::new().await;
    let spec = |url: &str, revision: &str| {
        json!({"project": "default", "destination": {"name": "in-cluster", "namespace": "p"},
            "source": {"repoURL": url, "path": "shop", "targetRevision": revision}})
    };
    for number in 0..25 {
        world
            .application_of(&format!("many-{number:02}"), spec("git@git.example.org:team/many.git", "HEAD"))
            .await;
    }
    world.application_of("shop", spec(super::world::URL, "main")).await;
    world.application_of("stage", spec(super::world::URL, "stage")).await;
    let set = |name: &str, generators: serde_json::Value| {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
            "metadata": {"name": name, "namespace": "argocd"}, "spec": {"generators": generators, "template": {
                "metadata": {"name": "x"}, "spec": {"project": "default", "destination": {}}}}})
    };
    let git = json!({"git": {"repoURL": super::world::URL, "revision": "HEAD", "directories": []}});
    let pulls = json!({"pullRequest": {"github": {"owner": "o", "repo": "r"}}});
    world.create(set("git", json!([{"matrix": {"generators": [{"list": {"elements": []}}, git]}}]))).await;
    world.create(set("pulls", json!([pulls]))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let webhooks = Webhooks::standby(world.client.clone(), "argocd");
    let server = tokio::spawn(webhooks.serve(listener, shutdown.clone()));
    let push = |repository: &str| {
        let url = format!("https://git.example.org/team/{repository}");
        json!({"ref": "refs/heads/main", "repository": {"html_url": url, "default_branch": "main"}})
            .to_string()
    };
    let head = "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: push";
    assert_eq!(send(address, head, &push("platform")).await, "200 OK ");
    let annotation = async |kind: &client::ResourceType, name: &str, of: &str| {
        let object = world.find(kind, "argocd", name).await.unwrap();
        object["metadata"]["annotations"][format!("argocd.argoproj.io/{of}")].as_str().map(str::to_owned)
    };
    assert_eq!(annotation(&APPLICATIONS, "shop", "refresh").await.as_deref(), Some("normal"));
    assert_eq!(annotation(&APPLICATIONS, "stage", "refresh").await, None);
    assert_eq!(annotation(&APPLICATIONS, "many-00", "refresh").await, None);
    let refreshed = "application-set-refresh";
    assert_eq!(annotation(&APPLICATION_SETS, "git", refreshed).await.as_deref(), Some("true"));
    assert_eq!(annotation(&APPLICATION_SETS, "pulls", refreshed).await, None);
    let event = json!({"action": "opened", "repository": {"name": "r", "owner": {"login": "o"},
        "url": "https://api.github.com/repos/o/r"}});
    let opened = "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: pull_request";
    assert_eq!(send(address, opened, &event.to_string()).await, "200 OK ");
    assert_eq!(annotation(&APPLICATION_SETS, "pulls", refreshed).await.as_deref(), Some("true"));
    // One that looks has the repository fetched for all of them.
    assert_eq!(send(address, head, &push("many")).await, "200 OK ");
    let all = world.api(&APPLICATIONS).list(Some("argocd"), &ListOptions::all()).await.unwrap().items;
    let asked =
        all.iter().filter(|one| one["metadata"]["annotations"]["argocd.argoproj.io/refresh"] == "normal");
    assert_eq!(asked.count(), 1 + 20);
    shutdown.cancel();
    server.await.unwrap();
}

/// Where an Argo CD was seen, Applications are its own until they were taken from it, and ApplicationSets remain so.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_leaves_alone_what_is_an_argo_cds() {
    let world = World::new().await;
    for name in ["taken", "untaken", "paused"] {
        world.application(name, "shop", json!({})).await;
    }
    let annotate = async |name: &str, annotations: serde_json::Value| {
        world.change(&APPLICATIONS, "argocd", name, json!({"metadata": {"annotations": annotations}})).await;
    };
    let skipped = "argocd.argoproj.io/skip-reconcile";
    annotate("taken", json!({"mainstay/taken-from": "argocd", skipped: "true"})).await;
    annotate("paused", json!({skipped: "true"})).await;
    let git = json!({"git": {"repoURL": super::world::URL, "revision": "HEAD", "directories": []}});
    world
        .create(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
            "metadata": {"name": "git", "namespace": "argocd"}, "spec": {"generators": [git], "template": {
                "metadata": {"name": "x"}, "spec": {"project": "default", "destination": {}}}}}))
        .await;
    let note = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": gitops::NOTE, "namespace": "argocd"}});
    world.create(note).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let webhooks = Webhooks::standby(world.client.clone(), "argocd");
    let server = tokio::spawn(webhooks.serve(listener, shutdown.clone()));
    let payload = json!({"ref": "refs/heads/main", "repository": {"html_url": "https://git.example.org/team/platform"}});
    let push = async || {
        let head = "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: push";
        assert_eq!(send(address, head, &payload.to_string()).await, "200 OK ");
    };
    let asked = async || {
        let mut asked = Vec::new();
        for kind in [&APPLICATIONS, &APPLICATION_SETS] {
            for object in world.api(kind).list(Some("argocd"), &ListOptions::all()).await.unwrap().items {
                let annotations = object["metadata"]["annotations"].to_string();
                if annotations.contains("refresh") {
                    asked.push(object["metadata"]["name"].as_str().unwrap().to_owned());
                }
            }
        }
        asked
    };
    push().await;
    assert_eq!(asked().await, ["taken"]);
    gitops::release_claim(&world.client, "argocd").await.unwrap();
    push().await;
    assert_eq!(asked().await, ["taken", "untaken", "git"]);
    shutdown.cancel();
    server.await.unwrap();
}

/// One process is a standby, leads for a term, and is a standby again.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_leads_as_long_as_its_controller_runs() {
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &config_map("one", "1"))]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let webhooks = Webhooks::standby(world.client.clone(), "argocd");
    let server = tokio::spawn(webhooks.clone().serve(listener, shutdown.clone()));
    let controller = world.controller(Settings::default());
    let metrics = controller.metrics();
    let counted = || {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(gitops::Exposition(std::sync::Arc::clone(&metrics))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.contains("mainstay_webhooks_total{")
    };
    let ping = async || send(address, "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: ping", "{}").await;
    webhooks.lead(&controller);
    let term = CancellationToken::new();
    let running = tokio::spawn(controller.run(term.clone()));
    eventually_async("what is taken is the controller's", SOON, || async {
        assert_eq!(ping().await, "200 OK ");
        if counted() { Ok(()) } else { Err("not yet") }
    })
    .await;
    term.cancel();
    running.await.unwrap();
    world.application("late", "shop", json!({})).await;
    let payload = json!({"ref": "refs/heads/main", "repository": {"html_url": "https://git.example.org/team/platform"}});
    let push = "POST /api/webhook HTTP/1.1\r\nX-GitHub-Event: push";
    assert_eq!(send(address, push, &payload.to_string()).await, "200 OK ");
    let late = world.find(&APPLICATIONS, "argocd", "late").await.unwrap();
    assert_eq!(late["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal");
    shutdown.cancel();
    server.await.unwrap();
}
