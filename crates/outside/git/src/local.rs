//! Repositories on this machine: commits, the files of a working copy as they are saved, directories without Git.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use git2::{Repository, Status, StatusOptions};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tree::{Error as TreeError, TreePath};

use crate::changes::Origin;
use crate::nodes::{Node, Nodes, Resolved};
use crate::repository::{CommitNodes, Handles};
use crate::unrest::{LONGEST_COMMAND, Unrest, is_absent};
use crate::watcher::{self, Watcher};
use crate::{Error, Limits, Snapshot, lock, repository, revision};

/// One directory that answers for a URL.
pub(crate) struct LocalRepository {
    place: Arc<Place>,
    watcher: Mutex<Option<Watcher>>,
    /// The files as saved, with the state of the watch they were read at.
    saved: Mutex<Option<(u64, Snapshot)>>,
    /// Held while they are read, so that everybody who waits gets the one result.
    reading: tokio::sync::Mutex<()>,
}

struct Place {
    path: PathBuf,
    pinned: Option<String>,
    limits: Limits,
    handles: Arc<Handles>,
}

impl LocalRepository {
    pub(crate) fn new(path: PathBuf, pinned: Option<String>, limits: Limits) -> Self {
        let handles = Arc::new(Handles::new(path.clone()));
        let place = Arc::new(Place { path, pinned, limits, handles });
        Self {
            place,
            watcher: Mutex::default(),
            saved: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn watch(&self, shutdown: &CancellationToken) -> watch::Receiver<u64> {
        let mut watcher = lock(&self.watcher);
        let watcher =
            watcher.get_or_insert_with(|| watcher::start(self.place.path.clone(), shutdown.child_token()));
        watcher.changes.clone()
    }

    pub(crate) async fn open(&self, revision: &str) -> Result<Snapshot, Error> {
        let by_name = self.place.means_saved_files_by_name(revision);
        let _reading = if by_name { Some(self.reading.lock().await) } else { None };
        let begun = Instant::now();
        let mut before = String::new();
        loop {
            // Read before the files are, so that a change during the scan makes the next call scan again.
            let seen = lock(&self.watcher).as_ref().and_then(Watcher::seen);
            if let (Some(seen), Some((at, snapshot))) = (seen, &*lock(&self.saved))
                && *at == seen
                && by_name
            {
                return Ok(snapshot.clone());
            }
            let place = Arc::clone(&self.place);
            let name = revision.to_owned();
            let opened = tokio::task::spawn_blocking(move || place.open(&name)).await;
            let Opened { snapshot, saved, unrest } = opened.map_err(|_| Error::Stopped)??;
            if unrest.is_over(begun.elapsed(), snapshot.revision == before) {
                if let (true, Some(seen)) = (saved, seen) {
                    *lock(&self.saved) = Some((seen, snapshot.clone()));
                }
                return Ok(snapshot);
            }
            if begun.elapsed() > LONGEST_COMMAND {
                return Err(Error::Changing { path: self.place.path.clone() });
            }
            before = snapshot.revision;
            tokio::time::sleep(unrest.look()).await;
        }
    }
}

/// A snapshot, and how it came about.
struct Opened {
    snapshot: Snapshot,
    /// Whether it is one of the files as saved.
    saved: bool,
    unrest: Unrest,
}

impl Opened {
    fn commit(snapshot: Snapshot) -> Self {
        Self { snapshot, saved: false, unrest: Unrest::default() }
    }
}

impl Place {
    /// Names that mean the files as saved in every working copy.
    fn means_saved_files_by_name(&self, revision: &str) -> bool {
        self.pinned.is_none() && matches!(revision, "" | "HEAD" | "main" | "master")
    }

    fn open(&self, revision: &str) -> Result<Opened, Error> {
        let Ok(repository) = repository::open(&self.path) else { return self.directory() };
        let default = self.is_default(&repository, revision);
        if default && self.pinned.is_none() && !repository.is_bare() {
            return self.working_copy(&repository);
        }
        let revision = match (&self.pinned, default) {
            (Some(pinned), true) => pinned,
            // A bare repository whose HEAD is called otherwise.
            (None, true) if revision::resolve(&repository, revision).is_err() => "HEAD",
            _ => revision,
        };
        let commit = revision::resolve(&repository, revision)?;
        Ok(Opened::commit(commit_snapshot(&repository, &self.handles, commit, self.limits.file)?))
    }

    fn is_default(&self, repository: &Repository, revision: &str) -> bool {
        if matches!(revision, "" | "HEAD" | "main" | "master") {
            return true;
        }
        let head = repository.head().ok();
        let checked_out =
            head.as_ref().filter(|head| head.is_branch()).and_then(|head| head.shorthand().ok());
        checked_out == Some(revision)
    }

    /// The files as saved: the commit's, with everything that differs laid over. Untracked files count, ignored
    /// ones do not.
    fn working_copy(&self, repository: &Repository) -> Result<Opened, Error> {
        let lock = repository.path().join("index.lock");
        let locked = lock.exists();
        let head = repository.head().and_then(|head| head.peel_to_commit()).ok();
        let base = head
            .as_ref()
            .map(|commit| CommitNodes::new(Arc::clone(&self.handles), commit.tree_id(), self.limits.file));
        let mut options = StatusOptions::new();
        options
            .include_untracked(true)
            .recurse_untracked_dirs(true)
            .include_ignored(false)
            .exclude_submodules(true)
            .renames_head_to_index(false)
            .update_index(false);
        let statuses = repository.statuses(Some(&mut options)).map_err(|error| self.unreadable(&error))?;
        let mut overlay = Overlay::new(base);
        let mut reading = Reading::new(self, "changed files");
        for entry in statuses.iter().filter(|entry| entry.status() != Status::CURRENT) {
            let Ok(Ok(path)) = entry.path().map(TreePath::parse) else { continue };
            reading.file(&mut overlay, path, entry.status())?;
        }
        let commit = head.as_ref().map_or_else(|| "0".repeat(40), |commit| commit.id().to_string());
        let revision = match overlay.fingerprint() {
            None => commit,
            Some(fingerprint) => format!("{commit}-dirty.{}", &fingerprint[..12]),
        };
        let base = head.as_ref().map(git2::Commit::tree_id);
        let mut unrest = reading.unrest;
        unrest.locked = locked || lock.exists();
        Ok(Opened { snapshot: self.saved(revision, base, overlay), saved: true, unrest })
    }

    fn saved(&self, revision: String, base: Option<git2::Oid>, overlay: Overlay) -> Snapshot {
        let tree = Arc::new(Resolved(overlay));
        let origin = Origin { handles: Arc::clone(&self.handles), base, saved: Some(Arc::clone(&tree)) };
        Snapshot { revision, tree, origin: Some(Arc::new(origin)) }
    }

    /// A directory without Git.
    fn directory(&self) -> Result<Opened, Error> {
        let mut overlay = Overlay::new(None);
        let mut reading = Reading::new(self, "files");
        let mut pending = vec![TreePath::root()];
        while let Some(directory) = pending.pop() {
            let absolute = self.path.join(directory.as_str());
            let entries = std::fs::read_dir(&absolute).map_err(|error| self.unreadable(&error))?;
            for entry in entries {
                let entry = entry.map_err(|error| self.unreadable(&error))?;
                let name = entry.file_name();
                let Some(Ok(path)) = name.to_str().map(|name| directory.join(name)) else { continue };
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && name != ".git" => pending.push(path),
                    Ok(kind) if kind.is_file() || kind.is_symlink() => {
                        reading.file(&mut overlay, path, Status::CURRENT)?;
                    }
                    _ => {}
                }
            }
        }
        let fingerprint = overlay.fingerprint().unwrap_or_else(|| "0".repeat(40));
        let snapshot = self.saved(fingerprint[..40].to_owned(), None, overlay);
        Ok(Opened { snapshot, saved: true, unrest: reading.unrest })
    }

    fn unreadable(&self, error: &dyn std::error::Error) -> Error {
        Error::Read { path: self.path.clone(), reason: error.to_string() }
    }
}

/// The snapshot of one commit of a repository with these handles.
pub(crate) fn commit_snapshot(
    repository: &Repository,
    handles: &Arc<Handles>,
    commit: git2::Oid,
    limit: u64,
) -> Result<Snapshot, Error> {
    let tree = repository.find_commit(commit).map(|commit| commit.tree_id());
    let tree = tree.map_err(|_| Error::Revision { revision: commit.to_string() })?;
    let nodes = CommitNodes::new(Arc::clone(handles), tree, limit);
    let origin = Origin { handles: Arc::clone(handles), base: Some(tree), saved: None };
    Ok(Snapshot {
        revision: commit.to_string(),
        tree: Arc::new(Resolved(nodes)),
        origin: Some(Arc::new(origin)),
    })
}

/// Reads files into an overlay, up to the limit for all of them.
struct Reading<'a> {
    place: &'a Place,
    what: &'static str,
    left: u64,
    unrest: Unrest,
}

impl<'a> Reading<'a> {
    fn new(place: &'a Place, what: &'static str) -> Self {
        Self { place, what, left: place.limits.working_copy, unrest: Unrest::default() }
    }

    fn file(&mut self, overlay: &mut Overlay, path: TreePath, status: Status) -> Result<(), Error> {
        let absolute = self.place.path.join(path.as_str());
        let change = match std::fs::symlink_metadata(&absolute) {
            Err(error) if is_absent(&error) => {
                self.unrest.removed(&absolute);
                None
            }
            // One that is there and cannot be read is not a deleted one.
            Err(error) => Some(Saved::Unreadable { reason: error.to_string() }),
            Ok(metadata) if metadata.is_symlink() => read_link(&absolute).map(Saved::Link),
            Ok(metadata) if !metadata.is_file() => None,
            Ok(metadata) if metadata.len() > self.place.limits.file => {
                Some(Saved::TooLarge { size: metadata.len(), limit: self.place.limits.file })
            }
            Ok(metadata) => {
                self.left = self.left.checked_sub(metadata.len()).ok_or_else(|| Error::TooLarge {
                    path: self.place.path.clone(),
                    what: self.what,
                    limit: self.place.limits.working_copy,
                })?;
                self.unrest.written(&metadata, &path);
                match std::fs::read(&absolute) {
                    Ok(content) if status.is_conflicted() && has_conflict_markers(&content) => {
                        Some(Saved::Unreadable { reason: "it has merge conflicts".to_owned() })
                    }
                    Ok(content) => Some(Saved::File(content.into())),
                    // It vanished between the scan and here: whether it comes back is seen when the files rest.
                    Err(error) if is_absent(&error) => {
                        self.unrest.removed(&absolute);
                        None
                    }
                    Err(error) => Some(Saved::Unreadable { reason: error.to_string() }),
                }
            }
        };
        overlay.set(path, change);
        Ok(())
    }
}

/// Whether both sides of a conflict are still in a file that Git calls unmerged.
fn has_conflict_markers(content: &[u8]) -> bool {
    let begins = |mark: &[u8]| content.split(|byte| *byte == b'\n').any(|line| line.starts_with(mark));
    begins(b"<<<<<<< ") && begins(b">>>>>>> ")
}

fn read_link(path: &Path) -> Option<String> {
    Some(std::fs::read_link(path).ok()?.to_str()?.to_owned())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Saved {
    File(Bytes),
    Link(String),
    /// It is there, but nobody can have what it holds; refused when read.
    Unreadable {
        reason: String,
    },
    /// Size of the file and the limit, in bytes; refused when read.
    TooLarge {
        size: u64,
        limit: u64,
    },
}

/// Changes laid over a commit, or over nothing.
pub(crate) struct Overlay {
    base: Option<CommitNodes>,
    /// `None`: deleted.
    changes: BTreeMap<TreePath, Option<Saved>>,
    /// Directories above a changed file, with the names that changed in them.
    directories: BTreeMap<TreePath, BTreeSet<String>>,
}

impl Overlay {
    fn new(base: Option<CommitNodes>) -> Self {
        Self { base, changes: BTreeMap::new(), directories: BTreeMap::new() }
    }

    fn set(&mut self, path: TreePath, change: Option<Saved>) {
        let mut child = path.clone();
        while let Some(parent) = child.parent() {
            self.directories.entry(parent.clone()).or_default().insert(child.file_name().to_owned());
            child = parent;
        }
        self.changes.insert(path, change);
    }

    /// Every path that differs from the commit.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &TreePath> {
        self.changes.keys()
    }

    /// How a path differs: `None` if it does not, `Some(None)` if it was deleted.
    pub(crate) fn saved(&self, path: &TreePath) -> Option<&Option<Saved>> {
        self.changes.get(path)
    }

    /// 64 hex digits of all changes; `None` if there is none.
    fn fingerprint(&self) -> Option<String> {
        if self.changes.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for (path, change) in &self.changes {
            let (tag, content): (u8, &[u8]) = match change {
                None => (0, &[]),
                Some(Saved::File(content)) => (1, content),
                Some(Saved::Link(target)) => (2, target.as_bytes()),
                Some(Saved::TooLarge { size, .. }) => (3, &size.to_le_bytes()),
                Some(Saved::Unreadable { reason }) => (4, reason.as_bytes()),
            };
            hash.update((path.as_str().len() as u64).to_le_bytes());
            hash.update(path.as_str());
            hash.update([tag]);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        }
        let mut text = String::with_capacity(64);
        for byte in hash.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }

    /// Whether a changed file lies somewhere below (deleted ones do not).
    fn has_files_below(&self, directory: &TreePath) -> bool {
        let start = directory.clone();
        self.changes.range(start..).take_while(|(path, _)| path.as_str().starts_with(directory.as_str())).any(
            |(path, change)| {
                change.is_some() && path.strip_prefix(directory).is_some_and(|rest| !rest.is_empty())
            },
        )
    }

    /// Whether the commit has a file below that was not deleted.
    fn base_has_files_below(&self, directory: &TreePath) -> Result<bool, TreeError> {
        let Some(base) = &self.base else { return Ok(false) };
        if !self.directories.contains_key(directory) {
            return Ok(true);
        }
        for (name, node) in base.names(directory)? {
            let Ok(path) = directory.join(&name) else { continue };
            let remains = match node {
                Node::Directory => self.base_has_files_below(&path)?,
                _ => !matches!(self.changes.get(&path), Some(None)),
            };
            if remains {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Nodes for Overlay {
    fn node(&self, path: &TreePath) -> Result<Option<Node>, TreeError> {
        match self.changes.get(path) {
            Some(Some(Saved::File(_) | Saved::TooLarge { .. } | Saved::Unreadable { .. })) => {
                return Ok(Some(Node::File));
            }
            Some(Some(Saved::Link(target))) => return Ok(Some(Node::Link(target.clone()))),
            // A file that became a directory is deleted and has files below.
            Some(None) => return Ok(self.has_files_below(path).then_some(Node::Directory)),
            None => {}
        }
        if path.is_root() || self.has_files_below(path) {
            return Ok(Some(Node::Directory));
        }
        let Some(base) = &self.base else { return Ok(None) };
        match base.node(path)? {
            Some(Node::Directory) if !self.base_has_files_below(path)? => Ok(None),
            node => Ok(node),
        }
    }

    fn content(&self, path: &TreePath) -> Result<Option<Bytes>, TreeError> {
        match (self.changes.get(path), &self.base) {
            (Some(Some(Saved::File(content))), _) => Ok(Some(content.clone())),
            (Some(Some(Saved::TooLarge { limit, .. })), _) => {
                Err(TreeError::TooLarge { path: path.clone(), limit: *limit })
            }
            (Some(Some(Saved::Unreadable { reason })), _) => {
                Err(TreeError::Io { path: path.clone(), source: reason.clone().into() })
            }
            (Some(_), _) | (None, None) => Ok(None),
            (None, Some(base)) => base.content(path),
        }
    }

    fn names(&self, path: &TreePath) -> Result<Vec<(String, Node)>, TreeError> {
        let mut names: BTreeSet<String> = self.directories.get(path).cloned().unwrap_or_default();
        if let Some(base) = &self.base {
            names.extend(base.names(path)?.into_iter().map(|(name, _)| name));
        }
        let mut nodes = Vec::new();
        for name in names {
            let Ok(child) = path.join(&name) else { continue };
            if let Some(node) = self.node(&child)? {
                nodes.push((name, node));
            }
        }
        Ok(nodes)
    }
}
