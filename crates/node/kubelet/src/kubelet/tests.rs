//! The whole kubelet against a real API server and a machine in memory.

mod cluster;
mod stopping;

use std::time::Duration;

use client::dynamic::DeleteOptions;
use client::resource::{NODES, PERSISTENT_VOLUMES, SERVICES};
use containers::StartError;
use serde_json::json;

use super::*;
use cluster::{Cluster, DEADLINE, NODE, app, condition, container, is_empty};

#[tokio::test]
async fn a_pod_runs_and_leaves_nothing_behind() {
    let cluster = Cluster::start().await;
    cluster.run("web", app()).await;
    let pod = cluster.until_ready("web").await;
    let status = &pod["status"];
    assert_eq!(
        (&status["phase"], &status["podIP"], &status["hostIP"]),
        (&json!("Running"), &json!("127.0.0.1"), &json!("192.0.2.1"))
    );
    assert_eq!(
        (&status["qosClass"], &status["observedGeneration"]),
        (&json!("BestEffort"), &pod["metadata"]["generation"])
    );
    let app = container(&pod);
    assert_eq!(
        (&app["ready"], &app["started"], &app["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert!(app["state"]["running"]["startedAt"].is_string());
    assert!(app["imageID"].as_str().unwrap().starts_with("docker.io/library/busybox@sha256:"), "{app}");
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "PodReadyToStartContainers"] {
        assert_eq!(condition(&pod, kind), "True", "{kind}");
    }
    let id = cluster.runtime.running("app").unwrap();
    assert_eq!(app["containerID"], json!(format!("mainstay://{id}")));

    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert_eq!(cluster.runtime.machine().signals, [(id, 15)]);
    let machine = cluster.runtime.machine();
    assert!(machine.containers.is_empty() && machine.attached.is_empty());
    for dir in ["pods", "logs", "memory"] {
        assert!(is_empty(&cluster.dir.path().join("kubelet").join(dir)), "{dir}");
    }
}

#[tokio::test]
async fn the_node_is_registered() {
    let cluster = Cluster::start().await;
    let node = test_kit::eventually_async("the Node is ready", DEADLINE, async || {
        let node = cluster.api(&NODES).find(&Key::cluster(NODE)).await.unwrap().unwrap_or_default();
        let ready = node["status"]["conditions"].as_array().is_some_and(|list| {
            list.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        });
        if ready { Ok(node) } else { Err(node) }
    })
    .await;
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    assert_eq!(node["status"]["capacity"]["pods"], "250");
}

#[tokio::test]
async fn a_missing_secret_is_named_and_waited_for() {
    let cluster = Cluster::start().await;
    let env = json!([{"secretRef": {"name": "app-secrets"}}]);
    cluster.run("web", json!({"containers": [{"name": "app", "envFrom": env}]})).await;
    let pod = cluster
        .until("it waits", "web", |pod| {
            container(pod)["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        })
        .await;
    assert_eq!(container(&pod)["state"]["waiting"]["message"], "secret \"app-secrets\" not found");
    assert_eq!(pod["status"]["phase"], "Pending");
    let refused = cluster.log("web", |_| ()).await.unwrap_err().to_string();
    assert_eq!(refused, "container \"app\" in pod \"web\" is waiting to start: CreateContainerConfigError");

    cluster.create(&SECRETS, "app-secrets", json!({"stringData": {"PASSWORD": "hunter2"}})).await;
    cluster.until_ready("web").await;
    let id = cluster.runtime.running("app").unwrap();
    let spec = cluster.runtime.machine().specs[&id].clone();
    assert!(spec.env.contains(&("PASSWORD".to_owned(), "hunter2".to_owned())));
    assert!(spec.env.iter().any(|(name, _)| name == "KUBERNETES_SERVICE_HOST"), "{:?}", spec.env);
}

#[tokio::test]
async fn a_container_that_ends_is_restarted_with_back_off() {
    let cluster = Cluster::start().await;
    cluster.run("web", app()).await;
    cluster.until_ready("web").await;
    cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 3);
    let pod = cluster.until("it was restarted", "web", |pod| container(pod)["restartCount"] == 1).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 3);
    cluster.until_ready("web").await;
    cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 4);
    let pod = cluster
        .until("it backs off", "web", |pod| {
            container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("back-off 10s restarting failed container=app pod=web_shop("), "{message}");
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 4);
    assert_eq!((&pod["status"]["phase"], condition(&pod, "Ready")), (&json!("Running"), "False"));
    assert_eq!(cluster.runtime.machine().containers.len(), 2, "the newest and the one before are kept");
}

#[tokio::test]
async fn a_pod_that_never_restarts_completes() {
    let cluster = Cluster::start().await;
    for (name, code, phase) in [("good", 0, "Succeeded"), ("bad", 1, "Failed")] {
        cluster.run(name, json!({"restartPolicy": "Never", "containers": [{"name": name}]})).await;
        cluster.until_ready(name).await;
        cluster.runtime.set_exited(&cluster.runtime.running(name).unwrap(), code);
        let pod = cluster.until("it ended", name, |pod| pod["status"]["phase"] == phase).await;
        assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], code);
        assert_eq!(condition(&pod, "Ready"), "False");
    }
    test_kit::eventually_async("the network is given back", DEADLINE, async || {
        let attached = cluster.runtime.machine().attached.clone();
        if attached.is_empty() { Ok(()) } else { Err(attached) }
    })
    .await;
    cluster.delete("good").await;
    cluster.until_gone("good").await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_backs_off() {
    let cluster = Cluster::start().await;
    cluster.runtime.machine().missing_images.insert("library/busybox".into());
    cluster.run("web", app()).await;
    let pod = cluster
        .until("it backs off", "web", |pod| {
            container(pod)["state"]["waiting"]["reason"] == "ImagePullBackOff"
        })
        .await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Back-off pulling image \"busybox:1\": ErrImagePull: "), "{message}");
    let refused = cluster.log("web", |_| ()).await.unwrap_err().to_string();
    assert!(refused.ends_with("is waiting to start: trying and failing to pull image"), "{refused}");
    cluster.delete("web").await;
    cluster.until_gone("web").await;
}

#[tokio::test]
async fn a_config_map_volume_follows_the_object() {
    let cluster = Cluster::start().await;
    let volume = json!([{"name": "v", "configMap": {"name": "settings"}}]);
    let spec = json!({"volumes": volume, "containers": [{"name": "app", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
    cluster.run("web", spec).await;
    let missing = "FailedMount MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found";
    test_kit::eventually_async("the missing object is named", DEADLINE, async || {
        let events = cluster.events().await;
        if events.iter().any(|event| event == missing) { Ok(()) } else { Err(events) }
    })
    .await;
    cluster.create(&CONFIG_MAPS, "settings", json!({"data": {"key": "one"}})).await;
    let pod = cluster.until_ready("web").await;
    let dir = cluster
        .dir
        .path()
        .join("kubelet/pods")
        .join(pod["metadata"]["uid"].as_str().unwrap())
        .join("volumes/v");
    assert_eq!(std::fs::read_to_string(dir.join("key")).unwrap(), "one");
    let patch = client::dynamic::Patch::Merge(json!({"data": {"key": "two"}}));
    cluster
        .api(&CONFIG_MAPS)
        .patch(&Key::namespaced("shop", "settings"), &patch, &Default::default())
        .await
        .unwrap();
    test_kit::eventually_async("the file follows", DEADLINE, async || {
        let text = std::fs::read_to_string(dir.join("key")).unwrap();
        if text == "two" { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test]
async fn readiness_and_liveness_are_probed() {
    let cluster = Cluster::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let probes = json!({"containers": [{
        "name": "app",
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2},
    }]});
    cluster.run("web", probes).await;
    let pod = cluster.until("it runs", "web", |pod| container(pod)["state"]["running"].is_object()).await;
    assert_eq!((&container(&pod)["ready"], &container(&pod)["started"]), (&json!(false), &json!(true)));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    cluster.until_ready("web").await;
    cluster.runtime.machine().exec_code = 1;
    let pod = cluster.until("it was restarted", "web", |pod| container(pod)["restartCount"] == 1).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 143);
    drop(listener);
    let events = cluster.events().await;
    for expected in [
        "Unhealthy Liveness probe failed: out",
        "Killing Container app failed liveness probe, will be restarted",
    ] {
        assert!(events.iter().any(|event| event == expected), "{expected}: {events:#?}");
    }
}

#[tokio::test]
async fn running_containers_are_adopted() {
    let mut cluster = Cluster::start().await;
    cluster.run("web", app()).await;
    let before = cluster.until_ready("web").await;
    cluster.down().await;
    assert!(cluster.runtime.running("app").is_some());
    let starts = cluster.runtime.machine().specs.len();
    cluster.up().await;
    cluster.run("other", json!({"containers": [{"name": "other"}]})).await;
    cluster.until_ready("other").await;
    let after = cluster.pod("web").await.unwrap();
    assert_eq!(after["status"], before["status"]);
    assert_eq!(cluster.runtime.machine().specs.len(), starts + 1);
    // The adopted one is looked after like any other.
    cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 1);
    cluster.until("it was restarted", "web", |pod| container(pod)["restartCount"] == 1).await;
}

#[tokio::test]
async fn what_was_deleted_meanwhile_is_removed() {
    let mut cluster = Cluster::start().await;
    cluster.run("web", app()).await;
    cluster.until_ready("web").await;
    cluster.down().await;
    let force = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    cluster.api(&PODS).delete(&Key::namespaced("shop", "web"), &force).await.unwrap();
    cluster.up().await;
    test_kit::eventually_async("nothing is left", DEADLINE, async || {
        let machine = cluster.runtime.machine();
        let left = machine.containers.len() + machine.attached.len();
        if left == 0 && is_empty(&cluster.dir.path().join("kubelet/pods")) { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn privileged_pods_wait_with_the_reason() {
    let cluster = Cluster::start().await;
    cluster
        .run("judge", json!({"containers": [{"name": "app", "securityContext": {"privileged": true}}]}))
        .await;
    let pod = cluster
        .until("it waits", "judge", |pod| container(pod)["state"]["waiting"]["message"].is_string())
        .await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("--allow-privileged shop"), "{message}");
    assert_eq!(pod["status"]["phase"], "Pending");
    cluster.delete("judge").await;
    cluster.until_gone("judge").await;
    assert!(cluster.runtime.machine().specs.is_empty());
}

#[tokio::test]
async fn whoever_does_not_end_is_killed() {
    let cluster = Cluster::start().await;
    cluster.run("web", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "app"}]})).await;
    cluster.until_ready("web").await;
    cluster.runtime.machine().stubborn = true;
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    assert_eq!(cluster.runtime.machine().signals.len(), 1);
}

#[tokio::test]
async fn faults_of_the_machine_are_reported_and_tried_again() {
    let cluster = Cluster::start().await;
    cluster.runtime.machine().no_network = true;
    cluster.runtime.machine().start_error =
        Some(|| StartError::Process("exec: \"x\": executable file not found in $PATH".into()));
    cluster.run("web", app()).await;
    test_kit::eventually_async("the network's fault is reported", DEADLINE, async || {
        let events = cluster.events().await;
        let expected =
            "FailedCreatePodSandBox Failed to create pod sandbox: cannot attach the pod: no address left";
        if events.iter().any(|event| event == expected) { Ok(()) } else { Err(events) }
    })
    .await;
    cluster.runtime.machine().no_network = false;
    let pod = cluster
        .until("it backs off", "web", |pod| {
            container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let last = &container(&pod)["lastState"]["terminated"];
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("StartError"), &json!(128)));
    assert!(last["message"].as_str().unwrap().contains("executable file not found"), "{last}");
}

#[tokio::test]
async fn init_containers_come_first() {
    let cluster = Cluster::start().await;
    let spec = json!({
        "initContainers": [{"name": "prepare", "image": "busybox:1"}],
        "containers": [{"name": "app"}],
    });
    cluster.run("web", spec).await;
    let pod = cluster
        .until("it prepares", "web", |pod| {
            pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object()
        })
        .await;
    assert_eq!(container(&pod)["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!((&pod["status"]["phase"], condition(&pod, "Initialized")), (&json!("Pending"), "False"));
    cluster.runtime.set_exited(&cluster.runtime.running("prepare").unwrap(), 0);
    let pod = cluster.until_ready("web").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["ready"], true);
}

#[tokio::test]
async fn logs_of_the_instance_before() {
    let cluster = Cluster::start().await;
    cluster.run("web", app()).await;
    let pod = cluster.until_ready("web").await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let dir = cluster.dir.path().join(format!("kubelet/logs/shop_web_{uid}/app"));
    std::fs::write(dir.join("0.log"), "2026-01-01T00:00:00Z stdout F first\n").unwrap();
    assert_eq!(cluster.log("web", |_| ()).await.unwrap(), "first\n");
    let refused = cluster.log("web", |request| request.previous = true).await.unwrap_err().to_string();
    assert_eq!(refused, "previous terminated container \"app\" in pod \"web\" not found");
    cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 1);
    cluster.until("it was restarted", "web", |pod| container(pod)["restartCount"] == 1).await;
    assert_eq!(cluster.log("web", |request| request.previous = true).await.unwrap(), "first\n");
    assert_eq!(cluster.log("web", |_| ()).await.unwrap(), "");
    let unknown = cluster.log("nobody", |_| ()).await.unwrap_err().to_string();
    assert_eq!(unknown, "pods \"nobody\" not found");
}

#[tokio::test]
async fn services_reach_the_machine() {
    let cluster = Cluster::start().await;
    let spec = json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    cluster.create(&SERVICES, "web", spec).await;
    test_kit::eventually_async("the Service has rules", DEADLINE, async || {
        let table = cluster.runtime.machine().services.clone().unwrap_or_default();
        if table.entries.iter().any(|entry| entry.port == 80 && entry.targets.is_empty()) {
            Ok(())
        } else {
            Err(table)
        }
    })
    .await;
}

#[tokio::test]
async fn a_claim_leads_to_a_directory_of_the_nodes_own_and_nowhere_else() {
    let cluster = Cluster::start().await;
    let root = cluster.dir.path().join("kubelet/volumes");
    for (name, path) in [("mine", root.join("mine")), ("theirs", "/etc".into())] {
        let claim = json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        }});
        cluster.create(&PERSISTENT_VOLUME_CLAIMS, name, claim).await;
        let key = Key::namespaced("shop", name);
        let claims = cluster.api(&PERSISTENT_VOLUME_CLAIMS);
        let uid = claims.get(&key).await.unwrap()["metadata"]["uid"].clone();
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": path},
                "claimRef": {"namespace": "shop", "name": name, "uid": uid},
            },
        });
        cluster.api(&PERSISTENT_VOLUMES).create(&volume).await.unwrap();
        let spec = json!({
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
            "containers": [{"name": "app", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        });
        cluster.run(name, spec).await;
        claims.patch_status(&key, json!({"phase": "Bound"})).await.unwrap();
    }
    cluster.until_ready("mine").await;
    assert!(root.join("mine").is_dir());
    test_kit::eventually_async("the other is refused", DEADLINE, async || {
        let events = cluster.events().await;
        let refused = |event: &&String| {
            event.contains("outside of the node's volumes") && event.contains("--allow-privileged shop")
        };
        events.iter().find(refused).map(|_| ()).ok_or(events.clone())
    })
    .await;
}

#[tokio::test]
async fn a_deadline_ends_a_pod() {
    let cluster = Cluster::start().await;
    cluster.run("job", json!({"activeDeadlineSeconds": 1, "containers": [{"name": "app"}]})).await;
    let pod = cluster.until("it failed", "job", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert!(cluster.runtime.running("app").is_none());
}

#[tokio::test]
async fn sidecars_outlive_what_they_serve() {
    let cluster = Cluster::start().await;
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "mesh", "image": "busybox:1", "restartPolicy": "Always"}],
        "containers": [{"name": "app"}],
    });
    cluster.run("job", spec).await;
    cluster.until_ready("job").await;
    cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 0);
    let pod = cluster.until("it succeeded", "job", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 143);
}

#[tokio::test]
async fn hooks_run_and_a_failed_one_is_told() {
    let cluster = Cluster::start().await;
    let hook = json!({"exec": {"command": ["x"]}});
    let lifecycle = json!({"postStart": hook, "preStop": hook});
    cluster.run("web", json!({"containers": [{"name": "app", "lifecycle": lifecycle}]})).await;
    cluster.until_ready("web").await;
    cluster.runtime.machine().exec_code = 1;
    cluster.delete("web").await;
    cluster.until_gone("web").await;
    test_kit::eventually_async("the failure is told", DEADLINE, async || {
        let events = cluster.events().await;
        let expected = "FailedPreStopHook PreStopHook failed: out";
        if events.iter().any(|event| event == expected) { Ok(()) } else { Err(events) }
    })
    .await;
}
