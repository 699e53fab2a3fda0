use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::testing;

fn aggregated() -> Value {
    json!({ "kind": "APIGroupDiscoveryList", "items": [{
        "metadata": { "name": "autoscaling" },
        "versions": [
            { "version": "v2", "resources": [{
                "resource": "horizontalpodautoscalers", "responseKind": { "kind": "HorizontalPodAutoscaler" },
                "scope": "Namespaced", "verbs": ["get", "list"], "shortNames": ["hpa"],
                "singularResource": "horizontalpodautoscaler",
                "subresources": [{ "subresource": "status", "verbs": ["get"] }] }] },
            { "version": "v1", "resources": [{
                "resource": "horizontalpodautoscalers", "responseKind": { "kind": "HorizontalPodAutoscaler" },
                "scope": "Namespaced", "verbs": ["get"] }] },
        ],
    }] })
}

fn hpa(version: &str) -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", version, "HorizontalPodAutoscaler")
}

#[test]
fn both_forms_of_discovery_read_alike() {
    let types = read::aggregated(&aggregated());
    assert!(types[0].preferred && !types[1].preferred);
    let list = json!({ "resources": [
        { "name": "horizontalpodautoscalers", "singularName": "horizontalpodautoscaler", "namespaced": true,
          "kind": "HorizontalPodAutoscaler", "verbs": ["get", "list"], "shortNames": ["hpa"] },
        { "name": "horizontalpodautoscalers/status", "kind": "HorizontalPodAutoscaler", "verbs": ["get"] },
    ]});
    assert_eq!(read::resource_list("autoscaling", "v2", true, &list), types[..1]);
}

#[test]
fn catalog_answers_what_helm_and_collectors_ask() {
    let catalog = Catalog::new(read::aggregated(&aggregated()));
    assert_eq!(catalog.preferred("autoscaling", "HorizontalPodAutoscaler").unwrap().resource.version, "v2");
    assert_eq!(catalog.preferred_types().len(), 1);
    assert_eq!(catalog.get(&hpa("v1")).unwrap().resource.version, "v1");
    assert_eq!(
        catalog.api_versions(),
        [
            "autoscaling/v1",
            "autoscaling/v1/HorizontalPodAutoscaler",
            "autoscaling/v2",
            "autoscaling/v2/HorizontalPodAutoscaler"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_asks_at_most_every_half_second() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let client = testing::client(move |request| {
        if request.uri().path() == "/apis" {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        let body =
            if request.uri().path() == "/apis" { aggregated() } else { json!({ "kind": "APIVersions" }) };
        testing::json(200, &body)
    });
    let resources = Resources::new(client);
    assert_eq!(resources.resolve(&hpa("v2")).await.unwrap().plural, "horizontalpodautoscalers");
    for _ in 0..10 {
        let error = resources.resolve(&hpa("v9")).await.unwrap_err();
        assert_eq!(
            error.message(),
            "no matches for kind \"HorizontalPodAutoscaler\" in version \"autoscaling/v9\""
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_millis(501)).await;
    resources.resolve(&hpa("v9")).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    resources.invalidate();
    resources.resolve(&hpa("v1")).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}
