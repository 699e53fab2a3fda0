//! A tree that reads a directory of this machine.

use std::path::PathBuf;

use bytes::Bytes;
use tree::{Entry, EntryKind, Error, Tree, TreePath};

pub(crate) struct Disk(pub(crate) PathBuf);

impl Tree for Disk {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        self.real_path(path)?;
        let full = self.0.join(path.as_str());
        Ok(if full.is_file() { std::fs::read(full).ok().map(Bytes::from) } else { None })
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error> {
        let Ok(entries) = std::fs::read_dir(self.0.join(path.as_str())) else { return Ok(None) };
        let mut found: Vec<Entry> = entries
            .flatten()
            .map(|entry| Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind: if entry.path().is_dir() { EntryKind::Directory } else { EntryKind::File },
            })
            .collect();
        found.sort();
        Ok(Some(found))
    }

    fn real_path(&self, path: &TreePath) -> Result<Option<TreePath>, Error> {
        let Ok(full) = self.0.join(path.as_str()).canonicalize() else { return Ok(None) };
        let root = self.0.canonicalize().expect("the directory is there");
        let inside = full.strip_prefix(root).map_err(|_| Error::Escapes { path: path.clone() })?;
        Ok(Some(TreePath::parse(&inside.to_string_lossy()).expect("a path")))
    }
}
