//! What goes wrong while a kustomization is built.

use tree::TreePath;

/// Why a kustomization could not be built.
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
    /// A file, directory or kustomization that should exist does not.
    #[error("{path}: no such {what}")]
    Missing { path: TreePath, what: &'static str },
    /// A file outside the directory of the kustomization that names it.
    #[error("security; file '{path}' is not in or below '{root}'")]
    Restricted { path: TreePath, root: TreePath },
    #[error("parse {path}: {message}")]
    Malformed { path: String, message: String },
    /// Something real kustomize can do and this one cannot.
    #[error("{path}: {field} is not supported yet")]
    Unsupported { path: TreePath, field: String },
    #[error("{what} exceeds the limit of {limit}")]
    Limit { what: &'static str, limit: usize },
    #[error("apply a patch to {target}")]
    Patch {
        target: String,
        #[source]
        source: objects::patch::PatchError,
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
}
