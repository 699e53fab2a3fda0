//! Runs containers on this machine, each held by a small monitor process of its own.
//!
//! Owns: container directories beneath one root, their cgroups beneath one parent, the monitor processes, exit
//! statuses and log files.
//!
//! What must hold:
//! - Namespaces, mounts and `libcontainer` are touched only in re-executed, single-threaded processes
//!   ([`monitor_main`]); the caller is never forked and never changed.
//! - A monitor outlives its caller. It holds a lock in the container's directory for as long as it lives, and writes the
//!   exit status durably before it goes, so that [`Containers::open`] finds everything again.
//! - Every mount of a container lies in its own mount namespace: when its last process is gone, so are they.
//! - Waiting is for file descriptors (`pidfd`), never by polling.
//!
//! Kept out: Pods, probes, restarts, image formats, the set-up of networks, and the policy of what is allowed.

mod attach;
mod capability;
mod cgroup;
mod containers;
mod error;
mod exec_helper;
mod layout;
mod monitor;
mod nursery;
mod oci;
mod passwd;
mod preflight;
mod process;
mod rlimit;
mod rootfs;
mod seccomp;
mod spec;
mod status;
mod sys;
mod watch;

use std::io::Write as _;

pub use containers::{
    AttachedInput, AttachedOutput, Attachment, Containers, ContainersConfig, Ended, Event, Events,
    ExecOutput, ExecRequest, Input, MonitorCommand, Output, Piece, Session, SessionRequest, Stats, Terminal,
};
pub use error::{ContainerError, ExecError, OpenError, StartError};
pub use preflight::{Problem, preflight};
pub use spec::{
    ContainerSpec, Log, Mount, MountSource, Namespace, Namespaces, Propagation, Resources, Rlimit, Seccomp,
    Security, StandardInput, User,
};
pub use status::{Exit, Running, Status};

/// Entry of the re-executed process, from which all monitors are forked: `args` is what follows [`MonitorCommand::args_prefix`]. Call it first thing in `main`,
/// before any thread is started or descriptor opened.
pub fn monitor_main(args: Vec<String>) -> std::process::ExitCode {
    let result = match args.as_slice() {
        [mode] if mode == "nursery" => nursery::run(),
        _ => Err(std::io::Error::other("this is an internal entry, started only by the program itself")),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
