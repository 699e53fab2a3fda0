//! A tree held in memory: tests, unpacked archives, generated files.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{Entry, EntryKind, Error, Tree, TreePath};

/// Files by path; directories exist where a file lies below them.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: BTreeMap<TreePath, Bytes>,
}

impl MemoryTree {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn insert(&mut self, path: TreePath, content: impl Into<Bytes>) {
        self.files.insert(path, content.into());
    }
}

impl FromIterator<(TreePath, Bytes)> for MemoryTree {
    fn from_iter<I: IntoIterator<Item = (TreePath, Bytes)>>(files: I) -> Self {
        Self { files: files.into_iter().collect() }
    }
}

impl Tree for MemoryTree {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        Ok(self.files.get(path).cloned())
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error> {
        let mut entries = BTreeSet::new();
        for file in self.files.keys() {
            let Some(rest) = file.strip_prefix(path).filter(|rest| !rest.is_empty()) else { continue };
            let (name, kind) = match rest.split_once('/') {
                Some((directory, _)) => (directory, EntryKind::Directory),
                None => (rest, EntryKind::File),
            };
            entries.insert(Entry { name: name.to_owned(), kind });
        }
        Ok((path.is_root() || !entries.is_empty()).then(|| entries.into_iter().collect()))
    }
}
