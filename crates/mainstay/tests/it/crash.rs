use std::time::Duration;

use serde_json::Value;
use test_kit::eventually;

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(60);
const KILLS: u64 = 50;
/// A start takes about a second, so that kills fall into every part of it and into what comes after.
const LONGEST: u64 = 1_500;

#[test]
fn fifty_kills_at_any_moment_lose_nothing() {
    let mut platform = Platform::up(&[]);
    eventually("a record is kept", SOON, || {
        match platform.http("POST", "demo.localhost", "/users", "alice") {
            Ok((201, _)) => Ok(()),
            other => Err(other),
        }
    });
    stands(&platform);
    let pods = pods(&platform);
    for kill in 0..KILLS {
        platform.crash();
        platform.spawn_again();
        // Spread over the span by a step that is prime to it, so that a failure can be repeated.
        let moment = Duration::from_millis(kill * 613 % LONGEST);
        #[expect(clippy::disallowed_methods, reason = "the moment of the kill is what is tested")]
        std::thread::sleep(moment);
    }
    platform.crash();
    platform.start();
    stands(&platform);
    assert_eq!(self::pods(&platform), pods, "the same Pods, none restarted");
    let (status, body) = platform.http("GET", "demo.localhost", "/users", "").expect("the gateway answers");
    assert_eq!(status, 200, "{body}");
    assert_eq!(body.matches("alice").count(), 1, "{body}");
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
