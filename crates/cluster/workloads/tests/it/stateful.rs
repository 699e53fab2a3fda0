use client::dynamic::DeleteOptions;
use client::resource::{
    CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STATEFUL_SETS, STORAGE_CLASSES,
};
use objects::meta;
use serde_json::{Value, json};

use crate::world::{World, key, template};

fn set(replicas: i64) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db", "namespace": "a" },
        "spec": { "replicas": replicas, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
            "template": template("db", ""),
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } } } }] } })
}

fn complete(set: &Value) -> bool {
    let status = &set["status"];
    status["observedGeneration"].as_i64() == Some(meta::generation(set))
        && status["readyReplicas"] == set["spec"]["replicas"]
        && status["updatedReplicas"] == set["spec"]["replicas"]
        && status["currentRevision"] == status["updateRevision"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_keeps_names_and_disks_through_an_update() {
    let world = World::start().await;
    world.create(&STATEFUL_SETS, set(2)).await;
    world.until(&STATEFUL_SETS, "db", "complete", complete).await;
    let names = |list: Vec<Value>| list.iter().map(|o| meta::name(o).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(world.list(&PODS).await), ["db-0", "db-1"]);
    let claim = world
        .until(&PERSISTENT_VOLUME_CLAIMS, "data-db-0", "bound", |c| c["status"]["phase"] == "Bound")
        .await;
    assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
    assert_eq!(claim["spec"]["storageClassName"], "local-path");
    let volume = claim["spec"]["volumeName"].as_str().unwrap().to_owned();
    let directory = world.volumes().join(format!("{volume}_a_data-db-0"));
    assert!(directory.is_dir());

    world
        .patch(
            &STATEFUL_SETS,
            "db",
            json!({ "spec": { "template": { "metadata": { "annotations": { "v": "2" } } } } }),
        )
        .await;
    world.until(&STATEFUL_SETS, "db", "updated", complete).await;
    assert!(world.list(&PODS).await.iter().all(|pod| pod["metadata"]["annotations"]["v"] == "2"));
    assert_eq!(world.list(&CONTROLLER_REVISIONS).await.len(), 2);
    let again = world.until(&PERSISTENT_VOLUME_CLAIMS, "data-db-0", "kept", |_| true).await;
    assert_eq!(again["spec"]["volumeName"], volume);

    // Scaled to nothing the disk stays; deleting the claim removes it.
    world.patch(&STATEFUL_SETS, "db", json!({ "spec": { "replicas": 0 } })).await;
    world.until_list(&PODS, "no pods", <[Value]>::is_empty).await;
    assert!(directory.is_dir());
    world
        .api(&PERSISTENT_VOLUME_CLAIMS)
        .delete(&key("data-db-0"), &DeleteOptions::background())
        .await
        .unwrap();
    world.until_gone(&PERSISTENT_VOLUME_CLAIMS, "data-db-0").await;
    world.until_gone(&PERSISTENT_VOLUMES, &volume).await;
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_in_use_is_protected_and_retained_data_stays() {
    let world = World::start().await;
    let class = json!({ "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "keep" },
        "provisioner": "rancher.io/local-path", "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer" });
    world.create(&STORAGE_CLASSES, class).await;
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "namespace": "a" },
        "spec": { "storageClassName": "keep", "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } } });
    world.create(&PERSISTENT_VOLUME_CLAIMS, claim).await;
    world.until(&PERSISTENT_VOLUME_CLAIMS, "data", "pending", |c| c["status"]["phase"] == "Pending").await;
    let mut pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "user", "namespace": "a" } });
    pod["spec"] = template("x", "")["spec"].clone();
    pod["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    world.create(&PODS, pod).await;
    world.until(&PODS, "user", "running", |p| p["status"]["phase"] == "Running").await;
    let bound =
        world.until(&PERSISTENT_VOLUME_CLAIMS, "data", "bound", |c| c["status"]["phase"] == "Bound").await;
    let volume = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    world.api(&PERSISTENT_VOLUME_CLAIMS).delete(&key("data"), &DeleteOptions::background()).await.unwrap();
    world.until(&PERSISTENT_VOLUME_CLAIMS, "data", "waiting", meta::is_deleting).await;
    world.api(&PODS).delete(&key("user"), &DeleteOptions::background()).await.unwrap();
    world.until_gone(&PERSISTENT_VOLUME_CLAIMS, "data").await;
    world.until(&PERSISTENT_VOLUMES, &volume, "released", |v| v["status"]["phase"] == "Released").await;
    assert!(world.volumes().join(format!("{volume}_a_data")).is_dir());
}
