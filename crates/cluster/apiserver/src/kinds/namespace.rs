//! Namespaces: what they start with and how they end.

use objects::meta;
use serde_json::{Value, json};

use crate::core::Core;
use crate::object;

/// The finalizer that the namespace controller removes.
const HELD: &str = "kubernetes";

pub(super) fn prepare(object: &mut Value) {
    let name = meta::name(object).to_owned();
    meta::set_label(object, "kubernetes.io/metadata.name", Some(&name));
    object["status"] = json!({"phase": "Active"});
    // Held until the namespace controller has emptied it.
    let given = object["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    let others = given.into_iter().filter(|finalizer| finalizer != HELD);
    let finalizers: Vec<Value> = others.chain([HELD.into()]).collect();
    object["spec"] = json!({"finalizers": finalizers});
}

/// The finalize subresource changes `spec.finalizers` and nothing else.
pub(super) fn keep_all_but_finalizers(old: &Value, new: &mut Value) {
    let finalizers = new["spec"].get("finalizers").cloned();
    let managed = new["metadata"].get("managedFields").cloned();
    *new = old.clone();
    match finalizers.filter(|finalizers| finalizers.as_array().is_some_and(|left| !left.is_empty())) {
        Some(finalizers) => new["spec"]["finalizers"] = finalizers,
        None => new["spec"] = json!({}),
    }
    meta::set(new, "managedFields", managed.unwrap_or(Value::Null));
}

/// Puts the default ServiceAccount and the authority's certificate into a new namespace, so that a Pod created right
/// after it finds them.
pub(crate) async fn furnish(core: &Core, namespace: &str) {
    let account =
        json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata("default", namespace)});
    let certificate = json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": "kube-root-ca.crt", "namespace": namespace,
            "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now(),
            "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}},
        "data": {"ca.crt": core.authority_pem}});
    let create = async |resource: &'static str, object: Value| {
        let key = store::Key::new(resource, Some(namespace), meta::name(&object));
        if core.store.get(&key).is_some() {
            return;
        }
        match core.store.create(key, object::draft(&object)).await {
            Ok(_) | Err(store::Error::AlreadyExists { .. }) => {}
            Err(error) => {
                tracing::warn!(namespace, resource, error = %error, "could not furnish a namespace")
            }
        }
    };
    futures::join!(create("serviceaccounts", account), create("configmaps", certificate));
}

fn now() -> String {
    meta::format_time(jiff::Timestamp::now())
}

fn metadata(name: &str, namespace: &str) -> Value {
    json!({"name": name, "namespace": namespace, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now()})
}
