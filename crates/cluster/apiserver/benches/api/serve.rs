//! The servers: ours as a child process that is this program again, the reference as `cargo xtask bench api` started it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apiserver::pki::{Pki, cluster_names};
use apiserver::{ApiServer, Config};
use store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::load::{Client, Target};

/// The argument that makes this program the server; the data directory follows it.
pub(crate) const ARGUMENT: &str = "--serve-from";

/// Where data is put: on the disk of the build, never in memory.
pub(crate) fn scratch() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    program.parent().map(Path::to_owned).context("the program lies in a directory")
}

/// Serves until it is killed.
pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let pki = Pki::open(&directory.join("pki"))?;
    let at = directory.join("store");
    std::fs::create_dir_all(&at)?;
    let store = tokio::task::spawn_blocking(move || Store::open(&at, &store::Config::default())).await??;
    let server = Arc::new(ApiServer::start(Config::new(store, &pki)).await?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://{}", listener.local_addr()?);
    std::fs::write(directory.join("kubeconfig"), pki.admin_kubeconfig(&url)?)?;
    let tls = pki.server_config(&cluster_names("cluster.local", "10.96.0.1".parse()?))?;
    println!("serving");
    server.serve(listener, tls, CancellationToken::new()).await;
    Ok(())
}

/// Our server.
pub(crate) struct Process {
    child: Child,
    pub(crate) target: Target,
    /// From its start to the answer to the first request.
    pub(crate) started: Duration,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only if the process has ended by itself.
        drop(self.kill());
    }
}

impl Process {
    pub(crate) async fn start(directory: &Path) -> Result<Process> {
        let begun = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the server")?;
        let out = child.stdout.take().context("the child has an output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).context("wait for the server")?;
        ensure!(line.trim() == "serving", "the server did not start");
        let target = Target::read(&directory.join("kubeconfig"))?;
        Client::connect(&target, 1).await?.get("/api/v1/namespaces/default").await?;
        Ok(Process { child, target, started: begun.elapsed() })
    }

    /// Ends it without a word of warning.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn memory(&self) -> Result<u64> {
        resident(self.child.id())
    }
}

/// The real kube-apiserver and etcd.
pub(crate) struct Reference {
    processes: Vec<u32>,
    pub(crate) target: Target,
    pub(crate) started: Duration,
}

impl Reference {
    /// `None` if nobody started one.
    #[expect(clippy::disallowed_methods, reason = "xtask says in the environment what it started")]
    pub(crate) fn from_environment() -> Result<Option<Reference>> {
        let Ok(kubeconfig) = std::env::var("MAINSTAY_REFERENCE") else { return Ok(None) };
        let number = |name: &str| -> Result<u64> {
            std::env::var(name)?.parse().with_context(|| format!("read {name}"))
        };
        let mut processes = Vec::new();
        for name in ["MAINSTAY_REFERENCE_PID", "MAINSTAY_REFERENCE_ETCD_PID"] {
            processes.push(number(name)?.try_into()?);
        }
        let started = Duration::from_millis(number("MAINSTAY_REFERENCE_STARTED_MS")?);
        Ok(Some(Reference { processes, target: Target::read(Path::new(&kubeconfig))?, started }))
    }

    pub(crate) fn memory(&self) -> Result<u64> {
        self.processes.iter().map(|process| resident(*process)).sum()
    }
}

/// Resident bytes of a process.
fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.with_context(|| format!("{path} does not say"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("read a number of kB")?;
    Ok(kib << 10)
}

/// Bytes of the files below a directory.
pub(crate) fn size(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        total += if kind.is_dir() { size(&entry.path())? } else { kind.len() };
    }
    Ok(total)
}
