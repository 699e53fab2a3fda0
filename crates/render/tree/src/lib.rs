//! Read-only file trees: what a renderer sees of a repository at one revision.
//!
//! Owns the [`Tree`] trait, checked paths ([`TreePath`]) and the record of what a rendering read ([`Recorder`]),
//! from which its cache key is made. Whoever implements [`Tree`] resolves symbolic links inside the tree and
//! refuses those that leave it; whoever reads can name only paths below the root, because a [`TreePath`] cannot
//! be anything else. Keeps out where files come from (Git, a directory, an archive) and what they mean.

mod memory;
mod path;
mod recorder;

pub use memory::MemoryTree;
pub use path::{PathError, TreePath};
pub use recorder::{Read, Recorder, unchanged};

use bytes::Bytes;

/// What a directory entry is, after symbolic links were followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    File,
    Directory,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub kind: EntryKind,
}

/// Why a tree could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A symbolic link (or a chain of them) points outside the tree, is absolute, or does not end.
    #[error("{path}: symbolic link leaves the repository or does not end")]
    Escapes { path: TreePath },
    /// The file is larger than the tree allows.
    #[error("{path}: file is larger than {limit} bytes")]
    TooLarge { path: TreePath, limit: u64 },
    #[error("read {path}")]
    Io {
        path: TreePath,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A read-only file tree. Implementations are values: the same tree answers the same for its whole life.
pub trait Tree: Send + Sync {
    /// The content of a file; `None` if there is no such file (or the path is a directory).
    ///
    /// # Errors
    /// As [`Error`] lists.
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error>;

    /// The entries of a directory sorted by name; `None` if there is no such directory.
    ///
    /// # Errors
    /// As [`Error`] lists.
    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error>;

    /// Where a file or directory lies once symbolic links were followed; `None` if nothing is there. A tree without
    /// links need not look.
    ///
    /// # Errors
    /// As [`Error`] lists.
    fn real_path(&self, path: &TreePath) -> Result<Option<TreePath>, Error> {
        Ok(Some(path.clone()))
    }
}

impl<T: Tree + ?Sized> Tree for std::sync::Arc<T> {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        (**self).read(path)
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error> {
        (**self).list(path)
    }

    fn real_path(&self, path: &TreePath) -> Result<Option<TreePath>, Error> {
        (**self).real_path(path)
    }
}

/// All files below `start` (depth first, names in order), at most `limit` directory levels deep.
///
/// # Errors
/// As [`Tree::list`].
pub fn walk(tree: &dyn Tree, start: &TreePath, limit: usize) -> Result<Vec<TreePath>, Error> {
    let mut files = Vec::new();
    let mut pending = vec![(start.clone(), 0)];
    while let Some((directory, depth)) = pending.pop() {
        let mut below = Vec::new();
        for entry in tree.list(&directory)?.unwrap_or_default() {
            let Ok(path) = directory.join(&entry.name) else { continue };
            match entry.kind {
                EntryKind::File => files.push(path),
                EntryKind::Directory if depth < limit => below.push((path, depth + 1)),
                EntryKind::Directory => {}
            }
        }
        pending.extend(below.into_iter().rev());
    }
    Ok(files)
}
