//! The caller's side: what exists, how to start, stop and ask it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroup::{Cgroup, Hierarchies};
use crate::layout::{Layout, read_json};
use crate::monitor::{Record, Request};
use crate::{ContainerError, ContainerSpec, ExecError, Exit, OpenError, StartError, Status};

mod adopt;
mod attach;
mod exec;
mod launch;
mod session;
mod start;

pub use attach::{AttachedInput, AttachedOutput, Attachment, Piece};
use launch::Launcher;
pub use session::{Ended, Input, Output, Session, SessionRequest, Terminal};

/// Events kept for slow receivers.
const EVENTS: usize = 1024;
/// How long a killed container may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct ContainersConfig {
    /// Everything about the containers is kept here, one directory each; made 0700.
    pub root: PathBuf,
    pub monitor: MonitorCommand,
    /// Where the containers' cgroups go in every hierarchy: a relative path such as `mainstay-3fa2/pods`.
    pub cgroup_parent: String,
}

/// How to re-execute this program so that it calls [`monitor_main`](crate::monitor_main).
#[derive(Clone, Debug)]
pub struct MonitorCommand {
    pub exe: PathBuf,
    /// What precedes the arguments that `monitor_main` gets, such as `["__monitor"]`.
    pub args_prefix: Vec<String>,
}

/// All containers of one root. Cheap to clone; dropping it leaves the containers running.
#[derive(Clone, Debug)]
pub struct Containers {
    inner: Arc<Inner>,
}

/// Something happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Changed {
        id: String,
        status: Status,
    },
    Deleted {
        id: String,
    },
    /// The receiver was too slow and events were dropped: ask [`Containers::list`].
    Missed,
}

/// A subscription; see [`Containers::events`].
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once all [`Containers`] are gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Event::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct ExecRequest {
    pub args: Vec<String>,
    pub timeout: Duration,
    /// Bytes of stdout and of stderr that are kept; the rest is read and dropped.
    pub output_limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// 0 to 255, 128 + n when signal n ended it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// What a container uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time since the start, nanoseconds.
    pub cpu_usage_ns: u64,
    /// Bytes charged, page cache included.
    pub memory_usage: u64,
    /// Bytes that cannot be reclaimed easily: usage without inactive file pages, as the kubelet counts.
    pub memory_working_set: u64,
    /// Bytes of anonymous memory.
    pub memory_rss: u64,
    pub processes: u64,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    cgroup_parent: String,
    launcher: Launcher,
    hierarchies: Hierarchies,
    containers: Mutex<BTreeMap<String, Arc<Entry>>>,
    events: broadcast::Sender<Event>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Held for as long as this value lives, so that a root has one owner.
    _lock: std::fs::File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A container that exists.
#[derive(Debug)]
struct Entry {
    id: String,
    layout: Layout,
    cgroup: Cgroup,
    status: watch::Sender<Status>,
    /// One start, deletion or kill at a time.
    exclusive: tokio::sync::Mutex<()>,
}

impl Entry {
    /// The first process, if it still runs.
    fn first_process(&self) -> Option<OwnedFd> {
        let record: Record = read_json(&self.layout.status()).ok()?;
        match record.status {
            Status::Running(running) => crate::watch::open_process(running.pid, record.start_ticks),
            _ => None,
        }
    }
}

impl Inner {
    fn entry(&self, id: &str) -> Result<Arc<Entry>, ContainerError> {
        let containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.get(id).cloned().ok_or_else(|| ContainerError::NotFound(id.to_owned()))
    }

    fn new_entry(&self, id: &str) -> Arc<Entry> {
        Arc::new(Entry {
            id: id.to_owned(),
            layout: Layout::new(self.root.join(id)),
            cgroup: Cgroup::new(&self.hierarchies, Path::new(&self.cgroup_parent).join(id)),
            status: watch::Sender::new(Status::Created),
            exclusive: tokio::sync::Mutex::new(()),
        })
    }

    /// Takes a place for a new container, unless there is one of that id.
    fn insert(&self, entry: &Arc<Entry>) -> bool {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        if containers.contains_key(&entry.id) {
            return false;
        }
        containers.insert(entry.id.clone(), Arc::clone(entry));
        true
    }

    fn forget(&self, id: &str) {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn set_status(&self, entry: &Entry, status: Status) {
        // Nobody listening is fine: the value itself is kept.
        entry.status.send_replace(status.clone());
        let _ = self.events.send(Event::Changed { id: entry.id.clone(), status });
    }
}

impl Containers {
    /// Takes over the root: containers that still run are adopted, those whose monitor vanished are reported as
    /// [`lost`](Exit::lost) and their processes killed. Two openings of one root at a time are an error.
    pub async fn open(config: ContainersConfig) -> Result<Self, OpenError> {
        let parent = Path::new(&config.cgroup_parent);
        let plain = parent.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || config.cgroup_parent.is_empty() {
            return Err(OpenError::CgroupParent(config.cgroup_parent));
        }
        let (inner, found) = blocking(move || adopt::prepare(config)).await?;
        let inner = Arc::new(inner);
        for container in found {
            adopt::adopt(&inner, container).await;
        }
        Ok(Self { inner })
    }

    /// Creates and starts a container; returns once its process has been executed. When it fails, nothing is left of it.
    /// Goes on to its end even if the caller stops waiting.
    pub async fn start(&self, spec: ContainerSpec) -> Result<(), StartError> {
        let inner = Arc::clone(&self.inner);
        let task = self.inner.tasks.spawn(async move { start::start(&inner, spec).await });
        task.await
            .unwrap_or_else(|error| Err(StartError::Create(format!("the starting task ended: {error}"))))
    }

    /// Every container that exists, ended or not, by id.
    pub fn list(&self) -> Vec<(String, Status)> {
        let containers = self.inner.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.values().map(|entry| (entry.id.clone(), entry.status.borrow().clone())).collect()
    }

    pub fn status(&self, id: &str) -> Result<Status, ContainerError> {
        Ok(self.inner.entry(id)?.status.borrow().clone())
    }

    /// The specification it was started with.
    pub async fn spec(&self, id: &str) -> Result<ContainerSpec, ContainerError> {
        let entry = self.inner.entry(id)?;
        let request: io::Result<Request> = blocking(move || read_json(&entry.layout.request())).await;
        request.map(|request| request.spec).map_err(|source| ContainerError::Io {
            id: id.to_owned(),
            action: "read the specification of",
            source,
        })
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> Events {
        Events { receiver: self.inner.events.subscribe() }
    }

    /// Waits until it has ended; for ever if it does not, so put a deadline around it.
    pub async fn wait(&self, id: &str) -> Result<Exit, ContainerError> {
        let entry = self.inner.entry(id)?;
        let mut status = entry.status.subscribe();
        let ended = status.wait_for(|status| status.exit().is_some()).await;
        let ended = ended.map_err(|_| ContainerError::NotFound(id.to_owned()))?;
        Ok(ended.exit().expect("waited for it").clone())
    }

    /// Sends a signal to the first process.
    pub async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        let entry = self.inner.entry(id)?;
        let error = |source| ContainerError::Io { id: id.to_owned(), action: "signal", source };
        let signal =
            Signal::from_named_raw(signal).ok_or_else(|| error(io::ErrorKind::InvalidInput.into()))?;
        let not_running = || ContainerError::NotRunning(id.to_owned());
        let sent =
            blocking(move || entry.first_process().map(|process| pidfd_send_signal(process, signal))).await;
        match sent.ok_or_else(not_running)? {
            Err(rustix::io::Errno::SRCH) => Err(not_running()),
            result => result.map_err(|e| error(e.into())),
        }
    }

    /// Sends `stop_signal` (such as 15) and waits up to `grace`, then kills; returns how it ended.
    pub async fn stop(&self, id: &str, stop_signal: i32, grace: Duration) -> Result<Exit, ContainerError> {
        match self.signal(id, stop_signal).await {
            Ok(()) => {
                if let Ok(exit) = tokio::time::timeout(grace, self.wait(id)).await {
                    return exit;
                }
            }
            Err(ContainerError::NotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        self.kill(id).await
    }

    /// Kills every process of it and waits for the end.
    pub async fn kill(&self, id: &str) -> Result<Exit, ContainerError> {
        let entry = self.inner.entry(id)?;
        let guard = entry.exclusive.lock().await;
        let killed = {
            let entry = Arc::clone(&entry);
            blocking(move || {
                // Inside its own PID namespace the first process takes all others with it.
                if let Some(process) = entry.first_process() {
                    let _ = pidfd_send_signal(process, Signal::KILL);
                }
                entry.cgroup.kill_all()
            })
        };
        killed.await.map_err(|source| ContainerError::Io { id: id.to_owned(), action: "kill", source })?;
        drop(guard);
        let ended = tokio::time::timeout(KILL_DEADLINE, self.wait(id)).await;
        ended.unwrap_or_else(|_| {
            Err(ContainerError::Deadline { id: id.to_owned(), action: "end", limit: KILL_DEADLINE })
        })
    }

    /// Kills it if it runs and removes every trace but the log file. Deleting what does not exist succeeds.
    pub async fn delete(&self, id: &str) -> Result<(), ContainerError> {
        let entry = match self.inner.entry(id) {
            Err(ContainerError::NotFound(_)) => return Ok(()),
            result => result?,
        };
        if entry.status.borrow().exit().is_none() {
            self.kill(id).await?;
        }
        let _guard = entry.exclusive.lock().await;
        if self.inner.entry(id).is_err() {
            return Ok(());
        }
        let removed = {
            let entry = Arc::clone(&entry);
            blocking(move || {
                entry.cgroup.remove()?;
                remove_dir(entry.layout.dir())
            })
        };
        removed.await.map_err(|source| ContainerError::Io { id: id.to_owned(), action: "delete", source })?;
        self.inner.forget(id);
        let _ = self.inner.events.send(Event::Deleted { id: id.to_owned() });
        Ok(())
    }

    /// Runs a command inside a running container with the container's environment, user and limits.
    pub async fn exec(&self, id: &str, request: ExecRequest) -> Result<ExecOutput, ExecError> {
        let entry = self.inner.entry(id)?;
        let inner = Arc::clone(&self.inner);
        // In a task of its own, so that the helper is waited for even if the caller is not.
        let task = self.inner.tasks.spawn(async move { exec::exec(&inner, &entry, request).await });
        match task.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Runs a command inside a running container with the container's environment, user and limits, connected with the
    /// caller.
    pub async fn session(&self, id: &str, request: SessionRequest) -> Result<Session, ExecError> {
        let entry = self.inner.entry(id)?;
        session::start(&self.inner, &entry, request).await
    }

    /// Connects with the standard descriptors of a container that has an input or a terminal.
    pub async fn attach(&self, id: &str) -> Result<Attachment, ContainerError> {
        let entry = self.inner.entry(id)?;
        attach::attach(&entry).await
    }

    pub async fn stats(&self, id: &str) -> Result<Stats, ContainerError> {
        let entry = self.inner.entry(id)?;
        if !entry.status.borrow().is_running() {
            return Err(ContainerError::NotRunning(id.to_owned()));
        }
        Ok(blocking(move || entry.cgroup.stats()).await)
    }

    /// Deletes every container, the cgroup parent and the root; for `mainstay down`.
    pub async fn destroy(self) -> Result<(), ContainerError> {
        for (id, _) in self.list() {
            self.delete(&id).await?;
        }
        let inner = Arc::clone(&self.inner);
        let removed = blocking(move || {
            let mut path = Path::new(&inner.cgroup_parent);
            while !path.as_os_str().is_empty() {
                // Parents may be shared with others, whose cgroups keep them.
                if Cgroup::new(&inner.hierarchies, path).remove_empty().is_err() {
                    break;
                }
                path = path.parent().unwrap_or(Path::new(""));
            }
            remove_dir(&inner.root)
        });
        removed.await.map_err(|source| ContainerError::Io {
            id: String::new(),
            action: "remove the root of",
            source,
        })
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Runs what blocks off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
