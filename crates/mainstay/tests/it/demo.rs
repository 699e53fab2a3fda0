use std::time::Duration;

use test_kit::eventually;

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(60);

fn answers(platform: &Platform) {
    eventually("the gateway answers", SOON, || match platform.http("GET", "demo.localhost", "/", "") {
        Ok((200, body)) if body.contains("\"service\":\"gateway\"") => Ok(()),
        other => Err(other),
    });
}

#[test]
fn the_demo_serves_keeps_its_data_over_a_crash_and_leaves_nothing() {
    // Without arguments it is the demo of the checkout that is brought up.
    let mut platform = Platform::up(&[]);
    answers(&platform);
    eventually("a record is kept", SOON, || {
        match platform.http("POST", "demo.localhost", "/users", "alice") {
            Ok((201, _)) => Ok(()),
            other => Err(other),
        }
    });
    for application in ["demo", "gateway", "user"] {
        platform.wait_for(
            SOON,
            &["application", "--namespace=argocd", application],
            |object| {
                format!(
                    "{}, {}",
                    object["status"]["sync"]["status"].as_str().unwrap_or_default(),
                    object["status"]["health"]["status"].as_str().unwrap_or_default()
                )
            },
            "Synced, Healthy",
        );
    }
    let pods = platform.kubectl(&["get", "pods", "--all-namespaces", "--output=name"]);

    platform.crash();
    platform.start();
    answers(&platform);
    let (status, body) = platform.http("GET", "demo.localhost", "/users", "").unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("alice"), "the pod that held the record in memory was not adopted: {body}");
    assert_eq!(platform.kubectl(&["get", "pods", "--all-namespaces", "--output=name"]), pods);

    platform.interrupt();
    platform.down();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let left: Vec<&str> =
        mounts.lines().filter(|line| line.contains(platform.data_dir().to_str().unwrap())).collect();
    assert_eq!(left, [""; 0]);
}
