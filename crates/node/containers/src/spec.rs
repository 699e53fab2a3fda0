//! What a container is to be: every choice is the caller's, nothing here knows of Pods.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container to start. Written as `spec.json` into the container's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// Unique among the containers of one root; also the name of its directory and cgroup.
    /// 1 to 128 of `[A-Za-z0-9_.-]`, starting with a letter or digit.
    pub id: String,
    /// Unpacked layers, base first, as an image lists them. Never written to.
    pub layers: Vec<PathBuf>,
    /// The command line; the first element is looked up in `PATH` of [`env`](Self::env) when it has no slash.
    pub args: Vec<String>,
    /// The whole environment; a later entry of the same name wins. `PATH` and `HOME` are filled in when missing.
    pub env: Vec<(String, String)>,
    /// Working directory inside the container; created when missing. Empty means `/`.
    pub cwd: PathBuf,
    pub user: User,
    /// Hostname of a new UTS namespace.
    pub hostname: String,
    /// Applied in order after the usual ones (`/proc`, `/dev`, `/dev/shm`, `/sys`, cgroup).
    pub mounts: Vec<Mount>,
    pub namespaces: Namespaces,
    pub resources: Resources,
    pub security: Security,
    /// Soft and hard limits that replace the default (`nofile` 1048576, or the host's hard limit if that is lower).
    pub rlimits: Vec<Rlimit>,
    /// `net.core.somaxconn` → value. Only namespaced ones make sense; the kernel refuses others.
    pub sysctls: Vec<(String, String)>,
    pub log: Log,
    /// Where its standard input comes from.
    #[serde(default)]
    pub input: StandardInput,
    /// Whether its descriptors are a terminal of its own.
    #[serde(default)]
    pub terminal: bool,
    /// A path inside the container that the process may write its last words to; its first 4096 bytes become
    /// [`Exit::message`](crate::Exit::message). Kubernetes uses `/dev/termination-log`.
    pub termination_message_path: Option<PathBuf>,
}

impl ContainerSpec {
    /// A container with new namespaces, no limits, the default capabilities and seccomp profile, and nothing mounted
    /// beyond the usual, in the given network namespace.
    pub fn new(
        id: impl Into<String>,
        layers: Vec<PathBuf>,
        args: Vec<String>,
        network: PathBuf,
        log: PathBuf,
    ) -> Self {
        Self {
            id: id.into(),
            layers,
            args,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            hostname: String::new(),
            mounts: Vec::new(),
            namespaces: Namespaces::with_network(network),
            resources: Resources::default(),
            security: Security::default(),
            rlimits: Vec::new(),
            sysctls: Vec::new(),
            log: Log::new(log),
            input: StandardInput::None,
            terminal: false,
            termination_message_path: None,
        }
    }
}

/// Who the process runs as. Names are looked up in the image's `/etc/passwd` and `/etc/group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `""` (root), `"1000"`, `"redis"`, `"1000:1000"` or `"redis:redis"`, as image configurations write it.
    pub name: String,
    /// Replaces the primary group.
    pub group: Option<u32>,
    /// Added to the groups that `/etc/group` gives the user.
    pub additional_groups: Vec<u32>,
}

/// A file system to see inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the container; created when missing; symlinks are resolved inside the container's root.
    pub target: PathBuf,
    pub source: MountSource,
    pub read_only: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// A file or directory of the host. `sub_path` is resolved beneath `path` without ever leaving it, whatever symlinks
    /// the container put there, and is created as a directory when missing.
    Bind { path: PathBuf, sub_path: Option<PathBuf> },
    /// Memory, at most `size` bytes (the kernel's default, half of RAM, without).
    Tmpfs { size: Option<u64>, mode: u32 },
}

/// What a container reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StandardInput {
    /// The end of the file.
    #[default]
    None,
    /// What those write who are attached, one after the other.
    Open,
    /// What the first one writes who is attached; then the end of the file.
    Once,
}

/// Whether mounts made later on one side appear on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// Which kernel namespaces the container lives in. The mount and cgroup namespaces are always its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    pub network: Namespace,
    pub pid: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
}

impl Namespaces {
    /// New PID, IPC and UTS namespaces, joining the network namespace at `path`.
    pub fn with_network(path: PathBuf) -> Self {
        Self { network: Namespace::Path(path), pid: Namespace::New, ipc: Namespace::New, uts: Namespace::New }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Namespace {
    New,
    /// The one of the process that started this library's caller.
    Host,
    /// An `nsfs` file such as `/run/netns/x` or `/proc/<pid>/ns/ipc`.
    Path(PathBuf),
}

/// Limits, enforced by cgroups. `None` leaves a resource unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative weight, 2 to 262144, 1024 being one CPU's worth (cgroup v1 units; converted on v2).
    pub cpu_shares: Option<u64>,
    /// Thousandths of a CPU, per period of 100 ms.
    pub cpu_quota_millis: Option<u64>,
    /// Bytes; swap is not added to it.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids_limit: Option<u64>,
    /// -1000 (never killed) to 1000.
    pub oom_score_adj: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities, all devices, no seccomp, no masked or read-only paths.
    pub privileged: bool,
    /// Names with or without `CAP_`, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Applied to the default set before `add_capabilities`.
    pub drop_capabilities: Vec<String>,
    /// The process and its children can gain nothing through set-uid files.
    pub no_new_privileges: bool,
    pub read_only_rootfs: bool,
    pub seccomp: Seccomp,
    /// Leave `/proc` as the kernel shows it (Kubernetes: `procMount: Unmasked`).
    pub unmasked_proc: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            privileged: false,
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            no_new_privileges: false,
            read_only_rootfs: false,
            seccomp: Seccomp::Default,
            unmasked_proc: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seccomp {
    /// The allow-list that container runtimes share.
    #[default]
    Default,
    Unconfined,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile`, `core`, `memlock` … as in `getrlimit(2)`, lower case, without `RLIMIT_`.
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// Where the output goes, in the CRI format: `<rfc3339nano> stdout|stderr F|P <line>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The newest lines; its directory must exist. When it is full it is renamed to `<path>.1`, `.1` to `.2`, and so on.
    pub path: PathBuf,
    /// Bytes after which a new file is begun.
    pub max_bytes: u64,
    /// Files kept in all, the current one included; at least 1.
    pub max_files: u32,
}

impl Log {
    /// The kubelet's defaults: 10 MiB a file, 5 files.
    pub fn new(path: PathBuf) -> Self {
        Self { path, max_bytes: 10 << 20, max_files: 5 }
    }
}
