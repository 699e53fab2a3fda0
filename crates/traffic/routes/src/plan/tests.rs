use client::watch::Event;
use objects::Value;
use serde_json::json;

use super::*;
use crate::cluster::{Change, Source};

fn ingress(namespace: &str, name: &str, created: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace, "creationTimestamp": created}, "spec": spec})
}

fn rule(host: &str, path: &str, service: &str, port: Value) -> Value {
    json!({"host": host, "http": {"paths": [
        {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}]}})
}

fn service(namespace: &str, name: &str, ports: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports}})
}

fn slice(name: &str, service: &str, endpoints: &[(&str, Value)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(address, conditions)| json!({"addresses": [address], "conditions": conditions}))
        .collect();
    json!({"metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9000}]})
}

fn ready() -> Value {
    json!({"ready": true})
}

fn cluster(objects: Vec<(Source, Value)>) -> Cluster {
    let mut cluster = Cluster::default();
    for (source, object) in objects {
        cluster.take(source, Event::Applied(object));
    }
    cluster
}

fn shop() -> Vec<(Source, Value)> {
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}, {"name": "admin", "port": 81}]);
    vec![
        (
            Source::Ingresses,
            ingress(
                "shop",
                "web",
                "2026-01-02T00:00:00Z",
                json!({"ingressClassName": "traefik",
            "rules": [rule("shop.example", "/", "web", json!({"number": 80})), rule("shop.example", "/admin", "web", json!({"name": "admin"}))],
            "tls": [{"secretName": "cert", "hosts": ["shop.example"]}]}),
            ),
        ),
        (Source::Services, service("shop", "web", ports)),
        (
            Source::Slices,
            slice(
                "web-1",
                "web",
                &[
                    ("10.0.0.1", ready()),
                    ("10.0.0.2", json!({"ready": false})),
                    ("10.0.0.3", json!({"ready": true, "terminating": true})),
                    ("10.0.0.4", json!({})),
                ],
            ),
        ),
        (Source::Slices, slice("web-2", "web", &[("10.0.0.5", ready())])),
        (Source::Slices, slice("other", "other", &[("10.0.0.9", ready())])),
    ]
}

fn addresses(plan: &Plan, route: usize) -> Vec<String> {
    plan.routes[route].targets[0].endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn ready_endpoints_of_all_slices_at_the_ports_target() {
    let plan = routes(&cluster(shop()), "traefik");
    assert_eq!(plan.problems, BTreeMap::new());
    assert_eq!(addresses(&plan, 0), ["10.0.0.1:8080", "10.0.0.4:8080", "10.0.0.5:8080"]);
    assert_eq!(addresses(&plan, 1), ["10.0.0.1:9000", "10.0.0.4:9000", "10.0.0.5:9000"]);
    assert_eq!(plan.routes[0].targets[0].backend, "shop/web:80");
    assert_eq!(plan.routes[0].host, HostMatch::Exact("shop.example".to_owned()));
    assert_eq!(plan.services, BTreeSet::from([Key::namespaced("shop", "web")]));
}

#[test]
fn events_say_what_they_change() {
    let mut cluster = cluster(shop());
    let service_changed = vec![Change::Service(Key::namespaced("shop", "web"))];
    let gone = slice("web-2", "web", &[]);
    assert_eq!(cluster.take(Source::Slices, Event::Applied(gone.clone())), service_changed);
    assert_eq!(cluster.take(Source::Slices, Event::Applied(gone.clone())), [Change::Nothing]);
    assert_eq!(cluster.take(Source::Slices, Event::Deleted(gone)), service_changed);
    // A list after a gap that names less has lost the rest.
    assert_eq!(
        cluster.take(Source::Slices, Event::Resynced(vec![Key::namespaced("shop", "other")])),
        service_changed
    );
    assert!(addresses(&routes(&cluster, "traefik"), 0).is_empty());
    // A slice that moves to another Service leaves the first.
    cluster.take(Source::Slices, Event::Applied(slice("other", "web", &[("10.0.0.9", ready())])));
    assert_eq!(addresses(&routes(&cluster, "traefik"), 0), ["10.0.0.9:8080"]);
    assert!(cluster.endpoints(&Key::namespaced("shop", "other"), "http").is_empty());
}

#[test]
fn a_route_without_backend_stays_and_says_why() {
    let mut objects = shop();
    objects.push((
        Source::Ingresses,
        ingress(
            "shop",
            "odd",
            "2026-01-03T00:00:00Z",
            json!({"rules": [
        rule("a", "/", "missing", json!({"number": 80})), rule("b", "/", "web", json!({"number": 99})),
        rule("c", "/", "web", json!({"name": "nope"})), rule("d", "/", "away", json!({"number": 80}))]}),
        ),
    ));
    let mut away = service("shop", "away", json!([{"port": 80}]));
    away["spec"]["type"] = json!("ExternalName");
    objects.push((Source::Services, away));
    let plan = routes(&cluster(objects), "traefik");
    assert_eq!(plan.routes.len(), 6);
    assert_eq!(
        plan.problems[&Key::namespaced("shop", "odd")],
        [
            "service shop/missing does not exist",
            "service shop/web has no port 99",
            "service shop/web has no port named \"nope\"",
            "service shop/away is an ExternalName, which is not supported yet",
        ]
    );
}

#[test]
fn the_older_ingress_has_a_contested_path_and_defaults_come_last() {
    let claim = |name: &str, created: &str, service: &str| {
        (
            Source::Ingresses,
            ingress(
                "shop",
                name,
                created,
                json!({"rules": [rule("x", "/", service, json!({"number": 80}))],
            "defaultBackend": {"service": {"name": service, "port": {"number": 80}}}}),
            ),
        )
    };
    let other = (
        Source::Ingresses,
        ingress(
            "shop",
            "alb",
            "2020-01-01T00:00:00Z",
            json!({"ingressClassName": "alb", "rules": [rule("x", "/", "c", json!({"number": 80}))]}),
        ),
    );
    let plan = routes(
        &cluster(vec![
            claim("young", "2026-02-01T00:00:00Z", "a"),
            claim("old", "2026-01-01T00:00:00Z", "b"),
            other,
        ]),
        "traefik",
    );
    let summary: Vec<(&str, &str)> =
        plan.routes.iter().map(|route| (route.name.as_str(), route.targets[0].backend.as_str())).collect();
    assert_eq!(summary, [("shop/old x/", "shop/b:80"), ("shop/old default", "shop/b:80")]);
    assert_eq!(
        plan.problems[&Key::namespaced("shop", "young")][0],
        "x/ is already served for another Ingress or rule"
    );
}

#[test]
fn certificates_are_those_that_served_ingresses_name() {
    let secret = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "shop"}, "type": "kubernetes.io/tls",
            "data": {"tls.crt": "Y2hhaW4=", "tls.key": "a2V5"}})
    };
    let mut objects = shop();
    objects.push((Source::Secrets, secret("unused")));
    assert_eq!(certificates(&cluster(objects.clone()), "traefik"), []);
    objects.push((Source::Secrets, secret("cert")));
    let found = certificates(&cluster(objects.clone()), "traefik");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].names, ["shop.example"]);
    assert_eq!((found[0].chain.as_slice(), found[0].key.as_slice()), (&b"chain"[..], &b"key"[..]));
    assert!(!format!("{:?}", found[0]).contains("key:"));
    // An emptied Secret is no certificate any more.
    let mut cluster = cluster(objects);
    let mut emptied = secret("cert");
    emptied["data"] = json!(null);
    assert_eq!(cluster.take(Source::Secrets, Event::Applied(emptied)), [Change::Certificates]);
    assert_eq!(certificates(&cluster, "traefik"), []);
}
