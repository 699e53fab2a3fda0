//! The reference running: etcd and kube-apiserver on free ports of the loopback address, with a data directory of
//! their own that goes when they do.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::ensure;
use crate::tools;

/// Time from the start of etcd to the first answer of kube-apiserver that says it is ready.
const START: Duration = Duration::from_secs(90);
/// Pause between looks at whether something has started.
const LOOK: Duration = Duration::from_millis(50);

/// The servers; dropping it ends them and removes their data.
#[derive(Debug)]
pub(crate) struct Reference {
    directory: PathBuf,
    etcd: Child,
    server: Child,
    started_in: Duration,
    audited: bool,
}

/// Whether the API server writes down what service accounts ask of it, which costs it time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audit {
    Off,
    On,
}

impl Drop for Reference {
    fn drop(&mut self) {
        end(&mut self.server);
        end(&mut self.etcd);
        // What cannot be removed is under target/, where the next start of that number replaces it.
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn end(child: &mut Child) {
    // Both fail only if the child has ended by itself.
    drop(child.kill());
    drop(child.wait());
}

impl Reference {
    /// Builds the binaries if needed, starts both servers and waits until the API is ready.
    pub(crate) fn start(root: &Path) -> Result<Reference> {
        Self::start_with(root, Audit::Off)
    }

    /// [`Reference::start`], with what service accounts ask for written down.
    pub(crate) fn start_with(root: &Path, audit: Audit) -> Result<Reference> {
        let binaries = ensure(root)?;
        let kubectl = tools::ensure(root)?.join("kubectl");
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = root.join(format!("target/kube-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        let [client, peer, secure] = free_ports()?;
        credentials(&directory, secure)?;
        let begun = Instant::now();
        let etcd = etcd(&binaries.etcd, &directory, client, peer)?;
        let mut guard = Etcd(Some(etcd));
        answering(client, begun)?;
        let server = kube_apiserver(&binaries.kube_apiserver, &directory, client, secure, audit)?;
        let etcd = guard.0.take().context("etcd was started")?;
        let mut reference =
            Reference { directory, etcd, server, started_in: Duration::ZERO, audited: audit == Audit::On };
        reference.ready(&kubectl, begun)?;
        reference.started_in = begun.elapsed();
        Ok(reference)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// What service accounts asked for, an event a line.
    pub(crate) fn audit(&self) -> Option<PathBuf> {
        self.audited.then(|| self.directory.join("audit.log"))
    }

    /// The environment by which tests and benchmarks find the reference.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("MAINSTAY_REFERENCE", self.kubeconfig().to_string_lossy().into_owned()),
            ("MAINSTAY_REFERENCE_PID", self.server.id().to_string()),
            ("MAINSTAY_REFERENCE_ETCD_PID", self.etcd.id().to_string()),
            ("MAINSTAY_REFERENCE_STARTED_MS", self.started_in.as_millis().to_string()),
        ]
    }

    /// Returns when one of the servers has ended.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.server.wait().context("wait for kube-apiserver")?;
        bail!("kube-apiserver ended with {status}")
    }

    fn ready(&mut self, kubectl: &Path, begun: Instant) -> Result<()> {
        let kubeconfig = self.kubeconfig();
        loop {
            if let Some(status) = self.server.try_wait().context("look at kube-apiserver")? {
                bail!(
                    "kube-apiserver ended with {status}; its log:\n{}",
                    tail(&self.directory.join("kube-apiserver.log"))
                );
            }
            let asked = Command::new(kubectl)
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .args(["get", "--raw", "/readyz"])
                .stderr(Stdio::null())
                .output()
                .context("start kubectl")?;
            if asked.stdout == b"ok" {
                return Ok(());
            }
            if begun.elapsed() > START {
                bail!(
                    "kube-apiserver was not ready within {START:?}; its log:\n{}",
                    tail(&self.directory.join("kube-apiserver.log"))
                );
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

/// Ends etcd if its API server does not come up.
struct Etcd(Option<Child>);

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn free_ports() -> Result<[u16; 3]> {
    // All are held until all are chosen, so that they differ.
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener.and_then(|listener| listener.local_addr()).context("find a free port")?.port();
    }
    Ok(ports)
}

fn log(directory: &Path, name: &str) -> Result<File> {
    let path = directory.join(format!("{name}.log"));
    File::create(&path).with_context(|| format!("create {}", path.display()))
}

fn etcd(program: &Path, directory: &Path, client: u16, peer: u16) -> Result<Child> {
    let client = format!("http://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    Command::new(program)
        .arg("--data-dir")
        .arg(directory.join("etcd"))
        .args(["--name", "reference", "--log-level", "warn"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("reference={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log(directory, "etcd")?)
        .spawn()
        .context("start etcd")
}

/// Only who acts, on what, and how.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ['system:serviceaccounts']}
- {level: None}
";

fn kube_apiserver(program: &Path, directory: &Path, etcd: u16, secure: u16, audit: Audit) -> Result<Child> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", directory.join(name).display());
    let mut command = Command::new(program);
    if audit == Audit::On {
        fs::write(directory.join("audit.yaml"), AUDIT_POLICY).context("write the audit policy")?;
        command.arg(file("audit-policy-file", "audit.yaml")).arg(file("audit-log-path", "audit.log"));
    }
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={secure}"))
        .arg(file("cert-dir", "certificates"))
        .arg(file("tls-cert-file", "server.crt"))
        .arg(file("tls-private-key-file", "server.key"))
        .arg(file("client-ca-file", "ca.crt"))
        .arg(file("service-account-key-file", "sa.pub"))
        .arg(file("service-account-signing-key-file", "sa.key"))
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .args([
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log(directory, "kube-apiserver")?)
        .spawn()
        .context("start kube-apiserver")
}

fn answering(port: u16, begun: Instant) -> Result<()> {
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > START {
            bail!("etcd did not answer within {START:?}");
        }
        std::thread::park_timeout(LOOK);
    }
    Ok(())
}

/// The last lines of a log, for an error's text.
fn tail(path: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// An authority, a server certificate, the administrator's kubeconfig and the key of service-account tokens.
fn credentials(directory: &Path, port: u16) -> Result<()> {
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text).with_context(|| format!("write {name}"))
    };
    let authority_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "reference-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    write("ca.crt", &params.self_signed(&authority_key)?.pem())?;
    let authority = Issuer::new(params, authority_key);
    let leaf = |common: &str, organization: &str, names: &[&str], usage| -> Result<(String, String)> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &authority)?.pem(), key.serialize_pem()))
    };
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"];
    let (certificate, key) =
        leaf("kube-apiserver", "reference", &names, ExtendedKeyUsagePurpose::ServerAuth)?;
    write("server.crt", &certificate)?;
    write("server.key", &key)?;
    let (certificate, key) =
        leaf("kubernetes-admin", "system:masters", &[], ExtendedKeyUsagePurpose::ClientAuth)?;
    write("admin.crt", &certificate)?;
    write("admin.key", &key)?;
    let tokens = KeyPair::generate()?;
    write("sa.key", &tokens.serialize_pem())?;
    write("sa.pub", &tokens.public_key_pem())?;
    let path = |name: &str| directory.join(name).display().to_string();
    write(
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: reference\n  cluster:\n    server: https://127.0.0.1:{port}\n    \
             certificate-authority: {}\nusers:\n- name: admin\n  user:\n    client-certificate: {}\n    client-key: {}\n\
             contexts:\n- name: reference\n  context:\n    cluster: reference\n    user: admin\ncurrent-context: reference\n",
            path("ca.crt"),
            path("admin.crt"),
            path("admin.key"),
        ),
    )
}
