//! How `up` ends, what stays, and that instances do not meet.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use test_kit::eventually;

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(60);

fn serves(platform: &Platform) {
    eventually("the gateway reaches the user service", SOON, || {
        match platform.http("GET", "demo.localhost", "/users", "") {
            Ok((200, _)) => Ok(()),
            other => Err(other),
        }
    });
}

/// The processes of this instance's containers, by their control group.
fn containers(platform: &Platform) -> BTreeMap<u32, String> {
    let group = format!("/mainstay-{}/", platform.id());
    let processes = fs::read_dir("/proc").expect("the processes").flatten();
    processes
        .filter_map(|entry| {
            let groups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read_to_string(entry.path().join("comm")).ok()?;
            groups.contains(&group).then_some((id, line.trim().to_owned()))
        })
        .collect()
}

#[test]
fn sigterm_leaves_containers_and_sigint_stops_them() {
    let mut platform = Platform::up(&[]);
    serves(&platform);
    let before = containers(&platform);
    assert!(before.len() >= 2, "{before:?}");
    platform.terminate();
    assert_eq!(containers(&platform), before, "an upgrade leaves containers running");
    platform.start();
    serves(&platform);
    assert_eq!(containers(&platform), before, "and the next start adopts them");
    platform.interrupt();
    assert_eq!(containers(&platform), BTreeMap::new(), "Ctrl-c stops them");
    platform.start();
    serves(&platform);
}

#[test]
fn two_instances_do_not_meet() {
    let mut first = Platform::up(&[]);
    let second = Platform::up(&[]);
    for platform in [&first, &second] {
        serves(platform);
    }
    let kept = containers(&second);
    eventually("the first keeps a record", SOON, || {
        match first.http("POST", "demo.localhost", "/users", "alice") {
            Ok((201, _)) => Ok(()),
            other => Err(other),
        }
    });
    let (_, others) = second.http("GET", "demo.localhost", "/users", "").expect("the second answers");
    assert!(!others.contains("alice"), "{others}");
    // A third on the directory of one that runs is refused, and disturbs nobody.
    let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["up", "--bare", "--data-dir"])
        .arg(first.data_dir())
        .output()
        .expect("start mainstay");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is in use by process"), "{said}");

    first.interrupt();
    first.down();
    serves(&second);
    assert_eq!(containers(&second), kept);
    second.down();
    for platform in [&first, &second] {
        assert_eq!(containers(platform), BTreeMap::new());
        nothing_is_left(platform);
    }
}

/// No mount, network interface or control group of the instance.
fn nothing_is_left(platform: &Platform) {
    let data = platform.data_dir();
    let path = data.to_str().expect("a path in UTF-8");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    assert_eq!(mounts.lines().filter(|line| line.contains(path)).count(), 0, "{mounts}");
    let id = platform.id();
    let interfaces: Vec<String> = fs::read_dir("/sys/class/net")
        .expect("the network interfaces")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.contains(&id))
        .collect();
    assert_eq!(interfaces, [""; 0]);
    let groups = walk(Path::new("/sys/fs/cgroup"), 3);
    let left: Vec<_> = groups.iter().filter(|path| path.ends_with(format!("mainstay-{id}"))).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn walk(directory: &Path, depth: usize) -> Vec<std::path::PathBuf> {
    if depth == 0 {
        return Vec::new();
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|entry| [vec![entry.path()], walk(&entry.path(), depth - 1)].concat())
        .collect()
}

/// Two Jobs that end once `go` is there, and would rather end well than be killed.
const JOBS: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: never, namespace: default}
spec:
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 10
      volumes: [{name: sign, configMap: {name: go, optional: true}}]
      containers:
      - name: work
        image: localhost/tools:1
        command: [/bin/sh, -c, 'trap "exit 0" TERM; until [ -e /sign/now ]; do sleep 0.1; done']
        volumeMounts: [{name: sign, mountPath: /sign}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: again, namespace: default}
spec:
  template:
    spec:
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 10
      volumes: [{name: sign, configMap: {name: go, optional: true}}]
      containers:
      - name: work
        image: localhost/tools:1
        command: [/bin/sh, -c, 'trap "exit 0" TERM; until [ -e /sign/now ]; do sleep 0.1; done']
        volumeMounts: [{name: sign, mountPath: /sign}]
"#;

#[test]
fn jobs_that_a_stop_cut_short_finish() {
    let mut platform = Platform::up(&["--bare"]);
    platform.pack_tools();
    platform.kubectl_with_input(&["apply", "-f", "-"], JOBS).expect("apply the Jobs");
    let ready = |platform: &Platform| {
        for job in ["never", "again"] {
            let shown = |object: &serde_json::Value| object["status"]["ready"].to_string();
            platform.wait_for(SOON, &["job", "--namespace=default", job], shown, "1");
        }
    };
    ready(&platform);
    platform.interrupt();
    platform.start();
    ready(&platform);
    platform.kubectl(&["create", "configmap", "go", "--from-literal=now=yes"]);
    platform.kubectl(&["wait", "--for=condition=Complete", "job/never", "job/again", "--timeout=60s"]);
    let pods = |job: &str| {
        let selector = format!("--selector=job-name={job}");
        let pods = platform.get(&["pods", "--namespace=default", &selector]).expect("the Pods");
        let mut shown: Vec<String> = pods["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|pod| {
                let (status, main) = (&pod["status"], &pod["status"]["containerStatuses"][0]);
                format!("{} {} {}", status["phase"], status["reason"], main["restartCount"])
            })
            .collect();
        shown.sort();
        shown
    };
    // Nothing of a Pod that says Never runs twice, however well it took the signal; its Job makes another.
    assert_eq!(pods("never"), [r#""Failed" "Terminated" 0"#, r#""Succeeded" null 0"#]);
    assert_eq!(pods("again"), [r#""Succeeded" null 1"#]);
    let said = platform.said();
    assert!(!said.contains("the API refuses") && !said.contains("is invalid"), "{said}");
}
