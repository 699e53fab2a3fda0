//! Which paths differ between two snapshots of one repository.

use std::collections::HashSet;
use std::sync::Arc;

use git2::{Delta, DiffOptions, Oid};
use tree::{Read, TreePath};

use crate::Snapshot;
use crate::local::Overlay;
use crate::nodes::Resolved;
use crate::repository::Handles;

/// Where a snapshot was taken, so that two of one repository can be compared without reading them.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) handles: Arc<Handles>,
    /// The tree of the commit; `None` where there is none yet, or no Git.
    pub(crate) base: Option<Oid>,
    /// The files as saved that differ from the commit; `None` for a commit itself.
    pub(crate) saved: Option<Arc<Resolved<Overlay>>>,
}

/// Paths at which two snapshots may differ: never fewer than those that do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files and links with another content, added or removed.
    files: HashSet<TreePath>,
    /// Directories in which a name may have come or gone.
    directories: HashSet<TreePath>,
}

impl Changes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether the answer to what was read may be another one now. Reads through symbolic links are the caller's to
    /// treat as touched: the target is not recorded.
    #[must_use]
    pub fn touches(&self, path: &TreePath, read: &Read) -> bool {
        let listed = matches!(read, Read::Directory(_)) && self.directories.contains(path);
        // A file that took a directory's place, or the other way round.
        listed
            || std::iter::successors(Some(path.clone()), TreePath::parent)
                .any(|path| self.files.contains(&path))
    }

    fn modified(&mut self, path: TreePath) {
        self.files.insert(path);
    }

    fn came_or_went(&mut self, path: TreePath) {
        let above = std::iter::successors(path.parent(), TreePath::parent);
        // Where one directory above was noted, those above it were too.
        for directory in above {
            if !self.directories.insert(directory) {
                break;
            }
        }
        self.files.insert(path);
    }
}

impl Snapshot {
    /// What may differ from an earlier snapshot of the same repository; `None` if that cannot be told without reading
    /// both.
    #[must_use]
    pub fn changes_since(&self, earlier: &Snapshot) -> Option<Changes> {
        let (now, then) = (self.origin.as_deref()?, earlier.origin.as_deref()?);
        if !Arc::ptr_eq(&now.handles, &then.handles) {
            return None;
        }
        let mut changes = Changes::default();
        match (then.base, now.base) {
            (then, now) if then == now => {}
            (Some(from), Some(to)) => commits(&now.handles, from, to, &mut changes)?,
            _ => return None,
        }
        let saved = |origin: &Origin| origin.saved.clone();
        match (saved(then), saved(now)) {
            (None, None) => {}
            (then, now) => {
                let paths = [&then, &now].into_iter().flatten().flat_map(|saved| saved.0.paths());
                let differs = |path: &&TreePath| {
                    let saved = |origin: &Option<Arc<Resolved<Overlay>>>| {
                        origin.as_ref().and_then(|saved| saved.0.saved(path)).cloned()
                    };
                    saved(&then) != saved(&now)
                };
                for path in paths.filter(differs) {
                    changes.came_or_went(path.clone());
                }
            }
        }
        Some(changes)
    }
}

/// The differences of two trees of one repository.
fn commits(handles: &Handles, from: Oid, to: Oid, changes: &mut Changes) -> Option<()> {
    let outcome = handles.with::<_, git2::Error>(|repository| {
        let (from, to) = (repository.find_tree(from)?, repository.find_tree(to)?);
        let mut options = DiffOptions::new();
        options.include_typechange(true).include_typechange_trees(true).ignore_submodules(true);
        let diff = repository.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))?;
        let mut known = true;
        for delta in diff.deltas() {
            for path in [delta.old_file().path(), delta.new_file().path()].into_iter().flatten() {
                match path.to_str().map(TreePath::parse) {
                    Some(Ok(path)) if delta.status() == Delta::Modified => changes.modified(path),
                    Some(Ok(path)) => changes.came_or_went(path),
                    // What cannot be named was not read by name, but a listing of its directory shows it.
                    _ => known = false,
                }
            }
        }
        Ok(known)
    });
    matches!(outcome, Ok(true)).then_some(())
}
