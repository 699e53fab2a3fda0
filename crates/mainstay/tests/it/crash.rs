//! What `kill -9` does to a platform: nothing that anybody notices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use test_kit::eventually;

use crate::platform::{Platform, kubectl};

const SOON: Duration = Duration::from_secs(60);

/// How often it is killed where nothing else is asked for; `cargo xtask soak kills` asks for thousands.
const KILLS: u64 = 50;

/// A start takes about a second, so that kills fall into every part of it and into what comes after.
const LONGEST: u64 = 2_000;

#[test]
fn kills_at_any_moment_lose_nothing() {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask soak kills` asks for more")]
    let kills = std::env::var("MAINSTAY_SOAK_KILLS")
        .map_or(KILLS, |number| number.parse().expect("MAINSTAY_SOAK_KILLS is a number"));
    let mut platform = Platform::up(&[]);
    eventually("a record is kept", SOON, || {
        match platform.http("POST", "demo.localhost", "/users", "alice") {
            Ok((201, _)) => Ok(()),
            other => Err(other),
        }
    });
    stands(&platform);
    let pods = pods(&platform);
    let mut kept = BTreeSet::new();
    for kill in 0..kills {
        platform.crash();
        platform.spawn_again();
        // Spread over the span by a step that is prime to it, so that a failure can be repeated.
        let writes = write_until_killed(&mut platform, kill, Duration::from_millis(kill * 613 % LONGEST));
        platform.start();
        stands(&platform);
        assert_eq!(self::pods(&platform), pods, "after kill {kill}: the same Pods, none restarted");
        kept.extend(writes.acknowledged);
        let found = config_maps(&platform);
        let lost: Vec<_> = kept.difference(&found).collect();
        assert!(lost.is_empty(), "after kill {kill}: {lost:?} were acknowledged");
        // A write whose answer was lost with the process may be there or not.
        kept.extend(writes.doubtful);
        let invented: Vec<_> = found.difference(&kept).collect();
        assert!(invented.is_empty(), "after kill {kill}: nobody wrote {invented:?}");
        kept = found;
        let (status, body) =
            platform.http("GET", "demo.localhost", "/users", "").expect("the gateway answers");
        assert_eq!((status, body.matches("alice").count()), (200, 1), "after kill {kill}: {body}");
    }
    assert!(kept.len() as u64 >= kills, "{} writes were acknowledged over {kills} kills", kept.len());
}

#[derive(Default)]
struct Writes {
    acknowledged: BTreeSet<String>,
    doubtful: BTreeSet<String>,
}

/// Kills the process after `moment`, while a client writes as fast as it can.
fn write_until_killed(platform: &mut Platform, kill: u64, moment: Duration) -> Writes {
    let (killed, kubeconfig) = (AtomicBool::new(false), platform.kubeconfig());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut writes = Writes::default();
            for number in 0.. {
                if killed.load(Ordering::Acquire) {
                    break;
                }
                let name = format!("kept-{kill}-{number}");
                let create = ["create", "configmap", &name, "--request-timeout=5s"];
                let acknowledged = kubectl(&kubeconfig, &create).is_ok();
                if acknowledged { &mut writes.acknowledged } else { &mut writes.doubtful }.insert(name);
            }
            writes
        });
        #[expect(clippy::disallowed_methods, reason = "the moment of the kill is what is tested")]
        std::thread::sleep(moment);
        platform.crash();
        killed.store(true, Ordering::Release);
        writer.join().expect("the writer does not panic")
    })
}

fn stands(platform: &Platform) {
    for application in ["demo", "gateway", "user"] {
        platform.wait_for(
            SOON,
            &["application", "--namespace=argocd", application],
            |object| {
                let status =
                    |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
                format!("{}, {}", status("/status/sync/status"), status("/status/health/status"))
            },
            "Synced, Healthy",
        );
    }
    eventually("the gateway answers", SOON, || match platform.http("GET", "demo.localhost", "/", "") {
        Ok((200, _)) => Ok(()),
        other => Err(other),
    });
}

/// Names and restarts of all Pods.
fn pods(platform: &Platform) -> Vec<String> {
    let pods = platform.get(&["pods", "--all-namespaces"]).expect("the Pods");
    pods["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pod| {
            format!("{} {}", pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"])
        })
        .collect()
}

/// Those that were written here.
fn config_maps(platform: &Platform) -> BTreeSet<String> {
    let names = ["get", "configmaps", "--namespace=default", "--output=name"];
    platform
        .kubectl(&names)
        .lines()
        .filter_map(|name| name.strip_prefix("configmap/kept"))
        .map(|rest| format!("kept{rest}"))
        .collect()
}
