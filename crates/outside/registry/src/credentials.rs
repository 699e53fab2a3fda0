//! Who to be at a registry, read from pull secrets.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use crate::{Digest, Reference};

/// How to sign in. Debug output shows no secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        username: String,
        password: String,
    },
    /// A refresh token for the registry's token service (`identitytoken`).
    IdentityToken(String),
    /// A bearer token sent as it is (`registrytoken`).
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
            Self::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// Everything that pull secrets offer, to be matched against an image name.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    pattern: Pattern,
    credentials: Credentials,
}

/// A key of `auths`: a host whose labels may hold `*`, perhaps a port, perhaps a path prefix.
#[derive(Clone, Debug)]
struct Pattern {
    host: String,
    port: Option<String>,
    path: String,
}

/// The secret is not what its type says. The text never shows its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("the docker configuration is not valid JSON of the expected shape")]
    Json,
    #[error("the entry {key:?} of the docker configuration has an auth that is not base64 of user:password")]
    Auth { key: String },
}

impl Keyring {
    /// Reads `.dockerconfigjson` (`{"auths": {…}}`).
    pub fn from_docker_config_json(bytes: &[u8]) -> Result<Self, KeyringError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            auths: std::collections::BTreeMap<String, Auth>,
        }
        let config: Config = serde_json::from_slice(bytes).map_err(|_| KeyringError::Json)?;
        Self::from_auths(config.auths)
    }

    /// Reads the older `.dockercfg`, which is the `auths` map alone.
    pub fn from_dockercfg(bytes: &[u8]) -> Result<Self, KeyringError> {
        Self::from_auths(serde_json::from_slice(bytes).map_err(|_| KeyringError::Json)?)
    }

    fn from_auths(auths: std::collections::BTreeMap<String, Auth>) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for (key, auth) in auths {
            if let Some(credentials) = auth.credentials(&key)? {
                keyring.entries.push(Entry { pattern: Pattern::parse(&key), credentials });
            }
        }
        keyring.sort();
        Ok(keyring)
    }

    /// Credentials for one host and everything on it.
    pub fn single(host: &str, credentials: Credentials) -> Self {
        Self { entries: vec![Entry { pattern: Pattern::parse(host), credentials }] }
    }

    /// Adds what another secret offers.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.sort();
    }

    /// What may open this image, the most specific key first, as the kubelet tries them.
    pub fn lookup(&self, reference: &Reference) -> Vec<Credentials> {
        let matching = self.entries.iter().filter(|entry| entry.pattern.matches(reference));
        matching.map(|entry| entry.credentials.clone()).collect()
    }

    /// Distinguishes what [`lookup`](Self::lookup) gives without showing it.
    pub fn fingerprint(&self, reference: &Reference) -> Digest {
        let mut text = String::new();
        for credentials in self.lookup(reference) {
            let (kind, first, second) = match &credentials {
                Credentials::Anonymous => ("anonymous", "", ""),
                Credentials::Basic { username, password } => ("basic", username.as_str(), password.as_str()),
                Credentials::IdentityToken(token) => ("identity", token.as_str(), ""),
                Credentials::RegistryToken(token) => ("registry", token.as_str(), ""),
            };
            text.extend([kind, "\0", first, "\0", second, "\0"]);
        }
        Digest::of(text.as_bytes())
    }

    /// A stable sort: longer paths first, as the kubelet orders keys in reverse.
    fn sort(&mut self) {
        let rank = |pattern: &Pattern| (pattern.path.len(), pattern.port.is_some(), pattern.host.clone());
        self.entries.sort_by_key(|entry| std::cmp::Reverse(rank(&entry.pattern)));
    }
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl Auth {
    fn credentials(self, key: &str) -> Result<Option<Credentials>, KeyringError> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken)));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::RegistryToken(self.registrytoken)));
        }
        if !self.auth.is_empty() {
            let invalid = || KeyringError::Auth { key: key.to_owned() };
            let text = self.auth.trim();
            let bytes =
                STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).map_err(|_| invalid())?;
            let text = String::from_utf8(bytes).map_err(|_| invalid())?;
            let (username, password) = text.split_once(':').ok_or_else(invalid)?;
            let password = password.trim_end_matches('\0');
            return Ok(Some(Credentials::Basic {
                username: username.to_owned(),
                password: password.to_owned(),
            }));
        }
        let named = !self.username.is_empty() || !self.password.is_empty();
        Ok(named.then_some(Credentials::Basic { username: self.username, password: self.password }))
    }
}

impl Pattern {
    /// `https://index.docker.io/v1/` (what `docker login` writes) means all of Docker Hub.
    fn parse(key: &str) -> Self {
        let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let path = match path {
            "v1" | "v2" => "",
            path => path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path),
        };
        let (host, port) = split_port(authority);
        Self { host: canonical_host(host), port: port.map(str::to_owned), path: path.to_owned() }
    }

    fn matches(&self, reference: &Reference) -> bool {
        let (host, port) = split_port(reference.host());
        let host = canonical_host(host);
        let wanted: Vec<&str> = self.host.split('.').collect();
        let labels: Vec<&str> = host.split('.').collect();
        let same_host = wanted.len() == labels.len()
            && wanted.iter().zip(&labels).all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()));
        same_host && self.port.as_deref() == port && reference.repository().starts_with(&self.path)
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

fn canonical_host(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_ascii_lowercase(),
    }
}

/// `*` stands for any run of characters and `?` for one, within a label.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, from)) = star {
            (p, t) = (after, from + 1);
            star = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(key: &str) -> Keyring {
        let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, STANDARD.encode("u:p:w"));
        Keyring::from_docker_config_json(config.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(key: &str, image: &str, expected: bool) {
        let found = keyring(key).lookup(&Reference::parse(image).unwrap());
        assert_eq!(!found.is_empty(), expected, "{key} for {image}");
        if expected {
            assert_eq!(found[0], Credentials::Basic { username: "u".to_owned(), password: "p:w".to_owned() });
        }
    }

    #[test]
    fn keys_match_as_in_the_kubelet() {
        check("ghcr.io", "ghcr.io/a/b:1", true);
        check("https://ghcr.io", "ghcr.io/a/b:1", true);
        check("ghcr.io/a", "ghcr.io/a/b:1", true);
        check("ghcr.io/z", "ghcr.io/a/b:1", false);
        check("https://index.docker.io/v1/", "redis:7", true);
        check("docker.io", "redis:7", true);
        check("*.example.com", "reg.example.com/a", true);
        check("*.example.com", "a.b.example.com/a", false);
        check("r*.example.com", "reg.example.com/a", true);
        check("*", "ghcr.io/a", false);
        check("127.0.0.1:5000", "127.0.0.1:5000/a", true);
        check("127.0.0.1", "127.0.0.1:5000/a", false);
        check("ghcr.io", "evil-ghcr.io/a", false);
    }

    #[test]
    fn the_most_specific_key_comes_first() {
        let config = r#"{"auths":{"ghcr.io":{"username":"wide","password":"x"},"ghcr.io/a":{"username":"narrow","password":"x"}}}"#;
        let keyring = Keyring::from_docker_config_json(config.as_bytes()).unwrap();
        let found = keyring.lookup(&Reference::parse("ghcr.io/a/b").unwrap());
        assert_eq!(found[0], Credentials::Basic { username: "narrow".to_owned(), password: "x".to_owned() });
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn secrets_never_show() {
        let shown = format!("{:?}", keyring("ghcr.io"));
        assert!(!shown.contains("p:w") && !shown.contains("\"u\""), "{shown}");
        let error = Keyring::from_docker_config_json(br#"{"auths":{"h":{"auth":"c2VjcmV0"}}}"#).unwrap_err();
        assert_eq!(error, KeyringError::Auth { key: "h".to_owned() });
        assert!(!error.to_string().contains("secret"));
    }
}
