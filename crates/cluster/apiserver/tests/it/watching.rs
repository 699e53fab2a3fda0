//! Watches in all their forms, read as they come over the wire.

use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::server::Server;

/// The first events of a watch.
async fn events(server: &Server, query: &str, count: usize) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/default/configmaps?watch=1&{query}");
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let lines = server.admin().request_stream(request).await.unwrap().lines();
    let read = lines.take(count).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap()
}

fn shown(events: &[Value]) -> Vec<String> {
    let name = |event: &Value| event["object"]["metadata"]["name"].as_str().unwrap_or("-").to_owned();
    events.iter().map(|event| format!("{} {}", event["type"].as_str().unwrap(), name(event))).collect()
}

async fn two_maps(server: &Server) {
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    for name in ["a", "b"] {
        let map =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}}})).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_list_streams_what_is_there_and_marks_the_end() {
    let server = Server::start().await;
    two_maps(&server).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let found = events(&server, query, 4).await;
    assert_eq!(shown(&found), ["ADDED a", "ADDED b", "ADDED kube-root-ca.crt", "BOOKMARK -"]);
    let bookmark = &found[3]["object"]["metadata"];
    assert_eq!(bookmark["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(bookmark["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let server = Server::start().await;
    two_maps(&server).await;
    assert_eq!(shown(&events(&server, "labelSelector=app%3Db", 1).await), ["ADDED b"]);
    assert_eq!(
        shown(&events(&server, "resourceVersion=0&fieldSelector=metadata.name%3Da", 1).await),
        ["ADDED a"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let server = Server::start().await;
    two_maps(&server).await;
    let found = events(&server, "timeoutSeconds=1&allowWatchBookmarks=true&labelSelector=app%3Db", 9).await;
    assert_eq!(shown(&found), ["ADDED b", "BOOKMARK -"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_there_yet_is_waited_for_and_then_refused() {
    let server = Server::start().await;
    let request =
        http::Request::get("/api/v1/configmaps?watch=1&resourceVersion=1000000").body(Vec::new()).unwrap();
    let refused = server.admin().request_text(request).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (504, "Timeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_before_the_window_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let pki = apiserver::pki::Pki::ephemeral().unwrap();
    let open = async || {
        let store = store::Store::open(&path, &store::Config::default()).unwrap();
        apiserver::ApiServer::start(apiserver::Config::new(store, &pki)).await.unwrap()
    };
    open().await.stop().await;
    let server = open().await;
    let client = kube::Client::new(server.service(apiserver::User::admin()), "default");
    let request =
        http::Request::get("/api/v1/configmaps?watch=1&resourceVersion=1").body(Vec::new()).unwrap();
    let refused = client.request_text(request).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}
