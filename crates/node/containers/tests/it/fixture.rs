//! Containers on a temporary root, whose image is the host's own `/usr`, seen read-only.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use containers::{
    ContainerSpec, Containers, ContainersConfig, ExecOutput, ExecRequest, Exit, MonitorCommand, Mount,
    MountSource, Propagation,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) containers: Containers,
    pub(crate) cgroup_parent: String,
    pub(crate) sweep: Sweep,
}

/// Ends what a failed test leaves running: monitors outlive the test program as they should.
pub(crate) struct Sweep(pub(crate) String);

impl Drop for Sweep {
    fn drop(&mut self) {
        for dir in cgroups(&self.0).iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let processes = std::fs::read_to_string(dir.path().join("cgroup.procs")).unwrap_or_default();
            for pid in processes.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?))
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

pub(crate) fn config(dir: &Path, cgroup_parent: &str) -> ContainersConfig {
    ContainersConfig {
        root: dir.join("containers"),
        monitor: MonitorCommand {
            exe: env!("CARGO_BIN_EXE_containers-monitor").into(),
            args_prefix: Vec::new(),
        },
        cgroup_parent: cgroup_parent.to_owned(),
    }
}

pub(crate) fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "this test runs real containers and needs root");
}

/// Unique among tests that run at the same time.
pub(crate) fn unique_parent() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("containers-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A base layer whose programs are the host's.
pub(crate) fn make_layer(dir: &Path) -> PathBuf {
    let layer = dir.join("layer");
    for name in ["usr", "etc", "tmp", "proc", "sys", "dev"] {
        std::fs::create_dir_all(layer.join(name)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        if Path::new("/").join(name).exists() && !layer.join(name).exists() {
            std::os::unix::fs::symlink(format!("usr/{name}"), layer.join(name)).unwrap();
        }
    }
    std::fs::write(
        layer.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(layer.join("etc/group"), "root:x:0:\napp:x:1001:\nextra:x:1002:app\n").unwrap();
    layer
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        need_root();
        let dir = tempfile::tempdir().unwrap();
        make_layer(dir.path());
        let cgroup_parent = unique_parent();
        let containers = Containers::open(config(dir.path(), &cgroup_parent)).await.unwrap();
        let sweep = Sweep(cgroup_parent.clone());
        Self { dir, containers, cgroup_parent, sweep }
    }

    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("{id}.log"))
    }

    pub(crate) fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        spec(self.dir.path(), id, args)
    }

    pub(crate) fn shell(&self, id: &str, script: &str) -> ContainerSpec {
        self.spec(id, &["/bin/sh", "-c", script])
    }

    /// Runs a script to its end; its exit and its lines on stdout.
    pub(crate) async fn run(&self, spec: ContainerSpec) -> (Exit, Vec<String>) {
        let id = spec.id.clone();
        self.containers.start(spec).await.unwrap();
        let exit = self.wait(&id).await;
        (exit, self.lines(&id, "stdout"))
    }

    pub(crate) async fn wait(&self, id: &str) -> Exit {
        let ended = tokio::time::timeout(DEADLINE, self.containers.wait(id)).await;
        ended.unwrap_or_else(|_| panic!("{id} still runs: {:?}", self.containers.status(id))).unwrap()
    }

    pub(crate) fn lines(&self, id: &str, stream: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.log(id)).unwrap();
        let lines = text.lines().filter_map(|line| {
            let mut fields = line.splitn(4, ' ');
            let matches = fields.nth(1) == Some(stream);
            matches.then(|| fields.nth(1).unwrap().to_owned())
        });
        lines.collect()
    }

    /// Waits for a line on stdout.
    pub(crate) async fn line(&self, id: &str, wanted: &str) {
        test_kit::eventually_async("a line of output", DEADLINE, || async {
            let lines = self.lines(id, "stdout");
            lines.iter().any(|line| line == wanted).then_some(()).ok_or(format!("{lines:?}"))
        })
        .await;
    }

    pub(crate) async fn exec(&self, id: &str, script: &str) -> ExecOutput {
        let args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecRequest { args, timeout: DEADLINE, output_limit: 1 << 16 };
        self.containers.exec(id, request).await.unwrap()
    }

    /// Every cgroup directory of this fixture.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        cgroups(&self.cgroup_parent)
    }

    /// Ends all and checks that nothing is left.
    pub(crate) async fn destroy(self) {
        let Self { dir, containers, cgroup_parent, sweep: _sweep } = self;
        containers.destroy().await.unwrap();
        assert_eq!(cgroups(&cgroup_parent), Vec::<PathBuf>::new(), "cgroups are left");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*dir.path().to_string_lossy()), "mounts are left:\n{mounts}");
        assert_eq!(processes_holding(dir.path()), Vec::<String>::new(), "monitors are left");
        assert!(!dir.path().join("containers").exists());
    }
}

pub(crate) fn spec(dir: &Path, id: &str, args: &[&str]) -> ContainerSpec {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let log = dir.join(format!("{id}.log"));
    let network = PathBuf::from("/proc/self/ns/net");
    let mut spec = ContainerSpec::new(id, vec![dir.join("layer")], args, network, log);
    spec.hostname = format!("host-{id}");
    spec.mounts.push(Mount {
        target: "/usr".into(),
        source: MountSource::Bind { path: "/usr".into(), sub_path: None },
        read_only: true,
        propagation: Propagation::Private,
    });
    spec
}

pub(crate) fn cgroups(parent: &str) -> Vec<PathBuf> {
    fn find(dir: &Path, parent: &str, depth: u32, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == parent {
                    found.push(entry.path());
                } else if depth > 0 {
                    find(&entry.path(), parent, depth - 1, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    find(Path::new("/sys/fs/cgroup"), parent, 1, &mut found);
    found
}

/// Names of processes that have something beneath a path open: monitors hold their lock.
pub(crate) fn processes_holding(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let holds = |process: &Path| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|file| file.starts_with(path))
    };
    let others = entries.filter(|entry| entry.file_name().to_str() != Some(&std::process::id().to_string()));
    let found = others.filter(|entry| holds(&entry.path()));
    found.map(|entry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default()).collect()
}
