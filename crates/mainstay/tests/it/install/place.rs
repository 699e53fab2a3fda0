//! The cluster, the repository, and processes on them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use test_kit::{Cluster, Listening, Repository, eventually, free_port};
use tokio::sync::{Mutex, MutexGuard};

use crate::platform;

/// Longer than a lease lasts, on a machine that runs other tests too.
pub(super) const SOON: Duration = Duration::from_secs(90);
pub(super) const URL: &str = "https://git.example.org/platform.git";

const DEPLOYER: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: deployer}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, list, watch, create, patch]}
- {apiGroups: [''], resources: [namespaces], verbs: [create]}
";

/// All tests install under the same name: on a real cluster one after the other.
static TURN: Mutex<()> = Mutex::const_new(());

pub(super) struct Place {
    directory: TempDir,
    kubeconfig: PathBuf,
    repository: Repository,
    embedded: Option<(Cluster, Listening)>,
    _source: TempDir,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Place {
    pub(super) async fn find() -> Self {
        let (directory, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = Repository::of(source.path());
        repository.write("shop/all.yaml", &manifest("one"));
        repository.commit("one");
        fs::create_dir(directory.path().join("admin")).unwrap();
        let kubeconfig = directory.path().join("admin/kubeconfig");
        // `cargo xtask conformance install` says where the real one is.
        let reference = std::env::var_os("MAINSTAY_REFERENCE");
        let turn = if reference.is_some() { Some(TURN.lock().await) } else { None };
        let embedded = match reference {
            Some(reference) => {
                fs::copy(reference, &kubeconfig).unwrap();
                None
            }
            None => {
                let cluster = Cluster::start().await;
                let listening = cluster.listen().await;
                fs::write(&kubeconfig, admin(&listening)).unwrap();
                Some((cluster, listening))
            }
        };
        let place = Self { directory, kubeconfig, repository, embedded, _source: source, _turn: turn };
        place.clear();
        place
    }

    /// What another test left on a real cluster.
    fn clear(&self) {
        if self.embedded.is_some() {
            return;
        }
        for kind in ["applications", "applicationsets", "appprojects"] {
            let _ = self.try_kubectl(&["delete", kind, "--all", "--namespace=argocd", "--wait=false"]);
        }
        let _ = self.try_kubectl(&["delete", "configmap", "mainstay-takeover", "--namespace=argocd"]);
        let _ = self.try_kubectl(&["delete", "lease", "mainstay", "--namespace=mainstay"]);
        let _ = self.try_kubectl(&[
            "delete",
            "statefulset",
            "argocd-application-controller",
            "--namespace=argocd",
        ]);
        // Nobody is there who would end what an uninstallation deleted.
        for namespace in ["mainstay", "shop", "web", "late", "other", "red", "blue"] {
            let _ = self.try_kubectl(&["delete", "namespace", namespace, "--wait=false"]);
            let Ok(text) = self.try_kubectl(&["get", "namespace", namespace, "--output=json"]) else {
                continue;
            };
            let mut object: serde_json::Value = serde_json::from_str(&text).unwrap();
            object["spec"] = serde_json::json!({"finalizers": []});
            let path = format!("/api/v1/namespaces/{namespace}/finalize");
            platform::kubectl_with_input(
                &self.kubeconfig,
                &["replace", "--raw", &path, "-f", "-"],
                &object.to_string(),
            )
            .unwrap_or_else(|error| panic!("end the namespace {namespace}: {error}"));
            let _ = self.try_kubectl(&["delete", "configmap", "settings", "--namespace", namespace]);
        }
    }

    /// Applies what `mainstay install` prints.
    pub(super) fn install(&self, flags: &[&str]) {
        let manifests =
            self.mainstay_ok(&[&["install", "--image", "localhost/mainstay:test"], flags].concat());
        eventually("the manifests are applied", SOON, || {
            // The kinds are served a moment after they are defined; no manifest needs them.
            platform::kubectl_with_input(&self.kubeconfig, &["apply", "-f", "-"], &manifests)
        });
        eventually("the kinds are served", SOON, || {
            self.try_kubectl(&["get", "applications", "--namespace=argocd"])
        });
    }

    /// As [`Place::install`], with a role for deploying that permits what these tests deploy and nothing else: whatever
    /// the controllers need for themselves has to come from the other roles.
    pub(super) fn install_narrow(&self, flags: &[&str]) {
        self.apply(DEPLOYER);
        self.install(&[&["--deploy-role", "deployer"], flags].concat());
    }

    pub(super) fn namespaces(&self, names: &[&str]) {
        for name in names {
            self.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
        }
    }

    /// A kubeconfig of the service account that the manifests bring, with a token as the kubelet would ask for.
    pub(super) fn service_account(&self) -> PathBuf {
        let token = self.kubectl(&["create", "token", "mainstay", "--namespace=mainstay"]);
        let own: serde_json::Value = yaml::from_str(&fs::read_to_string(&self.kubeconfig).unwrap()).unwrap();
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": own["clusters"][0]["cluster"]}],
            "users": [{"name": "it", "user": {"token": token.trim()}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        let path = self.directory.path().join("service-account.kubeconfig");
        fs::write(&path, yaml::to_string(&config)).unwrap();
        path
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    pub(super) fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        platform::kubectl(&self.kubeconfig, arguments)
    }

    pub(super) fn apply(&self, manifest: &str) {
        platform::kubectl_with_input(&self.kubeconfig, &["apply", "-f", "-"], manifest)
            .unwrap_or_else(|error| panic!("apply {manifest}: {error}"));
    }

    pub(super) fn mainstay(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .expect("start mainstay")
    }

    pub(super) fn mainstay_ok(&self, arguments: &[&str]) -> String {
        let output = self.mainstay(arguments);
        assert!(
            output.status.success(),
            "mainstay {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// An Application, automated, over the repository.
    pub(super) fn application(&self, name: &str, namespace: &str) -> String {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: argocd}}\n\
             spec:\n  project: default\n  source: {{repoURL: '{URL}', path: shop, targetRevision: HEAD}}\n  \
             destination: {{server: 'https://kubernetes.default.svc', namespace: {namespace}}}\n  \
             syncPolicy: {{automated: {{prune: true, selfHeal: true}}, syncOptions: [CreateNamespace=true]}}\n"
        )
    }

    /// Commits another value of what the Applications deploy.
    pub(super) fn commit(&self, value: &str) {
        self.repository.write("shop/all.yaml", &manifest(value));
        self.repository.commit(value);
    }

    /// Waits until an Application is synced and what it deploys has this value.
    pub(super) fn synced(&self, name: &str, value: &str) {
        eventually(&format!("{name} is synced with {value}"), SOON, || {
            let path = "jsonpath={.status.sync.status} {.spec.destination.namespace}";
            let found =
                self.try_kubectl(&["get", "application", name, "--namespace=argocd", "--output", path])?;
            let Some(namespace) = found.strip_prefix("Synced ") else {
                let path = "jsonpath={.status.conditions[*].message}";
                let why = ["get", "application", name, "--namespace=argocd", "--output", path];
                return Err(format!("{found}: {}", self.try_kubectl(&why)?));
            };
            let path = "jsonpath={.data.value}";
            let live = self.try_kubectl(&[
                "get",
                "configmap",
                "settings",
                "--namespace",
                namespace,
                "--output",
                path,
            ])?;
            if live == value { Ok(()) } else { Err(live) }
        });
    }
}

fn manifest(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{value: {value}}}\n")
}

fn admin(listening: &Listening) -> String {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    yaml::to_string(&serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {
            "server": listening.url, "certificate-authority-data": encode(&listening.authority)}}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encode(&listening.certificate), "client-key-data": encode(&listening.key)}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "admin"}}],
    }))
}

/// Sends a request to a port of this machine; the status and the body of the answer.
fn exchange(port: u16, request: &str) -> Result<(u16, String), String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    status.map(|status| (status, body)).ok_or(answer)
}

/// A running `mainstay controller`.
pub(super) struct Controller {
    child: Child,
    port: u16,
    webhooks: u16,
    directory: TempDir,
    ended: bool,
}

impl Controller {
    pub(super) fn start(place: &Place, flags: &[&str]) -> Self {
        let (directory, port, webhooks) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .arg("controller")
            .arg("--kubeconfig")
            .arg(place.service_account())
            .args(["--lease-namespace", "mainstay"])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--webhooks=127.0.0.1:{webhooks}"))
            .arg(format!("--source={URL}={}", place.repository.path().display()))
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("start mainstay");
        Self { child, port, webhooks, directory, ended: false }
    }

    /// Waits until it says on `/readyz` that it is ready, and `leads` or `stands by`.
    pub(super) fn is_ready(&mut self, with: &str) {
        eventually(&format!("controller {} {with}", self.child.id()), SOON, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the controller ended with {status}:\n{}", self.said());
            }
            match self.get("/readyz") {
                // A standby also says who leads.
                Ok((200, text)) if text.contains("stands by") == (with == "stands by") => Ok(()),
                other => Err(other),
            }
        });
    }

    pub(super) fn is_not_ready(&self) -> Result<(), String> {
        match self.get("/readyz") {
            Ok((503, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    pub(super) fn metrics(&self) -> String {
        self.get("/metrics").expect("metrics are served").1
    }

    fn get(&self, path: &str) -> Result<(u16, String), String> {
        exchange(self.port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// What it answers to a push as GitLab tells of it.
    pub(super) fn push(&self, token: &str, repository: &str) -> u16 {
        let payload = serde_json::json!({"object_kind": "push", "ref": "refs/heads/main",
            "project": {"web_url": repository, "default_branch": "main"}})
        .to_string();
        let length = payload.len();
        let head = "POST /api/webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Gitlab-Event: Push Hook";
        let request =
            format!("{head}\r\nX-Gitlab-Token: {token}\r\nContent-Length: {length}\r\n\r\n{payload}");
        exchange(self.webhooks, &request).expect("webhooks are taken").0
    }

    /// Ends it and waits.
    pub(super) fn signal(&mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).expect("signal the controller");
        let status = eventually("the controller ends", SOON, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}\n{}", self.said())),
        });
        self.ended = true;
        if signal == Signal::SIGTERM {
            assert!(status.success(), "{status}:\n{}", self.said());
        }
    }

    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The API never told it that it may not do something.
    pub(super) fn was_never_refused(&self) {
        let said = self.said();
        let refused: Vec<&str> = said.lines().filter(|line| line.contains("forbidden")).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the controller {} said:\n{}", self.child.id(), self.said());
        }
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
