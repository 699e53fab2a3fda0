//! Remembers what a rendering read, so that it is done again only when one of those files changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{Entry, EntryKind, Error, Tree, TreePath};

/// One thing that was asked of a tree, with a fingerprint of the answer (`None`: it was not there).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    File(Option<[u8; 32]>),
    Directory(Option<[u8; 32]>),
}

/// A tree that passes every question on and keeps the fingerprints of the answers.
pub struct Recorder<'a> {
    tree: &'a dyn Tree,
    reads: Mutex<BTreeMap<(TreePath, bool), Read>>,
    follows_links: AtomicBool,
}

impl std::fmt::Debug for Recorder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl<'a> Recorder<'a> {
    #[must_use]
    pub fn new(tree: &'a dyn Tree) -> Self {
        Self { tree, reads: Mutex::default(), follows_links: AtomicBool::new(false) }
    }

    /// Whether anything was read through a symbolic link, so that its content lies at another path than the recorded one.
    #[must_use]
    pub fn follows_links(&self) -> bool {
        self.follows_links.load(Ordering::Acquire)
    }

    /// What was read, by path.
    #[must_use]
    pub fn into_reads(self) -> Vec<(TreePath, Read)> {
        let reads = self.reads.into_inner().unwrap_or_else(PoisonError::into_inner);
        reads.into_iter().map(|((path, _), read)| (path, read)).collect()
    }

    fn note(&self, path: &TreePath, read: Read) {
        // A link that cannot be followed fails the reading itself.
        let elsewhere = |real: Option<TreePath>| real.is_some_and(|real| real != *path);
        if self.tree.real_path(path).is_ok_and(elsewhere) {
            self.follows_links.store(true, Ordering::Release);
        }
        let key = (path.clone(), matches!(read, Read::Directory(_)));
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).insert(key, read);
    }
}

/// Whether `tree` still gives every recorded answer.
///
/// # Errors
/// As [`Tree::read`].
pub fn unchanged(tree: &dyn Tree, reads: &[(TreePath, Read)]) -> Result<bool, Error> {
    for (path, read) in reads {
        let now = match read {
            Read::File(_) => Read::File(tree.read(path)?.as_deref().map(fingerprint)),
            Read::Directory(_) => Read::Directory(tree.list(path)?.as_deref().map(fingerprint_entries)),
        };
        if now != *read {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fingerprint(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

fn fingerprint_entries(entries: &[Entry]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for entry in entries {
        hash.update(entry.name.as_bytes());
        hash.update([0, u8::from(entry.kind == EntryKind::Directory)]);
    }
    hash.finalize().into()
}

impl Tree for Recorder<'_> {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        let content = self.tree.read(path)?;
        self.note(path, Read::File(content.as_deref().map(fingerprint)));
        Ok(content)
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error> {
        let entries = self.tree.list(path)?;
        self.note(path, Read::Directory(entries.as_deref().map(fingerprint_entries)));
        Ok(entries)
    }

    fn real_path(&self, path: &TreePath) -> Result<Option<TreePath>, Error> {
        self.tree.real_path(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    #[test]
    fn notices_a_changed_file_an_added_one_and_nothing_else() {
        let path = |text: &str| TreePath::parse(text).unwrap();
        let mut tree = MemoryTree::new();
        tree.insert(path("a/values.yaml"), "x: 1");
        tree.insert(path("b/other.yaml"), "y: 1");
        let recorder = Recorder::new(&tree);
        recorder.read(&path("a/values.yaml")).unwrap();
        recorder.read(&path("a/missing.yaml")).unwrap();
        recorder.list(&path("a")).unwrap();
        let reads = recorder.into_reads();

        assert!(unchanged(&tree, &reads).unwrap());
        tree.insert(path("b/other.yaml"), "y: 2");
        assert!(unchanged(&tree, &reads).unwrap(), "a file that was not read does not matter");
        tree.insert(path("a/missing.yaml"), "");
        assert!(!unchanged(&tree, &reads).unwrap());
    }
}
