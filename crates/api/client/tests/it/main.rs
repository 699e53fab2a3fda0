//! The client's parts against a real API server in this process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lease;

use std::collections::BTreeSet;
use std::time::Duration;

use client::controller::{Action, BoxError, Controller};
use client::discovery::Resources;
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::events::Recorder;
use client::resource::{CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, EVENTS, NAMESPACES};
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Key, wait};
use futures::StreamExt;
use objects::gvk::GroupVersionKind;
use objects::meta;
use serde_json::{Value, json};
use test_kit::Cluster;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "default", "labels": { "of": "test" } },
        "data": { "k": value } })
}

fn key(name: &str) -> Key {
    Key::namespaced("default", name)
}

async fn start() -> (Cluster, Client) {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    wait::present(&admin, &NAMESPACES, &Key::cluster("default"), "it exists", LIMIT, |_| true).await.unwrap();
    (cluster, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_read_and_refused() {
    let (_cluster, admin) = start().await;
    let api = Api::new(&admin, &CONFIG_MAPS);
    let created = api.create(&config_map("one", "1")).await.unwrap();
    assert!(api.create(&config_map("one", "1")).await.unwrap_err().is_already_exists());
    let patch = Patch::Merge(json!({ "data": { "k": "2" } }));
    let patched = api.patch(&key("one"), &patch, &PatchOptions::manager("m")).await.unwrap();
    assert_eq!(patched["data"]["k"], "2");
    let error = api.replace(&created).await.unwrap_err();
    assert!(error.is_conflict() && error.retryable(), "{error:?}");
    let patch = Patch::Json(json!([{ "op": "replace", "path": "/data/k", "value": "3" }]));
    assert_eq!(api.patch(&key("one"), &patch, &PatchOptions::default()).await.unwrap()["data"]["k"], "3");
    assert_eq!(api.apply(&config_map("one", "4"), "applier", true).await.unwrap()["data"]["k"], "4");
    let dry = PatchOptions { dry_run: true, ..PatchOptions::default() };
    api.patch(&key("one"), &Patch::Merge(json!({ "data": { "k": "dry" } })), &dry).await.unwrap();
    assert_eq!(api.get(&key("one")).await.unwrap()["data"]["k"], "4");

    let list = api.list(Some("default"), &ListOptions::labels("of=test")).await.unwrap();
    assert_eq!(list.items.iter().map(meta::kind).collect::<Vec<_>>(), ["ConfigMap"]);
    let metadata = ListOptions { metadata_only: true, ..ListOptions::labels("of=test") };
    let list = api.list(None, &metadata).await.unwrap();
    assert!(list.items[0].get("data").is_none());
    assert_eq!(meta::name(&list.items[0]), "one");

    let error = api.get(&key("two")).await.unwrap_err();
    assert_eq!(error.message(), "configmaps \"two\" not found");
    assert!(error.is_not_found() && api.find(&key("two")).await.unwrap().is_none());
    let mut elsewhere = config_map("x", "1");
    elsewhere["metadata"]["namespace"] = json!("jenkins");
    assert_eq!(api.create(&elsewhere).await.unwrap_err().message(), "namespaces \"jenkins\" not found");
    let invalid = Api::new(&admin, &DEPLOYMENTS)
        .create(&json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "namespace": "default" }, "spec": {} }))
        .await
        .unwrap_err();
    assert!(invalid.is_invalid() && !invalid.status().unwrap().causes.is_empty(), "{invalid:?}");

    let stranger = DeleteOptions::default().only("another-uid");
    assert!(api.delete(&key("one"), &stranger).await.unwrap_err().is_conflict());
    api.delete_if_exists(&key("one"), &stranger).await.unwrap();
    api.delete(&key("one"), &DeleteOptions::background()).await.unwrap();
    wait::gone(&admin, &CONFIG_MAPS, &key("one"), LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let (_cluster, admin) = start().await;
    let api = Api::new(&admin, &CONFIG_MAPS);
    for n in 0..7 {
        api.create(&config_map(&format!("c{n}"), "")).await.unwrap();
    }
    let mut options = ListOptions { limit: Some(3), ..ListOptions::labels("of=test") };
    let mut names = BTreeSet::new();
    let mut pages = 0;
    loop {
        let page = api.list(Some("default"), &options).await.unwrap();
        pages += 1;
        names.extend(page.items.iter().map(|item| meta::name(item).to_owned()));
        options.continue_token = page.continue_token;
        if options.continue_token.is_none() {
            break;
        }
    }
    assert_eq!((pages, names.len()), (3, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_list_and_follow() {
    let (_cluster, admin) = start().await;
    let api = Api::new(&admin, &CONFIG_MAPS);
    api.create(&config_map("before", "")).await.unwrap();
    let options = WatchOptions { labels: Some("of=test".to_owned()), ..WatchOptions::metadata() };
    let mut events = std::pin::pin!(watch(&admin, &CONFIG_MAPS, options));
    let mut next = async || tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap();
    assert!(matches!(next().await, Event::Applied(object) if meta::name(&object) == "before"));
    assert_eq!(next().await, Event::Resynced(vec![key("before")]));
    api.create(&config_map("after", "")).await.unwrap();
    assert!(matches!(next().await, Event::Applied(object) if meta::name(&object) == "after"));
    // An object that the selection no longer holds is gone for the watcher.
    let patch = Patch::Merge(json!({ "metadata": { "labels": null } }));
    api.patch(&key("before"), &patch, &PatchOptions::default()).await.unwrap();
    assert!(matches!(next().await, Event::Deleted(object) if meta::name(&object) == "before"));
    api.delete(&key("after"), &DeleteOptions::default()).await.unwrap();
    let Event::Deleted(object) = next().await else { panic!("the deletion was not seen") };
    assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), ["apiVersion", "kind", "metadata"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_kind_is_known_at_once() {
    let (_cluster, admin) = start().await;
    let resources = Resources::new(admin.clone());
    let shutdown = CancellationToken::new();
    let follower = tokio::spawn({
        let (resources, shutdown) = (resources.clone(), shutdown.clone());
        async move { resources.run(shutdown).await }
    });
    let gvk = GroupVersionKind::new("example.com", "v1", "Widget");
    assert!(resources.resolve(&gvk).await.unwrap_err().is_unknown_kind());
    let crd = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": { "group": "example.com", "scope": "Cluster", "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] } });
    Api::new(&admin, &CUSTOM_RESOURCE_DEFINITIONS).create(&crd).await.unwrap();
    let served = test_kit::eventually_async("the new kind is served", LIMIT, || resources.served(&gvk)).await;
    assert!(!served.resource.namespaced && served.can("watch") && served.subresources.contains("status"));
    let deployments = resources.preferred("apps", "Deployment").await.unwrap();
    assert!(
        deployments.subresources.contains("scale") && deployments.short_names.contains(&"deploy".to_owned())
    );
    let versions = resources.catalog().await.unwrap().api_versions();
    assert!(
        versions.contains(&"apps/v1".to_owned()) && versions.contains(&"example.com/v1/Widget".to_owned())
    );
    shutdown.cancel();
    follower.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_keeps_a_mirror_and_its_events_are_counted() {
    let (_cluster, admin) = start().await;
    let recorder = Recorder::new(&admin, "mirror");
    let api = Api::new(&admin, &CONFIG_MAPS);
    let shutdown = CancellationToken::new();
    let selected = WatchOptions { labels: Some("of=test".to_owned()), ..WatchOptions::default() };
    let controller = Controller::new("mirror", admin.clone())
        .primary_with(CONFIG_MAPS, selected, |object| vec![Key::of(object)]);
    let reconcile = {
        let api = api.clone();
        move |key: Key| {
            let (api, recorder) = (api.clone(), recorder.clone());
            async move {
                let Some(object) = api.find(&key).await? else { return Ok(Action::Done) };
                let mirror = json!({ "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": { "name": format!("{}-mirror", key.name), "namespace": "default" }, "data": object["data"] });
                api.apply(&mirror, "mirror", true).await?;
                recorder.normal(&object, "Mirrored", "written to the mirror").await;
                Ok::<_, BoxError>(Action::Done)
            }
        }
    };
    let run = tokio::spawn(controller.run(reconcile, shutdown.clone()));
    for value in ["1", "2"] {
        api.apply(&config_map("one", value), "test", true).await.unwrap();
        let reached = |object: &Value| object["data"]["k"] == value;
        wait::present(&admin, &CONFIG_MAPS, &key("one-mirror"), "it follows", LIMIT, reached).await.unwrap();
    }
    let counted = test_kit::eventually_async("one event, counted", LIMIT, || async {
        let events =
            Api::new(&admin, &EVENTS).list(Some("default"), &ListOptions::all()).await.unwrap().items;
        let ours: Vec<Value> = events.into_iter().filter(|event| event["reason"] == "Mirrored").collect();
        if ours.len() == 1 && ours[0]["count"] == 2 { Ok(ours[0].clone()) } else { Err(ours) }
    })
    .await;
    assert_eq!(counted["involvedObject"]["name"], "one");
    assert_eq!(counted["source"]["component"], "mirror");
    shutdown.cancel();
    tokio::time::timeout(LIMIT, run).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_account_may_not_do_is_refused_with_the_reason() {
    let (cluster, _admin) = start().await;
    cluster
        .grant(vec![(
            "reader",
            json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"] }]),
        )])
        .await;
    let api = Api::new(&cluster.account("reader"), &CONFIG_MAPS);
    api.list(Some("default"), &ListOptions::all()).await.unwrap();
    let error = api.create(&config_map("one", "")).await.unwrap_err();
    assert!(error.is_forbidden(), "{error:?}");
    let expected = "configmaps is forbidden: User \"system:serviceaccount:kube-system:reader\" cannot create resource \"configmaps\" \
                    in API group \"\" in the namespace \"default\"";
    assert_eq!(error.message(), expected);
}
