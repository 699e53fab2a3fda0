//! The standard descriptors of a container, and their other ends.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pty::OpenptFlags;

use super::pipe;
use crate::{ContainerSpec, StandardInput};

/// The container's.
pub(super) struct Theirs {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The monitor's.
pub(super) struct Ours {
    /// Absent where nothing can be written to the container; the terminal, if it has one.
    pub(super) input: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    /// Absent for a terminal.
    pub(super) stderr: Option<OwnedFd>,
}

pub(super) fn make(spec: &ContainerSpec) -> io::Result<(Ours, Theirs)> {
    if spec.terminal {
        return terminal();
    }
    let ((stdout, stdout_in), (stderr, stderr_in)) = (pipe()?, pipe()?);
    let (stdin, input) = match spec.input {
        StandardInput::None => (File::open("/dev/null")?.into(), None),
        StandardInput::Open | StandardInput::Once => {
            let (read, write) = pipe()?;
            (read, Some(write))
        }
    };
    let theirs = Theirs { stdin, stdout: stdout_in, stderr: stderr_in };
    Ok((Ours { input, stdout, stderr: Some(stderr) }, theirs))
}

fn terminal() -> io::Result<(Ours, Theirs)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let theirs = Theirs { stdin: slave.try_clone()?, stdout: slave.try_clone()?, stderr: slave };
    Ok((Ours { input: Some(master.try_clone()?), stdout: master, stderr: None }, theirs))
}
