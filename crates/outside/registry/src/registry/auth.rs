//! Signing in: HTTP Basic and the token protocol of the distribution specification.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use serde::Deserialize;
use tokio::time::Instant;

use super::Cause;
use super::http_client::{Body, Session, shown};
use crate::{Credentials, Digest};

/// When a token service names none; the specification's minimum.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// Tokens are asked for anew this long before they end.
const MARGIN: Duration = Duration::from_secs(10);
const TOKEN_LIMIT: usize = 256 << 10;

/// Authorizations that worked, by endpoint, scope and identity.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: Mutex<BTreeMap<Digest, Known>>,
}

struct Known {
    header: HeaderValue,
    until: Option<Instant>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Tokens {
    /// A hash, so that the map holds no passwords.
    pub(super) fn key(&self, endpoint: &str, scope: &str, credentials: &Credentials) -> Digest {
        let (kind, name, secret) = match credentials {
            Credentials::Anonymous => ("anonymous", "", ""),
            Credentials::Basic { username, password } => ("basic", username.as_str(), password.as_str()),
            Credentials::IdentityToken(token) => ("identity", "", token.as_str()),
            Credentials::RegistryToken(token) => ("registry", "", token.as_str()),
        };
        Digest::of(format!("{endpoint}\0{scope}\0{kind}\0{name}\0{secret}").as_bytes())
    }

    pub(super) fn get(&self, key: &Digest) -> Option<HeaderValue> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, entry| entry.until.is_none_or(|until| until > Instant::now()));
        known.get(key).map(|entry| entry.header.clone())
    }

    pub(super) fn forget(&self, key: &Digest) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn remember(&self, key: Digest, header: HeaderValue, until: Option<Instant>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Known { header, until });
    }
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Bearer if offered, else Basic.
    pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        let mut all: Vec<Self> = headers.filter_map(|value| Self::parse(value.to_str().ok()?)).collect();
        all.sort_by_key(|challenge| *challenge == Self::Basic);
        all.into_iter().next()
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        Some(Self::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        })
    }
}

/// `a="b c",d=e` with backslash escapes inside quotes.
fn parameters(mut text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    while let Some((name, rest)) = text.trim_start_matches([',', ' ']).split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut letters = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, letter)) = letters.next() {
                    match letter {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
                        letter => value.push(letter),
                    }
                }
                (value, &quoted[end.min(quoted.len())..])
            }
            None => match rest.split_once(',') {
                Some((value, rest)) => (value.trim().to_owned(), rest),
                None => (rest.trim().to_owned(), ""),
            },
        };
        found.insert(name.trim().to_ascii_lowercase(), value);
        text = rest;
    }
    found
}

impl Session<'_> {
    /// The header that answers a challenge; `None` when there is nothing to answer it with.
    pub(super) async fn sign_in(
        &self,
        challenge: &Challenge,
        key: &Digest,
    ) -> Result<Option<HeaderValue>, Cause> {
        let (header, until) = match (challenge, &self.credentials) {
            (_, Credentials::RegistryToken(token)) => (sensitive(&format!("Bearer {token}")), None),
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                (basic(username, password), None)
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service, scope }, _) => {
                let token = self.fetch_token(realm, service.as_deref(), scope.as_deref()).await?;
                let lifetime = token.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
                let until = Instant::now() + lifetime.saturating_sub(MARGIN);
                let text = if token.token.is_empty() { token.access_token } else { token.token };
                (sensitive(&format!("Bearer {text}")), Some(until))
            }
        };
        if let Some(header) = &header {
            self.tokens.remember(*key, header.clone(), until);
        }
        Ok(header)
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Token, Cause> {
        let refused = || Cause::Redirect("the token service that the registry names".to_owned());
        let realm: Uri = realm.parse().map_err(|_| refused())?;
        // A registry behind TLS must not talk us into sending a password in plain text.
        let plain_allowed = self.endpoint.base.starts_with("http://");
        if !matches!((realm.scheme_str(), plain_allowed), (Some("https"), _) | (Some("http"), true)) {
            return Err(refused());
        }
        let mut fields = vec![("scope", scope.unwrap_or(&self.scope))];
        fields.extend(service.map(|service| ("service", service)));
        let request = match &self.credentials {
            Credentials::IdentityToken(token) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("client_id", "mainstay"),
                ]);
                Request::post(realm.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Body::from(Bytes::from(form(&fields))))
            }
            credentials => {
                let separator = if realm.query().is_some() { '&' } else { '?' };
                let mut request = Request::get(format!("{realm}{separator}{}", form(&fields)));
                if let Credentials::Basic { username, password } = credentials
                    && let Some(header) = basic(username, password)
                {
                    request = request.header(AUTHORIZATION, header);
                }
                request.body(Body::default())
            }
        };
        let request = request.map_err(|_| refused())?.map(|body| body.0);
        let response = self.request(request).await?;
        let status = response.status();
        if !status.is_success() {
            let repository = self.scope.split(':').nth(1).unwrap_or_default().to_owned();
            return Err(match status.as_u16() {
                401 | 403 => {
                    Cause::Denied { host: self.endpoint.host.clone(), repository, status: status.as_u16() }
                }
                status => {
                    let message = "failed to fetch a token".to_owned();
                    Cause::Status { method: "GET".to_owned(), url: shown(&realm), status, message }
                }
            });
        }
        let body = self.small_body(response, TOKEN_LIMIT).await?;
        serde_json::from_slice(&body).map_err(|_| Cause::Transport {
            url: shown(&realm),
            reason: "the token is no valid JSON".to_owned(),
        })
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let bytes = text.bytes().map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        });
        bytes.collect()
    };
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges() {
        let bearer = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(Challenge::parse(bearer), Some(expected.clone()));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer service=x"), None);
        let headers = [HeaderValue::from_static("Basic realm=x"), HeaderValue::from_str(bearer).unwrap()];
        assert_eq!(Challenge::choose(headers.iter()), Some(expected));
    }

    #[test]
    fn survives_broken_parameters() {
        for text in ["Bearer realm=\"", "Bearer realm=\"a\\", "Bearer =,=,", "Bearer realm=\"é\"x,y"] {
            let _ = Challenge::parse(text);
        }
        assert_eq!(parameters(r#"a="x\"y", b=c"#)["a"], "x\"y");
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("scope", "a b/c:1"), ("x", "y")]), "scope=a%20b%2Fc%3A1&x=y");
    }
}
