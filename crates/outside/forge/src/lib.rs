//! What hosts of repositories tell besides Git: the open pull requests of a repository on GitHub.
//!
//! Owns asking GitHub's API, page by page, as nobody, with a token, or as an installed GitHub App whose tokens it makes
//! and keeps until they end.
//!
//! What must hold: every request has a deadline and every answer a limit of size; credentials go to the host of the API
//! only, never along a redirect, and are in no error and no debug output. Keeps out where credentials are kept and what
//! is made of pull requests.

#![forbid(unsafe_code)]

mod app;
mod github;
mod http;

pub use app::{App, Tokens};
pub use github::{Identity, Pull, Repository, pulls};

/// Why a host gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{url}: {reason}")]
    Url { url: String, reason: String },
    #[error("GET {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// The host refuses; its own words where it has any.
    #[error("GET {url}: {status} {reason}")]
    Refused { url: String, status: u16, reason: String },
    #[error("GET {url}: the answer is not understood: {reason}")]
    Answer { url: String, reason: String },
    #[error("the GitHub App's private key: {0}")]
    Key(String),
    #[error("it was stopped")]
    Stopped,
}
