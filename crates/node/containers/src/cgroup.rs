//! A container's cgroup on version 1 and version 2 hosts: finding it, reading it, emptying it, removing it.
//!
//! Limits are written by `libcontainer` in the set-up process; everything later is here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::Stats;

/// How long processes get to die and a cgroup to become removable after that.
const EMPTY_DEADLINE: Duration = Duration::from_secs(10);
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// Where cgroups are mounted on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchies {
    /// Every mounted hierarchy with its controllers; version 2 lists `""`.
    mounts: Vec<(String, PathBuf)>,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    One,
    Two,
}

impl Hierarchies {
    pub(crate) fn find() -> io::Result<Self> {
        Self::from_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup file system is mounted"))
    }

    /// Version 2 only if it is the one mounted at `/sys/fs/cgroup`; beside version 1 ("hybrid") it has no controllers.
    fn from_mountinfo(text: &str) -> Option<Self> {
        let mut mounts: Vec<(String, PathBuf)> = Vec::new();
        let mut unified = None;
        for line in text.lines() {
            let (left, right) = line.split_once(" - ")?;
            let path = PathBuf::from(unescape(left.split(' ').nth(4)?));
            let mut right = right.split(' ');
            match right.next()? {
                "cgroup2" => {
                    if path == Path::new("/sys/fs/cgroup") {
                        unified = Some(path.clone());
                    }
                    mounts.push((String::new(), path));
                }
                "cgroup" => {
                    let options = right.nth(1)?;
                    mounts.push((options.to_owned(), path));
                }
                _ => {}
            }
        }
        match unified {
            Some(path) => Some(Self { mounts: vec![(String::new(), path)], version: Version::Two }),
            None if mounts.is_empty() => None,
            None => Some(Self { mounts, version: Version::One }),
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether a controller can be used.
    pub(crate) fn has(&self, controller: &str) -> bool {
        match self.version {
            Version::Two => fs::read_to_string(self.mounts[0].1.join("cgroup.controllers"))
                .is_ok_and(|text| text.split_whitespace().any(|name| name == controller)),
            Version::One => self.mount_of(controller).is_some(),
        }
    }

    fn mount_of(&self, controller: &str) -> Option<&Path> {
        let holds =
            |options: &str| self.version == Version::Two || options.split(',').any(|o| o == controller);
        self.mounts.iter().find(|(options, _)| holds(options)).map(|(_, path)| path.as_path())
    }
}

fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// One cgroup, the same relative path in every hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    hierarchies: Hierarchies,
    path: PathBuf,
}

impl Cgroup {
    pub(crate) fn new(hierarchies: &Hierarchies, path: impl Into<PathBuf>) -> Self {
        Self { hierarchies: hierarchies.clone(), path: path.into() }
    }

    fn dir(&self, controller: &str) -> Option<PathBuf> {
        Some(self.hierarchies.mount_of(controller)?.join(&self.path))
    }

    /// The directories that exist, one per hierarchy.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        let dirs = self.hierarchies.mounts.iter().map(|(_, mount)| mount.join(&self.path));
        dirs.filter(|dir| dir.is_dir()).collect()
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.dir(controller)?.join(file)).ok()
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        self.read(controller, file).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn keyed(&self, controller: &str, file: &str, key: &str) -> u64 {
        let text = self.read(controller, file).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0)
    }

    /// How many processes the kernel has killed here for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self.hierarchies.version {
            Version::One => self.keyed("memory", "memory.oom_control", "oom_kill "),
            Version::Two => self.keyed("memory", "memory.events", "oom_kill "),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let (cpu_usage_ns, memory_usage, inactive_file, memory_rss) = match self.hierarchies.version {
            Version::One => (
                self.number("cpuacct", "cpuacct.usage"),
                self.number("memory", "memory.usage_in_bytes"),
                self.keyed("memory", "memory.stat", "total_inactive_file "),
                self.keyed("memory", "memory.stat", "total_rss "),
            ),
            Version::Two => (
                self.keyed("cpu", "cpu.stat", "usage_usec ").saturating_mul(1000),
                self.number("memory", "memory.current"),
                self.keyed("memory", "memory.stat", "inactive_file "),
                self.keyed("memory", "memory.stat", "anon "),
            ),
        };
        Stats {
            cpu_usage_ns,
            memory_usage,
            memory_working_set: memory_usage.saturating_sub(inactive_file),
            memory_rss,
            processes: self.number("pids", "pids.current"),
        }
    }

    /// Every process in it, in whichever hierarchy it is found, child cgroups included.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        fn collect(dir: &Path, found: &mut Vec<Pid>) {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
            for child in child_dirs(dir) {
                collect(&child, found);
            }
        }
        let mut found = Vec::new();
        for dir in self.dirs() {
            collect(&dir, &mut found);
        }
        found.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        found.dedup();
        found
    }

    /// Kills everything in it and waits until all of it is dead. Blocks, at most for `EMPTY_DEADLINE`.
    pub(crate) fn kill_all(&self) -> io::Result<()> {
        if self.hierarchies.version == Version::Two
            && let Some(dir) = self.dir("")
        {
            // Kernels before 5.14 have no such file; the loop below does the work then.
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
        let deadline = Deadline::after(EMPTY_DEADLINE);
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                // Between listing and opening it may have ended; then there is nothing left to kill.
                let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                if !deadline.wait_readable(&pidfd)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            if deadline.passed() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Removes it in every hierarchy unless something is in it.
    pub(crate) fn remove_empty(&self) -> io::Result<()> {
        self.dirs().iter().try_for_each(fs::remove_dir)
    }

    /// Removes it in every hierarchy. Blocks while the kernel still counts dead processes, at most for `EMPTY_DEADLINE`.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Deadline::after(EMPTY_DEADLINE);
        for dir in self.dirs() {
            while let Err(error) = remove_tree(&dir) {
                let busy = error.raw_os_error() == Some(libc::EBUSY);
                if !busy || deadline.passed() {
                    return Err(error);
                }
                deadline.pause(REMOVE_PAUSE);
            }
        }
        Ok(())
    }
}

fn child_dirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in child_dirs(dir) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A point on the monotonic clock for code that blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Duration);

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).expect("the monotonic clock is never negative")
}

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        Self(monotonic() + duration)
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_sub(monotonic())
    }

    pub(crate) fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// Waits for a descriptor; `false` when the deadline came first.
    pub(crate) fn wait_readable(self, fd: &impl std::os::fd::AsFd) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        loop {
            let mut fds = [PollFd::new(fd, PollFlags::IN)];
            let timeout = Timespec::try_from(self.left()).expect("deadlines are short");
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Passes a moment where the kernel offers nothing to wait for.
    pub(crate) fn pause(self, duration: Duration) {
        let timeout = rustix::event::Timespec::try_from(duration.min(self.left())).expect("pauses are short");
        let _ = rustix::event::poll(&mut [], Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_version_one_and_hybrid() {
        let text = "25 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            26 25 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            27 25 0:23 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
            28 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::from_mountinfo(text).unwrap();
        assert_eq!(found.version(), Version::One);
        assert_eq!(found.mount_of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(found.mount_of("memory"), Some(Path::new("/sys/fs/cgroup/memory")));
        assert_eq!(found.mount_of("pids"), None);
        assert_eq!(found.mounts.len(), 3);
    }

    #[test]
    fn reads_version_two() {
        let text = "25 1 0:21 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::from_mountinfo(text).unwrap();
        assert_eq!(found.version(), Version::Two);
        assert_eq!(found.mount_of("memory"), Some(Path::new("/sys/fs/cgroup")));
    }

    #[test]
    fn says_when_there_is_none() {
        assert_eq!(Hierarchies::from_mountinfo("25 1 0:21 / /proc rw - proc proc rw\n"), None);
    }
}
