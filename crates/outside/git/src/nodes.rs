//! From raw nodes (which may be symbolic links) to a [`tree::Tree`] in which every link is resolved inside the root.

use bytes::Bytes;
use tree::{Entry, EntryKind, Error, Tree, TreePath};

/// What lies at a path before links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File,
    Directory,
    /// The link's target as written.
    Link(String),
    /// The root of another repository; its content is not here.
    Submodule,
}

/// A tree whose links are not followed. Paths handed in have been resolved up to their last component.
pub(crate) trait Nodes: Send + Sync {
    fn node(&self, path: &TreePath) -> Result<Option<Node>, Error>;
    /// The content of a file node.
    fn content(&self, path: &TreePath) -> Result<Option<Bytes>, Error>;
    /// The names in a directory node, sorted.
    fn names(&self, path: &TreePath) -> Result<Vec<(String, Node)>, Error>;
}

/// How many links may be followed for one path.
const MAX_LINKS: usize = 40;

/// Follows links inside the root and refuses those that leave it.
pub(crate) struct Resolved<N>(pub(crate) N);

impl<N: Nodes> Resolved<N> {
    /// The path of the node that `path` names after all links were followed; `None` if there is nothing.
    fn resolve(&self, path: &TreePath) -> Result<Option<(TreePath, Node)>, Error> {
        let escapes = || Error::Escapes { path: path.clone() };
        let mut pending: Vec<String> = path.as_str().rsplit('/').map(str::to_owned).collect();
        pending.retain(|name| !name.is_empty());
        let mut current = TreePath::root();
        let mut kind = Node::Directory;
        let mut links = 0;
        while let Some(name) = pending.pop() {
            match kind {
                Node::Directory => {}
                Node::Submodule => return Err(submodule(&current)),
                Node::File | Node::Link(_) => return Ok(None),
            }
            if name == ".." {
                current = current.parent().ok_or_else(escapes)?;
                continue;
            }
            let next = current.join(&name).map_err(|_| escapes())?;
            match self.0.node(&next)? {
                None => return Ok(None),
                Some(Node::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS || target.starts_with('/') {
                        return Err(escapes());
                    }
                    let parts = target.split('/').rev().filter(|part| !part.is_empty() && *part != ".");
                    pending.extend(parts.map(str::to_owned));
                }
                Some(node) => {
                    current = next;
                    kind = node;
                }
            }
            if pending.last().is_some_and(|name| name == "..") && kind != Node::Directory {
                return Ok(None);
            }
        }
        Ok(Some((current, kind)))
    }
}

fn submodule(path: &TreePath) -> Error {
    Error::Io { path: path.clone(), source: "it is a Git submodule, which is not supported yet".into() }
}

impl<N: Nodes> Tree for Resolved<N> {
    fn read(&self, path: &TreePath) -> Result<Option<Bytes>, Error> {
        match self.resolve(path)? {
            Some((path, Node::File)) => self.0.content(&path),
            _ => Ok(None),
        }
    }

    fn real_path(&self, path: &TreePath) -> Result<Option<TreePath>, Error> {
        Ok(self.resolve(path)?.map(|(path, _)| path))
    }

    fn list(&self, path: &TreePath) -> Result<Option<Vec<Entry>>, Error> {
        let directory = match self.resolve(path)? {
            Some((path, Node::Directory)) => path,
            Some((path, Node::Submodule)) => return Err(submodule(&path)),
            _ => return Ok(None),
        };
        let mut entries = Vec::new();
        for (name, node) in self.0.names(&directory)? {
            let kind = match node {
                Node::File => EntryKind::File,
                Node::Directory | Node::Submodule => EntryKind::Directory,
                Node::Link(_) => {
                    let Ok(link) = directory.join(&name) else { continue };
                    match self.resolve(&link) {
                        Ok(Some((_, Node::Directory | Node::Submodule))) => EntryKind::Directory,
                        // A link that leads nowhere or outside is reported by whoever reads it.
                        _ => EntryKind::File,
                    }
                }
            };
            entries.push(Entry { name, kind });
        }
        Ok(Some(entries))
    }
}
