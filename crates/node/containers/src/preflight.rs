//! What this machine must offer, found out before anything is started.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::cgroup::Hierarchies;

/// Something that will keep containers from running, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub fix: String,
}

const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Looks for root, cgroup controllers, and overlay mounts in the directory that will hold the containers. Takes a few
/// milliseconds and leaves nothing behind.
pub fn preflight(root: &Path) -> Vec<Problem> {
    if !rustix::process::geteuid().is_root() {
        return vec![Problem {
            what: "running containers needs root".to_owned(),
            fix: "run it through sudo".to_owned(),
        }];
    }
    let mut problems = Vec::new();
    match Hierarchies::find() {
        Err(_) => problems.push(Problem {
            what: "no cgroup file system is mounted".to_owned(),
            fix: "mount -t cgroup2 none /sys/fs/cgroup".to_owned(),
        }),
        Ok(hierarchies) => {
            let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !hierarchies.has(name)).collect();
            if !missing.is_empty() {
                problems.push(Problem {
                    what: format!("the cgroup controllers {} are missing", missing.join(", ")),
                    fix: "enable them on the kernel's command line, such as cgroup_enable=memory".to_owned(),
                });
            }
        }
    }
    if let Err(error) = try_overlay(root) {
        problems.push(Problem {
            what: format!("overlay cannot be mounted in {}: {error}", root.display()),
            fix: "choose a data directory on ext4, xfs or btrfs; on overlay itself (inside a container) it does not work"
                .to_owned(),
        });
    }
    problems
}

fn try_overlay(root: &Path) -> io::Result<()> {
    // The nearest that exists: a data directory is made later, and nothing is to be left of this.
    let existing = root.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let base = existing.join(format!(".overlay-{}", std::process::id()));
    fs::create_dir(&base)?;
    let attempt = || -> io::Result<()> {
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(base.join(name))?;
        }
        let option = |name: &str| {
            base.join(name).display().to_string().replace('\\', "\\\\").replace([',', ':'], "\\:")
        };
        let options =
            format!("lowerdir={},upperdir={},workdir={}", option("lower"), option("upper"), option("work"));
        let options = std::ffi::CString::new(options)?;
        rustix::mount::mount("overlay", base.join("merged"), "overlay", MountFlags::empty(), &*options)?;
        Ok(rustix::mount::unmount(base.join("merged"), UnmountFlags::DETACH)?)
    };
    let result = attempt();
    let removed = fs::remove_dir_all(&base);
    result.and(removed)
}
