//! The runtime specification (`config.json`) that `libcontainer` is given.
//!
//! The process in it keeps every capability and has no seccomp: both are limited by [`Process::execute`], because
//! the filter can only be installed while `CAP_SYS_ADMIN` is held.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::capability::Capabilities;
use crate::process::Process;
use crate::{ContainerSpec, MountSource, Namespace, Propagation, Resources};

/// Period of the CPU quota, microseconds; the kubelet's.
const CPU_PERIOD: u64 = 100_000;

const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A bind mount with its source settled.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
    pub(crate) propagation: Propagation,
}

#[derive(Debug)]
pub(crate) enum ResolvedMount {
    Bind(Bind),
    Tmpfs { target: PathBuf, size: Option<u64>, mode: u32, read_only: bool },
}

pub(crate) fn config(
    spec: &ContainerSpec,
    process: &Process,
    rootfs: &Path,
    cgroup: &Path,
    mounts: &[ResolvedMount],
) -> Value {
    let privileged = spec.security.privileged;
    let capabilities = Capabilities::all().names();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": process.uid, "gid": process.gid, "additionalGids": process.groups},
            "args": process.args,
            "env": process.env,
            "cwd": process.cwd,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": capabilities, "ambient": [],
            },
            "rlimits": rlimits(spec),
            "oomScoreAdj": spec.resources.oom_score_adj,
        },
        "root": {"path": rootfs, "readonly": spec.security.read_only_rootfs},
        "mounts": usual_mounts(spec).into_iter().chain(mounts.iter().map(mount)).collect::<Vec<_>>(),
        "linux": {
            "namespaces": namespaces(spec),
            "cgroupsPath": cgroup,
            "resources": resources(&spec.resources, privileged),
            "sysctl": spec.sysctls.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "maskedPaths": if privileged || spec.security.unmasked_proc { json!([]) } else { json!(MASKED_PATHS) },
            "readonlyPaths": if privileged || spec.security.unmasked_proc { json!([]) } else { json!(READ_ONLY_PATHS) },
        },
    });
    if spec.namespaces.uts == Namespace::New && !spec.hostname.is_empty() {
        config["hostname"] = json!(spec.hostname);
    }
    if privileged {
        config["linux"]["devices"] = json!(host_devices(Path::new("/dev")));
    }
    if config["process"]["oomScoreAdj"].is_null() {
        config["process"].as_object_mut().expect("built above").remove("oomScoreAdj");
    }
    config
}

/// A process may open as many files as containerd's service lets its containers, if the host's limit allows.
fn rlimits(spec: &ContainerSpec) -> Value {
    const OPEN_FILES: u64 = 1 << 20;
    let given = spec.rlimits.iter().map(|limit| {
        json!({"type": format!("RLIMIT_{}", limit.name.to_ascii_uppercase()), "soft": limit.soft, "hard": limit.hard})
    });
    let mut all: Vec<Value> = given.collect();
    if !spec.rlimits.iter().any(|limit| limit.name == "nofile") {
        let host = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limit = host.unwrap_or(OPEN_FILES).min(OPEN_FILES);
        all.push(json!({"type": "RLIMIT_NOFILE", "soft": limit, "hard": limit}));
    }
    Value::Array(all)
}

fn namespaces(spec: &ContainerSpec) -> Value {
    let one = |kind: &str, namespace: &Namespace| match namespace {
        Namespace::New => Some(json!({"type": kind})),
        Namespace::Host => None,
        Namespace::Path(path) => Some(json!({"type": kind, "path": path})),
    };
    let ours = &spec.namespaces;
    let chosen = [
        one("network", &ours.network),
        one("pid", &ours.pid),
        one("ipc", &ours.ipc),
        one("uts", &ours.uts),
        one("mount", &Namespace::New),
        one("cgroup", &Namespace::New),
    ];
    Value::Array(chosen.into_iter().flatten().collect())
}

fn resources(resources: &Resources, privileged: bool) -> Value {
    let mut cpu = json!({});
    if let Some(shares) = resources.cpu_shares {
        cpu["shares"] = json!(shares.clamp(2, 262_144));
    }
    if let Some(millis) = resources.cpu_quota_millis {
        // The kernel refuses less than one millisecond.
        cpu["quota"] = json!((millis.saturating_mul(CPU_PERIOD) / 1000).max(1000));
        cpu["period"] = json!(CPU_PERIOD);
    }
    let mut all = json!({"devices": [{"allow": privileged, "access": "rwm"}], "cpu": cpu});
    if let Some(limit) = resources.memory_limit {
        all["memory"] = json!({"limit": i64::try_from(limit).unwrap_or(i64::MAX)});
    }
    if let Some(limit) = resources.pids_limit {
        all["pids"] = json!({"limit": i64::try_from(limit).unwrap_or(i64::MAX)});
    }
    all
}

fn usual_mounts(spec: &ContainerSpec) -> Vec<Value> {
    let one = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let access = if spec.security.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        one("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        one("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        one(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
    ];
    let given = |path: &str| spec.mounts.iter().any(|mount| mount.target == Path::new(path));
    if !given("/dev/shm") {
        let options = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
        mounts.push(one("/dev/shm", "tmpfs", "shm", &options));
    }
    if spec.namespaces.ipc == Namespace::New {
        mounts.push(one("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    if spec.namespaces.network != Namespace::Host {
        mounts.push(one("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]));
    } else {
        mounts.push(one("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", access]));
    }
    mounts.push(one(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "relatime", access],
    ));
    mounts
}

fn mount(mount: &ResolvedMount) -> Value {
    match mount {
        ResolvedMount::Bind(bind) => {
            let propagation = match bind.propagation {
                Propagation::Private => "rprivate",
                Propagation::HostToContainer => "rslave",
                Propagation::Bidirectional => "rshared",
            };
            let access = if bind.read_only { "ro" } else { "rw" };
            json!({"destination": bind.target, "type": "bind", "source": bind.source,
                "options": ["rbind", propagation, access]})
        }
        ResolvedMount::Tmpfs { target, size, mode, read_only } => {
            let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), format!("mode={mode:o}")];
            options.extend(size.map(|bytes| format!("size={bytes}")));
            options.push(if *read_only { "ro" } else { "rw" }.to_owned());
            json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options})
        }
    }
}

/// Every device node of the host, for privileged containers, as the usual runtimes list them.
fn host_devices(dir: &Path) -> Vec<Value> {
    const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".udev", "console"];
    let mut devices = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if entry.file_name().to_str().is_none_or(|name| OWN.contains(&name)) {
            continue;
        }
        if kind.is_dir() {
            devices.extend(host_devices(&path));
        } else if (kind.is_char_device() || kind.is_block_device())
            && let Ok(metadata) = entry.metadata()
        {
            let number = metadata.rdev();
            devices.push(json!({
                "path": path, "type": if kind.is_char_device() { "c" } else { "b" },
                "major": rustix::fs::major(number), "minor": rustix::fs::minor(number),
                "fileMode": metadata.mode() & 0o777, "uid": metadata.uid(), "gid": metadata.gid(),
            }));
        }
    }
    devices
}

/// Turns what a specification says of mounts into what can be mounted.
pub(crate) fn resolve_mounts(
    layout: &crate::layout::Layout,
    spec: &ContainerSpec,
) -> Result<Vec<ResolvedMount>, String> {
    let resolve = |(index, mount): (usize, &crate::Mount)| match &mount.source {
        MountSource::Tmpfs { size, mode } => Ok(ResolvedMount::Tmpfs {
            target: mount.target.clone(),
            size: *size,
            mode: *mode,
            read_only: mount.read_only,
        }),
        MountSource::Bind { path, sub_path } => {
            let source = match sub_path {
                None => {
                    std::fs::metadata(path).map_err(|e| format!("mount source {}: {e}", path.display()))?;
                    path.clone()
                }
                Some(sub_path) => crate::rootfs::bind_sub_path(layout, index, path, sub_path)
                    .map_err(|e| format!("sub-path {} of {}: {e}", sub_path.display(), path.display()))?,
            };
            Ok(ResolvedMount::Bind(Bind {
                source,
                target: mount.target.clone(),
                read_only: mount.read_only,
                propagation: mount.propagation,
            }))
        }
    };
    spec.mounts.iter().enumerate().map(resolve).collect()
}
