//! Quotas as a client meets them, and several at once.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Service};
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

/// A quota that was kept up through everything has counted what one finds that is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_followed_is_what_is_there() {
    let server = Server::start().await;
    let pods: Api<Pod> = Api::namespaced(server.admin(), "default");
    let services: Api<Service> = Api::namespaced(server.admin(), "default");
    let config: Api<ConfigMap> = Api::namespaced(server.admin(), "default");
    let quotas: Api<ResourceQuota> = Api::namespaced(server.admin(), "default");
    let (params, merge) = (PostParams::default(), PatchParams::default());
    let quota = |name: &str, scopes: Value| -> ResourceQuota {
        let hard = match scopes.as_array() {
            Some(_) => json!({"pods": "50", "requests.cpu": "50"}),
            None => json!({
                "pods": "50", "count/pods": "60", "requests.cpu": "50", "services": "20", "services.nodeports": "20",
                "count/configmaps": "40",
            }),
        };
        from(json!({"metadata": {"name": name}, "spec": {"hard": hard, "scopes": scopes}}))
    };
    let ends = json!(["Terminating"]);
    quotas.create(&params, &quota("all", Value::Null)).await.unwrap();
    quotas.create(&params, &quota("ends", ends.clone())).await.unwrap();
    let same = async |round: usize| {
        for (name, scopes) in [("all", Value::Null), ("ends", ends.clone())] {
            let fresh = format!("{name}-{round}");
            quotas.create(&params, &quota(&fresh, scopes)).await.unwrap();
            let found = async |name: &str| quotas.get(name).await.unwrap().status.unwrap().used.unwrap();
            assert_eq!(found(name).await, found(&fresh).await, "{fresh}");
            quotas.delete(&fresh, &DeleteParams::default()).await.unwrap();
        }
    };
    for at in 0..12 {
        let mut made = pod(&format!("p{at}"), &format!("{}m", 100 + at));
        if at % 3 == 0 {
            made.spec.as_mut().unwrap().active_deadline_seconds = Some(60);
        }
        pods.create(&params, &made).await.unwrap();
        let port = json!({"metadata": {"name": format!("s{at}")}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
        services.create(&params, &from(port)).await.unwrap();
        config.create(&params, &from(json!({"metadata": {"name": format!("c{at}")}}))).await.unwrap();
    }
    same(0).await;
    for at in 0..12 {
        let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
        let inside = Patch::Merge(json!({"spec": {"type": "ClusterIP"}}));
        match at % 4 {
            0 => drop(pods.patch_status(&format!("p{at}"), &merge, &ended).await.unwrap()),
            1 => {
                drop(pods.delete(&format!("p{at}"), &DeleteParams::default().grace_period(0)).await.unwrap())
            }
            2 => drop(services.patch(&format!("s{at}"), &merge, &inside).await.unwrap()),
            _ => drop(config.delete(&format!("c{at}"), &DeleteParams::default()).await.unwrap()),
        }
    }
    same(1).await;
    config.delete_collection(&DeleteParams::default(), &Default::default()).await.unwrap();
    services.delete("s0", &DeleteParams::default()).await.unwrap();
    same(2).await;
    // What a client says of it is made good by the next count.
    let wrong = Patch::Merge(json!({"status": {"used": {"pods": "40"}}}));
    quotas.patch_status("all", &merge, &wrong).await.unwrap();
    services.delete("s1", &DeleteParams::default()).await.unwrap();
    same(3).await;
    // Another specification is counted from the beginning.
    let narrower = Patch::Merge(json!({"spec": {"hard": {"requests.cpu": null, "services": null}}}));
    quotas.patch("all", &merge, &narrower).await.unwrap();
    let used = quotas.get("all").await.unwrap().status.unwrap().used.unwrap();
    assert_eq!(used.len(), 4, "{used:?}");
    assert_eq!(used["pods"].0, "6");
}
