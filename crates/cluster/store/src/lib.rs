//! Versioned objects, watches, durability: what etcd is to a Kubernetes API server.
//!
//! Owns the one revision counter, the objects as immutable bytes, the window of recent events that watches read,
//! and the directory they are kept in. What must hold:
//!
//! - a write is on disk (synced) before it is acknowledged or seen by any reader;
//! - revisions grow by one with every write, over all resources;
//! - a watch sees every event of its scope after its start, in revision order, once; where that is no longer
//!   possible it ends with [`Error::Compacted`], it never skips;
//! - readers never touch the disk: the current objects are in memory and shared ([`bytes::Bytes`]) between the
//!   store, its event window and whoever reads them.
//!
//! Keeps out what an object means: the store splices a revision into a [`Draft`] and compares keys, nothing more.
//! A slow watcher costs no memory, because it has no queue of its own: it reads the shared window at its own
//! position and is cut off when the window has moved past it.

#![forbid(unsafe_code)]

mod backup;
mod contents;
mod directory;
mod draft;
mod frame;
mod key;
mod log;
mod memory;
mod migrate;
mod recovery;
mod watch;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use backup::{Backup, backup, restore};
pub use directory::{Directory, File};
pub use draft::{Draft, Object};
pub use key::{Key, Scope};
pub use memory::{Event, EventKind, ListOptions, Page};
pub use watch::Watch;

use contents::Contents;
use directory::{Folder, Refused};
use log::Log;
use memory::State;
use writer::{Operation, Request};

/// A point in the store's history. Grows by one with every write; zero is before the first.
pub type Revision = u64;

/// Bounds of what the store keeps besides the current objects.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of writes after which a snapshot is taken, so that opening need not read them all; more if the last
    /// snapshot is more than twice as large.
    pub log_bytes: u64,
    /// Events kept per resource for watches and for lists that continue at an old revision.
    pub window_events: usize,
    /// Bytes of superseded objects kept per resource in those events (current objects are shared and cost nothing).
    pub window_bytes: usize,
    /// Writes joined into one commit at most.
    pub group: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { log_bytes: 64 << 20, window_events: 8192, window_bytes: 4 << 20, group: 256 }
    }
}

/// Why the store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{key} not found")]
    NotFound { key: Key },
    #[error("{key} already exists")]
    AlreadyExists { key: Key },
    /// The object is at another revision than the caller expected.
    #[error("{key} is at revision {actual}, not {expected}")]
    Conflict { key: Key, expected: Revision, actual: Revision },
    /// The events after `requested` are no longer all kept.
    #[error("revision {requested} is older than what is kept (after {oldest})")]
    Compacted { requested: Revision, oldest: Revision },
    /// The revision has not happened yet.
    #[error("revision {requested} is in the future (now {current})")]
    Future { requested: Revision, current: Revision },
    #[error("the store is closed")]
    Closed,
    /// The disk could not be read or written. After a failed sync the store refuses every further write until it is
    /// opened anew: what reached the disk is only known then. A full disk refuses single writes.
    #[error("{attempt}")]
    Disk {
        attempt: &'static str,
        #[source]
        source: Arc<io::Error>,
    },
    /// An earlier write failed; see [`Error::Disk`].
    #[error("the store stopped writing after an earlier failure")]
    Stopped,
    #[error("the store is in use by another process")]
    InUse,
    #[error("the store has format {found}, this version reads up to {supported}")]
    Format { found: u64, supported: u64 },
    /// What is there does not match its checksum, and it is not the end of the last log, where that is usual.
    #[error("the store's file {file} is damaged or missing at byte {offset}: restore a backup")]
    Corrupt { file: String, offset: u64 },
    #[error("there is no store in {}", path.display())]
    Empty { path: PathBuf },
    #[error("{} already holds a store", path.display())]
    Occupied { path: PathBuf },
}

fn failed(attempt: &'static str, source: io::Error) -> Error {
    Error::Disk { attempt, source: Arc::new(source) }
}

impl Error {
    /// Whether the same call can succeed later without a change by the caller.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Error::Future { .. })
    }
}

/// Which state of the object a write requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this revision.
    At(Revision),
    /// Whatever is there, as long as something is.
    Any,
}

/// The store. Cloning gives another handle to the same store; the directory is released when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Arc<RwLock<State>>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when its channel closes; joining it makes the directory free for whoever opens it next.
        self.requests = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
        self.state.write().unwrap_or_else(PoisonError::into_inner).close();
    }
}

/// Writes waiting for the writer; more callers than this wait in `send`.
const QUEUE: usize = 1024;

impl Store {
    /// Opens the store in a directory, creating it (mode 0700) if it is not there. Blocks while it reads all objects into
    /// memory.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Format`], [`Error::Corrupt`] and [`Error::Disk`].
    pub fn open(path: &Path, config: &Config) -> Result<Store, Error> {
        let folder = Folder::lock(path).map_err(|refused| match refused {
            Refused::InUse => Error::InUse,
            Refused::Failed(source) => failed("open the store's directory", source),
        })?;
        migrate::take_over(path, &folder)?;
        Self::open_in(Arc::new(folder), config)
    }

    /// Opens the store in a directory of the caller's: one that injects faults.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in(directory: Arc<dyn Directory>, config: &Config) -> Result<Store, Error> {
        let found = recovery::load(&*directory)?;
        let log = Log::resume(directory, &found, config.log_bytes)?;
        Self::start(found.contents, Some(log), config)
    }

    /// A store that is gone when it is dropped, for tests and dry runs.
    ///
    /// # Errors
    /// [`Error::Disk`] if its thread cannot be started.
    pub fn in_memory(config: &Config) -> Result<Store, Error> {
        Self::start(Contents::default(), None, config)
    }

    fn start(contents: Contents, log: Option<Log>, config: &Config) -> Result<Store, Error> {
        let state = Arc::new(RwLock::new(State::new(contents, config)));
        let (requests, receiver) = mpsc::channel(QUEUE);
        let writer = writer::Writer::new(log, state.clone(), receiver, config.group);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| failed("start the store's writer", source))?;
        let inner = Inner { state, requests: Some(requests), writer: Mutex::new(Some(thread)) };
        Ok(Store { inner: Arc::new(inner) })
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        // A panic while the lock was held for writing cannot leave half an event behind that matters to readers:
        // the writer stops at it and every later write is refused.
        look(&self.inner.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The revision of the last write.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.read(|state| state.revision)
    }

    /// Returns when the revision is past `from`, at once if it already is.
    pub async fn advanced(&self, from: Revision) {
        let mut revisions = self.read(|state| state.revisions.subscribe());
        // An error means that the store has closed; whoever asks next is told.
        drop(revisions.wait_for(|revision| *revision > from).await);
    }

    /// The current state of an object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Object> {
        self.read(|state| state.get(key).cloned())
    }

    /// The objects of a scope in key order, all as they were at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`] if `options.at` cannot be answered.
    pub fn list(&self, scope: &Scope, options: &ListOptions) -> Result<Page, Error> {
        self.read(|state| state.list(scope, options))
    }

    /// How many objects there are of a resource.
    #[must_use]
    pub fn count(&self, resource: &str) -> usize {
        self.read(|state| state.count(resource))
    }

    /// The revision of the last write to a resource, or that at which the store was opened if there was none since.
    #[must_use]
    pub fn changed_at(&self, resource: &str) -> Revision {
        self.read(|state| state.changed_at(resource))
    }

    /// The events of a scope after `from`.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`].
    pub fn watch(&self, scope: Scope, from: Revision) -> Result<Watch, Error> {
        Watch::start(self.inner.state.clone(), scope, from)
    }

    /// Adds an object.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], or [`Error::Disk`] and [`Error::Stopped`].
    pub async fn create(&self, key: Key, draft: Draft) -> Result<Object, Error> {
        self.submit(Operation::Create { key, draft }).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], or [`Error::Disk`] and [`Error::Stopped`].
    pub async fn update(&self, key: Key, expected: Expected, draft: Draft) -> Result<Object, Error> {
        self.submit(Operation::Update { key, expected, draft }).await
    }

    /// Removes an object; `last` is what watchers are told it was, at the revision of the removal.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], or [`Error::Disk`] and [`Error::Stopped`].
    pub async fn delete(&self, key: Key, expected: Expected, last: Draft) -> Result<Object, Error> {
        self.submit(Operation::Delete { key, expected, last }).await
    }

    async fn submit(&self, operation: Operation) -> Result<Object, Error> {
        let (reply, answer) = oneshot::channel();
        let requests = self.inner.requests.as_ref().ok_or(Error::Closed)?;
        requests.send(Request { operation, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}
