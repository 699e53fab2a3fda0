//! What one kustomization may read: files in or below its own directory, other directories as bases, and what a
//! [`crate::Remote`] fetches.

use std::sync::Arc;

use bytes::Bytes;
use tree::{PathError, Tree, TreePath};

use crate::Error;
use crate::remote::{Repository, is_url};
use crate::settings::{LoadRestrictor, Settings};

/// How deep bases may nest.
const MAX_DEPTH: usize = 64;
const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The tree of the build, or of a repository that was fetched for it.
#[derive(Clone)]
enum Source<'t> {
    Own(&'t dyn Tree),
    Fetched { tree: Arc<dyn Tree>, written: String },
}

impl Source<'_> {
    fn tree(&self) -> &dyn Tree {
        match self {
            Self::Own(tree) => *tree,
            Self::Fetched { tree, .. } => tree.as_ref(),
        }
    }
}

/// A directory that a kustomization led through.
#[derive(Clone)]
struct Visit {
    /// How the repository is written; empty for the build's own tree.
    repository: String,
    root: TreePath,
}

#[derive(Clone)]
pub(crate) struct Loader<'t> {
    source: Source<'t>,
    root: TreePath,
    /// The kustomizations that led here, outermost first.
    visited: Vec<Visit>,
    settings: &'t Settings<'t>,
}

/// Why something could not be loaded.
enum Lookup {
    File(Bytes),
    Directory,
    Nothing,
}

impl<'t> Loader<'t> {
    pub(crate) fn new(tree: &'t dyn Tree, path: &str, settings: &'t Settings<'t>) -> Result<Self, Error> {
        let here = Self { source: Source::Own(tree), root: TreePath::root(), visited: Vec::new(), settings };
        if let Some(repository) = Repository::parse(path) {
            return here.fetch(repository);
        }
        let root = TreePath::parse(path).map_err(|source| Error::Path { path: path.to_owned(), source })?;
        let root = here.confirm(&root)?;
        Ok(Self { root, ..here })
    }

    pub(crate) fn settings(&self) -> &'t Settings<'t> {
        self.settings
    }

    pub(crate) fn tree(&self) -> &dyn Tree {
        self.source.tree()
    }

    /// The directory, as errors show it.
    pub(crate) fn root(&self) -> String {
        shown(&self.root)
    }

    /// The last part of the directory's path.
    pub(crate) fn name(&self) -> &str {
        self.root.file_name()
    }

    pub(crate) fn resolve(&self, path: &str) -> Result<TreePath, Error> {
        self.root.join(path).map_err(|source| Error::Path { path: path.to_owned(), source })
    }

    fn look(&self, path: &TreePath) -> Result<Lookup, Error> {
        let failed = |source| Error::Tree { path: path.clone(), source };
        if let Some(content) = self.tree().read(path).map_err(failed)? {
            return Ok(Lookup::File(content));
        }
        Ok(match self.tree().list(path).map_err(failed)? {
            Some(_) => Lookup::Directory,
            None => Lookup::Nothing,
        })
    }

    /// Whether there is a directory of this name.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|path| matches!(self.tree().list(&path), Ok(Some(_))))
    }

    /// Where a file or directory lies once links were followed. Whoever asks has looked at the path itself before, so that
    /// it is known what was read.
    fn real(&self, path: &TreePath) -> Result<TreePath, Error> {
        let failed = |source| Error::Tree { path: path.clone(), source };
        Ok(self.tree().real_path(path).map_err(failed)?.unwrap_or_else(|| path.clone()))
    }

    /// Where a directory lies once links were followed: its kustomization names others from there.
    fn confirm(&self, root: &TreePath) -> Result<TreePath, Error> {
        let problem = match self.look(root)? {
            Lookup::Directory => return self.real(root),
            Lookup::File(_) => format!("'{}': file is not directory", shown(root)),
            // An empty tree has a root all the same.
            Lookup::Nothing if root.is_root() => return Ok(root.clone()),
            Lookup::Nothing => format!("not a valid directory: '{}' doesn't exist", shown(root)),
        };
        Err(Error::invalid(format!("must build at directory: {problem}")))
    }

    /// The loader of a base or component in another directory or repository.
    pub(crate) fn enter(&self, path: &str) -> Result<Self, Error> {
        if path.is_empty() {
            return Err(Error::invalid("new root cannot be empty"));
        }
        if let Some(repository) = Repository::parse(path) {
            return self.fetch(repository);
        }
        if path.starts_with('/') {
            return Err(Error::invalid(format!("new root '{path}' cannot be absolute")));
        }
        if path.split('/').any(|part| part.contains("..") && part != "..") {
            return Err(Error::invalid(format!(
                "path {path:?} is ambiguous: resolves to {:?} after normalization, which is likely not the \
                 intended target; check for YAML indentation errors in your kustomization file",
                TreePath::parse(path).map_or_else(|_error| path.to_owned(), |path| path.to_string())
            )));
        }
        let root = match (self.root.join(path), &self.source) {
            (Ok(root), _) => root,
            (Err(PathError::Outside(_)), Source::Fetched { .. }) => {
                return Err(Error::invalid(format!(
                    "security; bases in kustomizations found in cloned git repos must be within the repo, but \
                     base '{path}' is outside it"
                )));
            }
            (Err(source), _) => return Err(Error::Path { path: path.to_owned(), source }),
        };
        let root = self.confirm(&root)?;
        let written = self.written();
        let visited = self.with_self();
        let above = |visit: &&Visit| visit.repository == written && visit.root.strip_prefix(&root).is_some();
        if let Some(Visit { root: ancestor, .. }) = visited.iter().rev().find(above) {
            return Err(Error::invalid(format!(
                "cycle detected: candidate root '{}' contains visited root '{}'",
                shown(&root),
                shown(ancestor)
            )));
        }
        Self { source: self.source.clone(), root, visited, settings: self.settings }.within_depth()
    }

    fn fetch(&self, repository: Repository) -> Result<Self, Error> {
        let visited = self.with_self();
        let seen = |visit: &&Visit| visit.repository.starts_with(&repository.written);
        if let Some(previous) = visited.iter().rev().find(seen) {
            return Err(Error::invalid(format!(
                "cycle detected: URI '{}' referenced by previous URI '{}'",
                repository.written, previous.repository
            )));
        }
        let root = TreePath::parse(&repository.directory)
            .map_err(|source| Error::Path { path: repository.directory.clone(), source })?;
        let Some(remote) = self.settings.remote else {
            return Err(Error::Unfetched { what: format!("the remote base {}", repository.written) });
        };
        let tree = remote
            .repository(&repository)
            .map_err(|source| Error::Fetch { what: repository.written.clone(), source })?;
        let source = Source::Fetched { tree, written: repository.written };
        let fetched = Self { source, root: root.clone(), visited, settings: self.settings };
        if let Lookup::File(_) = fetched.look(&root)? {
            return Err(Error::invalid(format!(
                "'{}' refers to file '{}'; expecting directory",
                shown(&root),
                root.file_name()
            )));
        }
        let root = fetched.confirm(&root)?;
        Self { root, ..fetched }.within_depth()
    }

    fn written(&self) -> String {
        match &self.source {
            Source::Own(_) => String::new(),
            Source::Fetched { written, .. } => written.clone(),
        }
    }

    fn with_self(&self) -> Vec<Visit> {
        let mut visited = self.visited.clone();
        visited.push(Visit { repository: self.written(), root: self.root.clone() });
        visited
    }

    fn within_depth(self) -> Result<Self, Error> {
        if self.visited.len() > MAX_DEPTH {
            return Err(Error::Limit { what: "the nesting of kustomizations", limit: MAX_DEPTH });
        }
        Ok(self)
    }

    pub(crate) fn load(&self, path: &str) -> Result<Bytes, Error> {
        if is_url(path) {
            return self.load_url(path);
        }
        let absolute = path.starts_with('/');
        let full =
            match if absolute { TreePath::parse(path.trim_start_matches('/')) } else { self.root.join(path) }
            {
                Ok(full) => full,
                Err(PathError::Outside(_)) => return Err(self.restricted(path)),
                Err(source) => return Err(Error::Path { path: path.to_owned(), source }),
            };
        match self.look(&full)? {
            Lookup::Nothing => Err(Error::invalid(format!("'{}' doesn't exist", shown(&full)))),
            Lookup::Directory => Err(Error::invalid(format!("'{}' must resolve to a file", shown(&full)))),
            Lookup::File(_) if self.is_restricted() && (absolute || !self.is_below(&full)?) => {
                Err(self.restricted(&shown(&full)))
            }
            Lookup::File(content) => Ok(content),
        }
    }

    /// Whether only what lies in or below the directory may be read.
    fn is_restricted(&self) -> bool {
        self.settings.load_restrictor == LoadRestrictor::RootOnly
            || matches!(self.source, Source::Fetched { .. })
    }

    /// Whether a file lies in or below the directory, wherever links lead.
    fn is_below(&self, file: &TreePath) -> Result<bool, Error> {
        Ok(self.real(file)?.strip_prefix(&self.root).is_some())
    }

    fn restricted(&self, path: &str) -> Error {
        Error::Restricted { path: path.to_owned(), root: self.root() }
    }

    fn load_url(&self, url: &str) -> Result<Bytes, Error> {
        let Some(remote) = self.settings.remote else {
            return Err(Error::Unfetched { what: format!("the remote file {url}") });
        };
        let content = remote.file(url).map_err(|source| Error::Fetch { what: url.to_owned(), source })?;
        content.ok_or_else(|| match Repository::parse(url) {
            Some(_) => Error::invalid("URL is a git repository"),
            None => Error::Http { url: url.to_owned() },
        })
    }

    pub(crate) fn load_text(&self, path: &str) -> Result<String, Error> {
        let content = self.load(path)?;
        String::from_utf8(content.to_vec()).map_err(|_error| Error::Malformed {
            path: path.to_owned(),
            message: "yaml: invalid leading UTF-8 octet".to_owned(),
        })
    }

    /// The kustomization file of this directory: its name and its text.
    pub(crate) fn kustomization(&self) -> Result<(&'static str, String), Error> {
        let mut found = None;
        for name in FILE_NAMES {
            let path = self.resolve(name)?;
            let Lookup::File(content) = self.look(&path)? else { continue };
            if self.is_restricted() && !self.is_below(&path)? {
                continue;
            }
            if found.is_some() {
                return Err(Error::invalid(format!(
                    "Found multiple kustomization files under: {}",
                    self.root()
                )));
            }
            let text = String::from_utf8(content.to_vec()).map_err(|_error| {
                Error::invalid("invalid Kustomization: yaml: invalid leading UTF-8 octet")
            })?;
            found = Some((name, text));
        }
        found.ok_or_else(|| {
            Error::invalid(format!(
                "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
                self.root()
            ))
        })
    }
}

/// A path of the tree as kustomize would show it if the tree were the file system.
pub(crate) fn shown(path: &TreePath) -> String {
    format!("/{}", path.as_str())
}
