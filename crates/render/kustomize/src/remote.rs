//! What lies outside the tree: Git repositories, files behind URLs and charts, named as kustomize names them.
//!
//! Nothing is fetched here. Whoever builds brings a [`Remote`] that does; without one, what it would be asked for is
//! refused by name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tree::Tree;

mod address;

/// Why something could not be fetched.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// A Git repository as a base names it: `https://github.com/org/repo//sub/directory?ref=v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// As it stands in the kustomization, by which cycles are noticed.
    pub written: String,
    /// What to clone: `https://github.com/org/repo`.
    pub url: String,
    /// The directory in it, without a leading slash; empty for its root.
    pub directory: String,
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// Whether submodules are wanted.
    pub submodules: bool,
    /// How long fetching may take.
    pub timeout: Duration,
}

/// A chart that `helmCharts` names and the repository does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartReference {
    /// `https://…` or `oci://…`.
    pub repository: String,
    pub name: String,
    /// A version or range; empty for the latest.
    pub version: String,
    /// Whether development versions count.
    pub devel: bool,
}

/// Fetches what a kustomization names outside its own tree. Implementations decide what is reachable and keep to the
/// limits of their own.
pub trait Remote: Send + Sync {
    /// The content of a repository at a reference, as a tree of the whole repository.
    ///
    /// # Errors
    /// If it cannot be fetched.
    fn repository(&self, repository: &Repository) -> Result<Arc<dyn Tree>, FetchError>;

    /// The content of a file behind an `http` or `https` URL; `None` if the server answers that it has none (any
    /// status outside 200 to 299).
    ///
    /// # Errors
    /// If the server cannot be asked.
    fn file(&self, url: &str) -> Result<Option<Bytes>, FetchError>;

    /// A chart of a chart repository or an OCI registry.
    ///
    /// # Errors
    /// If it cannot be fetched.
    fn chart(&self, chart: &ChartReference) -> Result<helm::Chart, FetchError>;
}

impl Repository {
    /// Reads a base's address as kustomize does: URLs with `https`, `http`, `ssh` or `file`, `git@host:path`, and
    /// `github.com/org/repo` for short. The path in the repository follows `//`, `.git/`, `_git/NAME/` or else the
    /// first two segments. `None` if it is none of these, but a path.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        address::parse(written)
    }
}

/// Whether it names a file behind a URL.
pub(crate) fn is_url(path: &str) -> bool {
    let scheme = path.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}
