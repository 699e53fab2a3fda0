//! Commits read straight from the object database.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use git2::{ObjectType, Oid};
use tree::{Error, TreePath};

use crate::lock;
use crate::nodes::{Node, Nodes};

/// Opens the repository at exactly this path: never one further up.
pub(crate) fn open(path: &Path) -> Result<git2::Repository, git2::Error> {
    let none: [&str; 0] = [];
    git2::Repository::open_ext(path, git2::RepositoryOpenFlags::NO_SEARCH, none)
}

/// Open handles of one repository. A handle may be used by one thread at a time; opening one costs a few file reads.
#[derive(Debug)]
pub(crate) struct Handles {
    path: PathBuf,
    idle: Mutex<Vec<Handle>>,
    /// Something that has to be in the repository is not, or is not what its name says.
    damaged: AtomicBool,
    /// How often the repository was replaced by another one.
    replaced: AtomicU64,
}

/// A handle, and the repository it is of where that was replaced.
struct Handle(git2::Repository, u64);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

/// More than this many threads reading one repository at once open and close their handles.
const IDLE_HANDLES: usize = 4;

impl Handles {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), damaged: AtomicBool::new(false), replaced: AtomicU64::new(0) }
    }

    pub(crate) fn with<T, E: From<git2::Error>>(
        &self,
        work: impl FnOnce(&git2::Repository) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = lock(&self.idle).pop();
        let handle = match idle {
            Some(handle) => handle,
            None => Handle(open(&self.path)?, self.replaced.load(Ordering::Acquire)),
        };
        let result = work(&handle.0);
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_HANDLES && handle.1 == self.replaced.load(Ordering::Acquire) {
            idle.push(handle);
        }
        result
    }

    /// Notes that an object which others name cannot be read.
    pub(crate) fn doubt(&self) {
        if !self.damaged.swap(true, Ordering::AcqRel) {
            tracing::warn!(path = %self.path.display(), "an object of the repository is missing or broken");
        }
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Lets go of the repository, because another one takes its place.
    pub(crate) fn replace(&self) {
        self.replaced.fetch_add(1, Ordering::AcqRel);
        lock(&self.idle).clear();
        self.damaged.store(false, Ordering::Release);
    }
}

/// The tree of one commit.
pub(crate) struct CommitNodes {
    handles: Arc<Handles>,
    root: Oid,
    limit: u64,
}

impl CommitNodes {
    pub(crate) fn new(handles: Arc<Handles>, root: Oid, limit: u64) -> Self {
        Self { handles, root, limit }
    }
}

struct Failure(Box<dyn std::error::Error + Send + Sync>);

impl From<git2::Error> for Failure {
    fn from(error: git2::Error) -> Self {
        Self(Box::new(error))
    }
}

/// A path below this many directories is no path of a real repository.
const MAX_DEPTH: usize = 256;

impl CommitNodes {
    /// Whatever a commit names has to be there.
    fn failed(&self, path: &TreePath, Failure(source): Failure) -> Error {
        self.handles.doubt();
        Error::Io { path: path.clone(), source }
    }

    /// The entry at a path: its id, type and mode.
    fn entry(
        &self,
        repository: &git2::Repository,
        path: &TreePath,
    ) -> Result<Option<(Oid, Option<ObjectType>, i32)>, git2::Error> {
        if path.is_root() {
            return Ok(Some((self.root, Some(ObjectType::Tree), 0o040_000)));
        }
        if path.components().count() > MAX_DEPTH {
            return Ok(None);
        }
        let root = repository.find_tree(self.root)?;
        match root.get_path(Path::new(path.as_str())) {
            Ok(entry) => Ok(Some((entry.id(), entry.kind(), entry.filemode()))),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

const LINK_MODE: i32 = 0o120_000;

fn node(
    repository: &git2::Repository,
    id: Oid,
    kind: Option<ObjectType>,
    mode: i32,
) -> Result<Option<Node>, git2::Error> {
    Ok(match kind {
        Some(ObjectType::Tree) => Some(Node::Directory),
        Some(ObjectType::Commit) => Some(Node::Submodule),
        Some(ObjectType::Blob) if mode == LINK_MODE => {
            let target = repository.find_blob(id)?;
            Some(Node::Link(String::from_utf8_lossy(target.content()).into_owned()))
        }
        Some(ObjectType::Blob) => Some(Node::File),
        _ => None,
    })
}

impl Nodes for CommitNodes {
    fn node(&self, path: &TreePath) -> Result<Option<Node>, Error> {
        self.handles
            .with(|repository| match self.entry(repository, path)? {
                Some((id, kind, mode)) => Ok(node(repository, id, kind, mode)?),
                None => Ok(None),
            })
            .map_err(|failure| self.failed(path, failure))
    }

    fn content(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        let size_or_content = self
            .handles
            .with(|repository| {
                let Some((id, Some(ObjectType::Blob), _)) = self.entry(repository, path)? else {
                    return Ok(None);
                };
                let (size, _) = repository.odb()?.read_header(id)?;
                if size as u64 > self.limit {
                    return Ok(Some(Err(())));
                }
                Ok(Some(Ok(Bytes::copy_from_slice(repository.find_blob(id)?.content()))))
            })
            .map_err(|failure| self.failed(path, failure))?;
        match size_or_content {
            None => Ok(None),
            Some(Ok(content)) => Ok(Some(content)),
            Some(Err(())) => Err(Error::TooLarge { path: path.clone(), limit: self.limit }),
        }
    }

    fn names(&self, path: &TreePath) -> Result<Vec<(String, Node)>, Error> {
        self.handles
            .with(|repository| {
                let Some((id, Some(ObjectType::Tree), _)) = self.entry(repository, path)? else {
                    return Ok(Vec::new());
                };
                let mut names = Vec::new();
                for entry in &repository.find_tree(id)? {
                    // A name that is not UTF-8 can be named by no manifest.
                    let Ok(name) = entry.name() else { continue };
                    if let Some(node) = node(repository, entry.id(), entry.kind(), entry.filemode())? {
                        names.push((name.to_owned(), node));
                    }
                }
                // Git sorts a directory as if its name ended with a slash.
                names.sort_by(|(left, _), (right, _)| left.cmp(right));
                Ok(names)
            })
            .map_err(|failure| self.failed(path, failure))
    }
}
