//! How objects begin and end: dry runs, finalizers, grace periods, preconditions, collections.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::server::Server;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn reason(error: &kube::Error) -> &str {
    match error {
        kube::Error::Api(status) => &status.reason,
        other => panic!("not an answer of the API: {other:?}"),
    }
}

fn map(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name, "labels": {"app": name}}}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    assert!(maps.create(&dry, &map("a")).await.unwrap().uid().is_some());
    assert!(maps.get_opt("a").await.unwrap().is_none());
    let made = maps.create(&PostParams::default(), &map("a")).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"x": "y"}}));
    let shown =
        maps.patch("a", &PatchParams { dry_run: true, ..PatchParams::default() }, &patch).await.unwrap();
    assert_eq!(shown.data.unwrap()["x"], "y");
    maps.delete("a", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap().resource_version(), made.resource_version());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let mut held = map("held");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.delete("held", &DeleteParams::foreground()).await.unwrap();
    let ending = maps.get("held").await.unwrap();
    assert!(ending.metadata.deletion_timestamp.is_some());
    assert_eq!(ending.finalizers(), ["example.com/hold", "foregroundDeletion"]);
    let more =
        json!({"metadata": {"finalizers": ["example.com/hold", "foregroundDeletion", "example.com/late"]}});
    let refused = maps.patch("held", &PatchParams::default(), &Patch::Merge(more)).await.unwrap_err();
    assert_eq!(reason(&refused), "Invalid");
    let none = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(none)).await.unwrap();
    assert!(maps.get_opt("held").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_pod_gets_its_time_to_end() {
    let server = Server::start().await;
    let pods: Api<Pod> = Api::namespaced(server.admin(), "default");
    let pod: Pod =
        from(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}));
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "here"}});
    let request = http::Request::post("/api/v1/namespaces/default/pods/p/binding")
        .body(serde_json::to_vec(&binding).unwrap())
        .unwrap();
    server.admin().request_text(request).await.unwrap();
    let bound = pods.get("p").await.unwrap();
    assert_eq!(bound.spec.as_ref().unwrap().node_name.as_deref(), Some("here"));
    assert_eq!(bound.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].type_, "PodScheduled");
    let wrong = DeleteParams {
        preconditions: Some(Preconditions { uid: Some("other".to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    assert_eq!(reason(&pods.delete("p", &wrong).await.unwrap_err()), "Conflict");
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    let ending = pods.get("p").await.unwrap();
    assert_eq!(ending.metadata.deletion_grace_period_seconds, Some(30));
    // The kubelet's last word.
    let uid = ending.uid().unwrap();
    let last = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    };
    pods.delete("p", &last).await.unwrap();
    assert!(pods.get_opt("p").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_deleted_by_selector() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &map(name)).await.unwrap();
    }
    let some = ListParams::default().labels("app in (a,b)");
    maps.delete_collection(&DeleteParams::default(), &some).await.unwrap();
    let left = maps.list(&ListParams::default().labels("app")).await.unwrap();
    assert_eq!(left.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_fields_are_recorded_and_conflicts_named() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let object = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}});
    let mine = PatchParams::apply("mine");
    let made = maps.patch("a", &mine, &Patch::Apply(object("1"))).await.unwrap();
    let again = maps.patch("a", &mine, &Patch::Apply(object("1"))).await.unwrap();
    assert_eq!(made.resource_version(), again.resource_version(), "the same once more writes nothing");
    let refused =
        maps.patch("a", &PatchParams::apply("yours"), &Patch::Apply(object("2"))).await.unwrap_err();
    let kube::Error::Api(status) = &refused else { panic!("{refused:?}") };
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "mine": .data.k"#);
    let forced =
        maps.patch("a", &PatchParams::apply("yours").force(), &Patch::Apply(object("2"))).await.unwrap();
    let managers: Vec<String> =
        forced.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
    assert_eq!(managers, ["yours"]);
}
