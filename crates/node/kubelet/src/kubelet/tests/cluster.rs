//! A cluster of one node whose machine exists only in memory.

use std::path::Path;
use std::time::Duration;

use apiserver::{ApiServer, User, pki::Pki};
use client::dynamic::DeleteOptions;
use client::{Api, Client};
use futures::TryStreamExt as _;
use link::Node as _;
use serde_json::json;

use crate::config::Addresses;
use crate::kubelet::*;
use crate::testing::FakeRuntime;

pub(super) const NODE: &str = "node-1";
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Cluster {
    server: ApiServer,
    pub(super) runtime: Arc<FakeRuntime>,
    pub(super) dir: tempfile::TempDir,
    node: Option<(Kubelet, CancellationToken, tokio::task::JoinHandle<()>)>,
}

impl Cluster {
    pub(super) async fn start() -> Cluster {
        let pki = Pki::ephemeral().unwrap();
        let store = store::Store::in_memory(&store::Config::default()).unwrap();
        let server = ApiServer::start(apiserver::Config::new(store, &pki)).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster { server, runtime: FakeRuntime::new(), dir, node: None };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        cluster.api(&client::resource::NAMESPACES).create(&namespace).await.unwrap();
        cluster.grant().await;
        cluster.up().await;
        cluster
    }

    /// The node's user may do what the crate says it needs, and nothing else.
    async fn grant(&self) {
        const ROLES: ResourceType =
            ResourceType::cluster("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles");
        const BINDINGS: ResourceType = ResourceType::cluster(
            "rbac.authorization.k8s.io",
            "v1",
            "ClusterRoleBinding",
            "clusterrolebindings",
        );
        let (name, rules) = crate::rules().remove(0);
        let name = format!("test:{name}");
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
        self.api(&ROLES).create(&role).await.unwrap();
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}],
        });
        self.api(&BINDINGS).create(&binding).await.unwrap();
    }

    pub(super) async fn up(&mut self) {
        let client = Client::new(self.server.service(User::node(NODE)), "default");
        let addresses = Addresses { node: [192, 0, 2, 1].into(), dns: [10, 96, 0, 10].into() };
        let runtime = Arc::clone(&self.runtime) as Arc<dyn crate::Runtime>;
        let config = Config::new(NODE, client, runtime, self.dir.path().join("kubelet"), addresses);
        let kubelet = Kubelet::new(config).await.unwrap();
        let token = CancellationToken::new();
        let (running, shutdown) = (kubelet.clone(), token.clone());
        let task = tokio::spawn(async move { running.run(shutdown).await });
        self.node = Some((kubelet, token, task));
    }

    /// Ends the process, as SIGTERM does: containers run on.
    pub(super) async fn down(&mut self) {
        let (_, token, task) = self.node.take().unwrap();
        token.cancel();
        tokio::time::timeout(DEADLINE, task).await.expect("the kubelet ends").unwrap();
    }

    pub(super) fn kubelet(&self) -> &Kubelet {
        &self.node.as_ref().unwrap().0
    }

    pub(super) fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&Client::new(self.server.service(User::admin()), "default"), resource)
    }

    pub(super) async fn run(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!(NODE);
        for container in spec["containers"].as_array_mut().unwrap() {
            container["image"] = json!("busybox:1");
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
        });
        self.api(&PODS).create(&pod).await.unwrap();
    }

    pub(super) async fn create(&self, resource: &ResourceType, name: &str, fields: Value) {
        let mut object = fields;
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        object["metadata"] = json!({"name": name, "namespace": "shop"});
        self.api(resource).create(&object).await.unwrap();
    }

    pub(super) async fn pod(&self, name: &str) -> Option<Value> {
        self.api(&PODS).find(&Key::namespaced("shop", name)).await.unwrap()
    }

    /// Waits until the Pod looks as wanted.
    pub(super) async fn until(&self, what: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        test_kit::eventually_async(what, DEADLINE, async || match self.pod(name).await {
            Some(pod) if wanted(&pod) => Ok(pod),
            other => {
                Err((other.map_or(Value::Null, |pod| pod["status"].clone()).to_string(), self.events().await))
            }
        })
        .await
    }

    pub(super) async fn until_ready(&self, name: &str) -> Value {
        self.until("the Pod is ready", name, |pod| condition(pod, "Ready") == "True").await
    }

    pub(super) async fn delete(&self, name: &str) {
        let options = DeleteOptions::default();
        self.api(&PODS).delete(&Key::namespaced("shop", name), &options).await.unwrap();
    }

    pub(super) async fn until_gone(&self, name: &str) {
        test_kit::eventually_async("the Pod is gone", DEADLINE, async || match self.pod(name).await {
            None => Ok(()),
            Some(pod) => Err(pod["status"].clone()),
        })
        .await;
    }

    pub(super) async fn log(
        &self,
        name: &str,
        change: impl FnOnce(&mut LogRequest),
    ) -> Result<String, LinkError> {
        let mut request = LogRequest::new("shop", name, "app");
        change(&mut request);
        let stream = self.kubelet().logs(request).await?;
        let chunks: Vec<_> = stream.try_collect().await?;
        Ok(String::from_utf8(chunks.concat()).unwrap())
    }

    pub(super) async fn events(&self) -> Vec<String> {
        let list = self.api(&client::resource::EVENTS).list(Some("shop"), &Default::default()).await.unwrap();
        list.items
            .iter()
            .map(|e| format!("{} {}", e["reason"].as_str().unwrap(), e["message"].as_str().unwrap()))
            .collect()
    }
}

pub(super) fn condition<'a>(pod: &'a Value, kind: &str) -> &'a str {
    let conditions = pod["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("")
}

pub(super) fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

pub(super) fn app() -> Value {
    json!({"containers": [{"name": "app"}]})
}

pub(super) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}
