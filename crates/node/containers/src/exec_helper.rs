//! The process that runs a command inside a container: started by re-execution, joins the container's namespaces and
//! cgroup, forks the command, and reports how it ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};

use crate::cgroup::Deadline;
use crate::layout::{Layout, read_json};
use crate::monitor::{Record, Request};
use crate::process::{OwnExecutable, Process};
use crate::{Status, sys, watch};

/// What the caller sends on the helper's standard input, a socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) args: Vec<String>,
    pub(crate) timeout: Duration,
    /// Whether its standard descriptors are a terminal, which it is to control.
    pub(crate) terminal: bool,
}

/// What it gets back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    Ended {
        code: i32,
    },
    TimedOut,
    NotRunning,
    /// The command could not be run.
    Failed(String),
}

/// `input` becomes the command's standard input.
pub(crate) fn run(dir: &Path, input: Option<OwnedFd>) -> io::Result<()> {
    match &input {
        Some(input) => sys::close_from_but(3, input)?,
        None => sys::close_from(3)?,
    }
    sys::ignore_signals();
    let mut caller = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?);
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let mut text = Vec::new();
    caller.read_to_end(&mut text)?;
    let command: Command = serde_json::from_slice(&text)?;
    let outcome =
        execute(&Layout::new(dir.to_owned()), command, &caller, input).unwrap_or_else(Outcome::Failed);
    caller.write_all(&serde_json::to_vec(&outcome)?)
}

fn execute(
    layout: &Layout,
    command: Command,
    caller: &UnixStream,
    input: Option<OwnedFd>,
) -> Result<Outcome, String> {
    let deadline = Deadline::after(command.timeout);
    let own = OwnExecutable::remember().map_err(|e| format!("look at /proc/self/exe: {e}"))?;
    let request: Request = read_json(&layout.request()).map_err(|e| format!("read request.json: {e}"))?;
    let process: Process = read_json(&layout.process()).map_err(|e| format!("read process.json: {e}"))?;
    let mut process = Process { args: command.args, ..process };
    if command.terminal && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_owned());
    }
    let record: Record = read_json(&layout.status()).map_err(|e| format!("read status.json: {e}"))?;
    let Status::Running(running) = &record.status else { return Ok(Outcome::NotRunning) };
    let Some(first) = watch::open_process(running.pid, record.start_ticks) else {
        return Ok(Outcome::NotRunning);
    };
    // Opened here: inside the container the host's cgroup files are out of reach.
    let groups = request
        .cgroup()
        .dirs()
        .into_iter()
        .map(|dir| OpenOptions::new().write(true).open(dir.join("cgroup.procs")));
    let groups: Vec<File> = groups.collect::<Result<_, _>>().map_err(|e| format!("open the cgroup: {e}"))?;
    let rlimits = crate::rlimit::of_process(running.pid).map_err(|e| format!("read resource limits: {e}"))?;
    join_namespaces(&first).map_err(|e| format!("join the container's namespaces: {e}"))?;
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (failure, failure_in) = pipe.map_err(|e| format!("make a pipe: {e}"))?;
    match sys::fork().map_err(|e| format!("fork: {e}"))? {
        sys::Fork::Child => {
            let reason =
                become_command(&process, own, &groups, &rlimits, Stdio { input, terminal: command.terminal });
            let _ = File::from(failure_in).write_all(reason.as_bytes());
            sys::exit_now(127)
        }
        sys::Fork::Parent(child) => {
            drop((failure_in, groups, input));
            wait(child, failure, deadline, caller)
        }
    }
}

fn join_namespaces(first: &OwnedFd) -> rustix::io::Result<()> {
    use ThreadNameSpaceType as Type;
    let all = Type::MOUNT
        | Type::CONTROL_GROUP
        | Type::HOST_NAME_AND_NIS_DOMAIN_NAME
        | Type::INTER_PROCESS_COMMUNICATION
        | Type::PROCESS_ID
        | Type::NETWORK;
    rustix::thread::move_into_thread_name_spaces(first.as_fd(), all)
}

/// What stands in for the descriptors that the helper itself started with.
struct Stdio {
    input: Option<OwnedFd>,
    terminal: bool,
}

/// Returns only the reason why the command could not be run.
fn become_command(
    process: &Process,
    own: OwnExecutable,
    groups: &[File],
    rlimits: &crate::rlimit::Limits,
    stdio: Stdio,
) -> String {
    let prepare = || -> Result<(), String> {
        for mut group in groups {
            group.write_all(b"0").map_err(|e| format!("join the cgroup: {e}"))?;
        }
        rustix::process::setsid().map_err(|e| format!("start a session: {e}"))?;
        if let Some(input) = &stdio.input {
            rustix::stdio::dup2_stdin(input).map_err(|e| format!("take standard input: {e}"))?;
        }
        if stdio.terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdout())
                .map_err(|e| format!("take the terminal: {e}"))?;
        }
        crate::rlimit::apply(rlimits).map_err(|e| format!("set resource limits: {e}"))?;
        rustix::process::chdir(&process.cwd)
            .map_err(|e| format!("chdir to {}: {e}", process.cwd.display()))?;
        process.become_user()
    };
    match prepare() {
        Err(reason) => reason,
        Ok(()) => process.execute(own),
    }
}

fn wait(child: Pid, failure: OwnedFd, deadline: Deadline, caller: &UnixStream) -> Result<Outcome, String> {
    let mut reason = String::new();
    File::from(failure).read_to_string(&mut reason).map_err(|e| format!("hear from the command: {e}"))?;
    if !reason.is_empty() {
        return Ok(Outcome::Failed(reason));
    }
    let pidfd = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty())
        .map_err(|e| format!("open the command: {e}"))?;
    let in_time = ends_in_time(&pidfd, deadline, caller).map_err(|e| format!("wait for the command: {e}"))?;
    if !in_time {
        // It leads a session of its own, so this reaches what it has started, too.
        let _ = rustix::process::kill_process_group(child, Signal::KILL);
    }
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .map_err(|e| format!("wait for the command: {e}"))?;
    if !in_time {
        return Ok(Outcome::TimedOut);
    }
    let code = status.as_ref().and_then(|status| status.exit_status());
    let signal = status.and_then(|status| status.terminating_signal());
    Ok(Outcome::Ended { code: code.or(signal.map(|signal| 128 + signal)).unwrap_or(255) })
}

/// Whether the command ends before the deadline and before its caller goes away.
fn ends_in_time(command: &OwnedFd, deadline: Deadline, caller: &UnixStream) -> io::Result<bool> {
    loop {
        // No events asked for: only the caller's end is reported.
        let mut fds = [PollFd::new(command, PollFlags::IN), PollFd::new(caller, PollFlags::empty())];
        let timeout = Timespec::try_from(deadline.left()).expect("timeouts are short");
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(true),
            Ok(_) => return Ok(false),
        }
    }
}
