//! Starting one container, and noticing its end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::AsyncReadExt as _;

use super::launch::{self, Helper};
use super::{Entry, Inner, blocking, remove_dir};
use crate::layout::{Durability, read_json, write_json};
use crate::monitor::{Record, Reply, Request};
use crate::nursery::Mode;
use crate::sys;
use crate::{ContainerSpec, Exit, Namespace, Propagation, StartError, Status};

/// A start takes some 30 ms; this is for a machine that swaps.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The answer is one small JSON value.
const REPLY_LIMIT: u64 = 64 << 10;

pub(super) async fn start(inner: &Arc<Inner>, spec: ContainerSpec) -> Result<(), StartError> {
    validate(&spec)?;
    let entry = inner.new_entry(&spec.id);
    if !inner.insert(&entry) {
        return Err(StartError::Exists(spec.id));
    }
    let guard = entry.exclusive.lock().await;
    match launch(inner, &entry, spec).await {
        Ok((running, monitor)) => {
            inner.set_status(&entry, Status::Running(running));
            drop(guard);
            follow(inner, Arc::clone(&entry), monitor);
            Ok(())
        }
        Err(error) => {
            let cleaned = {
                let entry = Arc::clone(&entry);
                blocking(move || clean(&entry)).await
            };
            if let Err(error) = cleaned {
                tracing::warn!(id = entry.id, %error, "cannot clean up after a failed start");
            }
            inner.forget(&entry.id);
            Err(error)
        }
    }
}

fn clean(entry: &Entry) -> io::Result<()> {
    entry.cgroup.kill_all()?;
    entry.cgroup.remove()?;
    remove_dir(entry.layout.dir())
}

fn validate(spec: &ContainerSpec) -> Result<(), StartError> {
    let invalid = |field, reason: &str| Err(StartError::Invalid { field, reason: reason.to_owned() });
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let first = spec.id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || spec.id.len() > 128 || !spec.id.bytes().all(plain) {
        return invalid("id", "want 1 to 128 letters, digits, '_', '.', '-', the first a letter or digit");
    }
    if spec.layers.is_empty() {
        return invalid("layers", "want at least one");
    }
    if spec.args.is_empty() || spec.args[0].is_empty() {
        return Err(StartError::Process("no command specified".to_owned()));
    }
    let inside = |path: &Path| {
        path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir)
    };
    if !spec.cwd.as_os_str().is_empty() && !inside(&spec.cwd) {
        return invalid("cwd", "want an absolute path without '..'");
    }
    for mount in &spec.mounts {
        if !inside(&mount.target) || mount.target == Path::new("/") {
            return invalid("mounts.target", "want an absolute path below / without '..'");
        }
        if mount.propagation == Propagation::Bidirectional {
            return invalid("mounts.propagation", "Bidirectional is not supported yet");
        }
    }
    if spec.namespaces.network == Namespace::New && spec.namespaces.uts == Namespace::Host {
        return invalid("namespaces.uts", "the host's needs the host's network");
    }
    if !spec.log.path.is_absolute() {
        return invalid("log.path", "want an absolute path");
    }
    Ok(())
}

type Started = (crate::Running, OwnedFd);

async fn launch(inner: &Arc<Inner>, entry: &Arc<Entry>, spec: ContainerSpec) -> Result<Started, StartError> {
    let helper = {
        let (inner, entry) = (Arc::clone(inner), Arc::clone(entry));
        blocking(move || spawn(&inner, &entry, spec)).await?
    };
    match tokio::time::timeout(START_DEADLINE, hear(inner, entry, &helper)).await {
        Ok(Ok(running)) => Ok((running, helper.process)),
        outcome => {
            // Whatever is left of it must not write into the directory that is about to go.
            let _ = pidfd_send_signal(&helper.process, Signal::KILL);
            if let Ok(process) = sys::watch_readable(helper.process) {
                let _ = tokio::time::timeout(START_DEADLINE, launch::ended(&process)).await;
            }
            match outcome {
                Ok(Err(error)) => Err(error),
                _ => Err(StartError::Deadline(START_DEADLINE)),
            }
        }
    }
}

fn spawn(inner: &Inner, entry: &Entry, spec: ContainerSpec) -> Result<Helper, StartError> {
    let layout = &entry.layout;
    let request = Request {
        spec,
        hierarchies: inner.hierarchies.clone(),
        cgroup: Path::new(&inner.cgroup_parent).join(&entry.id),
    };
    let prepare = || -> io::Result<std::fs::File> {
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700);
        private.create(layout.dir())?;
        for dir in [layout.work(), layout.rootfs()] {
            private.create(dir)?;
        }
        // The upper layer's own mode is that of the container's `/`.
        std::fs::DirBuilder::new().mode(0o755).create(layout.upper())?;
        write_json(&layout.request(), &request, Durability::Atomic)?;
        std::fs::File::create(layout.monitor_log())
    };
    let stderr =
        prepare().map_err(|source| StartError::Directory { path: layout.dir().to_owned(), source })?;
    inner
        .launcher
        .launch(Mode::Run, layout.dir(), stderr.as_fd(), stderr.as_fd(), None)
        .map_err(|source| StartError::Monitor { exe: inner.launcher.exe().to_owned(), source })
}

async fn hear(inner: &Inner, entry: &Entry, helper: &Helper) -> Result<crate::Running, StartError> {
    let error = |source| StartError::Monitor { exe: inner.launcher.exe().to_owned(), source };
    let socket = helper.socket.try_clone().map_err(error)?;
    socket.set_nonblocking(true).map_err(error)?;
    let socket = tokio::net::UnixStream::from_std(socket).map_err(error)?;
    let mut text = Vec::new();
    socket.take(REPLY_LIMIT).read_to_end(&mut text).await.map_err(error)?;
    match serde_json::from_slice(&text) {
        Ok(Reply::Started(running)) => Ok(running),
        Ok(Reply::Create(reason)) => Err(StartError::Create(reason)),
        Ok(Reply::Process(reason)) => Err(StartError::Process(reason)),
        Err(_) => {
            let said = tokio::fs::read_to_string(entry.layout.monitor_log()).await.unwrap_or_default();
            let said = said.trim();
            Err(StartError::Create(format!("the monitor ended without an answer: {said}")))
        }
    }
}

/// Watches a monitor to its end in a task of its own.
pub(super) fn follow(inner: &Arc<Inner>, entry: Arc<Entry>, monitor: OwnedFd) {
    let weak = Arc::downgrade(inner);
    let stop = inner.stop.clone();
    inner.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            result = until_end(&weak, &entry, monitor) => {
                if let Err(error) = result {
                    tracing::error!(id = entry.id, %error, "cannot watch the monitor of a container");
                }
            }
        }
    });
}

async fn until_end(inner: &Weak<Inner>, entry: &Arc<Entry>, monitor: OwnedFd) -> io::Result<()> {
    launch::ended(&sys::watch_readable(monitor)?).await?;
    let status = {
        let entry = Arc::clone(entry);
        blocking(move || conclude(&entry)).await
    };
    if let Some(inner) = inner.upgrade() {
        inner.set_status(entry, status);
    }
    Ok(())
}

/// What a container came to whose monitor is no more. Its cgroup goes at once: nothing will run in it again.
pub(super) fn conclude(entry: &Entry) -> Status {
    let record: Option<Record> = read_json(&entry.layout.status()).ok();
    let status = match record {
        Some(Record { status: status @ Status::Exited(_), .. }) => status,
        record => lose(entry, record),
    };
    if let Err(error) = entry.cgroup.remove() {
        tracing::warn!(id = entry.id, %error, "cannot remove the cgroup of an ended container yet");
    }
    status
}

/// The monitor died before its container, which cannot be waited for any more: make the end certain and say so.
fn lose(entry: &Entry, record: Option<Record>) -> Status {
    if let Some(process) = entry.first_process() {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    if let Err(error) = entry.cgroup.kill_all() {
        tracing::error!(id = entry.id, %error, "cannot kill a container whose monitor vanished");
    }
    let started_at = match &record {
        Some(Record { status: Status::Running(running), .. }) => Some(running.started_at),
        _ => None,
    };
    let exit = Exit {
        code: 137,
        signal: None,
        oom_killed: false,
        lost: true,
        started_at,
        finished_at: jiff::Timestamp::now(),
        message: None,
    };
    let start_ticks = record.map_or(0, |record| record.start_ticks);
    let record = Record { status: Status::Exited(exit), start_ticks };
    if let Err(error) = write_json(&entry.layout.status(), &record, Durability::Synced) {
        tracing::error!(id = entry.id, %error, "cannot write the status of a lost container");
    }
    record.status
}
