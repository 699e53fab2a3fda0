//! Repository URLs in all their spellings, and the one key under which a repository is known.

use std::net::IpAddr;

use crate::{Error, PlainHttp};

/// A repository URL. Spellings of one repository (`https://Host/a/b.git`, `git@host:a/b`, `ssh://git@host/a/b/`)
/// have the same [key](Self::key).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryUrl {
    scheme: Scheme,
    key: String,
    /// Without user information.
    address: String,
    host: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https,
    Http,
    Ssh,
    File,
    /// `host/path`, as OCI registries are written.
    None,
}

impl RepositoryUrl {
    /// # Errors
    /// If it has neither host nor path.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let url = url.trim();
        let invalid = || Error::Url { url: without_user(url) };
        if url.is_empty() || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid());
        }
        if url.starts_with('/') {
            return Self::parse(&format!("file://{url}"));
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => match url.split_once(':') {
                // scp-like: user@host:path
                Some((host, path)) if !host.contains('/') && !path.starts_with("//") => {
                    return Self::assemble(Scheme::Ssh, host, path).ok_or_else(invalid);
                }
                _ => (String::new(), url),
            },
        };
        let scheme = match scheme.as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            "ssh" | "git+ssh" => Scheme::Ssh,
            "file" => Scheme::File,
            "" | "oci" => Scheme::None,
            _ => return Err(invalid()),
        };
        if scheme == Scheme::File {
            let path = rest.trim_end_matches('/');
            return Ok(Self {
                scheme,
                key: format!("file://{path}"),
                address: format!("file://{path}"),
                host: String::new(),
            });
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self::assemble(scheme, authority, path).ok_or_else(invalid)
    }

    fn assemble(scheme: Scheme, authority: &str, path: &str) -> Option<Self> {
        let authority = authority.rsplit('@').next()?.to_ascii_lowercase();
        let default_port = match scheme {
            Scheme::Https | Scheme::None => ":443",
            Scheme::Http => ":80",
            Scheme::Ssh => ":22",
            Scheme::File => "",
        };
        let authority = authority.strip_suffix(default_port).unwrap_or(&authority).to_owned();
        let host = if authority.starts_with('[') {
            authority.split(']').next()?.trim_start_matches('[').to_owned()
        } else {
            authority.split(':').next()?.to_owned()
        };
        if host.is_empty() {
            return None;
        }
        let path = path.split(['?', '#']).next()?.trim_matches('/');
        let bare = path.strip_suffix(".git").unwrap_or(path);
        let prefix = match scheme {
            Scheme::Https => "https://",
            Scheme::Http => "http://",
            Scheme::Ssh => "ssh://",
            Scheme::File | Scheme::None => "",
        };
        Some(Self {
            scheme,
            // Hosting services do not distinguish case in paths, and Argo CD compares lower-cased.
            key: format!("{authority}/{}", bare.to_ascii_lowercase()).trim_end_matches('/').to_owned(),
            address: format!("{prefix}{authority}/{path}").trim_end_matches('/').to_owned(),
            host,
        })
    }

    /// The same for every spelling of one repository.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The URL as it may be shown and requested: without user name and password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether both are spellings of one repository.
    #[must_use]
    pub fn same(left: &str, right: &str) -> bool {
        match (Self::parse(left), Self::parse(right)) {
            (Ok(left), Ok(right)) => left.key == right.key,
            _ => left == right,
        }
    }

    /// Whether we can fetch from it.
    pub(crate) fn fetchable(&self, plain_http: PlainHttp) -> Result<(), Error> {
        let not_supported = |what| Err(Error::NotSupported { url: self.address.clone(), what });
        match self.scheme {
            Scheme::Https => Ok(()),
            Scheme::Http if plain_http == PlainHttp::Loopback && is_loopback(&self.host) => Ok(()),
            Scheme::Http => Err(Error::PlainHttp { url: self.address.clone() }),
            Scheme::Ssh => not_supported("fetching over ssh"),
            Scheme::File => not_supported("a local path that was not given on the command line"),
            Scheme::None => not_supported("a repository without https://"),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        None => url.rsplit('@').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_repository_are_one() {
        let canonical =
            RepositoryUrl::parse("https://github.com/checkMateit/checkmate-kubernetes.git").unwrap();
        for spelling in [
            "https://GitHub.com/checkMateit/checkmate-kubernetes",
            "https://github.com:443/checkmateit/checkmate-kubernetes/",
            "git@github.com:checkMateit/checkmate-kubernetes.git",
            "ssh://git@github.com:22/checkMateit/checkmate-kubernetes.git",
            "https://user:password@github.com/checkMateit/checkmate-kubernetes.git",
        ] {
            assert_eq!(RepositoryUrl::parse(spelling).unwrap().key(), canonical.key(), "{spelling}");
        }
        assert!(!RepositoryUrl::same("https://github.com/a/b", "https://github.com:8443/a/b"));
        assert!(!RepositoryUrl::same("https://github.com/a/b", "https://github.com/a/c"));
        assert_eq!(RepositoryUrl::parse("/srv/repo/").unwrap().key(), "file:///srv/repo");
    }

    #[test]
    fn shows_no_credentials_and_refuses_what_it_cannot_fetch() {
        let url = RepositoryUrl::parse("https://user:secret@Example.org/a/b.git").unwrap();
        assert_eq!(url.address(), "https://example.org/a/b.git");
        assert!(url.fetchable(PlainHttp::Refused).is_ok());
        let error = RepositoryUrl::parse("gopher://user:secret@example.org/x").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        let fetchable = |url: &str, http| RepositoryUrl::parse(url).unwrap().fetchable(http);
        assert!(fetchable("http://127.0.0.1:8000/x", PlainHttp::Refused).is_err());
        assert!(fetchable("http://127.0.0.1:8000/x", PlainHttp::Loopback).is_ok());
        assert!(fetchable("http://example.org/x", PlainHttp::Loopback).is_err());
        assert!(fetchable("git@github.com:a/b", PlainHttp::Loopback).is_err());
        assert!(fetchable("file:///etc", PlainHttp::Loopback).is_err());
    }
}
