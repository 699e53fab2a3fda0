//! Custom resources: defined by repositories, and ours until then.

use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::server::Server;

fn api(
    server: &Server,
    group: &str,
    version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(server.admin(), namespace, &resource),
        None => Api::all_with(server.admin(), &resource),
    }
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                 "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                 "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer", "minimum": 1},
                        "replicas": {"type": "integer"}, "color": {"type": "string", "default": "red"}}},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}}},
                {"name": "v1beta1", "served": true, "storage": false,
                 "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_served_at_once_and_enforced() {
    let server = Server::start().await;
    let definitions = api(&server, "apiextensions.k8s.io", "v1", "CustomResourceDefinition", None);
    let made = definitions.create(&PostParams::default(), &object(definition())).await.unwrap();
    assert_eq!(made.data["status"]["storedVersions"], json!(["v1"]));
    let widgets = api(&server, "example.com", "v1", "Widget", Some("default"));
    let widget = |spec: Value| {
        object(json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": spec, "status": {"replicas": 9}}))
    };
    let refused = widgets.create(&PostParams::default(), &widget(json!({"size": 0}))).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused:?}") };
    assert_eq!(
        status.message,
        r#"Widget.example.com "w" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"#
    );
    let made = widgets.create(&PostParams::default(), &widget(json!({"size": 2, "odd": 1}))).await.unwrap();
    assert_eq!(made.data["spec"], json!({"size": 2, "color": "red"}), "unknown fields go, defaults come");
    assert_eq!(made.data["status"], Value::Null, "the status has a path of its own");
    let status = json!({"status": {"replicas": 3}, "spec": {"size": 7}});
    let patched = widgets.patch_status("w", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_eq!((&patched.data["status"]["replicas"], &patched.data["spec"]["size"]), (&json!(3), &json!(2)));
    assert_eq!(patched.metadata.generation, Some(1));
    let scaled = widgets
        .patch_scale("w", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 5}})))
        .await
        .unwrap();
    assert_eq!(scaled.status.unwrap().replicas, 3);
    let older = api(&server, "example.com", "v1beta1", "Widget", Some("default")).get("w").await.unwrap();
    assert_eq!(older.types.unwrap().api_version, "example.com/v1beta1");
    assert_eq!(older.data["spec"]["replicas"], 5);
    assert_eq!(older.metadata.generation, Some(2));

    definitions.delete("widgets.example.com", &DeleteParams::default()).await.unwrap();
    let gone = async {
        while definitions.get_opt("widgets.example.com").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("the definition goes once its objects are gone");
    assert!(widgets.list(&ListParams::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_definitions_give_way_to_a_repositorys() {
    let server = Server::start().await;
    let profiles = api(&server, "linkerd.io", "v1alpha2", "ServiceProfile", Some("default"));
    let profile = object(json!({"apiVersion": "linkerd.io/v1alpha2", "kind": "ServiceProfile",
        "metadata": {"name": "a.default.svc.cluster.local"},
        "spec": {"routes": [{"name": "GET /", "condition": {"method": "GET", "pathRegex": "/"}, "anything": 1}]}}));
    profiles.create(&PostParams::default(), &profile).await.unwrap();
    let cluster = server.listen().await;
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../../shared/repos/checkmate-kubernetes/manifests/linkerd-crds/install.yaml"
    );
    let file = std::fs::canonicalize(file).expect("../shared lies beside the checkout");
    let applied = tokio::task::spawn_blocking(move || {
        let applied = cluster.run(&["apply", "-f", file.to_str().unwrap()]);
        let again = cluster.run(&["apply", "-f", file.to_str().unwrap()]);
        // One manifest carries an empty status, one `preserveUnknownFields: false`: kubectl sends these each time and a
        // server keeps neither.
        let sent_again =
            |line: &&str| ["/httproutes.", "/serviceprofiles."].iter().any(|name| line.contains(name));
        let changed = again.lines().filter(|line| line.contains("configured") && !sent_again(line));
        assert_eq!(changed.count(), 0, "the second time nothing changes:\n{again}");
        applied
    });
    let applied = applied.await.unwrap();
    assert!(
        applied.contains("customresourcedefinition.apiextensions.k8s.io/serviceprofiles.linkerd.io created"),
        "{applied}"
    );
    let kept = profiles.get("a.default.svc.cluster.local").await.unwrap();
    assert_eq!(kept.data["spec"]["routes"][0]["name"], "GET /");
    let mut wrong = profile.clone();
    wrong.metadata.name = Some("b.default.svc.cluster.local".to_owned());
    wrong.data["spec"]["routes"][0]["name"] = json!(5);
    assert!(
        profiles.create(&PostParams::default(), &wrong).await.is_err(),
        "the repository's schema holds now"
    );
    assert_eq!(kept.name_any(), "a.default.svc.cluster.local");
}
