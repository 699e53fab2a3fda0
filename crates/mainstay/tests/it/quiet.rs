//! A platform where nothing changes writes nothing: no self-heal that repeats itself, no status that says the same anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
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

fn settled(platform: &Platform) -> String {
    let mut last = (String::new(), Instant::now());
    eventually("nothing moves any more", SOON, || {
        let now = revision(platform)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > SETTLED { Ok(()) } else { Err(last.0.clone()) }
    });
    last.0
}

/// Brings a repository up without a node, and watches it once it has settled.
fn watched(repository: &str, path: &str, root: &str) {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask soak quiet` asks for more")]
    let seconds = std::env::var("MAINSTAY_SOAK_QUIET_SECONDS")
        .map_or(WATCHED, |number| number.parse().expect("MAINSTAY_SOAK_QUIET_SECONDS is a number"));
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
    let before = settled(&platform);
    let (states, begun) = (applications(&platform), Instant::now());
    let limit = Duration::from_secs(seconds);
    eventually("the watch is over", limit + SOON, || {
        let now = revision(&platform)?;
        assert_eq!(
            now,
            before,
            "{repository}: written after {:?} though nothing changed: {:?}",
            begun.elapsed(),
            applications(&platform)
                .iter()
                .filter(|(name, version)| states.get(*name) != Some(version))
                .collect::<Vec<_>>()
        );
        if begun.elapsed() > limit { Ok(()) } else { Err("nothing was written".to_owned()) }
    });
}

#[test]
fn waffle_world_rests() {
    watched("repos/waffle-world", "apps", "autodeploy-app");
}

#[test]
fn checkmate_rests() {
    watched("repos/checkmate-kubernetes", "applications/dev", "checkmate-dev");
}
