//! The process that holds a container: started by re-execution, single-threaded, outliving its caller.
//!
//! It forks a set-up process that does what needs memory (`libcontainer`, parsing) and ends; it itself only moves
//! output into the log, waits for the container's first process, and writes down how that ended.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, Hierarchies};
use crate::layout::{self, Durability, Layout, read_json, write_json};
use crate::{ContainerSpec, Exit, Log, Running, StandardInput, Status, sys};

mod attached;
mod log;
mod setup;
mod stdio;

use attached::Attached;
use log::{LogFile, Pump, Stream};

/// The kubelet's limit for termination messages.
const MESSAGE_LIMIT: u64 = 4096;

/// What the caller leaves for the monitor and the exec helper.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) spec: ContainerSpec,
    pub(crate) hierarchies: Hierarchies,
    /// Relative to each hierarchy.
    pub(crate) cgroup: PathBuf,
}

impl Request {
    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::new(&self.hierarchies, &self.cgroup)
    }
}

/// The content of `status.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) status: Status,
    /// Start time of the first process in clock ticks since boot, which with its id names it for good.
    pub(crate) start_ticks: u64,
}

/// What the monitor answers on its standard input, a socket, once the container runs or has failed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reply {
    Started(Running),
    /// Before the process could be tried.
    Create(String),
    /// The process itself.
    Process(String),
}

/// Runs a container from its directory to its end.
pub(crate) fn run(dir: &Path) -> io::Result<()> {
    let layout = Layout::new(dir.to_owned());
    let mut caller = detach()?;
    let _lock = take_lock(&layout.lock())?;
    let request: Request = read_json(&layout.request())?;
    let container = match Container::start(&layout, &request) {
        Ok(container) => container,
        Err(reply) => {
            let cgroup = request.cgroup();
            let _ = cgroup.kill_all().and_then(|()| cgroup.remove());
            return send(&mut caller, &reply);
        }
    };
    let running = container.running.clone();
    let record = Record { status: Status::Running(running.clone()), start_ticks: container.start_ticks };
    write_json(&layout.status(), &record, Durability::Atomic)?;
    // The caller may have died; the container goes on, and the next caller finds it by its record.
    let _ = send(&mut caller, &Reply::Started(running));
    drop(caller);
    let keep_message = request.spec.termination_message_path.is_some();
    let cgroup = request.cgroup();
    drop(request);
    let exit = container.hold(&cgroup, keep_message.then(|| layout.termination_message()))?;
    let record = Record { status: Status::Exited(exit), ..record };
    write_json(&layout.status(), &record, Durability::Synced)
}

/// Leaves the caller's session, signals and descriptors; keeps the socket that stands at standard input.
fn detach() -> io::Result<UnixStream> {
    sys::close_from(3)?;
    sys::ignore_signals();
    rustix::process::setsid()?;
    // Should the set-up process die half-way, its children come here instead of to the host's init.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    std::env::set_current_dir("/")?;
    let caller = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?);
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(caller)
}

/// A POSIX record lock: it names its holder to whoever asks, goes with the process, and is not inherited by children.
fn take_lock(path: &Path) -> io::Result<std::fs::File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn send(caller: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    caller.write_all(&serde_json::to_vec(reply)?)
}

/// A running container as its monitor sees it.
struct Container {
    running: Running,
    start_ticks: u64,
    process: OwnedFd,
    stdout: Pump,
    /// Absent for a terminal.
    stderr: Option<Pump>,
    log: LogFile,
    attached: Attached,
}

impl Container {
    fn start(layout: &Layout, request: &Request) -> Result<Self, Reply> {
        let create = |what: &'static str| move |e: io::Error| Reply::Create(format!("{what}: {e}"));
        let Log { path, max_bytes, max_files } = &request.spec.log;
        let log = LogFile::open(path, *max_bytes, *max_files).map_err(create("open the log file"))?;
        let (report, report_in) = pipe().map_err(create("make a pipe"))?;
        let (ours, theirs) = stdio::make(&request.spec).map_err(create("make the standard descriptors"))?;
        let attached =
            attached(layout, &request.spec, ours.input).map_err(create("listen for who attaches"))?;
        match sys::fork().map_err(create("fork"))? {
            sys::Fork::Child => sys::exit_now(setup::run(layout, request, theirs, report_in)),
            sys::Fork::Parent(_) => drop((theirs, report_in)),
        }
        let outcome = read_report(report).map_err(create("hear from the set-up process"))?;
        let pid = outcome?;
        reap_setup();
        // What a container in the host's PID namespace leaves behind is for the host's own init to collect.
        let _ = rustix::process::set_child_subreaper(None);
        let started_at = Timestamp::now();
        let process =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|e| Reply::Create(format!("open process: {e}")))?;
        let start_ticks = crate::watch::start_ticks(pid).unwrap_or(0);
        Ok(Self {
            running: Running { pid: pid.as_raw_nonzero().get(), started_at },
            start_ticks,
            process,
            stdout: Pump::new(ours.stdout, Stream::Stdout),
            stderr: ours.stderr.map(|stderr| Pump::new(stderr, Stream::Stderr)),
            log,
            attached,
        })
    }

    /// Moves output until the process has ended and nothing more is to come.
    fn hold(mut self, cgroup: &Cgroup, message: Option<PathBuf>) -> io::Result<Exit> {
        let oom_before = cgroup.oom_kills();
        loop {
            let mut fds = vec![PollFd::new(&self.process, PollFlags::IN)];
            fds.extend(self.stdout.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let stderr = self.stderr.as_ref().and_then(Pump::fd);
            fds.extend(stderr.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            fds.extend(self.attached.fds());
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let ended = !fds[0].revents().is_empty();
            drop(fds);
            for pump in std::iter::once(&mut self.stdout).chain(&mut self.stderr) {
                pump.pump(&mut self.log, &mut self.attached);
            }
            self.attached.serve();
            if ended {
                break;
            }
        }
        for pump in std::iter::once(&mut self.stdout).chain(&mut self.stderr) {
            pump.finish(&mut self.log, &mut self.attached);
        }
        let status = rustix::process::waitid(
            WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.process)),
            WaitIdOptions::EXITED,
        )?;
        let finished_at = Timestamp::now();
        // With a PID namespace of its own everything is dead by now; without, this finds what is left.
        let _ = cgroup.kill_all();
        let signal = status.as_ref().and_then(|status| status.terminating_signal());
        let code = match (status.and_then(|status| status.exit_status()), signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        };
        let oom_killed = code != 0 && cgroup.oom_kills() > oom_before;
        let message = message.and_then(|path| read_message(&path));
        self.attached.finish();
        let started_at = Some(self.running.started_at);
        Ok(Exit { code, signal, oom_killed, lost: false, started_at, finished_at, message })
    }
}

/// The socket of those who attach; nobody can where there is nothing to write to.
fn attached(layout: &Layout, spec: &ContainerSpec, input: Option<OwnedFd>) -> io::Result<Attached> {
    if spec.input == StandardInput::None && !spec.terminal {
        return Ok(Attached::nobody());
    }
    let listener = layout::with_short_name(&layout.attach(), |path| UnixListener::bind(path))?;
    Attached::new(listener, input, spec.terminal, spec.input)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn read_message(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MESSAGE_LIMIT).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads what the set-up process and the container's first process say until both let go of the pipe: the latter
/// does when its program is executed, so an end without a complaint means success.
fn read_report(report: OwnedFd) -> io::Result<Result<Pid, Reply>> {
    let mut text = String::new();
    std::fs::File::from(report).take(64 << 10).read_to_string(&mut text)?;
    let mut pid = None;
    let mut failure = None;
    for line in text.lines() {
        let Ok(message) = serde_json::from_str::<setup::Message>(line) else { continue };
        match message {
            setup::Message::Pid(number) => pid = Pid::from_raw(number),
            // The process's own complaint says more than what the set-up process makes of it.
            setup::Message::Process(reason) => failure = Some(Reply::Process(reason)),
            setup::Message::Create(reason) => failure = failure.or(Some(Reply::Create(reason))),
        }
    }
    let outcome = match (failure, pid) {
        (Some(failure), _) => Err(failure),
        (None, Some(pid)) => Ok(pid),
        (None, None) => Err(Reply::Create("the set-up process died".to_owned())),
    };
    if let (Err(_), Some(pid)) = (&outcome, pid) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    Ok(outcome)
}

/// Collects the set-up process and its intermediate child. They share this process's group, which the container's first
/// process has left, so that its status is never taken here.
fn reap_setup() {
    while rustix::process::waitid(WaitId::Pgid(None), WaitIdOptions::EXITED).is_ok() {}
}
