//! What can go wrong with an image, by the reasons that a Pod shows.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot prepare the image directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// An image is not there to run. [`reason`](ImageError::reason) is what the kubelet shows as the waiting reason.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("Container image {0:?} is not present with pull policy of Never")]
    Never(String),
    #[error("failed to pull image {image:?}")]
    Pull {
        image: String,
        #[source]
        source: registry::Error,
    },
    #[error("failed to push image {image:?}")]
    Push {
        image: String,
        #[source]
        source: registry::Error,
    },
    /// Of a pull that several callers waited for.
    #[error(transparent)]
    Shared(Arc<ImageError>),
    #[error("failed to unpack image {image:?}: {reason}")]
    Unpack { image: String, reason: String },
    #[error("image {0:?} not found")]
    NotFound(String),
    #[error("cannot {action} in the image store at {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// `ErrImageNeverPull` or `ErrImagePull`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Never(_) => "ErrImageNeverPull",
            Self::Shared(error) => error.reason(),
            _ => "ErrImagePull",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} needs the library {library}, which is in none of the system's library directories")]
    MissingLibrary { path: PathBuf, library: String },
    #[error("{path} is not a program this machine can run: {reason}")]
    NotExecutable { path: PathBuf, reason: String },
    #[error("invalid request: {0}")]
    Invalid(String),
    #[error(transparent)]
    Store(#[from] ImageError),
}
