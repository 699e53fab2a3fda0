use super::*;
use serde_json::{Value, json};

const CAPACITY: Capacity = Capacity { cpu_millis: 2000, memory: 4 << 30, storage: 1 << 30 };

fn contents(pairs: &[(&str, &str)]) -> Option<Contents> {
    let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    Some(Contents { data, binary: BTreeMap::new() })
}

fn pod(container: Value) -> Pod {
    let mut container = container;
    container["name"] = json!("c");
    serde_json::from_value(json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u-1",
            "labels": {"app": "web"}, "annotations": {"b": "2", "a": "say \"hi\""},
        },
        "spec": {"nodeName": "node-1", "serviceAccountName": "web", "containers": [container]},
    }))
    .unwrap()
}

fn run(container: Value, sources: &Sources) -> Result<Vec<(String, String)>, String> {
    let pod = pod(container);
    let context = Context {
        pod: &pod,
        pod_ip: "10.42.0.7",
        host_ip: "192.0.2.1",
        capacity: &CAPACITY,
        sources,
        services: &[],
    };
    environment(&context, &pod::spec(&pod).containers[0]).map_err(|error| error.to_string())
}

fn pairs(list: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
    Ok(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn env_overrides_env_from_and_later_sources_override_earlier() {
    let sources = Sources::from([
        (config_map("one"), contents(&[("A", "1"), ("B", "1"), ("bad=key", "x")])),
        (secret("two"), contents(&[("B", "2")])),
    ]);
    let container = json!({
        "envFrom": [{"configMapRef": {"name": "one"}}, {"secretRef": {"name": "two"}}, {"prefix": "P_", "secretRef": {"name": "two"}}],
        "env": [{"name": "A", "value": "$(B)-$(UNKNOWN)-$$(B)"}],
    });
    assert_eq!(run(container, &sources), pairs(&[("A", "2-$(UNKNOWN)-$(B)"), ("B", "2"), ("P_B", "2")]));
}

#[test]
fn keys_fields_and_resources() {
    let sources = Sources::from([(secret("s"), contents(&[("password", "hunter2")]))]);
    let container = json!({
        "resources": {"limits": {"memory": "64Mi"}},
        "env": [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
            {"name": "URL", "value": "redis://:$(PASSWORD)@redis"},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": true}}},
        ],
    });
    let expected = [
        ("PASSWORD", "hunter2"),
        ("URL", "redis://:hunter2@redis"),
        ("NAMESPACE", "shop"),
        ("IP", "10.42.0.7"),
        ("APP", "web"),
        ("MEM", "64"),
    ];
    assert_eq!(run(container, &sources), pairs(&expected));
}

#[test]
fn what_is_missing_is_named() {
    let from = |source: Value| json!({"env": [{"name": "X", "valueFrom": source}]});
    let empty = Sources::new();
    let missing = run(json!({"envFrom": [{"secretRef": {"name": "app-secrets"}}]}), &empty);
    assert_eq!(missing, Err("secret \"app-secrets\" not found".into()));
    let missing = run(from(json!({"configMapKeyRef": {"name": "cfg", "key": "k"}})), &empty);
    assert_eq!(missing, Err("configmap \"cfg\" not found".into()));
    let sources = Sources::from([(secret("s"), contents(&[]))]);
    let missing = run(from(json!({"secretKeyRef": {"name": "s", "key": "k"}})), &sources);
    assert_eq!(missing, Err("couldn't find key k in Secret shop/s".into()));
    let missing = run(from(json!({"fieldRef": {"fieldPath": "spec.nope"}})), &empty);
    assert_eq!(missing, Err("failed to resolve env var X: unsupported fieldPath: spec.nope".into()));
}

#[test]
fn service_links() {
    let service = |namespace: &str, name: &str| ServiceAddress {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ip: "10.43.0.9".into(),
        ports: vec![
            services::ServicePort { name: "http".into(), port: 80, protocol: "TCP".into() },
            services::ServicePort { name: "dns".into(), port: 53, protocol: "UDP".into() },
        ],
    };
    let services = [service("default", "kubernetes"), service("shop", "my-db"), service("other", "hidden")];
    let variables: BTreeMap<String, String> =
        service_variables(&services, "shop", true).into_iter().collect();
    assert_eq!(variables["KUBERNETES_SERVICE_HOST"], "10.43.0.9");
    assert_eq!(variables["MY_DB_SERVICE_PORT"], "80");
    assert_eq!(variables["MY_DB_SERVICE_PORT_DNS"], "53");
    assert_eq!(variables["MY_DB_PORT"], "tcp://10.43.0.9:80");
    assert_eq!(variables["MY_DB_PORT_53_UDP"], "udp://10.43.0.9:53");
    assert_eq!(variables["MY_DB_PORT_53_UDP_ADDR"], "10.43.0.9");
    assert!(variables.keys().all(|name| !name.starts_with("HIDDEN")));
    let without: Vec<_> = service_variables(&services, "shop", false);
    assert!(!without.is_empty() && without.iter().all(|(name, _)| name.starts_with("KUBERNETES_")));
}

#[test]
fn expansion() {
    let value = |name: &str| (name == "A").then_some("1");
    for (text, expected) in [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A $ $$", "$A $ $"),
        ("$(A", "$(A"),
        ("price: 5$", "price: 5$"),
    ] {
        assert_eq!(expand(text, value), expected, "{text}");
    }
}

#[test]
fn maps_print_sorted_and_quoted() {
    let pod = pod(json!({}));
    let sources = Sources::new();
    let context =
        Context { pod: &pod, pod_ip: "", host_ip: "", capacity: &CAPACITY, sources: &sources, services: &[] };
    assert_eq!(field(&context, "metadata.annotations").as_deref(), Some("a=\"say \\\"hi\\\"\"\nb=\"2\""));
    assert_eq!(field(&context, "metadata.annotations['b']").as_deref(), Some("2"));
}
