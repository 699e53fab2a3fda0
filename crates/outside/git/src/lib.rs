//! Git repositories and working copies as trees.
//!
//! Owns everything about where repository content comes from: which URL is answered by which local path, the cache
//! of remote repositories, resolving a revision, reading a commit without a checkout, the files of a working copy as
//! they are saved, and noticing that any of it changed. What it gives out is a [`Snapshot`]: a revision and an
//! immutable [`tree::Tree`].
//!
//! What must hold: a snapshot never changes, and holds no file that is being written; a copy that is damaged is
//! replaced by a whole one; no path or symbolic link reaches outside its repository; every call to
//! another host ends by a deadline, holds up nobody but those who asked for that repository, and its failure names
//! the URL without its credentials. Keeps out what the files mean (charts, manifests) and writing back.

mod changes;
mod error;
mod http;
mod local;
mod nodes;
mod remote;
mod repository;
mod revision;
mod semver_range;
mod transport;
mod unrest;
mod url;
mod watcher;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use changes::Changes;
pub use error::Error;
pub use http::Credentials;
pub use url::RepositoryUrl;

use local::LocalRepository;
use remote::RemoteRepository;

/// How repositories are reached and how much of them is read.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds one bare repository per remote URL; created when first needed.
    pub cache_dir: PathBuf,
    /// URLs that are answered from a local place.
    pub mappings: Vec<Mapping>,
    /// How often a remote repository is asked for news.
    pub polling_period: Duration,
    /// The longest a remote host may take to accept a connection or to send the next bytes.
    pub stall_deadline: Duration,
    /// The longest one fetch may take in all.
    pub fetch_deadline: Duration,
    /// Whether `http://` may be used at all.
    pub plain_http: PlainHttp,
    /// Basic authentication by URL prefix; the longest matching prefix wins.
    pub credentials: Vec<Credentials>,
    pub limits: Limits,
}

impl Config {
    /// The usual settings with a cache at `cache_dir`: polling every two minutes, 10 s to connect, 2 min a fetch.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            mappings: Vec::new(),
            polling_period: Duration::from_secs(120),
            stall_deadline: Duration::from_secs(10),
            fetch_deadline: Duration::from_secs(120),
            plain_http: PlainHttp::Refused,
            credentials: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Sizes in bytes above which a repository is refused rather than read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One file.
    pub file: u64,
    /// All changed files of a working copy, or all files of a directory without Git.
    pub working_copy: u64,
    /// One fetch.
    pub download: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file: 64 << 20, working_copy: 512 << 20, download: 2 << 30 }
    }
}

/// Whether a repository may be fetched without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    Refused,
    /// Only from 127.0.0.0/8, ::1 and `localhost`.
    Loopback,
}

/// A repository URL that is answered from a directory of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// In any spelling: case of the host, `.git`, ssh or https do not matter.
    pub url: String,
    /// A working copy, a bare repository, or a directory without Git. Only a directory that itself holds `.git`
    /// (or is bare) counts as a repository; one somewhere inside a checkout is a plain directory.
    pub path: PathBuf,
    /// The revision that `HEAD`, `main`, `master` and the checked-out branch mean; `None`: the files as they are
    /// saved (a bare repository: its HEAD).
    pub revision: Option<String>,
}

impl Mapping {
    /// A URL answered from a place as it is now: the files as saved.
    #[must_use]
    pub fn new(url: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { url: url.into(), path: path.into(), revision: None }
    }
}

/// Whether an answer from the last polling period is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Recent,
    /// Ask the remote again, even if it failed a moment ago.
    Latest,
}

/// A repository at one revision.
#[derive(Clone)]
pub struct Snapshot {
    /// The commit. For a working copy with unsaved-to-Git changes `<commit>-dirty.<12 hex digits of their
    /// content>`, for a directory without Git 40 hex digits of its content.
    pub revision: String,
    pub tree: Arc<dyn tree::Tree>,
    origin: Option<Arc<changes::Origin>>,
}

impl Snapshot {
    /// Files that are no repository's.
    #[must_use]
    pub fn new(revision: impl Into<String>, tree: Arc<dyn tree::Tree>) -> Self {
        Self { revision: revision.into(), tree, origin: None }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// All repositories of one process. Clones share mappings, cache and watches; when the last one is dropped the
/// watching ends.
#[derive(Clone)]
pub struct Repositories(Arc<Inner>);

impl std::fmt::Debug for Repositories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repositories").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Path and pinned revision.
type LocalKey = (PathBuf, Option<String>);

struct Inner {
    config: Arc<Config>,
    mappings: Mutex<BTreeMap<String, Mapping>>,
    /// So that several URLs of one checkout share one scan and one watch.
    local: Mutex<BTreeMap<LocalKey, Arc<LocalRepository>>>,
    remote: Mutex<BTreeMap<String, Arc<RemoteRepository>>>,
    fetches: Arc<tokio::sync::Semaphore>,
    /// The runtime that fetches and watches run on, whoever asks.
    shutdown: CancellationToken,
    _stop: DropGuard,
}

/// Fetches that may run at the same time; a host that does not answer occupies one until its deadline.
const PARALLEL_FETCHES: usize = 16;

enum Place {
    Local(Arc<LocalRepository>),
    Remote(Arc<RemoteRepository>),
}

impl Repositories {
    /// # Errors
    /// If a mapping of the configuration is refused, as [`Repositories::map`] does.
    pub fn new(config: Config) -> Result<Self, Error> {
        transport::prepare();
        let shutdown = CancellationToken::new();
        let mappings = config.mappings.clone();
        let this = Self(Arc::new(Inner {
            config: Arc::new(config),
            mappings: Mutex::default(),
            local: Mutex::default(),
            remote: Mutex::default(),
            fetches: Arc::new(tokio::sync::Semaphore::new(PARALLEL_FETCHES)),
            _stop: shutdown.clone().drop_guard(),
            shutdown,
        }));
        for mapping in mappings {
            this.map(mapping)?;
        }
        Ok(this)
    }

    /// Answers a URL from a local place from now on; a later mapping of the same repository replaces an earlier one.
    ///
    /// # Errors
    /// If the URL cannot be understood or the path is no directory.
    pub fn map(&self, mapping: Mapping) -> Result<(), Error> {
        let url = RepositoryUrl::parse(&mapping.url)?;
        let path = mapping
            .path
            .canonicalize()
            .ok()
            .filter(|path| path.is_dir())
            .ok_or_else(|| Error::NoDirectory { path: mapping.path.clone() })?;
        let mapping = Mapping { path, ..mapping };
        lock(&self.0.mappings).insert(url.key().to_owned(), mapping);
        Ok(())
    }

    /// Where a URL is answered from, if it is mapped.
    #[must_use]
    pub fn mapping(&self, url: &str) -> Option<Mapping> {
        let url = RepositoryUrl::parse(url).ok()?;
        lock(&self.0.mappings).get(url.key()).cloned()
    }

    /// Whether credentials are kept that would be sent to a URL.
    #[must_use]
    pub fn has_credentials(&self, url: &str) -> bool {
        let authorization = |url: RepositoryUrl| Credentials::authorization(&self.0.config.credentials, &url);
        RepositoryUrl::parse(url).ok().and_then(authorization).is_some()
    }

    /// The repository at a revision: a branch, a tag, a commit, a semantic version range over the tags, or `HEAD`
    /// (also as the empty string).
    ///
    /// # Errors
    /// If the repository cannot be reached within the deadline, is none, or has no such revision.
    pub async fn open(&self, url: &str, revision: &str, freshness: Freshness) -> Result<Snapshot, Error> {
        match self.place(url)? {
            Place::Local(local) => local.open(revision).await,
            Place::Remote(remote) => remote.open(revision, freshness).await,
        }
    }

    /// A counter that moves whenever the repository may have changed: within a second for a local one (files,
    /// HEAD or branches), after each polling period that brought news for a remote one. The first call for a
    /// repository starts the watching.
    ///
    /// # Errors
    /// If the URL cannot be understood or its kind is not supported.
    pub fn watch(&self, url: &str) -> Result<watch::Receiver<u64>, Error> {
        match self.place(url)? {
            Place::Local(local) => Ok(local.watch(&self.0.shutdown)),
            Place::Remote(remote) => Ok(remote.watch(&self.0.shutdown)),
        }
    }

    /// Brings a remote repository up to date now instead of at the next poll; whoever watches it is told what polling
    /// would tell. A local one is up to date anyway.
    ///
    /// # Errors
    /// If it cannot be fetched within the deadline.
    pub async fn fetch(&self, url: &str) -> Result<(), Error> {
        match self.place(url)? {
            Place::Local(_) => Ok(()),
            Place::Remote(remote) => remote.fetch(Freshness::Latest).await,
        }
    }

    /// The content of a file behind an `http` or `https` URL, as kustomizations name it among their resources; `None`
    /// if the server answers that it has none.
    ///
    /// # Errors
    /// If the server cannot be asked within the deadline, or the file is larger than a repository's may be.
    pub async fn file(&self, url: &str) -> Result<Option<bytes::Bytes>, Error> {
        let config = Arc::clone(&self.0.config);
        let deadline = config.fetch_deadline;
        let permit =
            Arc::clone(&self.0.fetches).acquire_owned().await.expect("the semaphore is never closed");
        let address = url.to_owned();
        let request = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            http::file(&address, &config)
        });
        remote::within(deadline, url, request).await
    }

    fn place(&self, url: &str) -> Result<Place, Error> {
        let parsed = RepositoryUrl::parse(url)?;
        let mapping = lock(&self.0.mappings).get(parsed.key()).cloned();
        if let Some(mapping) = mapping {
            let key = (mapping.path.clone(), mapping.revision.clone());
            let mut places = lock(&self.0.local);
            let local = places.entry(key).or_insert_with(|| {
                Arc::new(LocalRepository::new(mapping.path, mapping.revision, self.0.config.limits))
            });
            return Ok(Place::Local(Arc::clone(local)));
        }
        parsed.fetchable(self.0.config.plain_http)?;
        let mut places = lock(&self.0.remote);
        let remote = places.entry(parsed.key().to_owned()).or_insert_with(|| {
            Arc::new(RemoteRepository::new(parsed, Arc::clone(&self.0.config), Arc::clone(&self.0.fetches)))
        });
        Ok(Place::Remote(Arc::clone(remote)))
    }
}

/// The URL of the remote `origin` of the repository at exactly this path, if it is one and has it.
#[must_use]
pub fn origin(path: &Path) -> Option<String> {
    transport::prepare();
    let repository = repository::open(path).ok()?;
    let remote = repository.find_remote("origin").ok()?;
    Some(remote.url().ok()?.to_owned())
}

/// A revision of the repository at exactly this path, in all the ways in which Git names one: `HEAD~2`,
/// `origin/main`, `v1.0^{commit}`.
///
/// # Errors
/// If it is no repository, or has no such commit.
pub fn revision(path: &Path, name: &str) -> Result<Snapshot, Error> {
    transport::prepare();
    let failed =
        |error: git2::Error| Error::Read { path: path.to_owned(), reason: error.message().to_owned() };
    let repository = repository::open(path).map_err(failed)?;
    let commit = repository.revparse_single(name).and_then(|object| object.peel_to_commit());
    let commit = commit.map_err(|_| Error::Revision { revision: name.to_owned() })?.id();
    let handles = Arc::new(repository::Handles::new(path.to_owned()));
    local::commit_snapshot(&repository, &handles, commit, Limits::default().file)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
