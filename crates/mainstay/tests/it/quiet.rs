//! A platform where nothing changes writes nothing: no self-heal that repeats itself, no status that says the same anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_kit::codedang::{self, Codedang};
use test_kit::{Repository, eventually, shared};

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(180);

/// How long nothing may have moved before the watch begins.
const SETTLED: Duration = Duration::from_secs(5);

/// How long it is watched where nothing else is asked for; `cargo xtask soak quiet` asks for twenty minutes.
const WATCHED: u64 = 10;

/// The store's revision: every write of any object moves it.
fn revision(platform: &Platform) -> Result<String, String> {
    let list = platform.try_kubectl(&["get", "--raw", "/api/v1/namespaces?limit=1"])?;
    let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
    list["metadata"]["resourceVersion"].as_str().map(str::to_owned).ok_or("a list has a revision".to_owned())
}

/// Versions of all Applications, to name those that moved.
fn applications(platform: &Platform) -> BTreeMap<String, String> {
    let path = r#"jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}"#;
    let list = platform.kubectl(&["get", "applications", "--all-namespaces", "--output", path]);
    let pairs = list.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

fn settled(platform: &Platform) {
    let mut last = (String::new(), Instant::now());
    eventually("nothing moves any more", SOON, || {
        let now = revision(platform)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > SETTLED { no_operation_runs(platform) } else { Err(last.0.clone()) }
    });
}

/// Brings a repository up without a node, and watches it once it has settled.
fn watched(repository: &str, path: &str, root: &str) {
    let copy = Repository::of(&shared(repository));
    let place = copy.path().to_string_lossy().into_owned();
    let platform = Platform::up(&[&place, "--path", path, "--no-node"]);
    let reconciled = |object: &Value| object["status"]["reconciledAt"].is_string().to_string();
    platform.wait_for(SOON, &["application", "--namespace=argocd", root], reconciled, "true");
    // Its namespaces are made by hand; whatever waits for one goes on.
    let missing = platform.kubectl(&[
        "get",
        "applications",
        "--namespace=argocd",
        "--output",
        r#"jsonpath={range .items[*]}{.spec.destination.namespace}{"\n"}{end}"#,
    ]);
    for namespace in missing.lines().filter(|name| !name.is_empty()) {
        // It may be there already.
        let _ = platform.try_kubectl(&["create", "namespace", namespace]);
    }
    settled(&platform);
    rests(repository, &[&platform]);
}

/// One object may move this often while it is watched: a Deployment without a node is given up after ten minutes, and
/// its Application says so, of up to six of them one after another. A loop moves it more often.
const MOVES: usize = 6;

/// Every object by kind, namespace and name, as it is without what every write changes: of an Application the generation
/// and the time too.
fn objects(platform: &Platform) -> Result<BTreeMap<String, (String, Value)>, String> {
    let kinds = platform.try_kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.ends_with("metrics.k8s.io")).collect();
    let list = platform.get(&[&kinds.join(","), "--all-namespaces"])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let all = items.into_iter().map(|mut object| {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, group) = (text("/kind"), text("/apiVersion"));
        let key = format!("{group} {kind} {}/{}", text("/metadata/namespace"), text("/metadata/name"));
        let version = text("/metadata/resourceVersion");
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        if kind == "Application" {
            for (part, field) in [("metadata", "generation"), ("status", "reconciledAt")] {
                object[part].as_object_mut().and_then(|part| part.remove(field));
            }
        }
        (key, (version, object))
    });
    Ok(all.collect())
}

/// Nothing is written on any of these that changes nothing, and nothing goes round in a circle.
fn rests(what: &str, platforms: &[&Platform]) {
    let begun = Instant::now();
    let limit = Duration::from_secs(seconds());
    let mut known: Vec<_> = platforms
        .iter()
        .map(|platform| {
            (revision(platform).expect("the API answers"), objects(platform).expect("all objects"))
        })
        .collect();
    let mut moves: BTreeMap<String, usize> = BTreeMap::new();
    eventually("the watch is over", limit + SOON, || {
        for (platform, (version, before)) in platforms.iter().zip(&mut known) {
            let now = revision(platform)?;
            if now == *version {
                continue;
            }
            let all = objects(platform)?;
            for (key, (written, object)) in &all {
                let Some((seen, was)) = before.get(key) else { continue };
                if seen == written {
                    continue;
                }
                assert_ne!(
                    object,
                    was,
                    "{what}: {key} was written after {:?} and is the same",
                    begun.elapsed()
                );
                let times = moves.entry(key.clone()).or_default();
                *times += 1;
                // The scheduler tells again and again of a Pod that fits nowhere.
                let goes_round = *times > MOVES && !key.contains(" Event ");
                assert!(
                    !goes_round,
                    "{what}: {key} moved {times} times in {:?}: {was} {object}",
                    begun.elapsed()
                );
            }
            (*version, *before) = (now, all);
        }
        if begun.elapsed() > limit { Ok(()) } else { Err("nothing is wrong".to_owned()) }
    });
    eprintln!("{what}: {:?} moved in {:?}", moves, begun.elapsed());
}

/// Whether no operation runs, or waits to be tried again.
fn no_operation_runs(platform: &Platform) -> Result<(), String> {
    let path = r#"jsonpath={range .items[*]}{.metadata.name} {.status.operationState.phase}{"\n"}{end}"#;
    let list = platform.try_kubectl(&["get", "applications", "--all-namespaces", "--output", path])?;
    let running: Vec<&str> = list.lines().filter(|line| line.ends_with(" Running")).collect();
    if running.is_empty() { Ok(()) } else { Err(running.join(", ")) }
}

/// Ends the Pods of Jobs, as a node would, so that hooks end.
fn end_jobs(platform: &Platform) {
    let pods = platform.get(&["pods", "--all-namespaces"]).unwrap_or_default();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let of_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
        if of_job && pod["status"]["phase"] != "Succeeded" {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
            let (name, namespace) = (text("name"), format!("--namespace={}", text("namespace")));
            let done = r#"{"status": {"phase": "Succeeded"}}"#;
            let patch =
                ["patch", "pod", &name, &namespace, "--subresource=status", "--type=merge", "--patch", done];
            // Its Job may be gone by now.
            let _ = platform.try_kubectl(&patch);
        }
    }
}

/// What registers a cluster; without a platform, the one that the Application is on.
fn registered(name: &str, platform: Option<&Platform>) -> Value {
    let (mut server, mut config) = ("https://kubernetes.default.svc".to_owned(), json!({}));
    if let Some(platform) = platform {
        let kubeconfig = platform.kubectl(&["config", "view", "--raw", "--output=json"]);
        let kubeconfig: Value = serde_json::from_str(&kubeconfig).expect("a kubeconfig");
        let (cluster, user) = (&kubeconfig["clusters"][0]["cluster"], &kubeconfig["users"][0]["user"]);
        cluster["server"].as_str().expect("its server").clone_into(&mut server);
        config = json!({"tlsClientConfig": {
            "caData": cluster["certificate-authority-data"],
            "certData": user["client-certificate-data"],
            "keyData": user["client-key-data"],
        }});
    }
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("cluster-{name}"), "namespace": "argocd",
            "labels": {"argocd.argoproj.io/secret-type": "cluster", "env": name}},
        "stringData": {"name": name, "server": server, "config": config.to_string()},
    })
}

/// Codedang as its team runs it: the Applications on one cluster, and what they deploy on that and on another one.
#[test]
fn codedang_rests_on_its_two_clusters() {
    let codedang = Codedang::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = shared("repos/codedang/infra/k8s/argocd/applications/argocd.yaml");
    std::fs::copy(root, directory.path().join("argocd.yaml")).expect("copy the root");
    let place = directory.path().display().to_string();
    let source = format!("{}={}", codedang::URL, codedang.repository.path().display());
    let mirrors = codedang::HOSTS.map(|host| format!("{host}={}", codedang.charts.url()));
    let stage = Platform::up(&["--bare", "--no-node"]);
    let production = Platform::up(&[
        &place,
        "--path",
        ".",
        "--no-node",
        "--source",
        &source,
        "--mirror",
        &mirrors[0],
        "--mirror",
        &mirrors[1],
    ]);
    for secret in [registered("production", None), registered("stage", Some(&stage))] {
        let made = production.kubectl_with_input(&["apply", "--filename", "-"], &secret.to_string());
        made.expect("the cluster is registered");
    }
    let mut last = (Vec::new(), Instant::now());
    eventually("61 Applications, and nothing moves any more", 3 * SOON, || {
        end_jobs(&production);
        end_jobs(&stage);
        let now = vec![revision(&production)?, revision(&stage)?];
        if now != last.0 {
            last = (now, Instant::now());
        }
        let count = applications(&production).len();
        // And the one that the directory of the root became.
        if count == 8 + 52 + 1 && last.1.elapsed() > SETTLED {
            no_operation_runs(&production)
        } else {
            Err(format!("{count}: {last:?}"))
        }
    });
    rests("codedang", &[&production, &stage]);
}

/// How long it is watched.
fn seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask soak quiet` asks for more")]
    let asked = std::env::var("MAINSTAY_SOAK_QUIET_SECONDS");
    asked.map_or(WATCHED, |number| number.parse().expect("MAINSTAY_SOAK_QUIET_SECONDS is a number"))
}

#[test]
fn waffle_world_rests() {
    watched("repos/waffle-world", "apps", "autodeploy-app");
}

#[test]
fn checkmate_rests() {
    watched("repos/checkmate-kubernetes", "applications/dev", "checkmate-dev");
}
