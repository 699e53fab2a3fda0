use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

    a_canary_loses_no_request(&checkmate);
    a_bad_tag_leaves_the_stable_version_serving(&checkmate);
    drift_is_reverted(platform);
    a_removed_file_is_pruned(&checkmate);
    a_killed_container_comes_back(platform);
}

/// Sets the gateway's tag as the image updater does: in a file beside the chart.
fn set_tag(checkmate: &CheckMate, tag: &str) {
    let path = "charts/gateway/.argocd-source-gateway.yaml";
    let file = checkmate.repository.path().join(path);
    let text = std::fs::read_to_string(&file).expect("the gateway's parameters");
    let (before, _) = text.split_once("  - name: image.tag").expect("the tag's parameter");
    let changed = format!("{before}  - name: image.tag\n    value: \"{tag}\"\n    forcestring: true\n");
    checkmate.repository.write(path, &changed);
    checkmate.repository.commit(&format!("release {tag}"));
}

/// The charts' steps: 20 %, 30 s, 50 %, 60 s, 100 %, while a client sends 200 requests a second.
fn a_canary_loses_no_request(checkmate: &CheckMate) {
    const SENDERS: u64 = 4;
    let platform = &checkmate.platform;
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let next = Instant::now() + Duration::from_millis(5 * SENDERS);
                    match platform.http("GET", "api.checkmate", "/", "") {
                        Ok((200, _)) => {}
                        other => failed.lock().expect("no sender panics").push(format!("{other:?}")),
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    #[expect(clippy::disallowed_methods, reason = "the rate of requests")]
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        // However the wait ends, the senders end too.
        let waited = std::panic::catch_unwind(AssertUnwindSafe(|| {
            set_tag(checkmate, "8");
            let rollout = ["rollout", "--namespace=gateway", "gateway"];
            let weight = |object: &Value| object["status"]["currentStepIndex"].to_string();
            for step in ["1", "3", "5"] {
                platform.wait_for(READY, &rollout, weight, step);
            }
            let phase = |object: &Value| object["status"]["phase"].as_str().unwrap_or_default().to_owned();
            platform.wait_for(READY, &rollout, phase, "Healthy");
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = waited {
            std::panic::resume_unwind(panic);
        }
    });
    let failed = failed.into_inner().expect("no sender panics");
    assert_eq!(failed, [""; 0], "of {} requests", sent.into_inner());
    let (_, body) = platform.http("GET", "api.checkmate", "/", "").expect("the gateway answers");
    assert!(body.contains("\"version\":\"8\""), "{body}");
}

fn a_bad_tag_leaves_the_stable_version_serving(checkmate: &CheckMate) {
    set_tag(checkmate, "no-such-tag");
    let platform = &checkmate.platform;
    let waiting = |object: &Value| {
        let pods = object["items"].as_array();
        let reasons: Vec<&str> = pods
            .into_iter()
            .flatten()
            .filter_map(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str())
            .map(|reason| if reason == "ErrImagePull" { "ImagePullBackOff" } else { reason })
            .collect();
        reasons.join(" ")
    };
    platform.wait_for(READY, &["pods", "--namespace=gateway"], waiting, "ImagePullBackOff");
    let (status, body) = platform.http("GET", "api.checkmate", "/", "").expect("the gateway answers");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"version\":\"8\""), "{body}");
    set_tag(checkmate, "8");
    platform.wait_for(READY, &["application", "--namespace=argocd", "gateway"], state, "Synced, Healthy");
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
