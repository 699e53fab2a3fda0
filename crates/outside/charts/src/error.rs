//! What can go wrong on the way to a chart, with texts that name the repository and never its credentials.

use std::path::PathBuf;

/// Why a chart could not be had. Cheap to clone, because a failure is remembered until the next attempt is due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{url:?} is no chart repository: {reason}")]
    Url { url: String, reason: String },
    /// The host did not answer, or took too long.
    #[error("{url} is unreachable: {reason}")]
    Unreachable { url: String, reason: String },
    /// The host answered with something else than what was asked for.
    #[error("failed to fetch {url} : {reason}")]
    Fetch { url: String, reason: String },
    #[error("looks like {url:?} is not a valid chart repository or cannot be reached: {reason}")]
    Index { url: String, reason: String },
    /// In Helm's words.
    #[error("{what} not found in {url} repository")]
    NotFound { what: String, url: String },
    /// No version can be named by this text.
    #[error("version {version:?} of chart {chart}: {reason}")]
    Version { chart: String, version: String, reason: String },
    #[error("{url}: the content is {found}, but {wanted} was announced")]
    Digest { url: String, wanted: String, found: String },
    #[error("{url} is larger than {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    #[error("{url} is no chart archive: {reason}")]
    Archive { url: String, reason: String },
    /// A name that would lead somewhere else as a file name.
    #[error("chart name {name:?} is not allowed: {reason}")]
    Name { name: String, reason: &'static str },
    /// The chart whose dependencies are wanted, its lock file, or one of its dependencies. Where Helm refuses too,
    /// in its words.
    #[error("{0}")]
    Dependencies(String),
    #[error("cannot {action} {} in the chart cache: {reason}", path.display())]
    Cache { action: &'static str, path: PathBuf, reason: String },
    /// The process is shutting down.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// Whether trying again without any change of ours may succeed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        !matches!(self, Self::Url { .. } | Self::Name { .. } | Self::Version { .. })
    }
}
