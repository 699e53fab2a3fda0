//! What can go wrong between this machine and a registry.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::{Digest, Reference};

/// Why an image could not be had. Worded as container runtimes do, so that people find the usual advice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid mirror URL {0:?}: want http://host or https://host")]
    Mirror(String),
    #[error("failed to {action} reference \"{reference}\": {}", join(.attempts))]
    Attempts {
        action: &'static str,
        reference: String,
        /// One for every endpoint asked, in order.
        attempts: Vec<Attempt>,
    },
}

impl Error {
    pub(super) fn new(action: &'static str, reference: &Reference, attempts: Vec<Attempt>) -> Self {
        Self::Attempts { action, reference: reference.to_string(), attempts }
    }

    /// Every endpoint says that there is no such image.
    pub fn is_not_found(&self) -> bool {
        self.all(|cause| matches!(cause, Cause::NotFound(_)))
    }

    /// Every endpoint wants other credentials.
    pub fn is_denied(&self) -> bool {
        self.all(|cause| matches!(cause, Cause::Denied { .. }))
    }

    /// No endpoint answered at all.
    pub fn is_unreachable(&self) -> bool {
        self.all(|cause| matches!(cause, Cause::Transport { .. } | Cause::Idle { .. } | Cause::Deadline(_)))
    }

    fn all(&self, test: impl Fn(&Cause) -> bool) -> bool {
        match self {
            Self::Mirror(_) => false,
            Self::Attempts { attempts, .. } => attempts.iter().all(|attempt| test(&attempt.cause)),
        }
    }
}

/// What came of asking one endpoint.
#[derive(Debug)]
pub struct Attempt {
    /// Its base URL.
    pub endpoint: String,
    pub cause: Cause,
}

/// One endpoint needs no name: the reference says it.
fn join(attempts: &[Attempt]) -> String {
    match attempts {
        [one] => one.cause.to_string(),
        all => all.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; "),
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.cause)
    }
}

/// Why one endpoint gave no answer to use. The texts hold their causes: they end up side by side in one line.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("{0}: not found")]
    NotFound(String),
    #[error(
        "pull access denied, repository does not exist or may require authorization: {host}/{repository}: \
         unexpected status {status}"
    )]
    Denied { host: String, repository: String, status: u16 },
    #[error("{method} {url}: unexpected status {status}{}", detail(.message))]
    Status { method: String, url: String, status: u16, message: String },
    #[error("{url}: {reason}")]
    Transport { url: String, reason: String },
    #[error("{url}: no data for {limit:?}")]
    Idle { url: String, limit: Duration },
    #[error("not done within {0:?}")]
    Deadline(Duration),
    #[error("no match for platform in manifest {0}: not found")]
    Platform(String),
    #[error("invalid manifest: {0}")]
    Manifest(String),
    #[error("blob {wanted}: content is {found}")]
    Digest { wanted: Digest, found: Digest },
    #[error("blob {digest}: {reason}")]
    Size { digest: Digest, reason: String },
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: String, source: io::Error },
    #[error("cannot read the certificate authorities {path}: {reason}")]
    CertificateAuthorities { path: String, reason: String },
    #[error("use the TLS options: {0}")]
    Tls(String),
    #[error("{0}")]
    Tags(String),
    #[error("refused to follow {0}")]
    Redirect(String),
}

impl Cause {
    /// Whether trying again soon may help.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Transport { .. } | Self::Idle { .. } => true,
            _ => false,
        }
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
