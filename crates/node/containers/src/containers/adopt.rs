//! Taking over what an earlier process left.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Arc, Mutex};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::launch::Launcher;
use super::{ContainersConfig, EVENTS, Entry, Inner, blocking, remove_dir, start};
use crate::cgroup::Hierarchies;
use crate::layout::{Layout, read_json};
use crate::monitor::Record;
use crate::{OpenError, Status, watch};

/// A directory found in the root.
pub(super) struct Found {
    id: String,
    /// The monitor, if it lives.
    monitor: Option<OwnedFd>,
    status: Option<Status>,
}

pub(super) fn prepare(config: ContainersConfig) -> Result<(Inner, Vec<Found>), OpenError> {
    let error = |source| OpenError::Directory { path: config.root.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.root).map_err(error)?;
    let root = config.root.canonicalize().map_err(error)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(root.join(".lock"))
        .map_err(error)?;
    match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(root)),
        result => result.map_err(|e| error(e.into()))?,
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&root).map_err(error)? {
        let entry = entry.map_err(error)?;
        let Ok(id) = entry.file_name().into_string() else { continue };
        if entry.file_type().map_err(error)?.is_dir() {
            let layout = Layout::new(entry.path());
            let monitor = watch::lock_holder(&layout.lock()).map_err(error)?;
            let record: Option<Record> = read_json(&layout.status()).ok();
            found.push(Found { id, monitor, status: record.map(|record| record.status) });
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let inner = Inner {
        root,
        cgroup_parent: config.cgroup_parent,
        launcher: Launcher::new(config.monitor),
        hierarchies: Hierarchies::find().map_err(OpenError::Cgroups)?,
        containers: Mutex::default(),
        events: broadcast::Sender::new(EVENTS),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        _lock: lock,
    };
    Ok((inner, found))
}

pub(super) async fn adopt(inner: &Arc<Inner>, found: Found) {
    let entry = inner.new_entry(&found.id);
    match (found.status, found.monitor) {
        (Some(status @ Status::Running(_)), Some(monitor)) => {
            entry.status.send_replace(status);
            inner.insert(&entry);
            start::follow(inner, entry, monitor);
        }
        // Its start was never acknowledged, so it never was.
        (None | Some(Status::Created), monitor) => {
            tracing::info!(id = found.id, "removing a container whose start was interrupted");
            blocking(move || discard(&entry, monitor)).await;
        }
        (Some(_), _) => {
            let concluded = Arc::clone(&entry);
            let status = blocking(move || start::conclude(&concluded)).await;
            entry.status.send_replace(status);
            inner.insert(&entry);
        }
    }
}

fn discard(entry: &Entry, monitor: Option<OwnedFd>) {
    if let Some(monitor) = monitor {
        let _ = rustix::process::pidfd_send_signal(monitor, rustix::process::Signal::KILL);
    }
    let removed = entry
        .cgroup
        .kill_all()
        .and_then(|()| entry.cgroup.remove())
        .and_then(|()| remove_dir(entry.layout.dir()));
    if let Err(error) = removed {
        tracing::warn!(id = entry.id, %error, "cannot remove an interrupted container");
    }
}
