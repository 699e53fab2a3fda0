//! Where charts come from, and how to be let in.

use std::fmt;

use registry::Tls;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::Error;

/// A chart repository with everything that it takes to be let in. Debug output shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// `https://charts.example.org/stable`, `oci://ghcr.io/team/charts`, or `ghcr.io/team/charts` without a scheme, as
    /// Argo CD writes an OCI registry.
    pub url: String,
    /// For basic authentication; nobody in particular if empty.
    pub username: String,
    pub password: String,
    /// Whether the credentials also go to other hosts that an index names (`--pass-credentials`).
    pub pass_credentials: bool,
    /// Whether it is an OCI registry whatever its URL looks like (`enableOCI`).
    pub oci: bool,
    /// Whether an OCI registry is spoken to without TLS.
    pub plain_http: bool,
    pub tls: Tls,
    /// The URL of the proxy to go through, which may hold a user name and a password; the environment's if empty. Not
    /// for OCI registries.
    pub proxy: String,
    /// Hosts that are asked without that proxy, parted by commas as in `NO_PROXY`.
    pub no_proxy: String,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("url", &shown(&self.url)).finish_non_exhaustive()
    }
}

/// What kind of place it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Http(Url),
    /// Host and path, without a scheme.
    Oci(String),
}

impl Repository {
    /// A repository that anybody may read.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Whether charts come from an OCI registry.
    #[must_use]
    pub fn is_oci(&self) -> bool {
        self.oci || self.url.starts_with("oci://") || !self.url.contains("://")
    }

    pub(crate) fn place(&self) -> Result<Place, Error> {
        let refused = |reason: &str| Error::Url { url: shown(&self.url), reason: reason.to_owned() };
        let text = self.url.trim();
        if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refused("it is empty or holds blanks"));
        }
        if self.is_oci() {
            if !self.proxy.is_empty() {
                return Err(refused(
                    "a registry is not asked through the proxy that its Secret names; take it away",
                ));
            }
            let name = text.split_once("://").map_or(text, |(_, rest)| rest);
            return Ok(Place::Oci(name.trim_end_matches('/').to_owned()));
        }
        let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" if url.host().is_some() => Ok(Place::Http(url)),
            _ => Err(refused("charts come from http://, https:// and oci://")),
        }
    }

    /// The user name and password to send, those in the URL where none are given apart.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        if !self.username.is_empty() && !self.password.is_empty() {
            return Some((self.username.clone(), self.password.clone()));
        }
        let url = Url::parse(&self.url).ok()?;
        let password = url.password()?;
        Some((url.username().to_owned(), password.to_owned()))
    }

    /// Tells repositories and identities apart without showing them: what one may read is not kept for another.
    pub(crate) fn fingerprint(&self, more: &[&str]) -> String {
        let mut hash = Sha256::new();
        let flags = format!("{} {} {}", self.pass_credentials, self.is_oci(), self.plain_http);
        let url = self.url.trim_end_matches('/');
        let own = [url, &self.username, &self.password, &flags, &self.proxy, &self.no_proxy];
        for part in own.into_iter().chain(more.iter().copied()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(self.tls.fingerprint());
        hex(&hash.finalize())
    }
}

/// A URL for people: user names, passwords and queries are not for all.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let mut text = if scheme.is_empty() { authority.to_owned() } else { format!("{scheme}://{authority}") };
    if let Some(path) = path {
        text = format!("{text}/{path}");
    }
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_as_argo_cd_does() {
        let place = |url: &str| Repository::new(url).place();
        assert_eq!(place("oci://ghcr.io/a/b/").unwrap(), Place::Oci("ghcr.io/a/b".to_owned()));
        assert_eq!(place("ghcr.io/a/b").unwrap(), Place::Oci("ghcr.io/a/b".to_owned()));
        assert!(matches!(place("https://charts.example.org").unwrap(), Place::Http(_)));
        for url in ["", "file:///etc", "https://", "git@host:x y", "ftp://host/charts"] {
            assert!(place(url).is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let repository = Repository {
            username: "alice".to_owned(),
            password: "sesame".to_owned(),
            ..Repository::new("https://bob:secret@host/charts?token=t")
        };
        let text = format!("{repository:?}");
        assert!(text.contains("https://host/charts"), "{text}");
        for secret in ["bob", "secret", "alice", "sesame", "token"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_ne!(
            repository.fingerprint(&[]),
            Repository { password: "other".to_owned(), ..repository.clone() }.fingerprint(&[])
        );
    }
}
