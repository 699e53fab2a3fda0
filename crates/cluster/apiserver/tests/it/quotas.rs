//! Quotas as a client meets them, and several at once.

use k8s_openapi::api::core::v1::{Pod, ResourceQuota, Service};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::server::Server;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, cpu: &str) -> Pod {
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
    from(json!({"metadata": {"name": name}, "spec": {"containers": [container]}}))
}

async fn used(quotas: &Api<ResourceQuota>) -> Value {
    serde_json::to_value(quotas.get("q").await.unwrap().status.unwrap().used.unwrap()).unwrap()
}

fn said<T: std::fmt::Debug>(result: kube::Result<T>) -> String {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("not an answer of the API: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_makes_room() {
    let server = Server::start().await;
    let pods: Api<Pod> = Api::namespaced(server.admin(), "default");
    let quotas: Api<ResourceQuota> = Api::namespaced(server.admin(), "default");
    let params = PostParams::default();
    pods.create(&params, &pod("before", "300m")).await.unwrap();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "1", "pods": "3", "count/services": "1"}}});
    quotas.create(&params, &from(quota)).await.unwrap();
    // Nobody has to wait until what was there is counted.
    assert_eq!(used(&quotas).await, json!({"count/services": "1", "pods": "1", "requests.cpu": "300m"}));
    pods.create(&params, &pod("a", "600m")).await.unwrap();
    let refused = said(pods.create(&params, &pod("b", "200m")).await);
    assert_eq!(
        refused,
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=200m, used: requests.cpu=900m, limited: requests.cpu=1"
    );
    let dry = PostParams { dry_run: true, ..params.clone() };
    pods.create(&dry, &pod("dry", "100m")).await.unwrap();
    assert!(said(pods.create(&dry, &pod("dry", "200m")).await).contains("exceeded quota"));
    let twice = said(pods.create(&params, &pod("a", "50m")).await);
    assert!(twice.contains("already exists"), "{twice}");
    assert_eq!(used(&quotas).await["requests.cpu"], "900m", "what was not stored is not charged");
    let services: Api<Service> = Api::namespaced(server.admin(), "default");
    let service = from(json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}));
    assert!(
        said(services.create(&params, &service).await)
            .contains("exceeded quota: q, requested: count/services=1")
    );

    // A Pod that has ended uses nothing any more, nor does one that is gone.
    let ended = json!({"status": {"phase": "Succeeded"}});
    pods.patch_status("a", &PatchParams::default(), &Patch::Merge(ended)).await.unwrap();
    assert_eq!(used(&quotas).await, json!({"count/services": "1", "pods": "1", "requests.cpu": "300m"}));
    pods.delete("before", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(used(&quotas).await["requests.cpu"], "0");
    let wider = json!({"spec": {"hard": {"requests.cpu": "2"}}});
    quotas.patch("q", &PatchParams::default(), &Patch::Merge(wider)).await.unwrap();
    let status = quotas.get("q").await.unwrap().status.unwrap();
    assert_eq!(serde_json::to_value(status.hard.unwrap()).unwrap()["requests.cpu"], "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_at_once_do_not_pass_on_the_same_rest() {
    let server = Server::start().await;
    let quotas: Api<ResourceQuota> = Api::namespaced(server.admin(), "default");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "5"}}});
    quotas.create(&PostParams::default(), &from(quota)).await.unwrap();
    let create = |at: usize| {
        let pods: Api<Pod> = Api::namespaced(server.admin(), "default");
        tokio::spawn(async move {
            pods.create(&PostParams::default(), &pod(&format!("p{at}"), "1")).await.is_ok()
        })
    };
    let running: Vec<_> = (0..20).map(create).collect();
    let mut made = 0;
    for task in running {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 5);
    assert_eq!(used(&quotas).await["pods"], "5");
}
