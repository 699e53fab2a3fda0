//! Naming processes so that a number used again is never mistaken for the old process.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Flock, FlockType, Pid, PidfdFlags, fcntl_getlk, pidfd_open};

/// When a process began, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
pub(crate) fn start_ticks(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is a name in parentheses that may hold anything, so count from its end.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// Opens the process that began at `ticks` under this number, if it still lives.
pub(crate) fn open_process(pid: i32, ticks: u64) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid)?;
    let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (start_ticks(pid)? == ticks).then_some(fd)
}

/// Opens the process that holds the record lock on a file, if any does.
pub(crate) fn lock_holder(path: &Path) -> io::Result<Option<OwnedFd>> {
    let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let holder = || -> io::Result<Option<Pid>> {
        Ok(fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?.and_then(|lock| lock.pid))
    };
    let Some(pid) = holder()? else { return Ok(None) };
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
    // Still the holder, so the descriptor is of that process and of no later one with its number.
    Ok((holder()? == Some(pid)).then_some(fd))
}
