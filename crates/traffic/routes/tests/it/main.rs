//! The controller against a real API server, with its own service account and no more rights than its rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use client::dynamic::{DeleteOptions, ListOptions};
use client::{Api, Client, Key, ResourceType, resource};
use objects::Value;
use routes::{Certificate, Config};
use routing::Table;
use serde_json::json;
use test_kit::{Cluster, eventually_async};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    admin: Client,
    table: Arc<ArcSwap<Table>>,
    certificates: Arc<Mutex<Vec<Certificate>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _cluster: Cluster,
}

impl Running {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.grant(routes::rules()).await;
        let (table, certificates) = (Arc::new(ArcSwap::default()), Arc::new(Mutex::new(Vec::new())));
        let sink = Arc::clone(&certificates);
        let config = Config {
            client: cluster.account(routes::ACCOUNT),
            table: Arc::clone(&table),
            certificates: Arc::new(move |all| *sink.lock().unwrap() = all),
            class: "traefik".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(routes::run(config, stop.clone()));
        Self { admin: cluster.admin(), table, certificates, stop, task, _cluster: cluster }
    }

    fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&self.admin, resource)
    }

    async fn create(&self, resource: &ResourceType, object: Value) {
        self.api(resource).create(&object).await.unwrap();
    }

    /// The endpoints that a request to `/` of a host may go to now; `None` without a route.
    fn endpoints(&self, host: &str) -> Option<Vec<String>> {
        let table = self.table.load();
        let route = table.find(host, "/")?;
        Some(route.backends().flat_map(|it| it.endpoints()).map(|it| it.address.to_string()).collect())
    }

    async fn until_endpoints(&self, host: &str, wanted: Option<&[&str]>) {
        let wanted = wanted.map(|all| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        eventually_async("endpoints", DEADLINE, async || {
            let found = self.endpoints(host);
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("stops when told to").unwrap();
    }
}

fn ingress(name: &str, class: Option<&str>, host: &str) -> Value {
    let mut object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"name": "http"}}}}]}}]}});
    if let Some(class) = class {
        object["spec"]["ingressClassName"] = json!(class);
    }
    object
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> =
        addresses.iter().map(|it| json!({"addresses": [it], "conditions": {"ready": true}})).collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_follow_ingresses_services_and_endpoints() {
    let running = Running::start().await;
    running.create(&resource::INGRESSES, ingress("web", Some("traefik"), "web.example")).await;
    running.create(&resource::INGRESSES, ingress("other", Some("alb"), "alb.example")).await;
    running.until_endpoints("web.example", Some(&[])).await;
    running.create(&resource::SERVICES, service()).await;
    running.create(&resource::ENDPOINT_SLICES, slice("web-1", "web", &["10.0.0.1", "10.0.0.2"])).await;
    running.until_endpoints("web.example", Some(&["10.0.0.1:8080", "10.0.0.2:8080"])).await;
    assert_eq!(running.endpoints("alb.example"), None, "another controller's class");

    running.api(&resource::ENDPOINT_SLICES).replace(&slice("web-1", "web", &["10.0.0.2"])).await.unwrap();
    running.until_endpoints("web.example", Some(&["10.0.0.2:8080"])).await;

    let key = Key::namespaced("default", "web");
    running.api(&resource::INGRESSES).delete(&key, &DeleteOptions::default()).await.unwrap();
    running.until_endpoints("web.example", None).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_endpoints_is_in_the_table_within_milliseconds() {
    let running = Running::start().await;
    running.create(&resource::INGRESSES, ingress("web", Some("traefik"), "web.example")).await;
    running.create(&resource::SERVICES, service()).await;
    running.create(&resource::ENDPOINT_SLICES, slice("web-1", "web", &["10.0.0.1"])).await;
    running.until_endpoints("web.example", Some(&["10.0.0.1:8080"])).await;
    let mut times = Vec::new();
    for round in 0..50 {
        let address = format!("10.0.1.{}", round + 1);
        let wanted = Some(vec![format!("{address}:8080")]);
        let slices = running.api(&resource::ENDPOINT_SLICES);
        slices.replace(&slice("web-1", "web", &[&address])).await.unwrap();
        let answered = std::time::Instant::now();
        while running.endpoints("web.example") != wanted {
            assert!(answered.elapsed() < DEADLINE, "round {round} never arrived");
            tokio::task::yield_now().await;
        }
        times.push(answered.elapsed());
    }
    times.sort();
    // Generous for a loaded machine; a poll or a debounce anywhere would be far above it.
    assert!(times[25] < Duration::from_millis(50), "median {:?}", times[25]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_ingresses_show_the_address_and_what_they_ask_in_vain() {
    let running = Running::start().await;
    let class = eventually_async("the class", DEADLINE, async || {
        running.api(&resource::INGRESS_CLASSES).get(&Key::cluster("traefik")).await
    })
    .await;
    assert_eq!(class["spec"]["controller"], routes::CONTROLLER);
    assert_eq!(class["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"], "true");

    let mut odd = ingress("web", None, "web.example");
    odd["metadata"]["annotations"] =
        json!({"traefik.ingress.kubernetes.io/router.middlewares": "a@kubernetescrd"});
    running.create(&resource::INGRESSES, odd).await;
    running.create(&resource::INGRESSES, ingress("other", Some("alb"), "alb.example")).await;
    let api = running.api(&resource::INGRESSES);
    let address = async |name: &str| {
        let found = api.get(&Key::namespaced("default", name)).await.unwrap();
        found.pointer("/status/loadBalancer/ingress").cloned()
    };
    eventually_async("the address", DEADLINE, async || {
        let found = address("web").await;
        if found == Some(json!([{"ip": "127.0.0.1"}])) { Ok(()) } else { Err(found) }
    })
    .await;
    eventually_async("the event", DEADLINE, async || {
        let events = running.api(&resource::EVENTS).list(None, &ListOptions::all()).await.unwrap().items;
        let said = |event: &Value| {
            event["reason"] == "Unsupported"
                && event["message"].as_str().is_some_and(|text| text.contains("router.middlewares"))
        };
        if events.iter().any(said) { Ok(()) } else { Err(events) }
    })
    .await;
    assert_eq!(address("other").await, None);

    // A class that is removed by mistake comes back.
    let classes = running.api(&resource::INGRESS_CLASSES);
    let uid = class["metadata"]["uid"].clone();
    classes.delete(&Key::cluster("traefik"), &DeleteOptions::default()).await.unwrap();
    eventually_async("the class again", DEADLINE, async || {
        match classes.find(&Key::cluster("traefik")).await {
            Ok(Some(again)) if again["metadata"]["uid"] != uid => Ok(()),
            other => Err(other.is_ok()),
        }
    })
    .await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_come_and_go_with_their_secrets() {
    let running = Running::start().await;
    let mut secured = ingress("web", Some("traefik"), "web.example");
    secured["spec"]["tls"] = json!([{"hosts": ["web.example", "*.web.example"], "secretName": "web-tls"}]);
    running.create(&resource::INGRESSES, secured).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "web-tls", "namespace": "default"},
        "data": {"tls.crt": "Y2hhaW4=", "tls.key": "a2V5"}});
    running.create(&resource::SECRETS, secret).await;
    let names = || -> Vec<Vec<String>> {
        running.certificates.lock().unwrap().iter().map(|it| it.names.clone()).collect()
    };
    eventually_async("the certificate", DEADLINE, async || {
        let found = names();
        if found == [["*.web.example", "web.example"]] { Ok(()) } else { Err(found) }
    })
    .await;
    let key = Key::namespaced("default", "web-tls");
    running.api(&resource::SECRETS).delete(&key, &DeleteOptions::default()).await.unwrap();
    eventually_async("no certificate", DEADLINE, async || {
        let found = names();
        if found.is_empty() { Ok(()) } else { Err(found) }
    })
    .await;
    running.end().await;
}
