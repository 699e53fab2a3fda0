//! Repositories on other hosts: a bare copy in the cache, brought up to date when asked for and by polling.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, FetchPrune, ObjectType, ReferenceType,
    RemoteCallbacks, Repository,
};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::local::commit_snapshot;
use crate::repository::Handles;
use crate::transport::{self, Session};
use crate::{Config, Credentials, Error, Freshness, RepositoryUrl, Snapshot, http, lock, revision};

/// One URL that is fetched.
pub(crate) struct RemoteRepository {
    url: RepositoryUrl,
    path: PathBuf,
    config: Arc<Config>,
    fetches: Arc<Semaphore>,
    handles: Arc<Handles>,
    /// Held while fetching, so that everybody who waits gets the one result.
    state: tokio::sync::Mutex<State>,
    changes: watch::Sender<u64>,
    polled: Mutex<bool>,
}

#[derive(Default)]
struct State {
    fetched: Option<Instant>,
    failed: Option<Failed>,
}

struct Failed {
    at: Instant,
    wait: Duration,
    error: Error,
}

/// After the first failure; doubled up to the polling period.
const FIRST_RETRY: Duration = Duration::from_secs(5);

impl RemoteRepository {
    pub(crate) fn new(url: RepositoryUrl, config: Arc<Config>, fetches: Arc<Semaphore>) -> Self {
        let mut name = String::new();
        for byte in Sha256::digest(url.address()).iter().take(16) {
            let _ = write!(name, "{byte:02x}");
        }
        let path = config.cache_dir.join(name);
        let handles = Arc::new(Handles::new(path.clone()));
        let (changes, _) = watch::channel(0);
        Self {
            url,
            path,
            config,
            fetches,
            handles,
            state: tokio::sync::Mutex::default(),
            changes,
            polled: Mutex::default(),
        }
    }

    pub(crate) async fn open(&self, revision: &str, freshness: Freshness) -> Result<Snapshot, Error> {
        if let Some(snapshot) = self.pinned(revision).await? {
            return Ok(snapshot);
        }
        self.fetch(freshness).await?;
        let found = self.resolved(revision).await;
        if found.is_err() && self.handles.is_damaged() {
            self.fetch(Freshness::Latest).await?;
            return self.resolved(revision).await;
        }
        found
    }

    async fn resolved(&self, revision: &str) -> Result<Snapshot, Error> {
        let (handles, limit, revision) =
            (Arc::clone(&self.handles), self.config.limits.file, revision.to_owned());
        let fetch = self.job();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = handles.with::<_, Failure>(|repository| {
                let commit = revision::resolve(repository, &revision)?;
                Ok(commit_snapshot(repository, &handles, commit, limit)?)
            });
            if opened.is_err() && !fetch.is_whole() {
                handles.doubt();
            }
            opened
        });
        ended(opened.await)?.map_err(|failure| failure.named(&self.url))
    }

    fn job(&self) -> Fetch {
        Fetch { url: self.url.clone(), path: self.path.clone(), config: Arc::clone(&self.config) }
    }

    /// A full hash that is in the cache needs nobody's answer, as long as the cache is whole.
    async fn pinned(&self, revision: &str) -> Result<Option<Snapshot>, Error> {
        if revision.len() != 40 || self.handles.is_damaged() {
            return Ok(None);
        }
        let (handles, limit, revision) =
            (Arc::clone(&self.handles), self.config.limits.file, revision.to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let found: Result<_, Failure> = handles.with(|repository| {
                let commit = revision::full_hash(repository, &revision);
                Ok(commit.map(|commit| commit_snapshot(repository, &handles, commit, limit)).transpose()?)
            });
            found.unwrap_or_default()
        });
        ended(opened.await)
    }

    /// Brings the cache up to date unless it was within the polling period, or failed a moment ago.
    pub(crate) async fn fetch(&self, freshness: Freshness) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let damaged = self.handles.is_damaged();
        if freshness == Freshness::Recent {
            if let Some(failed) = &state.failed
                && failed.at.elapsed() < failed.wait
            {
                return Err(failed.error.clone());
            }
            let fresh = state.fetched.is_some_and(|fetched| fetched.elapsed() < self.config.polling_period);
            if fresh && state.failed.is_none() && !damaged {
                return Ok(());
            }
        }
        match self.fetch_now(damaged, state.fetched.is_none()).await {
            Ok(moved) => {
                *state = State { fetched: Some(Instant::now()), failed: None };
                if moved {
                    self.changes.send_modify(|count| *count += 1);
                }
                Ok(())
            }
            Err(error) => {
                let longest = self.config.polling_period.max(FIRST_RETRY);
                let wait = state.failed.take().map_or(FIRST_RETRY, |failed| (failed.wait * 2).min(longest));
                state.failed = Some(Failed { at: Instant::now(), wait, error: error.clone() });
                Err(error)
            }
        }
    }

    /// `unchecked`: whether nobody has looked yet if the copy is whole.
    async fn fetch_now(&self, damaged: bool, unchecked: bool) -> Result<bool, Error> {
        let permit = Arc::clone(&self.fetches).acquire_owned().await.expect("the semaphore is never closed");
        let fetch = self.job();
        let handles = Arc::clone(&self.handles);
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let fetched = if damaged { fetch.anew(&handles) } else { fetch.run() };
            let moved = match fetched {
                // The copy stands in the way: a lock that a crash left, a missing object, a branch `a` beside `a/b`.
                Err(Error::Read { .. }) if !damaged => fetch.anew(&handles),
                fetched => fetched,
            }?;
            // What was fetched may be of no use without what was there before.
            if !(moved || unchecked) || fetch.is_whole() { Ok(moved) } else { fetch.anew(&handles) }
        });
        within(self.config.fetch_deadline, self.url.address(), job).await
    }

    pub(crate) fn watch(self: &Arc<Self>, shutdown: &CancellationToken) -> watch::Receiver<u64> {
        let receiver = self.changes.subscribe();
        let mut polled = lock(&self.polled);
        if !*polled {
            *polled = true;
            tokio::spawn(Arc::clone(self).poll(shutdown.child_token()));
        }
        receiver
    }

    async fn poll(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.config.polling_period) => {}
            }
            if self.changes.receiver_count() == 0 {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                fetched = self.fetch(Freshness::Latest) => if let Err(error) = fetched {
                    // Whoever opens the repository is told; here it is only an absence of news.
                    tracing::debug!(url = self.url.address(), %error, "polling failed");
                }
            }
        }
    }
}

fn ended<T>(joined: Result<T, JoinError>) -> Result<T, Error> {
    joined.map_err(|_| Error::Stopped)
}

/// The result of a job on a thread of its own, or that it took too long. The thread itself ends by the deadlines
/// of its requests.
pub(crate) async fn within<T>(
    deadline: Duration,
    url: &str,
    job: JoinHandle<Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(deadline, job).await {
        Ok(joined) => ended(joined)?,
        Err(_) => Err(Error::Unreachable {
            url: RepositoryUrl::parse(url).map_or_else(|_| String::new(), |url| url.address().to_owned()),
            reason: format!("no result within {} s", deadline.as_secs()),
        }),
    }
}

enum Failure {
    Git(git2::Error),
    Ours(Error),
}

impl From<git2::Error> for Failure {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Failure {
    fn named(self, url: &RepositoryUrl) -> Error {
        match self {
            Self::Git(error) => {
                Error::Fetch { url: url.address().to_owned(), reason: error.message().to_owned() }
            }
            Self::Ours(error) => error,
        }
    }
}

/// One fetch, on the thread that runs it.
struct Fetch {
    url: RepositoryUrl,
    path: PathBuf,
    config: Arc<Config>,
}

impl Fetch {
    /// Whether any reference moved.
    fn run(&self) -> Result<bool, Error> {
        let repository = self.repository()?;
        let before = references(&repository);
        let session = Session {
            agent: http::agent(self.config.stall_deadline, self.config.fetch_deadline, &http::roots()),
            authorization: Credentials::authorization(&self.config.credentials, &self.url),
            plain_http: self.config.plain_http,
            budget: Arc::new(AtomicU64::new(self.config.limits.download)),
        };
        let fetched = transport::with_session(session, || self.fetch(&repository));
        fetched.map_err(|error| self.failed(&error))?;
        Ok(references(&repository) != before)
    }

    /// Fetches everything into an empty repository, which takes the place of one that is damaged.
    fn anew(&self, handles: &Handles) -> Result<bool, Error> {
        let failed = |error: io::Error| Error::Read { path: self.path.clone(), reason: error.to_string() };
        let parent = self.path.parent().unwrap_or(&self.path);
        std::fs::create_dir_all(parent).map_err(failed)?;
        let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(failed)?;
        let fetch =
            Fetch { path: fresh.path().to_owned(), url: self.url.clone(), config: Arc::clone(&self.config) };
        // The damaged one stays until there is a better one: what of it can be read is better than nothing.
        fetch.run()?;
        let old = tempfile::Builder::new().prefix(".old-").tempdir_in(parent).map_err(failed)?;
        if self.path.exists() {
            std::fs::rename(&self.path, old.path().join("repository")).map_err(failed)?;
        }
        std::fs::rename(fresh.keep(), &self.path).map_err(failed)?;
        handles.replace();
        Ok(true)
    }

    /// Whether the commits that references name and their root directories can be read.
    fn is_whole(&self) -> bool {
        let Ok(repository) = crate::repository::open(&self.path) else { return false };
        let Ok(references) = repository.references() else { return false };
        references.flatten().all(|reference| match reference.peel(ObjectType::Any) {
            Ok(object) => object.peel_to_commit().map_or(true, |commit| commit.tree().is_ok()),
            // One that points to what is not there; a symbolic one without its target is as the remote has it.
            Err(_) => reference.kind() != Some(ReferenceType::Direct),
        })
    }

    fn repository(&self) -> Result<Repository, Error> {
        if let Ok(repository) = crate::repository::open(&self.path) {
            return Ok(repository);
        }
        std::fs::create_dir_all(&self.path)
            .map_err(|error| Error::Read { path: self.path.clone(), reason: error.to_string() })?;
        Repository::init_bare(&self.path)
            .map_err(|error| Error::Read { path: self.path.clone(), reason: error.message().to_owned() })
    }

    fn fetch(&self, repository: &Repository) -> Result<(), git2::Error> {
        let mut remote = repository.remote_anonymous(self.url.address())?;
        let head = {
            let connection = remote.connect_auth(Direction::Fetch, Some(self.callbacks()), None)?;
            connection.default_branch().ok().and_then(|name| name.as_str().ok().map(str::to_owned))
        };
        let mut options = FetchOptions::new();
        options.prune(FetchPrune::On).download_tags(AutotagOption::None).remote_callbacks(self.callbacks());
        // Rewritten branches and moved tags are followed.
        let everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        remote.fetch(&everything, Some(&mut options), None)?;
        if let Some(head) = head {
            repository.set_head(&head)?;
        }
        Ok(())
    }

    fn callbacks(&self) -> RemoteCallbacks<'static> {
        let deadline = Instant::now() + self.config.fetch_deadline;
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(move |_| Instant::now() < deadline);
        callbacks
    }

    fn failed(&self, error: &git2::Error) -> Error {
        let (url, reason) = (self.url.address().to_owned(), error.message().to_owned());
        let own = [
            ErrorClass::Odb,
            ErrorClass::Object,
            ErrorClass::Reference,
            ErrorClass::Filesystem,
            ErrorClass::Os,
        ];
        if error.code() == ErrorCode::Locked || own.contains(&error.class()) {
            return Error::Read { path: self.path.clone(), reason };
        }
        let answered = ["not found", "authentication", "redirects", "not a Git", "larger than", "status"];
        if reason != "host not found" && answered.iter().any(|text| reason.contains(text)) {
            return Error::Fetch { url, reason };
        }
        Error::Unreachable { url, reason }
    }
}

/// All references and what they point to.
fn references(repository: &Repository) -> Vec<(String, Option<git2::Oid>)> {
    let Ok(references) = repository.references() else { return Vec::new() };
    let mut all: Vec<_> = references
        .flatten()
        .filter_map(|reference| Some((reference.name().ok()?.to_owned(), reference.target())))
        .collect();
    all.sort();
    all
}
