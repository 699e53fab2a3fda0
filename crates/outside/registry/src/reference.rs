//! Image names as people write them: `redis`, `ghcr.io/a/b:1`, `localhost:5000/x@sha256:…`.
//!
//! The grammar and the filling in of `docker.io`, `library/` and `latest` follow `github.com/distribution/reference`.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

const DEFAULT_HOST: &str = "docker.io";
const LEGACY_DEFAULT_HOST: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const NAME_LIMIT: usize = 255;

/// A complete image name: host, repository, and a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Worded as container runtimes do; the kubelet reports it as `InvalidImageName`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {name:?}: {reason}")]
pub struct ReferenceError {
    name: String,
    reason: &'static str,
}

impl Reference {
    /// `redis:7-alpine` becomes `docker.io/library/redis:7-alpine`; no tag and no digest means `latest`.
    pub fn parse(name: &str) -> Result<Self, ReferenceError> {
        Self::parse_parts(name)
            .map_err(|reason| ReferenceError { name: name.chars().take(300).collect(), reason })
    }

    fn parse_parts(name: &str) -> Result<Self, &'static str> {
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| "invalid reference format: invalid digest")?))
            }
            None => (name, None),
        };
        let last_segment = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match rest[last_segment..].find(':') {
            Some(colon) => (&rest[..last_segment + colon], Some(&rest[last_segment + colon + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err("invalid reference format: invalid tag");
        }
        let (host, repository) = split_host(path);
        if !is_host(&host) {
            return Err("invalid reference format: invalid registry host");
        }
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err("invalid reference format: repository name must be lowercase");
        }
        if !repository.split('/').all(is_component) {
            return Err("invalid reference format");
        }
        if host.len() + 1 + repository.len() > NAME_LIMIT {
            return Err("invalid reference format: repository name must not be more than 255 characters");
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { host, repository, tag, digest })
    }

    /// `docker.io`, `ghcr.io`, `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `library/redis`, `checkmateit/checkmate-gateway`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn version(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same repository at a digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Whether the kubelet's default pull policy for it is `Always`: the tag is `latest` and no digest pins it.
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref() == Some("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(name: &str) -> Result<Self, ReferenceError> {
        Self::parse(name)
    }
}

/// The first segment is a host only if it looks like one: a dot, a port, `localhost`, or an upper-case letter.
fn split_host(path: &str) -> (String, String) {
    let (host, repository) = match path.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_HOST, path),
    };
    let host = if host == LEGACY_DEFAULT_HOST { DEFAULT_HOST } else { host };
    let official = host == DEFAULT_HOST && !repository.contains('/');
    (host.to_owned(), if official { format!("{OFFICIAL}{repository}") } else { repository.to_owned() })
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = bytes.first().is_some_and(word) && bytes.last().is_some_and(word);
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && separators
        .into_iter()
        .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, canonical: &str) {
        let reference = Reference::parse(name).unwrap();
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(Reference::parse(canonical).unwrap(), reference, "canonical form parses to itself");
    }

    #[test]
    fn fills_in_what_is_left_out() {
        check("redis", "docker.io/library/redis:latest");
        check("redis:7-alpine", "docker.io/library/redis:7-alpine");
        check("bitnami/redis", "docker.io/bitnami/redis:latest");
        check("index.docker.io/redis:7", "docker.io/library/redis:7");
        check("docker.io/redis", "docker.io/library/redis:latest");
        check("ghcr.io/checkmateit/checkmate-gateway:43", "ghcr.io/checkmateit/checkmate-gateway:43");
        check("localhost/x", "localhost/x:latest");
        check("localhost:5000/x", "localhost:5000/x:latest");
        check("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c");
        check("[::1]:5000/a:b", "[::1]:5000/a:b");
        check("quay.io/a__b/c--d.e:V_1.2-x", "quay.io/a__b/c--d.e:V_1.2-x");
    }

    #[test]
    fn keeps_tag_and_digest() {
        let digest = Digest::of(b"x");
        check(&format!("redis@{digest}"), &format!("docker.io/library/redis@{digest}"));
        check(&format!("redis:7@{digest}"), &format!("docker.io/library/redis:7@{digest}"));
        assert_eq!(Reference::parse(&format!("redis:7@{digest}")).unwrap().version(), digest.to_string());
    }

    #[test]
    fn refuses_what_no_registry_would_take() {
        for name in [
            "",
            ":tag",
            "a//b",
            "/a",
            "a/",
            "UPPER",
            "a:b c",
            "a:-x",
            "a@sha256:12",
            "ghcr.io/../x",
            "a/.b",
            "a/b.",
            "a___b",
            "a..b",
            "exa mple.com/x",
            "http://a.io/x",
            "-a.io/x",
            "a.io:99999/x",
            "a:",
            "[::1/x",
        ] {
            assert!(Reference::parse(name).is_err(), "{name:?} was accepted");
        }
        assert!(Reference::parse(&format!("a.io/{}", "b".repeat(300))).is_err());
        assert!(Reference::parse(&format!("a.io/b:{}", "c".repeat(129))).is_err());
    }
}
