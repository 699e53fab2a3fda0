use std::net::SocketAddrV4;

use network::{Protocol, ServiceTarget};
use objects::meta::Key;
use serde_json::{Value, json};

use super::table::State;

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn slice(service: &str, endpoints: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": endpoints,
    })
}

fn web() -> State {
    let mut state = State::default();
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    assert!(state.set_service(&service("web", json!({"clusterIP": "10.43.0.5", "ports": ports}))));
    state
}

fn targets(state: &State) -> Vec<SocketAddrV4> {
    state.table().entries.remove(0).targets
}

#[test]
fn ready_endpoints_are_targets_and_the_rest_are_not() {
    let mut state = web();
    assert!(state.set_slice(&slice(
        "web",
        json!([
            {"addresses": ["10.42.0.4"], "conditions": {"ready": true}},
            {"addresses": ["10.42.0.3"], "conditions": {"ready": false, "serving": false}},
            {"addresses": ["10.42.0.2"]},
        ])
    )));
    assert_eq!(targets(&state), ["10.42.0.2:8080".parse().unwrap(), "10.42.0.4:8080".parse().unwrap()]);
    let table = state.table();
    assert_eq!((table.entries.len(), table.entries[1].protocol), (2, Protocol::Udp));
    assert!(table.entries[1].targets.is_empty(), "no endpoint has that port");
}

#[test]
fn endpoints_that_leave_serve_only_when_nobody_else_does() {
    let mut state = web();
    let leaving = json!({"addresses": ["10.42.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}});
    state.set_slice(&slice("web", json!([leaving])));
    assert_eq!(targets(&state), ["10.42.0.3:8080".parse().unwrap()]);
    state.set_slice(&slice(
        "web",
        json!([leaving, {"addresses": ["10.42.0.4"], "conditions": {"ready": true}}]),
    ));
    assert_eq!(targets(&state), ["10.42.0.4:8080".parse().unwrap()]);
}

#[test]
fn only_real_changes_count() {
    let mut state = web();
    let object = slice("web", json!([{"addresses": ["10.42.0.2"]}]));
    assert!(state.set_slice(&object));
    assert!(!state.set_slice(&object));
    assert!(!state.retain_slices(&[Key::of(&object)]));
    assert!(state.retain_slices(&[]));
    assert!(!state.remove_slice(&object));
}

#[test]
fn the_api_servers_own_service_has_a_name_and_no_rules() {
    let mut state = State::default();
    let mut kubernetes =
        service("kubernetes", json!({"clusterIP": "10.43.0.1", "ports": [{"name": "https", "port": 443}]}));
    kubernetes["metadata"]["namespace"] = json!("default");
    state.set_service(&kubernetes);
    assert!(state.table().entries.is_empty());
    assert_eq!(state.addresses()[0].cluster_ip, "10.43.0.1");
}

#[test]
fn headless_and_external_services_have_names_only() {
    let mut state = State::default();
    state.set_service(&service("db", json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]})));
    state.set_service(&service("out", json!({"type": "ExternalName", "externalName": "example.org"})));
    state.set_slice(&slice("db", json!([{"addresses": ["10.42.0.9"], "hostname": "db-0"}])));
    assert!(state.table().entries.is_empty() && state.addresses().is_empty());
    let zone = format!("{:?}", state.zone());
    let external = format!("{:?}", ServiceTarget::External("example.org".into()));
    assert!(zone.contains(&external) && zone.contains("db-0") && zone.contains("8080"), "{zone}");
}
