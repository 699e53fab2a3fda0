//! The process whose children monitors and exec helpers are: started once by re-execution, it forks for every order.
//!
//! Executing the program anew for each would cost every monitor its own copy of the pages that the loader relocates,
//! megabytes for a large program; forked monitors share the nursery's, and a fork takes a fraction of the time. The
//! nursery has one thread and does nothing else, so its children start from a clean state. It ends with its caller; its
//! children do not.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::{exec_helper, monitor, sys};

/// A path and some JSON around it.
const ORDER_LIMIT: usize = 8 << 10;
/// Standard input, output and error of the child, and what it may get besides.
const ORDER_DESCRIPTORS: usize = 4;
const STANDARD: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// [`monitor::run`]
    Run,
    /// [`exec_helper::run`]
    Exec,
}

/// What to fork for. The three standard descriptors travel with it, and a command's standard input if it has one.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    mode: Mode,
    dir: PathBuf,
}

/// What comes back, with the child's `pidfd` if there is one.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    failure: Option<String>,
}

/// Orders a child. Blocks for the moment that takes; an end of the file means that the nursery is no more.
pub(crate) fn order(
    nursery: &OwnedFd,
    mode: Mode,
    dir: &Path,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<OwnedFd> {
    send(nursery, &serde_json::to_vec(&Order { mode, dir: dir.to_owned() })?, descriptors)?;
    let (bytes, mut descriptors) = receive(nursery)?;
    if bytes.is_empty() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let answer: Answer = serde_json::from_slice(&bytes)?;
    match (answer.failure, descriptors.pop()) {
        (None, Some(process)) => Ok(process),
        (failure, _) => Err(io::Error::other(failure.unwrap_or_else(|| "no process came back".to_owned()))),
    }
}

/// Serves orders from standard input, a socket, until its other end is closed.
pub(crate) fn run() -> io::Result<()> {
    sys::close_from(3)?;
    sys::ignore_signals();
    // Children that have ended leave nothing to collect: callers know them by descriptor.
    sys::ignore_children();
    rustix::process::setsid()?;
    std::env::set_current_dir("/")?;
    rustix::thread::set_name(c"nursery")?;
    let caller = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    loop {
        let (bytes, descriptors) = receive(&caller)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let (failure, process) = match serve(&bytes, descriptors) {
            Ok(process) => (None, Some(process)),
            Err(error) => (Some(error.to_string()), None),
        };
        let descriptors: Vec<BorrowedFd<'_>> = process.iter().map(|process| process.as_fd()).collect();
        send(&caller, &serde_json::to_vec(&Answer { failure })?, &descriptors)?;
    }
}

fn serve(bytes: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    let order: Order = serde_json::from_slice(bytes)?;
    let more = descriptors.split_off(descriptors.len().min(STANDARD)).pop();
    let standard: [OwnedFd; STANDARD] =
        descriptors.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    match sys::fork()? {
        sys::Fork::Child => sys::exit_now(child(&order, &standard, more)),
        sys::Fork::Parent(pid) => Ok(pidfd_open(pid, PidfdFlags::empty())?),
    }
}

fn child(order: &Order, standard: &[OwnedFd; STANDARD], more: Option<OwnedFd>) -> i32 {
    let work = move || -> io::Result<()> {
        sys::reset_signals();
        let [input, output, error] = standard;
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(error)?;
        // What a person sees in `ps` and `top`; the kernel cuts it.
        let id = order.dir.file_name().unwrap_or_default().to_string_lossy();
        let name = std::ffi::CString::new(format!("{:?}:{id}", order.mode).to_lowercase())?;
        rustix::thread::set_name(&name)?;
        match order.mode {
            Mode::Run => monitor::run(&order.dir),
            Mode::Exec => exec_helper::run(&order.dir, more),
        }
    };
    match work() {
        Ok(()) => 0,
        Err(error) => {
            // The file that the caller reads when it gets no answer.
            let _ = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
            1
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ORDER_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One message; empty at the end.
fn receive(socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; ORDER_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ORDER_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok((Vec::new(), Vec::new())),
            result => break result?,
        }
    };
    bytes.truncate(received.bytes);
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok((bytes, descriptors.collect()))
}
