//! What every cluster has from the start: its namespaces, the API's own Service, and the default roles.

mod roles;

use objects::meta;
use serde_json::{Value, json};
use store::Key;

use crate::core::Core;
use crate::kinds;
use crate::object;
use crate::server::Error;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Creates what is missing: everything at once, so that it becomes durable in few groups rather than one by one.
pub(crate) async fn run(core: &Core, port: u16) -> Result<(), Error> {
    let mut objects = roles::all();
    for namespace in NAMESPACES {
        let object = json!({"kind": "Namespace", "apiVersion": "v1",
            "metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        objects.push(("namespaces", object));
    }
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        let class = json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name},
            "value": value, "preemptionPolicy": "PreemptLowerPriority"});
        objects.push(("scheduling.k8s.io/priorityclasses", class));
    }
    objects.push(("services", api_service(core, port)));
    let objects = objects.into_iter().map(|(resource, object)| ensure(core, resource, object));
    let furniture = NAMESPACES.map(|namespace| kinds::furnish_namespace(core, namespace));
    let (created, _) =
        futures::join!(futures::future::try_join_all(objects), futures::future::join_all(furniture));
    created.map(drop)
}

/// The Service by which Pods reach the API.
fn api_service(core: &Core, port: u16) -> Value {
    let address = core.allocators.range().api().to_string();
    json!({"kind": "Service", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": port, "protocol": "TCP", "targetPort": port}]},
        "status": {"loadBalancer": {}}})
}

/// Creates an object unless one of its name is there.
async fn ensure(core: &Core, resource: &'static str, mut object: Value) -> Result<(), Error> {
    meta::set(&mut object, "uid", uuid::Uuid::new_v4().to_string().into());
    meta::set(&mut object, "creationTimestamp", meta::format_time(jiff::Timestamp::now()).into());
    let name = meta::name(&object).to_owned();
    let key = Key::new(resource, meta::namespace(&object), &name);
    if core.store.get(&key).is_some() {
        return Ok(());
    }
    match core.store.create(key, object::draft(&object)).await {
        Ok(_) | Err(store::Error::AlreadyExists { .. }) => Ok(()),
        Err(source) => Err(Error::Bootstrap { what: format!("{resource} {name}"), source }),
    }
}
