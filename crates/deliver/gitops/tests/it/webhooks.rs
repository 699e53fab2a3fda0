//! The server of webhooks over a socket, and generators of pull requests that are told.

use std::net::SocketAddr;

use client::resource::{APPLICATION_SETS, APPLICATIONS};
use gitops::Settings;
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
    // Nothing is believed before it is known what is kept beside the Applications.
    assert!(send(address, push, "{}").await.starts_with("503"));
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
    let payload = json!({"ref": "refs/heads/main", "repository": {"html_url": "https://git.example.org/team/platform"}});
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
