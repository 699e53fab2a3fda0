//! Starting, ending, deleting.

use std::time::{Duration, Instant};

use containers::{ContainerError, Containers, Event, Exit, StartError, Status};

use crate::fixture::{DEADLINE, Fixture, config};

#[tokio::test]
async fn runs_a_program_to_its_end() {
    let f = Fixture::new().await;
    let (exit, lines) = f.run(f.shell("a", "echo hello; echo oops >&2; exit 3")).await;
    assert_eq!(lines, ["hello"]);
    assert_eq!(f.lines("a", "stderr"), ["oops"]);
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.lost), (3, None, false, false));
    assert!(exit.started_at.unwrap() <= exit.finished_at);
    assert_eq!(f.containers.list(), [("a".to_owned(), Status::Exited(exit))]);
    f.containers.delete("a").await.unwrap();
    f.containers.delete("a").await.unwrap();
    assert_eq!(f.containers.list(), []);
    assert!(matches!(f.containers.status("a"), Err(ContainerError::NotFound(_))));
    f.destroy().await;
}

#[tokio::test]
async fn tells_what_happens() {
    let f = Fixture::new().await;
    let mut events = f.containers.events();
    f.run(f.shell("a", "exit 0")).await;
    f.containers.delete("a").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap());
    }
    assert!(matches!(&seen[0], Event::Changed { id, status: Status::Running(_) } if id == "a"), "{seen:?}");
    assert!(
        matches!(&seen[1], Event::Changed { status: Status::Exited(Exit { code: 0, .. }), .. }),
        "{seen:?}"
    );
    assert_eq!(seen[2], Event::Deleted { id: "a".to_owned() });
    f.destroy().await;
}

#[tokio::test]
async fn a_program_that_obeys_is_given_its_time() {
    let f = Fixture::new().await;
    let script = "trap 'echo stopping; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    f.containers.start(f.shell("a", script)).await.unwrap();
    f.line("a", "ready").await;
    let exit = f.containers.stop("a", 15, DEADLINE).await.unwrap();
    assert_eq!(exit.code, 7);
    assert_eq!(f.lines("a", "stdout"), ["ready", "stopping"]);
    assert!(matches!(f.containers.signal("a", 15).await, Err(ContainerError::NotRunning(_))));
    assert_eq!(f.containers.stop("a", 15, DEADLINE).await.unwrap().code, 7, "stopping twice is the same");
    f.destroy().await;
}

#[tokio::test]
async fn a_program_that_does_not_is_killed() {
    let f = Fixture::new().await;
    f.containers
        .start(f.shell("a", "trap '' TERM; echo ready; sleep 1000 & wait; sleep 1000"))
        .await
        .unwrap();
    f.line("a", "ready").await;
    let exit = f.containers.stop("a", 15, Duration::from_millis(50)).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    f.destroy().await;
}

#[tokio::test]
async fn deleting_ends_what_runs() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    assert!(f.containers.status("a").unwrap().is_running());
    assert!(matches!(f.containers.start(f.shell("a", "true")).await, Err(StartError::Exists(_))));
    f.containers.delete("a").await.unwrap();
    f.containers.start(f.shell("a", "true")).await.unwrap();
    f.wait("a").await;
    f.destroy().await;
}

#[track_caller]
fn process_error(result: Result<(), StartError>) -> String {
    match result {
        Err(StartError::Process(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn says_why_a_program_cannot_run() {
    let f = Fixture::new().await;
    let start = async |args: &[&str]| process_error(f.containers.start(f.spec("a", args)).await);
    assert_eq!(start(&["foo"]).await, "exec: \"foo\": executable file not found in $PATH");
    assert_eq!(start(&["/foo"]).await, "exec: \"/foo\": stat /foo: no such file or directory");
    assert_eq!(start(&["/etc/passwd"]).await, "exec: \"/etc/passwd\": permission denied");
    assert_eq!(start(&["/usr"]).await, "exec: \"/usr\": is a directory");
    // The host's own program is not for a container to run.
    assert_eq!(start(&["/proc/self/exe"]).await, "exec: \"/proc/self/exe\": permission denied");

    let mut spec = f.shell("a", "true");
    spec.user.name = "nobody-here".to_owned();
    let reason = process_error(f.containers.start(spec).await);
    assert_eq!(reason, "unable to find user nobody-here: no matching entries in passwd file");
    assert_eq!(f.containers.list(), []);
    assert_eq!(
        std::fs::read_dir(f.dir.path().join("containers")).unwrap().count(),
        1,
        "only the lock is left"
    );
    f.destroy().await;
}

#[tokio::test]
async fn says_what_is_wrong_with_a_specification() {
    let f = Fixture::new().await;
    let mut spec = f.shell("../x", "true");
    let invalid = async |spec| match f.containers.start(spec).await {
        Err(StartError::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(invalid(spec.clone()).await, "id");
    spec.id = "a".to_owned();
    spec.mounts[0].target = "usr/../..".into();
    assert_eq!(invalid(spec.clone()).await, "mounts.target");
    spec = f.shell("a", "true");
    spec.mounts[0].propagation = containers::Propagation::Bidirectional;
    assert_eq!(invalid(spec).await, "mounts.propagation");
    let mut spec = f.shell("a", "true");
    spec.layers = vec!["/nonexistent".into()];
    let error = f.containers.start(spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create container: open /nonexistent: No such file or directory (os error 2)"
    );
    f.destroy().await;
}

#[test]
fn this_machine_can_run_containers() {
    crate::fixture::need_root();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(containers::preflight(&dir.path().join("not/yet/there")), []);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let problems = containers::preflight(std::path::Path::new("/proc"));
    assert!(problems[0].what.contains("overlay"), "{problems:?}");
}

#[tokio::test]
async fn a_root_has_one_owner() {
    let f = Fixture::new().await;
    let second = Containers::open(config(f.dir.path(), &f.cgroup_parent)).await;
    assert!(second.is_err_and(|error| error.to_string().contains("already looked after")));
    f.destroy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_a_time() {
    let f = Fixture::new().await;
    let begin = Instant::now();
    let starts = (0..50).map(|n| {
        let (containers, spec) =
            (f.containers.clone(), f.shell(&format!("c{n}"), &format!("echo {n}; sleep 1000")));
        tokio::spawn(async move { containers.start(spec).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    eprintln!("50 containers started in {:?}", begin.elapsed());
    for n in 0..50 {
        f.line(&format!("c{n}"), &n.to_string()).await;
    }
    assert_eq!(f.containers.list().iter().filter(|(_, status)| status.is_running()).count(), 50);
    f.destroy().await;
}
