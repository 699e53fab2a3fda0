//! Commands inside a running container.

use std::time::{Duration, Instant};

use containers::{ContainerError, ExecError, ExecRequest};

use crate::fixture::{DEADLINE, Fixture};

fn request(args: &[&str], timeout: Duration) -> ExecRequest {
    ExecRequest { args: args.iter().map(|arg| (*arg).to_owned()).collect(), timeout, output_limit: 1000 }
}

#[tokio::test]
async fn sees_what_the_container_sees() {
    let f = Fixture::new().await;
    let mut spec = f.shell("a", "echo ready; sleep 1000");
    spec.user.name = "app".to_owned();
    spec.cwd = "/tmp".into();
    spec.env = vec![("A".to_owned(), "1".to_owned())];
    f.containers.start(spec).await.unwrap();
    f.line("a", "ready").await;
    let script = "hostname; id -u; id -G; pwd; echo $A $HOME; cat /proc/1/comm; grep ^Seccomp: /proc/self/status; \
        grep CapBnd /proc/self/status; ulimit -n; echo err >&2; exit 4";
    let output = f.exec("a", script).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..7], ["host-a", "1000", "1001 1002", "/tmp", "1 /home/app", "sh", "Seccomp:\t2"]);
    let status = f.exec("a", "grep CapBnd /proc/1/status; ulimit -n").await;
    assert_eq!(String::from_utf8(status.stdout).unwrap().lines().collect::<Vec<_>>(), lines[7..9]);
    assert_eq!((output.code, output.stderr), (4, b"err\n".to_vec()));
    f.destroy().await;
}

#[tokio::test]
async fn is_counted_in_the_containers_cgroup() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let cgroup = f.exec("a", "cat /proc/self/cgroup").await;
    let init = f.exec("a", "cat /proc/1/cgroup").await;
    assert_eq!(String::from_utf8(cgroup.stdout), String::from_utf8(init.stdout));
    f.destroy().await;
}

#[tokio::test]
async fn takes_no_longer_than_allowed() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let begin = Instant::now();
    let timeout = Duration::from_millis(100);
    let slow = f.containers.exec("a", request(&["/bin/sh", "-c", "sleep 777 & sleep 778"], timeout)).await;
    assert!(matches!(slow, Err(ExecError::Timeout(_))), "{slow:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    test_kit::eventually_async("its processes are gone", DEADLINE, || async {
        let ps =
            String::from_utf8(f.exec("a", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await.stdout).unwrap();
        if ps.contains("777") || ps.contains("778") { Err(ps) } else { Ok(()) }
    })
    .await;
    f.destroy().await;
}

#[tokio::test]
async fn does_not_wait_for_what_a_command_leaves_behind() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let begin = Instant::now();
    let output = f.exec("a", "echo out; sleep 1000 & exit 0").await;
    assert_eq!((output.code, output.stdout), (0, b"out\n".to_vec()));
    assert!(begin.elapsed() < Duration::from_secs(10));
    f.destroy().await;
}

#[tokio::test]
async fn keeps_only_the_beginning_of_long_output() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let long = request(&["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo end >&2"], DEADLINE);
    let output = f.containers.exec("a", long).await.unwrap();
    assert_eq!(output.stdout, b"x".repeat(1000));
    assert_eq!((output.code, output.stderr), (0, b"end\n".to_vec()));
    f.destroy().await;
}

#[tokio::test]
async fn says_why_not() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let error = f.containers.exec("a", request(&["nothing-here"], DEADLINE)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to start container process: exec: \"nothing-here\": executable file not found in $PATH"
    );
    let own = f.containers.exec("a", request(&["/proc/self/exe"], DEADLINE)).await.unwrap_err();
    assert!(own.to_string().contains("permission denied"), "{own}");
    let killed = f.containers.exec("a", request(&["/bin/sh", "-c", "kill -9 $$"], DEADLINE)).await.unwrap();
    assert_eq!(killed.code, 137);
    f.containers.kill("a").await.unwrap();
    let ended = f.containers.exec("a", request(&["true"], DEADLINE)).await;
    assert!(matches!(ended, Err(ExecError::Container(ContainerError::NotRunning(_)))), "{ended:?}");
    f.destroy().await;
}

async fn everything(output: &mut containers::Output) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let read = tokio::time::timeout(DEADLINE, output.read(&mut buffer)).await.expect("in time").unwrap();
        if read == 0 {
            return String::from_utf8(text).unwrap();
        }
        text.extend_from_slice(&buffer[..read]);
    }
}

fn session(script: &str, input: bool, terminal: bool) -> containers::SessionRequest {
    let args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    containers::SessionRequest { args, input, terminal }
}

#[tokio::test]
async fn a_session_talks_with_its_command() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let asked = session("cat; echo bad >&2; exit 3", true, false);
    let mut running = f.containers.session("a", asked).await.unwrap();
    let mut input = running.input.take().unwrap();
    input.write_all(b"one\n").await.unwrap();
    input.write_all(b"two\n").await.unwrap();
    input.finish().await.unwrap();
    assert_eq!(everything(&mut running.stdout).await, "one\ntwo\n");
    assert_eq!(everything(running.stderr.as_mut().unwrap()).await, "bad\n");
    assert_eq!(running.ended.wait().await.unwrap(), 3);
    let mut without = f.containers.session("a", session("cat; echo end", false, false)).await.unwrap();
    assert_eq!(everything(&mut without.stdout).await, "end\n");
    f.destroy().await;
}

#[tokio::test]
async fn a_session_on_a_terminal_has_one() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let script = "test -t 0 && test -t 1 && echo terminal $TERM; read go; stty size; exit 4";
    let mut running = f.containers.session("a", session(script, true, true)).await.unwrap();
    running.terminal.as_ref().unwrap().resize(100, 30).unwrap();
    running.input.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    let said = everything(&mut running.stdout).await;
    assert!(said.contains("terminal xterm\r\n") && said.contains("30 100\r\n"), "{said:?}");
    assert_eq!(running.ended.wait().await.unwrap(), 4);
    f.destroy().await;
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_command() {
    let f = Fixture::new().await;
    f.containers.start(f.shell("a", "sleep 1000")).await.unwrap();
    let running = f.containers.session("a", session("sleep 779", true, true)).await.unwrap();
    let shown = async || {
        String::from_utf8(f.exec("a", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await.stdout).unwrap()
    };
    test_kit::eventually_async("it runs", DEADLINE, async || {
        let ps = shown().await;
        if ps.contains("sleep 779") { Ok(()) } else { Err(ps) }
    })
    .await;
    drop(running);
    test_kit::eventually_async("it has ended", DEADLINE, async || {
        let ps = shown().await;
        if ps.contains("sleep 779") { Err(ps) } else { Ok(()) }
    })
    .await;
    f.destroy().await;
}
