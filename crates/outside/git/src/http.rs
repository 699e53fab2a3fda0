//! HTTP to repository hosts: one agent per job, with deadlines, few redirects and trusted roots.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::{Config, Error, PlainHttp, RepositoryUrl};

/// Basic authentication for the URLs below a prefix.
#[derive(Clone)]
pub struct Credentials {
    /// For example `https://github.com/our-team`.
    pub url_prefix: String,
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("url_prefix", &self.url_prefix).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The value of an `Authorization` header for a URL; the longest prefix that matches whole path components wins.
    pub(crate) fn authorization(all: &[Self], url: &RepositoryUrl) -> Option<String> {
        let matching = all.iter().filter_map(|credentials| {
            let prefix = RepositoryUrl::parse(&credentials.url_prefix).ok()?;
            let rest = url.key().strip_prefix(prefix.key())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((prefix.key().len(), credentials))
        });
        let (_, credentials) = matching.max_by_key(|(length, _)| *length)?;
        Some(format!("Basic {}", base64(&format!("{}:{}", credentials.username, credentials.password))))
    }
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * position) & 63) as usize];
            encoded.push(if position <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    encoded
}

/// An agent that follows no redirects by itself and treats every status as an answer.
pub(crate) fn agent(stall: Duration, total: Duration, roots: &Arc<Vec<Certificate<'static>>>) -> ureq::Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::clone(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent("git/2.0 (mainstay)")
        .timeout_global(Some(total))
        .timeout_resolve(Some(stall))
        .timeout_connect(Some(stall))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .build()
        .new_agent()
}

/// The roots this machine trusts.
pub(crate) fn roots() -> Arc<Vec<Certificate<'static>>> {
    static ROOTS: std::sync::OnceLock<Arc<Vec<Certificate<'static>>>> = std::sync::OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            tracing::warn!(
                "no trusted certificates found on this machine; https repositories cannot be verified"
            );
        }
        Arc::new(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
    };
    Arc::clone(ROOTS.get_or_init(load))
}

/// Most redirects that are followed for one request.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// Where a redirect leads, if we may follow it: never away from TLS.
pub(crate) fn redirected(from: &str, location: &str, plain_http: PlainHttp) -> Result<String, String> {
    let target = if location.starts_with("https://") || location.starts_with("http://") {
        location.to_owned()
    } else if location.starts_with('/') && !location.starts_with("//") {
        let authority_end = from.find("://").map_or(0, |scheme| scheme + 3);
        let path = from[authority_end..].find('/').map_or(from.len(), |path| authority_end + path);
        format!("{}{location}", &from[..path])
    } else {
        return Err("it redirects to something that is no URL".to_owned());
    };
    if from.starts_with("https://") && !target.starts_with("https://") {
        return Err("it redirects away from https".to_owned());
    }
    let url = RepositoryUrl::parse(&target).map_err(|error| error.to_string())?;
    url.fetchable(plain_http).map_err(|error| error.to_string())?;
    Ok(target)
}

/// `scheme://host:port` of a URL: what must stay the same for credentials to be sent.
pub(crate) fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |scheme| scheme + 3);
    url[authority..].find('/').map_or(url, |path| &url[..authority + path])
}

/// The content of a file behind a URL; `None` if the server answers that it has none. Redirects are followed as far
/// as they stay on TLS; credentials go to their own host only.
pub(crate) fn file(url: &str, config: &Config) -> Result<Option<Bytes>, Error> {
    let parsed = RepositoryUrl::parse(url)?;
    parsed.fetchable(config.plain_http)?;
    let shown = || parsed.address().to_owned();
    if origin_of(url).contains('@') {
        return Err(Error::Url { url: shown() });
    }
    let agent = agent(config.stall_deadline, config.fetch_deadline, &roots());
    let authorization = Credentials::authorization(&config.credentials, &parsed);
    let mut address = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let mut request = agent.get(&address);
        if let Some(authorization) = &authorization
            && origin_of(&address) == origin_of(url)
        {
            request = request.header("authorization", authorization);
        }
        let mut answer =
            request.call().map_err(|error| Error::Unreachable { url: shown(), reason: reason(&error) })?;
        let status = answer.status();
        if status.is_redirection() {
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
            let location = location.unwrap_or_default();
            address = redirected(&address, location, config.plain_http)
                .map_err(|reason| Error::Fetch { url: shown(), reason })?;
            continue;
        }
        if !status.is_success() {
            return Ok(None);
        }
        let content = answer.body_mut().with_config().limit(config.limits.file).read_to_vec();
        return content
            .map(|content| Some(content.into()))
            .map_err(|error| Error::Fetch { url: shown(), reason: reason(&error) });
    }
    Err(Error::Fetch { url: shown(), reason: "it redirects too often".to_owned() })
}

/// What a failed request says, with its causes.
pub(crate) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "host not found".to_owned(),
        ureq::Error::ConnectionFailed => "connection failed".to_owned(),
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_longest_matching_prefix_only() {
        let credential = |prefix: &str, username: &str| Credentials {
            url_prefix: prefix.to_owned(),
            username: username.to_owned(),
            password: "secret".to_owned(),
        };
        let all = [credential("https://example.org", "a"), credential("https://example.org/team", "b")];
        let authorization = |url: &str| Credentials::authorization(&all, &RepositoryUrl::parse(url).unwrap());
        assert_eq!(authorization("https://example.org/team/x.git").unwrap(), "Basic YjpzZWNyZXQ=");
        assert_eq!(authorization("https://example.org/teammate/x").unwrap(), "Basic YTpzZWNyZXQ=");
        assert_eq!(authorization("https://example.org.evil/team/x"), None);
        assert!(!format!("{all:?}").contains("secret"));
    }

    #[test]
    fn redirects_stay_on_tls() {
        let follow = |from, to| redirected(from, to, PlainHttp::Loopback);
        assert_eq!(follow("https://a.org/x", "/y").unwrap(), "https://a.org/y");
        assert_eq!(follow("https://a.org/x", "https://b.org/y").unwrap(), "https://b.org/y");
        assert!(follow("https://a.org/x", "http://127.0.0.1/y").is_err());
        assert!(follow("http://127.0.0.1/x", "http://a.org/y").is_err());
        assert!(follow("https://a.org/x", "file:///etc/passwd").is_err());
    }
}
