//! Tokens, redirects, broken connections.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use registry::{Cause, Credentials, Error, Keyring, Platform, Reference, Registry, RegistryConfig};

use crate::fake::{Fake, broken, response};
use crate::image::descriptor;

const MANIFEST_TYPE: (&str, &str) = ("content-type", "application/vnd.oci.image.manifest.v1+json");

fn client() -> Registry {
    Registry::new(RegistryConfig::default()).unwrap()
}

fn manifest() -> String {
    serde_json::json!({
        "schemaVersion": 2, "config": descriptor("c", b"config"), "layers": [descriptor("l", b"layer")],
    })
    .to_string()
}

fn name(server: &Fake) -> Reference {
    Reference::parse(&format!("{}/a/b:1", server.host)).unwrap()
}

fn keyring(server: &Fake) -> Keyring {
    Keyring::single(
        &server.host,
        Credentials::Basic { username: "u".to_owned(), password: "secret".to_owned() },
    )
}

fn bearer(host: &str, token_answer: &str, request: &crate::fake::Request) -> crate::fake::Response {
    let path = request.uri().path();
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    match (path, authorization) {
        ("/token", _) => response(200, &[], token_answer.to_owned()),
        (_, Some("Bearer t0k3n")) => response(200, &[MANIFEST_TYPE], manifest()),
        _ => {
            let challenge =
                format!("Bearer realm=\"http://{host}/token\",service=\"s\",scope=\"repository:a/b:pull\"");
            response(401, &[("www-authenticate", &challenge)], "")
        }
    }
}

#[tokio::test]
async fn tokens_are_fetched_once_and_used_again() {
    let server =
        Fake::start(|host, request| bearer(host, r#"{"token":"t0k3n","expires_in":300}"#, request)).await;
    let client = client();
    for _ in 0..2 {
        client.resolve(&name(&server), &Platform::host(), &keyring(&server)).await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert_eq!(seen[0], "GET /v2/a/b/manifests/1 -");
    // u:secret
    assert_eq!(seen[1], "GET /token?scope=repository%3Aa%2Fb%3Apull&service=s Basic dTpzZWNyZXQ=");
    assert_eq!(seen[2], "GET /v2/a/b/manifests/1 Bearer t0k3n");
    assert_eq!(seen[3], "GET /v2/a/b/manifests/1 Bearer t0k3n");
}

#[tokio::test]
async fn a_refused_token_is_no_access() {
    let server = Fake::start(|host, request| bearer(host, r#"{"token":"other"}"#, request)).await;
    let error = client().resolve(&name(&server), &Platform::host(), &keyring(&server)).await.unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_blob_goes_on_where_it_broke_off() {
    let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let blob = descriptor("l", &content);
    let attempts = AtomicU32::new(0);
    let served = content.clone();
    let server = Fake::start(move |_, request| {
        let range = request.headers().get("range").map(|value| value.to_str().unwrap().to_owned());
        let from: usize = range
            .as_deref()
            .map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        let rest = &served[from..];
        let status = if from > 0 { 206 } else { 200 };
        match attempts.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => broken(status, rest, 100_000),
            2 => response(503, &[], ""),
            _ => response(status, &[], rest.to_vec()),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blob");
    client().blob(&name(&server), &blob, &Keyring::default(), &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == content);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_blob_begins_anew_where_ranges_are_unknown() {
    let content = vec![3; 50_000];
    let blob = descriptor("l", &content);
    let attempts = AtomicU32::new(0);
    let served = content.clone();
    let server = Fake::start(move |_, _| match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => broken(200, &served, 20_000),
        _ => response(200, &[], served.clone()),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blob");
    client().blob(&name(&server), &blob, &Keyring::default(), &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == content);
}

#[track_caller]
fn cause(error: Error) -> Cause {
    match error {
        Error::Attempts { mut attempts, .. } => attempts.remove(0).cause,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn content_that_is_not_what_was_asked_for_is_refused() {
    let server = Fake::start(|_, request| {
        let path = request.uri().path();
        if path.contains("/blobs/") {
            response(200, &[], "other")
        } else {
            response(200, &[MANIFEST_TYPE], manifest())
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (file, none) = (dir.path().join("blob"), Keyring::default());
    let name = name(&server);
    let wrong = client().blob(&name, &descriptor("l", b"layer"), &none, &file).await.unwrap_err();
    assert!(matches!(cause(wrong), Cause::Digest { .. }));
    let long = client().blob(&name, &descriptor("l", b"lay"), &none, &file).await.unwrap_err();
    assert!(matches!(cause(long), Cause::Size { .. }));
    let pinned = name.with_digest(registry::Digest::of(b"something else"));
    let wrong = client().resolve(&pinned, &Platform::host(), &none).await.unwrap_err();
    assert!(matches!(cause(wrong), Cause::Digest { .. }));
}

#[tokio::test]
async fn credentials_do_not_follow_redirects_to_other_hosts() {
    let content = b"layer";
    let storage = Fake::start(|_, _| response(200, &[], content.as_slice())).await;
    let target = format!("http://{}/somewhere?signature=s", storage.host);
    let server = Fake::start(move |_, request| match request.headers().get("authorization") {
        Some(_) => response(307, &[("location", &target)], ""),
        None => response(401, &[("www-authenticate", "Basic realm=x")], ""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blob");
    client().blob(&name(&server), &descriptor("l", content), &keyring(&server), &file).await.unwrap();
    assert_eq!(storage.seen(), ["GET /somewhere?signature=s -"]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = Reference::parse(&format!("{}/a:1", listener.local_addr().unwrap())).unwrap();
    let config = RegistryConfig {
        idle_timeout: Duration::from_millis(50),
        total_timeout: Duration::from_millis(400),
        ..RegistryConfig::default()
    };
    let client = Registry::new(config).unwrap();
    let error = client.resolve(&name, &Platform::host(), &Keyring::default()).await.unwrap_err();
    assert!(matches!(cause(error), Cause::Idle { .. } | Cause::Deadline(_)));
    drop(listener);
}
