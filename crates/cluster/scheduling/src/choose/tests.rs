use objects::meta::Key;
use serde_json::json;

use super::*;

fn node(name: &str, cpu: &str, extra: Value) -> Value {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "zone": "z" } },
        "spec": {},
        "status": { "allocatable": { "cpu": cpu, "memory": "4Gi", "pods": "3" } },
    });
    objects::patch::merge(&mut node, &extra);
    node
}

fn pod(name: &str, cpu: &str, extra: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "a", "labels": { "app": "web" } },
        "spec": { "containers": [{ "resources": { "requests": { "cpu": cpu } } }] },
    });
    objects::patch::merge(&mut pod, &extra);
    pod
}

fn cluster(nodes: &[Value], pods: &[Value]) -> Cluster {
    let mut cluster = Cluster::new();
    for node in nodes {
        cluster.set_node(node);
    }
    for pod in pods {
        cluster.set_pod(pod);
    }
    cluster
}

fn bound(name: &str, cpu: &str, node: &str, extra: Value) -> Value {
    let mut pod = pod(name, cpu, extra);
    pod["spec"]["nodeName"] = json!(node);
    pod
}

fn why(cluster: &Cluster, pod: &Value) -> String {
    choose(cluster, pod, &[]).unwrap_err().to_string()
}

#[test]
fn resources_are_named_in_upstreams_words() {
    let full = cluster(&[node("n1", "1", json!({}))], &[bound("x", "600m", "n1", json!({}))]);
    assert_eq!(choose(&full, &pod("p", "400m", json!({})), &[]), Ok("n1".to_owned()));
    assert_eq!(why(&full, &pod("p", "401m", json!({}))), "0/1 nodes are available: 1 Insufficient cpu.");
    let gpu = json!({ "spec": { "containers": [{ "resources": { "requests": { "cpu": "2", "example.com/gpu": 1, "memory": "8Gi" } } }] } });
    assert_eq!(
        why(&full, &pod("p", "1", gpu)),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/gpu, 1 Insufficient memory."
    );
    assert_eq!(why(&Cluster::new(), &pod("p", "1", json!({}))), "no nodes available to schedule pods");
}

#[test]
fn finished_and_removed_pods_free_their_place() {
    let mut cluster = cluster(
        &[node("n1", "1", json!({}))],
        &(0..3).map(|n| bound(&format!("x{n}"), "0", "n1", json!({}))).collect::<Vec<_>>(),
    );
    let new = pod("p", "0", json!({}));
    assert_eq!(why(&cluster, &new), "0/1 nodes are available: 1 Too many pods.");
    cluster.set_pod(&bound("x0", "0", "n1", json!({ "status": { "phase": "Succeeded" } })));
    assert!(choose(&cluster, &new, &[]).is_ok());
    cluster.set_pod(&bound("x3", "0", "n1", json!({})));
    assert!(choose(&cluster, &new, &[]).is_err());
    cluster.remove_pod(&Key::namespaced("a", "x3"));
    assert!(choose(&cluster, &new, &[]).is_ok());
}

#[test]
fn each_rule_refuses_with_its_reason() {
    let taint = json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] } });
    let selector = json!({ "spec": { "nodeSelector": { "zone": "other" } } });
    let port = json!({ "spec": { "containers": [{ "ports": [{ "hostPort": 80 }] }] } });
    let cases = [
        (node("n1", "1", taint), json!({}), "1 node(s) had untolerated taint {k: v}"),
        (
            node("n1", "1", json!({ "spec": { "unschedulable": true } })),
            json!({}),
            "1 node(s) were unschedulable",
        ),
        (node("n1", "1", json!({})), selector, "1 node(s) didn't match Pod's node affinity/selector"),
        (
            node("n1", "1", json!({})),
            port.clone(),
            "1 node(s) didn't have free ports for the requested pod ports",
        ),
    ];
    for (node, extra, reason) in cases {
        let cluster = cluster(&[node], &[bound("x", "0", "n1", port.clone())]);
        assert_eq!(why(&cluster, &pod("p", "0", extra)), format!("0/1 nodes are available: {reason}."));
    }
    let cluster = cluster(&[node("n1", "1", json!({}))], &[]);
    let terms = json!([{ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"] }] }]);
    let error = choose(&cluster, &pod("p", "0", json!({})), &[terms]).unwrap_err();
    assert_eq!(error.to_string(), "0/1 nodes are available: 1 node(s) had volume node affinity conflict.");
}

fn anti_affinity() -> Value {
    json!({ "spec": { "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "web" } } }] } } } })
}

#[test]
fn anti_affinity_works_both_ways() {
    let nodes = [node("n1", "1", json!({})), node("n2", "1", json!({}))];
    let one = cluster(&nodes, &[bound("x", "0", "n1", json!({}))]);
    assert_eq!(choose(&one, &pod("p", "0", anti_affinity()), &[]), Ok("n2".to_owned()));
    let both = cluster(&nodes, &[bound("x", "0", "n1", json!({})), bound("y", "0", "n2", json!({}))]);
    assert_eq!(
        why(&both, &pod("p", "0", anti_affinity())),
        "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    );
    let theirs = cluster(&nodes[..1], &[bound("x", "0", "n1", anti_affinity())]);
    assert_eq!(
        why(&theirs, &pod("p", "0", json!({}))),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    );
    let other = json!({ "metadata": { "labels": { "app": "db" } } });
    assert!(choose(&theirs, &pod("p", "0", other), &[]).is_ok());
}

#[test]
fn the_first_of_a_group_may_start_it() {
    let affinity = json!({ "spec": { "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "web" } } }] } } } });
    let empty = cluster(&[node("n1", "1", json!({}))], &[]);
    assert!(choose(&empty, &pod("p", "0", affinity.clone()), &[]).is_ok());
    let mut stranger = affinity;
    stranger["metadata"] = json!({ "labels": { "app": "db" } });
    assert_eq!(
        why(&empty, &pod("p", "0", stranger)),
        "0/1 nodes are available: 1 node(s) didn't match pod affinity rules."
    );
}

#[test]
fn spread_keeps_the_skew() {
    let spread = json!({ "spec": { "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": { "matchLabels": { "app": "web" } } }] } });
    let nodes = [node("n1", "9", json!({})), node("n2", "1", json!({ "spec": { "unschedulable": true } }))];
    let uneven = cluster(&nodes, &[bound("x", "0", "n1", json!({}))]);
    assert_eq!(
        why(&uneven, &pod("p", "0", spread.clone())),
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."
    );
    let single = cluster(&nodes[..1], &[bound("x", "0", "n1", json!({}))]);
    assert!(choose(&single, &pod("p", "0", spread), &[]).is_ok());
}

#[test]
fn preferences_win_over_room_and_room_over_names() {
    let nodes = [node("n1", "1", json!({})), node("n2", "8", json!({})), node("n3", "1", json!({}))];
    let cluster = cluster(&nodes, &[bound("x", "500m", "n1", json!({}))]);
    let plain = pod("p", "500m", json!({}));
    assert_eq!(choose(&cluster, &plain, &[]), Ok("n2".to_owned()));
    let preferred = json!({ "spec": { "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 10, "preference": { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["n1"] }] } }] } } } });
    assert_eq!(choose(&cluster, &pod("p", "500m", preferred), &[]), Ok("n1".to_owned()));
}
