//! What goes wrong while a kustomization is built.

use tree::TreePath;

use crate::remote::FetchError;

/// Why a kustomization could not be built. Texts are kustomize's where it has one; paths are shown as if the tree
/// were the whole file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that does not stay inside the repository.
    #[error("resolve path {path:?}")]
    Path {
        path: String,
        #[source]
        source: tree::PathError,
    },
    #[error("read {path}")]
    Tree {
        path: TreePath,
        #[source]
        source: tree::Error,
    },
    /// A file outside the directory of the kustomization that names it.
    #[error("security; file '{path}' is not in or below '{root}'")]
    Restricted { path: String, root: String },
    /// A file that is not the YAML it should be.
    #[error("MalformedYAMLError: {message} in File: {path}")]
    Malformed { path: String, message: String },
    /// Something outside the tree, in a build that fetches nothing.
    #[error("{what} cannot be fetched here")]
    Unfetched { what: String },
    /// Something outside the tree that could not be fetched.
    #[error("fetch {what}")]
    Fetch {
        what: String,
        #[source]
        source: FetchError,
    },
    /// The server has no such file.
    #[error("HTTP Error: {url} is not there")]
    Http { url: String },
    /// Something real kustomize can do and this one does not.
    #[error("{0}")]
    Unsupported(String),
    #[error("{what} exceeds the limit of {limit}")]
    Limit { what: &'static str, limit: usize },
    #[error("apply a patch to {target}")]
    Patch {
        target: String,
        #[source]
        source: objects::patch::PatchError,
    },
    /// A chart that `helmCharts` names cannot be rendered.
    #[error("render the chart {name}")]
    Chart {
        name: String,
        #[source]
        source: helm::Error,
    },
    /// What the error that follows was met in: a file, a field, an object.
    #[error("{context}")]
    In {
        context: String,
        #[source]
        source: Box<Error>,
    },
    /// A kustomization asks for something impossible.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(crate) fn within(self, context: impl Into<String>) -> Self {
        Self::In { context: context.into(), source: Box::new(self) }
    }

    /// The error that contexts are about.
    fn cause(&self) -> &Self {
        match self {
            Self::In { source, .. } => source.cause(),
            other => other,
        }
    }

    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self.cause(), Self::Malformed { .. })
    }

    pub(crate) fn is_http(&self) -> bool {
        matches!(self.cause(), Self::Http { .. })
    }

    /// Whether trying something else instead would only hide it.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.cause(), Self::Limit { .. } | Self::Tree { .. })
    }

    /// The whole chain on one line, as Go prints wrapped errors.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}
