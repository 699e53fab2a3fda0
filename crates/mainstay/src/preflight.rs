//! What must be so before a node can run, checked within 200 ms: each problem comes with what mends it.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};

/// The cgroup controllers by which containers are limited.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Something that keeps Mainstay from running, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.fix)
    }
}

fn problem(what: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem { what: what.into(), fix: fix.into() }
}

/// A port to listen on and the flag that sets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub(crate) flag: &'static str,
    pub(crate) address: SocketAddr,
}

/// Ports that somebody else listens on. Port 0 stands for any free one and never is a problem.
pub(crate) fn ports(ports: &[Port]) -> Vec<Problem> {
    ports
        .iter()
        .filter_map(|Port { flag, address }| {
            let error = TcpListener::bind(address).err()?;
            Some(problem(
                format!("cannot listen on {address}: {error}"),
                format!("end what listens there, or choose another port with {flag}"),
            ))
        })
        .collect()
}

/// What the node needs of the kernel: cgroup controllers, and overlay file systems on the data directory.
pub(crate) fn node(data_dir: &Path) -> Vec<Problem> {
    cgroups(Path::new("/sys/fs/cgroup")).into_iter().chain(overlay(data_dir)).collect()
}

/// The controllers must be there in one of the two versions, below `root`.
fn cgroups(root: &Path) -> Option<Problem> {
    let unified = fs::read_to_string(root.join("cgroup.controllers"));
    let missing: Vec<&str> = match &unified {
        Ok(controllers) => CONTROLLERS
            .into_iter()
            .filter(|name| !controllers.split_whitespace().any(|controller| controller == *name))
            .collect(),
        Err(_) => {
            CONTROLLERS.into_iter().filter(|name| !root.join(name).join("cgroup.procs").exists()).collect()
        }
    };
    if missing.is_empty() {
        return None;
    }
    let fix = if unified.is_ok() {
        format!(
            "in a container, start it with its own writable cgroup tree; otherwise add `cgroup_enable={}` to the kernel's command line",
            missing.join(",")
        )
    } else {
        format!("mount them, as in: mount -t cgroup -o {0} cgroup {1}/{0}", missing[0], root.display())
    };
    Some(problem(
        format!("the cgroup controllers {} are missing below {}", missing.join(", "), root.display()),
        fix,
    ))
}

/// Mounts and unmounts a small overlay, because only trying tells: it depends on the file system beneath.
fn overlay(data_dir: &Path) -> Option<Problem> {
    let fix = "choose a --data-dir on an ordinary file system (ext4, xfs, btrfs), not on another overlay or a network mount";
    let probe = data_dir.join("overlay-probe");
    let result = try_overlay(&probe);
    // What was made is removed whether it worked or not; a leftover is overwritten by the next probe.
    let _ = fs::remove_dir_all(&probe);
    result
        .err()
        .map(|error| problem(format!("{} carries no overlay file system: {error}", data_dir.display()), fix))
}

fn try_overlay(probe: &Path) -> std::io::Result<()> {
    let [lower, upper, work, merged]: [PathBuf; 4] =
        ["lower", "upper", "work", "merged"].map(|name| probe.join(name));
    for directory in [&lower, &upper, &work, &merged] {
        fs::create_dir_all(directory)?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    nix::mount::mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    nix::mount::umount2(&merged, MntFlags::MNT_DETACH)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let found = ports(&[
            Port { flag: "--api-port", address },
            Port { flag: "--http-port", address: "127.0.0.1:0".parse().unwrap() },
        ]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.starts_with(&format!("cannot listen on {address}")), "{}", found[0]);
        assert!(found[0].fix.contains("--api-port"), "{}", found[0]);
    }

    #[test]
    fn cgroups_are_found_in_both_versions() {
        let unified = tempfile::tempdir().unwrap();
        fs::write(unified.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        assert_eq!(cgroups(unified.path()), None);
        fs::write(unified.path().join("cgroup.controllers"), "cpu pids\n").unwrap();
        assert!(cgroups(unified.path()).unwrap().what.contains("controllers memory are missing"));

        let legacy = tempfile::tempdir().unwrap();
        for name in ["cpu", "pids"] {
            fs::create_dir(legacy.path().join(name)).unwrap();
            fs::write(legacy.path().join(name).join("cgroup.procs"), "").unwrap();
        }
        let found = cgroups(legacy.path()).unwrap();
        assert!(found.fix.contains("mount -t cgroup -o memory"), "{found}");
    }

    #[test]
    fn an_overlay_is_tried_and_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(
            overlay(data.path()),
            None,
            "this test needs root and an ordinary file system below the temporary directory"
        );
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        let missing = overlay(Path::new("/proc/self/nowhere")).unwrap();
        assert!(missing.fix.contains("--data-dir"), "{missing}");
    }
}
