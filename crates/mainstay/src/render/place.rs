//! Where PATH is: the repository around it, what kind of thing it is, and its files as a tree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tree::{Entry, EntryKind, Error, Tree, TreePath};

/// Something to render.
#[derive(Clone)]
pub(super) struct Place {
    /// The directory that paths in [`tree`](Self::tree) are relative to: the Git repository's, or the whole machine's
    /// where there is none.
    pub(super) root: PathBuf,
    /// Whether the root is a Git repository's.
    pub(super) in_git: bool,
    pub(super) tree: Arc<dyn Tree>,
    pub(super) path: TreePath,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("root", &self.root).field("path", &self.path).finish_non_exhaustive()
    }
}

/// What lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chart,
    Kustomization,
    Directory,
    /// A file of manifests.
    File,
}

impl Place {
    /// # Errors
    /// If there is nothing at the path.
    pub(super) fn find(path: &str) -> Result<Self> {
        let path = std::fs::canonicalize(path).with_context(|| format!("path {path:?} not found"))?;
        let repository = path.ancestors().find(|directory| directory.join(".git").exists());
        let (root, in_git) = match repository {
            Some(root) => (root.to_owned(), true),
            None => (PathBuf::from("/"), false),
        };
        let path = tree_path(&root, &path)?;
        Ok(Self { tree: Arc::new(Disk { root: root.clone() }), root, in_git, path })
    }

    /// A file's path in the tree, if the file lies below the root.
    pub(super) fn path_of(&self, file: &Path) -> Option<TreePath> {
        tree_path(&self.root, &std::fs::canonicalize(file).ok()?).ok()
    }

    /// The same place with the files of another revision.
    pub(super) fn at(&self, revision: &str) -> Result<Self> {
        if !self.in_git {
            bail!(
                "--against {revision}: {} lies in no Git repository",
                self.root.join(self.path.as_str()).display()
            );
        }
        let snapshot = git::revision(&self.root, revision)
            .with_context(|| format!("read revision {revision} of {}", self.root.display()))?;
        Ok(Self { tree: snapshot.tree, ..self.clone() })
    }

    pub(super) fn kind(&self) -> Result<Kind> {
        let Some(entries) = self.tree.list(&self.path)? else {
            return match self.path.file_name().rsplit_once('.') {
                Some((_, "tgz" | "gz")) => Ok(Kind::Chart),
                _ if self.tree.read(&self.path)?.is_some() => Ok(Kind::File),
                _ => bail!("{} is not there", self.path),
            };
        };
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        // As Argo CD decides where a directory is both.
        if has("kustomization.yaml") || has("kustomization.yml") || has("Kustomization") {
            return Ok(Kind::Kustomization);
        }
        Ok(if has("Chart.yaml") { Kind::Chart } else { Kind::Directory })
    }
}

fn tree_path(root: &Path, path: &Path) -> Result<TreePath> {
    let relative = path.strip_prefix(root).with_context(|| format!("find {}", path.display()))?;
    let text = relative.to_str().with_context(|| format!("{} is no UTF-8 text", path.display()))?;
    Ok(TreePath::parse(text)?)
}

/// The files of this machine below a directory, read as they are asked for: the tree of one command, during which
/// nobody is expected to change them.
struct Disk {
    root: PathBuf,
}

/// A larger file is none that a renderer reads.
const LIMIT: u64 = 64 << 20;

impl Disk {
    /// Where a path leads after all links; `None` if there is nothing.
    fn find(&self, path: &TreePath) -> Result<Option<PathBuf>, Error> {
        let found = match std::fs::canonicalize(self.root.join(path.as_str())) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(Error::Io { path: path.clone(), source: error.into() }),
        };
        if !found.starts_with(&self.root) {
            return Err(Error::Escapes { path: path.clone() });
        }
        Ok(Some(found))
    }
}

impl Tree for Disk {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        let failed = |error: std::io::Error| Error::Io { path: path.clone(), source: error.into() };
        let Some(found) = self.find(path)? else { return Ok(None) };
        let metadata = std::fs::metadata(&found).map_err(failed)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        if metadata.len() > LIMIT {
            return Err(Error::TooLarge { path: path.clone(), limit: LIMIT });
        }
        Ok(Some(std::fs::read(found).map_err(failed)?.into()))
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error> {
        let failed = |error: std::io::Error| Error::Io { path: path.clone(), source: error.into() };
        let found = self.find(path)?.filter(|found| found.is_dir());
        let Some(found) = found else { return Ok(None) };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(found).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // A name that is no text can be named by no manifest, and Git's own files are none.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name == ".git" {
                continue;
            }
            let kind = if entry.path().is_dir() { EntryKind::Directory } else { EntryKind::File };
            entries.push(Entry { name, kind });
        }
        entries.sort();
        Ok(Some(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::write(root.join("file"), "content").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.join("leaves")).unwrap();
        std::os::unix::fs::symlink("file", root.join("stays")).unwrap();
        let disk = Disk { root };
        let read = |path: &str| disk.read(&TreePath::parse(path).unwrap());
        assert_eq!(read("stays").unwrap().unwrap(), "content");
        assert!(matches!(read("leaves"), Err(Error::Escapes { .. })));
        assert_eq!(read("file/below").unwrap(), None);
        assert_eq!(read("nothing").unwrap(), None);
    }
}
