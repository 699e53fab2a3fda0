//! Through `kube` without a socket.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::server::Server;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name, "labels": {"app": value}}, "data": {"key": value}}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_created_read_changed_and_deleted() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let made = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert!(made.uid().is_some() && made.resource_version().is_some());
    let again = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err();
    assert_eq!(api_message(&again), r#"configmaps "a" already exists"#);

    let mut changed = made.clone();
    changed.data.as_mut().unwrap().insert("more".to_owned(), "x".to_owned());
    let stored = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(stored.resource_version(), made.resource_version());
    let stale = maps.replace("a", &PostParams::default(), &made).await.unwrap_err();
    assert_eq!(
        api_message(&stale),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );

    let patch = json!({"data": {"more": null, "third": "y"}});
    let patched = maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let data = patched.data.clone().unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["key", "third"]);
    let unchanged = maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(
        unchanged.resource_version(),
        patched.resource_version(),
        "a patch without effect writes nothing"
    );

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let gone = maps.get("a").await.unwrap_err();
    assert_eq!(api_message(&gone), r#"configmaps "a" not found"#);
}

fn api_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("not an answer of the API: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_every_change_in_order() {
    use futures::TryStreamExt;
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let list = maps.list(&ListParams::default().labels("app=1")).await.unwrap();
    let from = list.metadata.resource_version.unwrap();
    let events = maps.watch(&WatchParams::default().labels("app=1").timeout(30), &from).await.unwrap();
    let mut events = Box::pin(events);
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    maps.create(&PostParams::default(), &config_map("b", "2")).await.unwrap();
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "x"}}))).await.unwrap();
    let relabel = json!({"metadata": {"labels": {"app": "2"}}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&relabel)).await.unwrap();
    let relabel = json!({"metadata": {"labels": {"app": "1"}}});
    maps.patch("b", &PatchParams::default(), &Patch::Merge(&relabel)).await.unwrap();
    maps.delete("b", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event =
            tokio::time::timeout(Duration::from_secs(10), events.try_next()).await.unwrap().unwrap().unwrap();
        seen.push(match event {
            WatchEvent::Added(map) => format!("+{}", map.name_any()),
            WatchEvent::Modified(map) => format!("~{}", map.name_any()),
            WatchEvent::Deleted(map) => format!("-{}", map.name_any()),
            other => panic!("unexpected {other:?}"),
        });
    }
    assert_eq!(seen, ["+a", "~a", "-a", "+b", "-b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_list_show_one_moment() {
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "kube-public");
    for name in ["a", "b", "c", "d"] {
        maps.create(&PostParams::default(), &config_map(name, "1")).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    maps.delete("c", &DeleteParams::default()).await.unwrap();
    maps.create(&PostParams::default(), &config_map("b2", "1")).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let rest = maps.list(&ListParams::default().continue_token(&token)).await.unwrap();
    let names: Vec<String> = first.items.iter().chain(&rest.items).map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b", "c", "d", "kube-root-ca.crt"]);
    assert_eq!(first.metadata.resource_version, rest.metadata.resource_version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_and_ending_namespaces_take_nothing_new() {
    let server = Server::start().await;
    let nowhere: Api<ConfigMap> = Api::namespaced(server.admin(), "nowhere");
    let refused = nowhere.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err();
    assert_eq!(api_message(&refused), r#"namespaces "nowhere" not found"#);
    let namespaces: Api<Namespace> = Api::all(server.admin());
    let ending: Namespace = from(json!({"metadata": {"name": "ending"}}));
    let made = namespaces.create(&PostParams::default(), &ending).await.unwrap();
    assert_eq!(made.labels()["kubernetes.io/metadata.name"], "ending");
    let ended = namespaces.delete("ending", &DeleteParams::default()).await.unwrap();
    let phase = ended.left().and_then(|namespace| namespace.status).and_then(|status| status.phase);
    assert_eq!(phase.as_deref(), Some("Terminating"));
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), "ending");
    let refused = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err();
    assert_eq!(
        api_message(&refused),
        "configmaps \"a\" is forbidden: unable to create new content in namespace ending because it is being terminated"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_accounts_do_what_their_roles_allow() {
    let server = Server::start().await;
    let account = server.client(apiserver::User::service_account("default", "reader"));
    let secrets: Api<Secret> = Api::namespaced(account, "default");
    let refused = secrets.list(&ListParams::default()).await.unwrap_err();
    assert_eq!(
        api_message(&refused),
        r#"secrets is forbidden: User "system:serviceaccount:default:reader" cannot list resource "secrets" in API group "" in the namespace "default""#
    );
    let admin = server.admin();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader"}]});
    for (kind, object) in [("Role", role), ("RoleBinding", binding)] {
        let gvk = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", kind);
        let resource = kube::core::ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "default", &resource);
        api.create(&PostParams::default(), &from(object)).await.unwrap();
    }
    assert!(secrets.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(secrets.get("x").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_get_addresses_and_pods_their_account() {
    let server = Server::start().await;
    let services: Api<Service> = Api::namespaced(server.admin(), "default");
    let service =
        |name: &str, spec: Value| from::<Service>(json!({"metadata": {"name": name}, "spec": spec}));
    let ports = json!([{"port": 80}]);
    let made = services.create(&PostParams::default(), &service("a", json!({"ports": ports}))).await.unwrap();
    let address = made.spec.unwrap().cluster_ip.unwrap();
    assert!(address.starts_with("10.96."), "{address}");
    let headless = service("b", json!({"ports": ports, "clusterIP": "None"}));
    let made = services.create(&PostParams::default(), &headless).await.unwrap();
    assert_eq!(made.spec.unwrap().cluster_ip.as_deref(), Some("None"));
    let taken = service("c", json!({"ports": ports, "clusterIP": address}));
    let refused = services.create(&PostParams::default(), &taken).await.unwrap_err();
    assert!(api_message(&refused).contains("provided IP is already allocated"), "{refused}");
    let node_port = service("d", json!({"ports": ports, "type": "NodePort"}));
    let made = services.create(&PostParams::default(), &node_port).await.unwrap();
    assert!(made.spec.unwrap().ports.unwrap()[0].node_port.is_some());

    let pods: Api<Pod> = Api::namespaced(server.admin(), "default");
    let pod: Pod = from(
        json!({"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}),
    );
    let made = pods.create(&PostParams::default(), &pod).await.unwrap();
    assert!(made.name_any().starts_with("p-") && made.name_any().len() == 7, "{}", made.name_any());
    let spec = made.spec.clone().unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    let mounts = spec.containers[0].volume_mounts.clone().unwrap();
    assert_eq!(mounts[0].mount_path, "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(made.status.unwrap().phase.as_deref(), Some("Pending"));
}
