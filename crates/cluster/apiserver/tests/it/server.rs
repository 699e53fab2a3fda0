//! A server of one's own for each test.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use apiserver::pki::{Pki, cluster_names};
use apiserver::{ApiServer, Config, User};
use store::Store;
use tempfile::TempDir;
use test_kit::eventually;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) struct Server {
    pub(crate) api: std::sync::Arc<ApiServer>,
    pub(crate) directory: TempDir,
    pki: Pki,
}

impl Server {
    pub(crate) async fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::ephemeral().unwrap();
        let store = Store::open(&directory.path().join("store"), &store::Config::default()).unwrap();
        let api = ApiServer::start(Config::new(store, &pki)).await.unwrap();
        Server { api: std::sync::Arc::new(api), directory, pki }
    }

    pub(crate) fn client(&self, user: User) -> kube::Client {
        kube::Client::new(self.api.service(user), "default")
    }

    pub(crate) fn admin(&self) -> kube::Client {
        self.client(User::admin())
    }

    /// Serves over TLS on a free port of the loopback address until the guard is dropped.
    pub(crate) async fn listen(&self) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let tls =
            self.pki.server_config(&cluster_names("cluster.local", "10.96.0.1".parse().unwrap())).unwrap();
        let kubeconfig = self.directory.path().join("kubeconfig");
        std::fs::write(&kubeconfig, self.pki.admin_kubeconfig(&url).unwrap()).unwrap();
        let shutdown = CancellationToken::new();
        let (api, token) = (self.api.clone(), shutdown.clone());
        let task = tokio::spawn(async move { api.serve(listener, tls, token).await });
        Listening { kubeconfig, home: self.directory.path().to_owned(), shutdown, _task: task }
    }
}

pub(crate) struct Listening {
    kubeconfig: PathBuf,
    home: PathBuf,
    shutdown: CancellationToken,
    _task: tokio::task::JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A `kubectl port-forward` that runs.
pub(crate) struct Forwarding {
    pub(crate) port: u16,
    child: std::process::Child,
    _out: std::io::BufReader<std::process::ChildStdout>,
}

impl Forwarding {
    /// What it complained of before it ended.
    pub(crate) fn said(mut self) -> String {
        use std::io::Read;
        let mut text = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        let reading = std::thread::spawn(move || {
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let ended = || if reading.is_finished() { Ok(()) } else { Err("it still says something") };
        eventually("kubectl port-forward ends", std::time::Duration::from_secs(10), ended);
        reading.join().unwrap()
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn kubectl_path() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("kubectl"))
        .find(|candidate| candidate.is_file())
        .expect("kubectl is not on PATH: `cargo xtask tools` gets it")
}

impl Listening {
    pub(crate) fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// Runs kubectl with a token instead of the certificate; whether it succeeded, and what it said.
    pub(crate) fn kubectl_as(&self, token: &str, arguments: &[&str]) -> (bool, String) {
        let given = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let kept: Vec<&str> = given.lines().filter(|line| !line.contains("client-")).collect();
        let bare = self.home.join("bare-kubeconfig");
        std::fs::write(&bare, kept.join("\n").replace("user:\n", "user: {}\n")).unwrap();
        let mut command = Command::new(kubectl_path());
        command.arg("--kubeconfig").arg(&bare).arg("--request-timeout=30s").arg(format!("--token={token}"));
        let output = command.args(arguments).env("HOME", &self.home).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The administrator's client over TLS.
    pub(crate) async fn client(&self) -> kube::Client {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// A client over TLS that shows neither certificate nor token.
    pub(crate) async fn stranger(&self) -> kube::Client {
        let mut config = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for entry in &mut config.auth_infos {
            entry.auth_info = Some(kube::config::AuthInfo::default());
        }
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Runs the real kubectl. It must end within 30 seconds, as every request of it does.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        self.kubectl_in(&[], arguments, input)
    }

    fn command(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = Command::new(kubectl_path());
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).env("HOME", &self.home);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts `kubectl port-forward` and waits until it says on which port it listens.
    pub(crate) fn forward(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Forwarding {
        use std::io::{BufRead, BufReader};
        let mut child = self.command(environment, arguments).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok());
        let Some(port) = port else {
            child.kill().unwrap();
            let said = child.wait_with_output().unwrap().stderr;
            panic!("kubectl did not forward: {line:?} {}", String::from_utf8_lossy(&said));
        };
        Forwarding { port, child, _out: out }
    }

    /// The same with more in its environment.
    pub(crate) fn kubectl_in(&self, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut command = self.command(environment, &["--request-timeout=30s"]);
        let mut child = command.args(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // Beside reading: what is typed may be more than waits on its way through both.
        let typing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        typing.join().unwrap().unwrap();
        output
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl(arguments, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments:?} failed\n{out}\n{err}");
        format!("{out}{err}")
    }

    /// Runs kubectl, which must fail, and gives what it complained of.
    pub(crate) fn fail_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl(arguments, input);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "kubectl {arguments:?} succeeded\n{out}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}
