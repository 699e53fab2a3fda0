//! Getting monitors and exec helpers from the [nursery](crate::nursery), and starting that.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::MonitorCommand;
use crate::nursery::{self, Mode};
use crate::sys;

/// What to execute, settled when the root is opened, so that replacing the program's file later changes nothing.
#[derive(Debug)]
pub(super) struct Launcher {
    command: MonitorCommand,
    /// The program on a read-only mount of its own (Linux 5.12): nothing inside a container can write to it.
    read_only: Option<OwnedFd>,
    /// Started when it is first needed, and anew should it have died.
    nursery: Mutex<Option<Nursery>>,
}

#[derive(Debug)]
struct Nursery {
    process: OwnedFd,
    socket: Option<OwnedFd>,
}

impl Drop for Nursery {
    /// Without its socket the nursery ends at once, and is collected here.
    fn drop(&mut self) {
        self.socket = None;
        let _ = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
    }
}

/// A started process and the socket that is its standard input.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) process: OwnedFd,
    pub(super) socket: UnixStream,
}

impl Launcher {
    pub(super) fn new(command: MonitorCommand) -> Self {
        let read_only = match sys::read_only_clone(&command.exe) {
            Ok(fd) => Some(fd),
            Err(error) => {
                tracing::warn!(%error, "cannot protect the monitor's program from containers: Linux 5.12 is needed");
                None
            }
        };
        Self { command, read_only, nursery: Mutex::default() }
    }

    pub(super) fn exe(&self) -> &Path {
        &self.command.exe
    }

    /// Starts a process for a container's directory. Blocks for the moment that takes.
    pub(super) fn launch(
        &self,
        mode: Mode,
        dir: &Path,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
        input: Option<BorrowedFd<'_>>,
    ) -> io::Result<Helper> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut nursery = self.nursery.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = nursery.is_none();
        loop {
            let running = match &mut *nursery {
                Some(running) => running,
                none => none.insert(self.start_nursery()?),
            };
            let orders = running.socket.as_ref().expect("there until it is dropped");
            let descriptors: Vec<BorrowedFd<'_>> =
                [theirs.as_fd(), stdout, stderr].into_iter().chain(input).collect();
            match nursery::order(orders, mode, dir, &descriptors) {
                Ok(process) => return Ok(Helper { process, socket }),
                Err(error) if is_gone(&error) => {
                    *nursery = None;
                    // One that dies before its first order would die again.
                    if std::mem::replace(&mut is_new, true) {
                        return Err(io::Error::other("it ended before it served"));
                    }
                    tracing::warn!("the process that starts monitors has died and is started anew");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn start_nursery(&self) -> io::Result<Nursery> {
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let program: OsString = match &self.read_only {
            Some(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into(),
            None => self.command.exe.clone().into(),
        };
        let mut command = Command::new(program);
        command.arg0(&self.command.exe).args(&self.command.args_prefix).arg("nursery");
        command.env_clear().stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        // Collected through its descriptor; dropping the handle does nothing to the child.
        let child = command.spawn()?;
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        Ok(Nursery { process, socket: Some(socket) })
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

/// Waits until a process has ended.
pub(super) async fn ended(process: &AsyncFd<OwnedFd>) -> io::Result<()> {
    // Level-triggered in effect: a pidfd stays readable once the process is dead.
    process.readable().await.map(drop)
}
