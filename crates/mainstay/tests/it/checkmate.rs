use std::time::Duration;

use serde_json::Value;
use test_kit::eventually;

use crate::images::SERVICES;
use crate::platform::Platform;
use setup::CheckMate;

pub(crate) mod setup;

/// The charts' own probe delays are 20 s; pulling and a busy machine take some more.
const READY: Duration = Duration::from_secs(180);

fn state(application: &Value) -> String {
    let status = |pointer| application.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    format!("{}, {}", status("/status/sync/status"), status("/status/health/status"))
}

fn sync(application: &Value) -> String {
    application["status"]["sync"]["status"].as_str().unwrap_or("-").to_owned()
}

#[test]
fn checkmate_runs_unchanged() {
    let checkmate = setup::prepare().up();
    let platform = &checkmate.platform;
    let application = |name| ["application", "--namespace=argocd", name];

    for (service, ..) in SERVICES {
        platform.wait_for(READY, &application(service), state, "Synced, Healthy");
    }
    for name in ["linkerd-crds", "linkerd-certs"] {
        platform.wait_for(READY, &application(name), sync, "Synced");
    }
    for deployment in ["sample-postgres", "redis"] {
        let available = |object: &Value| object["status"]["availableReplicas"].to_string();
        platform.wait_for(READY, &["deployment", "--namespace=data", deployment], available, "1");
    }
    for name in ["cert-manager", "trust-manager", "linkerd-control-plane", "linkerd-viz"] {
        let why = |object: &Value| {
            let condition = &object["status"]["conditions"][0];
            let message = condition["message"].as_str().unwrap_or_default();
            let source = object["spec"]["source"]["repoURL"].as_str().unwrap_or("-");
            format!("{} {}", condition["type"].as_str().unwrap_or("-"), message.contains(source))
        };
        platform.wait_for(READY, &application(name), why, "ComparisonError true");
    }

    // Everything of the root is applied but what needs the namespace that nobody made.
    let root = application("checkmate-dev");
    platform.wait_for(READY, &root, sync, "OutOfSync");
    platform.wait_for(
        READY,
        &root,
        |object| {
            let resources = object["status"]["operationState"]["syncResult"]["resources"].as_array();
            let failed: Vec<&str> = resources
                .into_iter()
                .flatten()
                .filter(|resource| resource["status"] == "SyncFailed")
                .filter_map(|resource| resource["message"].as_str())
                .collect();
            failed.join("; ")
        },
        "namespaces \"jenkins\" not found",
    );
    let out_of_sync = |object: &Value| {
        let resources = object["status"]["resources"].as_array();
        let names: Vec<&str> = resources
            .into_iter()
            .flatten()
            .filter(|resource| resource["status"] == "OutOfSync")
            .filter_map(|resource| resource["name"].as_str())
            .collect();
        names.join(" ")
    };
    platform.wait_for(READY, &root, out_of_sync, "jenkins");
    platform.kubectl(&["get", "serviceprofile", "--namespace=user", "user.user.svc.cluster.local"]);
    platform.kubectl(&["create", "namespace", "jenkins"]);
    platform.wait_for(READY, &root, sync, "Synced");

    // From outside through the gateway to the user service and its database, and back.
    eventually("a user is written", READY, || {
        match platform.http("POST", "api.checkmate", "/users", "alice") {
            Ok((201, body)) if body.contains("\"id\":") => Ok(()),
            other => Err(other),
        }
    });
    let (status, body) = platform.http("GET", "api.checkmate", "/users", "").expect("the gateway answers");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("alice") && body.contains("\"service\":\"user\""), "{body}");

    drift_is_reverted(platform);
    a_removed_file_is_pruned(&checkmate);
    a_killed_container_comes_back(platform);
}

fn drift_is_reverted(platform: &Platform) {
    let target = |object: &Value| object["spec"]["ports"][0]["targetPort"].to_string();
    let service = ["service", "--namespace=user", "user"];
    platform.kubectl(&[
        "patch",
        "service",
        "--namespace=user",
        "user",
        "--type=json",
        "--patch=[{\"op\": \"replace\", \"path\": \"/spec/ports/0/targetPort\", \"value\": 9999}]",
    ]);
    platform.wait_for(Duration::from_secs(30), &service, target, "\"http\"");
}

fn a_removed_file_is_pruned(checkmate: &CheckMate) {
    let profile = ["serviceprofile", "--namespace=store", "store.store.svc.cluster.local"];
    checkmate.platform.get(&profile).expect("it is there before");
    checkmate.repository.git(&["rm", "--quiet", "applications/dev/linkerd-serviceprofiles/store.yaml"]);
    checkmate.repository.commit("remove a profile");
    eventually("the profile is pruned", Duration::from_secs(60), || match checkmate.platform.get(&profile) {
        Err(error) if error.contains("NotFound") => Ok(()),
        other => Err(other.map(|object| object["metadata"].to_string())),
    });
}

fn a_killed_container_comes_back(platform: &Platform) {
    let pods = platform.get(&["pods", "--namespace=store"]).expect("the store's pods");
    let pod = pods["items"][0]["metadata"]["name"].as_str().expect("a pod").to_owned();
    let restarts = |object: &Value| object["status"]["containerStatuses"][0]["restartCount"].to_string();
    let process = std::fs::read_dir("/proc").expect("the processes").flatten().find_map(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let marked = environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == format!("HOSTNAME={pod}").as_bytes());
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        marked.then_some(id)
    });
    let process = nix::unistd::Pid::from_raw(process.expect("the container's process"));
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).expect("kill it");
    platform.wait_for(Duration::from_secs(60), &["pod", "--namespace=store", &pod], restarts, "1");
}
