//! What can go wrong with a repository, with texts that name it and never its credentials.

use std::path::PathBuf;

#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{url:?} is not a repository URL")]
    Url { url: String },
    /// A way to reach repositories that this version does not have.
    #[error("{url}: {what} is not supported yet")]
    NotSupported { url: String, what: &'static str },
    #[error("{url}: plain http is refused")]
    PlainHttp { url: String },
    #[error("{path} is not a directory")]
    NoDirectory { path: PathBuf },
    /// The host did not answer, refused, or took too long.
    #[error("{url} is unreachable: {reason}")]
    Unreachable { url: String, reason: String },
    /// The host answered, but not with a repository we may read.
    #[error("fetch {url}: {reason}")]
    Fetch { url: String, reason: String },
    /// In the words of Argo CD.
    #[error("unable to resolve '{revision}' to a commit SHA")]
    Revision { revision: String },
    #[error("{path}: {what} are larger than {limit} bytes together")]
    TooLarge { path: PathBuf, what: &'static str, limit: u64 },
    #[error("read {path}: {reason}")]
    Read { path: PathBuf, reason: String },
    /// A Git command works on it, and does not come to an end.
    #[error(
        "{path}: its files change while .git/index.lock is there; end the Git command, or remove the lock it left"
    )]
    Changing { path: PathBuf },
    /// The process is shutting down.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// Whether trying again without any change of ours may succeed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Fetch { .. }
                | Self::Read { .. }
                | Self::Revision { .. }
                | Self::Changing { .. }
        )
    }
}
