//! Talking with a container's own standard descriptors.

use containers::{AttachedOutput, ContainerError, Containers, ContainersConfig, Piece, StandardInput};

use crate::fixture::{DEADLINE, Fixture, config};

/// Reads until the wanted text has come on the standard output.
async fn until(output: &mut AttachedOutput, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            match output.next().await.unwrap() {
                Some(Piece::Stdout(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Some(Piece::Stderr(_)) => {}
                None => panic!("the output ended with {text:?}, not {wanted:?}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the output comes");
    text
}

async fn ended(output: &mut AttachedOutput) -> i32 {
    tokio::time::timeout(DEADLINE, output.ended()).await.expect("the container ends").unwrap().code
}

#[tokio::test]
async fn input_that_is_open_once_ends_with_its_first_client() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "cat; echo over >&2; exit 7");
    spec.input = StandardInput::Once;
    f.containers.start(spec).await.unwrap();
    let mut attached = f.containers.attach("a").await.unwrap();
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    // More than any buffer holds: reading and writing go on at the same time.
    let (_, text) = tokio::join!(
        async { attached.input.write_all(lines.as_bytes()).await.unwrap() },
        until(&mut attached.output, "line 19999\n"),
    );
    assert_eq!(text, lines);
    attached.input.finish().await.unwrap();
    assert_eq!(ended(&mut attached.output).await, 7);
    assert_eq!(f.lines("a", "stdout").len(), 20_000);
    assert_eq!(f.lines("a", "stderr"), ["over"]);
    assert!(matches!(f.containers.attach("a").await, Err(ContainerError::NotRunning(_))));
}

#[tokio::test]
async fn input_that_stays_open_is_for_whoever_comes_next_even_after_a_restart() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "while read line; do echo \"got $line\"; done");
    spec.input = StandardInput::Open;
    f.containers.start(spec).await.unwrap();
    let mut first = f.containers.attach("a").await.unwrap();
    let mut watching = f.containers.attach("a").await.unwrap();
    first.input.write_all(b"one\n").await.unwrap();
    until(&mut first.output, "got one\n").await;
    until(&mut watching.output, "got one\n").await;
    first.input.finish().await.unwrap();
    drop((first, watching));
    let Fixture { dir, containers, cgroup_parent, sweep } = f;
    drop(containers);
    let config: ContainersConfig = config(dir.path(), &cgroup_parent);
    let containers = Containers::open(config).await.unwrap();
    let mut second = containers.attach("a").await.unwrap();
    second.input.write_all(b"two\n").await.unwrap();
    until(&mut second.output, "got two\n").await;
    containers.delete("a").await.unwrap();
    drop(sweep);
}

#[tokio::test]
async fn a_terminal_has_a_size_and_controls_its_processes() {
    let f = Fixture::new().await;
    // A shell's `read` fails when a signal comes in between, so that the trap is gone before anything is read.
    let script = "read go; sized=; trap 'sized=1' WINCH; echo \"ready $TERM\"; until [ $sized ]; do sleep 0.02; done; \
                  trap - WINCH; stty size; while read line; do echo \"got $line\"; done; exit 3";
    let mut spec = f.shell("a", script);
    (spec.input, spec.terminal) = (StandardInput::Open, true);
    f.containers.start(spec).await.unwrap();
    let mut attached = f.containers.attach("a").await.unwrap();
    attached.input.write_all(b"go\n").await.unwrap();
    let text = until(&mut attached.output, "ready xterm\r\n").await;
    assert!(text.contains("go\r\n"), "a terminal echoes: {text:?}");
    attached.input.resize(100, 40).await.unwrap();
    until(&mut attached.output, "40 100\r\n").await;
    attached.input.write_all(b"x\n").await.unwrap();
    until(&mut attached.output, "got x\r\n").await;
    let size = f.exec("a", "stty size < /proc/1/fd/0").await;
    assert_eq!(String::from_utf8_lossy(&size.stdout), "40 100\n", "{size:?}");
    // What control-d types; the shell reads the end of the file.
    attached.input.finish().await.unwrap();
    assert_eq!(ended(&mut attached.output).await, 3);
    assert!(f.lines("a", "stdout").iter().any(|line| line.trim_end() == "ready xterm"));
}

#[tokio::test]
async fn who_does_not_read_holds_nobody_up() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "read go; i=0; while [ $i -lt 60000 ]; do echo \"a line of some length, number $i\"; i=$((i+1)); done");
    spec.input = StandardInput::Open;
    f.containers.start(spec).await.unwrap();
    let _silent = f.containers.attach("a").await.unwrap();
    let mut attached = f.containers.attach("a").await.unwrap();
    attached.input.write_all(b"go\n").await.unwrap();
    assert_eq!(f.wait("a").await.code, 0);
    assert_eq!(
        f.lines("a", "stdout").last().map(String::as_str),
        Some("a line of some length, number 59999")
    );
}

#[tokio::test]
async fn nobody_attaches_to_a_container_without_input() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    assert!(matches!(f.containers.attach("a").await, Err(ContainerError::Io { .. })));
}
