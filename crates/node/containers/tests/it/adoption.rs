//! Taking over after the process that started the containers has died.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use containers::{Containers, Status};

use crate::fixture::{
    DEADLINE, Fixture, config, make_layer, need_root, processes_holding, spec, unique_parent,
};

/// Set when this test program is to be the one that dies; its value is `<directory> <cgroup parent>`.
const VICTIM: &str = "CONTAINERS_TEST_VICTIM";

/// Not a test of its own: what `survives_the_death_of_its_starter` runs as a second process.
#[tokio::test]
async fn victim() {
    #[expect(clippy::disallowed_methods, reason = "how a test hands its arguments to its own program")]
    let Ok(arguments) = std::env::var(VICTIM) else { return };
    let (dir, parent) = arguments.split_once(' ').unwrap();
    let containers = Containers::open(config(Path::new(dir), parent)).await.unwrap();
    for (id, script) in [
        ("long", "echo one; while [ ! -e /shared/go ]; do sleep 0.02; done; echo two; exit 5"),
        ("short", "while [ ! -e /shared/end ]; do sleep 0.02; done; exit 6"),
        ("doomed", "sleep 1000"),
    ] {
        let mut spec = spec(Path::new(dir), id, &["/bin/sh", "-c", script]);
        spec.mounts.push(containers::Mount {
            target: "/shared".into(),
            source: containers::MountSource::Bind { path: Path::new(dir).join("shared"), sub_path: None },
            read_only: false,
            propagation: containers::Propagation::Private,
        });
        containers.start(spec).await.unwrap();
    }
    std::fs::write(Path::new(dir).join("ready"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn survives_the_death_of_its_starter() {
    need_root();
    let dir = tempfile::tempdir().unwrap();
    make_layer(dir.path());
    std::fs::create_dir(dir.path().join("shared")).unwrap();
    let parent = unique_parent();
    let _sweep = crate::fixture::Sweep(parent.clone());
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adoption::victim"])
        .env(VICTIM, format!("{} {parent}", dir.path().display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    test_kit::eventually_async("the victim has started its containers", DEADLINE, || async {
        std::fs::metadata(dir.path().join("ready"))
    })
    .await;
    victim.kill().unwrap();
    victim.wait().unwrap();

    // One container ends, and one monitor dies, while nobody looks.
    std::fs::write(dir.path().join("shared/end"), "").unwrap();
    let status_of = |id: &str| {
        std::fs::read_to_string(dir.path().join("containers").join(id).join("status.json")).unwrap()
    };
    test_kit::eventually_async("the short one has ended", DEADLINE, || async {
        let status = status_of("short");
        if status.contains("exited") { Ok(()) } else { Err(status) }
    })
    .await;
    let doomed = dir.path().join("containers/doomed");
    kill_monitor(&doomed);

    let containers = Containers::open(config(dir.path(), &parent)).await.unwrap();
    let found = containers.list();
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["doomed", "long", "short"]);
    let Status::Exited(doomed) = &found[0].1 else { panic!("{found:?}") };
    assert!(doomed.lost && doomed.code == 137 && doomed.started_at.is_some());
    assert!(found[1].1.is_running());
    assert_eq!(found[2].1.exit().unwrap().code, 6);
    assert_eq!(containers.spec("long").await.unwrap().hostname, "host-long");

    let mut events = containers.events();
    std::fs::write(dir.path().join("shared/go"), "").unwrap();
    let exit = tokio::time::timeout(DEADLINE, containers.wait("long")).await.unwrap().unwrap();
    assert_eq!((exit.code, exit.lost), (5, false));
    let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
    assert_eq!(event, containers::Event::Changed { id: "long".to_owned(), status: Status::Exited(exit) });
    let log = std::fs::read_to_string(dir.path().join("long.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");

    containers.destroy().await.unwrap();
    assert_eq!(crate::fixture::cgroups(&parent), Vec::<std::path::PathBuf>::new());
    assert_eq!(processes_holding(dir.path()), Vec::<String>::new());
}

/// The process that holds the lock in a container's directory.
fn monitor_of(dir: &Path) -> rustix::process::Pid {
    use rustix::process::{Flock, FlockType, fcntl_getlk};
    let lock = std::fs::OpenOptions::new().write(true).open(dir.join("lock")).unwrap();
    fcntl_getlk(&lock, &Flock::from(FlockType::WriteLock)).unwrap().expect("a monitor").pid.unwrap()
}

/// Kills a monitor, and waits until it is gone.
fn kill_monitor(dir: &Path) {
    let pid = monitor_of(dir);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    test_kit::eventually("the monitor is gone", DEADLINE, || match rustix::process::test_kill_process(pid) {
        Err(_) => Ok(()),
        Ok(()) if is_zombie(pid.as_raw_nonzero().get()) => Ok(()),
        Ok(()) => Err("alive"),
    });
}

#[tokio::test]
async fn a_vanished_monitor_is_noticed_at_once() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000 & sleep 1000")).await.unwrap();
    let Status::Running(running) = f.containers.status("a").unwrap() else { panic!() };
    kill_monitor(&f.dir.path().join("containers/a"));
    let exit = f.wait("a").await;
    assert!(exit.lost, "{exit:?}");
    assert!(!Path::new(&format!("/proc/{}", running.pid)).exists() || is_zombie(running.pid));
    f.destroy().await;
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_start_that_was_interrupted_is_undone() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("whole", "sleep 1000")).await.unwrap();
    let half = f.dir.path().join("containers/half");
    std::fs::create_dir_all(half.join("upper")).unwrap();
    std::fs::write(half.join("request.json"), "{").unwrap();
    let Fixture { dir, containers, cgroup_parent, sweep } = f;
    drop(containers);
    let containers = test_kit::eventually_async("the root is free", DEADLINE, || async {
        Containers::open(config(dir.path(), &cgroup_parent)).await
    })
    .await;
    assert_eq!(containers.list().len(), 1);
    assert!(!half.exists());
    let f = Fixture { dir, containers, cgroup_parent, sweep };
    assert_eq!(f.exec("whole", "echo here").await.stdout, b"here\n");
    f.destroy().await;
}

/// Proportional set size of a process, KiB.
fn pss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[tokio::test]
async fn an_idle_monitor_is_small() {
    let f = Fixture::new().await;
    let mut monitors = Vec::new();
    for n in 0..10 {
        let id = format!("c{n}");
        f.containers.start(f.shell(&id, "echo ready; exec sleep 1000")).await.unwrap();
        f.line(&id, "ready").await;
        let dir = f.dir.path().join("containers").join(&id);
        monitors.push(monitor_of(&dir).as_raw_nonzero().get());
    }
    let sizes: Vec<u64> = monitors.into_iter().map(pss).collect();
    let mean = sizes.iter().sum::<u64>() / 10;
    println!("PSS of 10 idle monitors, KiB: {sizes:?}");
    assert!(mean < 1500, "{sizes:?}");
    tokio::time::timeout(Duration::from_secs(60), f.destroy()).await.unwrap();
}
