//! What one kustomization may read: files in or below its own directory.

use bytes::Bytes;
use tree::{Tree, TreePath};

use crate::Error;

/// How deep bases may nest.
const MAX_DEPTH: usize = 64;
const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

pub(crate) struct Loader<'t> {
    tree: &'t dyn Tree,
    root: TreePath,
    /// The directories of the kustomizations that led here, outermost first.
    visited: Vec<TreePath>,
}

impl<'t> Loader<'t> {
    pub(crate) fn new(tree: &'t dyn Tree, path: &str) -> Result<Self, Error> {
        let root = TreePath::parse(path).map_err(|source| Error::Path { path: path.to_owned(), source })?;
        Ok(Self { tree, root, visited: Vec::new() })
    }

    pub(crate) fn root(&self) -> &TreePath {
        &self.root
    }

    fn resolve(&self, path: &str) -> Result<TreePath, Error> {
        self.root.join(path).map_err(|source| Error::Path { path: path.to_owned(), source })
    }

    /// Whether there is a directory of this name.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|path| matches!(self.tree.list(&path), Ok(Some(_))))
    }

    /// The loader of a base or component in another directory.
    pub(crate) fn enter(&self, path: &str) -> Result<Self, Error> {
        let root = self.resolve(path)?;
        if self.tree.list(&root).map_err(|source| Error::Tree { path: root.clone(), source })?.is_none() {
            return Err(Error::Missing { path: root, what: "directory" });
        }
        let mut visited = self.visited.clone();
        visited.push(self.root.clone());
        if let Some(ancestor) = visited.iter().find(|ancestor| ancestor.strip_prefix(&root).is_some()) {
            let message =
                format!("cycle detected: candidate root '{root}' contains visited root '{ancestor}'");
            return Err(Error::Invalid(message));
        }
        if visited.len() > MAX_DEPTH {
            return Err(Error::Limit { what: "the nesting of kustomizations", limit: MAX_DEPTH });
        }
        Ok(Self { tree: self.tree, root, visited })
    }

    pub(crate) fn load(&self, path: &str) -> Result<Bytes, Error> {
        let full = self.resolve(path)?;
        if full.strip_prefix(&self.root).is_none() {
            return Err(Error::Restricted { path: full, root: self.root.clone() });
        }
        self.tree
            .read(&full)
            .map_err(|source| Error::Tree { path: full.clone(), source })?
            .ok_or(Error::Missing { path: full, what: "file" })
    }

    pub(crate) fn load_text(&self, path: &str) -> Result<String, Error> {
        let content = self.load(path)?;
        String::from_utf8(content.to_vec()).map_err(|_error| Error::Malformed {
            path: self.display(path),
            message: "yaml: invalid Unicode characters".to_owned(),
        })
    }

    /// The path as errors show it.
    pub(crate) fn display(&self, path: &str) -> String {
        self.resolve(path).map_or_else(|_error| path.to_owned(), |path| path.to_string())
    }

    /// The kustomization file of this directory.
    pub(crate) fn kustomization(&self) -> Result<(TreePath, String), Error> {
        let mut found = None;
        for name in FILE_NAMES {
            match self.load_text(name) {
                Ok(_) if found.is_some() => {
                    return Err(Error::Invalid(format!(
                        "found multiple kustomization files under: {}",
                        self.root
                    )));
                }
                Ok(text) => found = Some((self.resolve(name)?, text)),
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        found.ok_or_else(|| Error::Missing {
            path: self.root.clone(),
            what: "kustomization (kustomization.yaml, kustomization.yml or Kustomization)",
        })
    }
}
