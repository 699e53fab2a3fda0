//! What hosts of repositories tell by webhook: from a request's headers and body to what moved.
//!
//! Owns telling the hosts apart, checking that a request is from whoever holds the secret, reading the payloads of
//! GitHub, GitLab, Bitbucket Cloud and Server, Gogs and Gitea, Azure DevOps, and of anybody who signs our own small one
//! ([`Host::Generic`]), and deciding whom it concerns: which spelling of a repository, which tracked revision, which
//! paths ([`Push`]), which generator of pull requests ([`PullRequest`]).
//!
//! What must hold: everything is a function of its arguments; nothing that arrives makes it panic, take more memory
//! than a few times the body, or longer than reading it; secrets are compared in constant time and are in no error and
//! no debug output. What a payload says is believed only so far as to look at a repository sooner than otherwise.
//! Keeps out receiving requests, where secrets are kept, and fetching.
//!
//! Headers, keys of secrets and the rules by which a push concerns an Application are those of Argo CD's `/api/webhook`.

#![forbid(unsafe_code)]

mod hosts;
mod pulls;
mod push;
mod secrets;
mod signature;

use std::fmt;

use http::HeaderMap;

pub use pulls::PullRequest;
pub use push::{Push, refresh_paths};
pub use secrets::Secrets;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    AzureDevOps,
    Bitbucket,
    BitbucketServer,
    /// Anybody: `X-Mainstay-Event: push`, signed in `X-Mainstay-Signature-256` as GitHub signs.
    Generic,
    GitHub,
    GitLab,
    /// Gitea and Forgejo too.
    Gogs,
}

impl Host {
    /// Told by the headers alone, so that the body of anybody else need not be read.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        // Gogs and Gitea send GitHub's header too.
        const HEADERS: [(&str, Host); 7] = [
            ("x-vss-activityid", Host::AzureDevOps),
            ("x-mainstay-event", Host::Generic),
            ("x-gogs-event", Host::Gogs),
            ("x-github-event", Host::GitHub),
            ("x-gitlab-event", Host::GitLab),
            ("x-hook-uuid", Host::Bitbucket),
            ("x-event-key", Host::BitbucketServer),
        ];
        let sent = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
        HEADERS.into_iter().find(|(name, _)| sent(name)).map(|(_, host)| host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AzureDevOps => "Azure DevOps",
            Self::Bitbucket => "Bitbucket",
            Self::BitbucketServer => "Bitbucket Server",
            Self::Generic => "generic",
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Gogs => "Gogs",
        })
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Nothing: the host tries the address, or tells of something that changes nothing here.
    Ping,
    Push(Push),
    /// A pull request was opened, closed, or got or lost commits or labels.
    PullRequest(PullRequest),
}

/// Why a request is not listened to. The texts go back to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("Unknown webhook event")]
    Unknown,
    #[error("{host} events of the type {event:?} are not handled; {handled} are")]
    Event { host: Host, event: String, handled: &'static str },
    #[error("the header {header} is missing")]
    Unsigned { header: &'static str },
    #[error("the header {header} does not match {key} of the Secret argocd-secret")]
    Signature { header: &'static str, key: &'static str },
    #[error("{key} is not in the Secret argocd-secret: without it nobody is believed")]
    NoSecret { key: &'static str },
    #[error("the payload is not understood: {reason}")]
    Payload { reason: String },
}

/// Checks and reads one request.
///
/// # Errors
/// If it is from nobody known, is not signed as the secret asks, or cannot be understood.
pub fn receive(headers: &HeaderMap, body: &[u8], secrets: &Secrets) -> Result<Event, Refusal> {
    let host = Host::of(headers).ok_or(Refusal::Unknown)?;
    signature::check(host, headers, body, secrets)?;
    hosts::read(host, headers, body)
}

/// A header's text; empty if there is none.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
