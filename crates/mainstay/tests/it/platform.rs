//! A running `mainstay up`, as a person would start it, and the real `kubectl` to ask it with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use test_kit::{eventually, find_program, free_port};

/// How long the API may take to answer after the process was started (a debug build on a busy machine).
const START: Duration = Duration::from_secs(60);

/// How long a graceful stop may take: the longest grace period of a pod, and some more.
const STOP: Duration = Duration::from_secs(60);

pub(crate) struct Platform {
    data: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
    http_port: u16,
}

impl Platform {
    /// Starts `mainstay up` with these arguments on ports and a data directory of its own, and waits for its API.
    pub(crate) fn up(arguments: &[&str]) -> Self {
        let platform = Self::spawn(arguments);
        platform.wait_for_api();
        platform
    }

    /// As [`Self::up`], without waiting.
    pub(crate) fn spawn(arguments: &[&str]) -> Self {
        let data = tempfile::Builder::new().prefix("mainstay").tempdir().expect("a temporary directory");
        let http_port = free_port();
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        for (flag, port) in
            [("--api-port", free_port()), ("--http-port", http_port), ("--https-port", free_port())]
        {
            all.extend([flag.to_owned(), port.to_string()]);
        }
        let mut platform = Self { data, arguments: all, child: None, http_port };
        platform.spawn_again();
        platform
    }

    /// Starts it again on the same data directory, and waits for its API.
    pub(crate) fn start(&mut self) {
        self.spawn_again();
        self.wait_for_api();
    }

    /// Starts it again on the same data directory, without waiting.
    pub(crate) fn spawn_again(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("open the log");
        let child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .arg("up")
            .args(&self.arguments)
            .arg("--data-dir")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .expect("start mainstay");
        self.child = Some(child);
    }

    fn wait_for_api(&self) {
        eventually("the API answers", START, || {
            self.assert_running();
            self.try_kubectl(&["get", "--raw", "/readyz"])
        });
    }

    /// Gives it the image `localhost/tools:1`, which has a shell and sleeps.
    pub(crate) fn pack_tools(&self) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for place in ["bin", "tmp"] {
            fs::create_dir_all(directory.path().join(place)).expect("make a directory");
        }
        let bin = directory.path().join("bin");
        fs::copy(find_program("busybox"), bin.join("busybox")).expect("copy busybox");
        for applet in ["sh", "cat", "tar", "stty", "sleep", "wc", "sha256sum"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("link");
        }
        let pack = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["image", "pack", "--tag", "localhost/tools:1"])
            .args(["--entrypoint", "/bin/sleep", "--cmd", "1000", "--env", "PATH=/bin", "--data-dir"])
            .arg(self.data_dir())
            .arg(directory.path())
            .output()
            .expect("start mainstay image pack");
        assert!(pack.status.success(), "{}", String::from_utf8_lossy(&pack.stderr));
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// What the machine's things of this instance are named after, as `DataDir::id` makes it.
    pub(crate) fn id(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let path = fs::canonicalize(self.data_dir()).expect("the data directory");
        Sha256::digest(path.as_os_str().as_encoded_bytes())[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("kubeconfig")
    }

    /// Runs `kubectl` and returns what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}\n{}", self.said()))
    }

    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.kubectl_with_input(arguments, "")
    }

    pub(crate) fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        run_kubectl(&self.kubeconfig(), arguments, input)
    }

    /// An object, or why it cannot be had.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let text = self.try_kubectl(&[&["get", "--output", "json"], arguments].concat())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// Waits until what `seen` makes of an object is `expected`.
    pub(crate) fn wait_for(
        &self,
        deadline: Duration,
        object: &[&str],
        seen: impl Fn(&Value) -> String,
        expected: &str,
    ) {
        eventually(&format!("{} is {expected:?}", object.join(" ")), deadline, || {
            self.assert_running();
            match self.get(object).map(|object| seen(&object)) {
                Ok(found) if found == expected => Ok(()),
                other => Err(other),
            }
        });
    }

    /// Sends an HTTP request to the address on which Ingresses are served: status and body.
    pub(crate) fn http(
        &self,
        method: &str,
        host: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, String), String> {
        use std::io::{Read as _, Write as _};
        let mut stream =
            std::net::TcpStream::connect(("127.0.0.1", self.http_port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        status.map(|status| (status, body.to_owned())).ok_or(format!("no HTTP answer: {answer:?}"))
    }

    /// Ends the process as a crash would.
    pub(crate) fn crash(&mut self) {
        self.signal(Signal::SIGKILL);
    }

    /// Ends it as Ctrl-c does, and waits.
    pub(crate) fn interrupt(&mut self) {
        self.signal(Signal::SIGINT);
    }

    /// Ends it as a service manager does, and waits.
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    fn signal(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        let id = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(id, signal).expect("signal mainstay");
        eventually(&format!("mainstay ends after {signal}"), STOP, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}\n{}", self.said())),
        });
    }

    /// Runs `mainstay down` on the data directory.
    pub(crate) fn down(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["down", "--data-dir"])
            .arg(self.data_dir())
            .output()
            .expect("start mainstay down");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "mainstay down: {text}");
        text
    }

    /// What it printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// What controllers were denied. One that lacks a right tries for ever, and nobody but the log tells.
    fn denied(&self) -> Vec<String> {
        let denied = |line: &&str| line.contains(r#"is forbidden: User \"system:serviceaccount:"#);
        self.said().lines().filter(denied).map(str::to_owned).collect()
    }

    fn log(&self) -> PathBuf {
        self.data.path().join("log")
    }

    fn assert_running(&self) {
        let Some(child) = &self.child else { return };
        let stat = fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("stat"));
        let ended =
            stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
        assert!(!ended, "mainstay ended:\n{}", self.said());
    }
}

/// Runs `kubectl` on whatever the kubeconfig leads to.
pub(crate) fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    run_kubectl(kubeconfig, arguments, "")
}

/// As [`kubectl`], with something to read.
pub(crate) fn kubectl_with_input(
    kubeconfig: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<String, String> {
    run_kubectl(kubeconfig, arguments, input)
}

fn run_kubectl(kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    use std::io::Write as _;
    let mut child = Command::new(find_program("kubectl"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        // Where kubectl keeps what it discovered: one cluster's must not be another's.
        .env("HOME", kubeconfig.parent().and_then(Path::parent).expect("a directory of the test"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start kubectl");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("wait for kubectl");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- mainstay said:\n{}", self.said());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Nothing a test started may stay on the machine, however the test ended.
        let _ = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(["down", "--data-dir"])
            .arg(self.data_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !std::thread::panicking() {
            assert_eq!(self.denied(), Vec::<String>::new(), "a controller asks for what it may not do");
        }
    }
}
