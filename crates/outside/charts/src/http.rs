//! HTTP to chart repositories: deadlines, size limits, few redirects, and credentials only where they belong.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use registry::{Tls, Verification};
use ureq::http::{HeaderMap, HeaderName, Response, header};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};
use url::Url;

use crate::proxies::{Way, way};
use crate::repository::shown;
use crate::{Deadlines, Error, Repository};

/// As many as Go's client follows.
const REDIRECTS: usize = 10;
/// Clients kept for further requests; more different TLS options than this make new ones.
const AGENTS: usize = 64;

/// What a server is asked for.
pub(crate) struct Request<'a> {
    pub(crate) repository: &'a Repository,
    /// Whose credentials these are: the repository's own address.
    pub(crate) base: &'a Url,
    pub(crate) url: Url,
    /// What is here already: the answer may be that it has not changed.
    pub(crate) known: &'a Validators,
    /// Bytes of the answer.
    pub(crate) limit: u64,
}

/// By what a server tells whether something has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Validators {
    pub(crate) etag: String,
    pub(crate) modified: String,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Body(Vec<u8>, Validators),
    Unchanged,
    NotFound,
}

/// Clients by their TLS options and proxies, so that connections are used again.
#[derive(Debug)]
pub(crate) struct Http {
    deadlines: Deadlines,
    agents: Mutex<BTreeMap<([u8; 32], Way), ureq::Agent>>,
}

impl Http {
    pub(crate) fn new(deadlines: Deadlines) -> Self {
        Self { deadlines, agents: Mutex::default() }
    }

    /// Blocks until the answer is here or a deadline has passed.
    pub(crate) fn get(&self, request: Request<'_>) -> Result<Answer, Error> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let agent =
                self.agent(request.repository, request.base.as_str(), way(request.repository, &url))?;
            let response = send(&agent, &request, &url)?;
            if response.status().is_redirection() && response.status().as_u16() != 304 {
                url = redirected(&url, response.headers())?;
                continue;
            }
            return read(&request, response);
        }
        Err(Error::Fetch {
            url: shown(request.url.as_str()),
            reason: format!("stopped after {REDIRECTS} redirects"),
        })
    }

    fn agent(&self, repository: &Repository, url: &str, way: Way) -> Result<ureq::Agent, Error> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repository.tls.fingerprint(), way);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let failed = |reason| Error::Url { url: shown(url), reason };
        let proxy = match &key.1 {
            Way::Environment => ureq::Proxy::try_from_env(),
            Way::Direct => None,
            // What is wrong with it may show its password.
            Way::Through(proxy) => Some(
                ureq::Proxy::new(proxy)
                    .map_err(|_| failed("its proxy is no http:// or https:// URL".to_owned()))?,
            ),
        };
        let Deadlines { connect, idle, total } = self.deadlines;
        let agent = ureq::Agent::config_builder()
            .tls_config(tls_config(&repository.tls).map_err(failed)?)
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("Helm/4.1.4 (mainstay)")
            .timeout_global(Some(total))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(idle))
            .timeout_per_read(Some(idle))
            .build()
            .new_agent();
        if agents.len() >= AGENTS {
            agents.clear();
        }
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn tls_config(tls: &Tls) -> Result<TlsConfig, String> {
    let mut roots = (*system_roots()).clone();
    for item in parse_pem(tls.authorities.as_bytes()) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| format!("certificate authority: {error}"))?
        {
            roots.push(certificate);
        }
    }
    let mut builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .disable_verification(tls.verification == Verification::Skipped)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    if let Some(client) = &tls.client {
        let mut chain = Vec::new();
        for item in parse_pem(client.certificate.as_bytes()) {
            if let PemItem::Certificate(certificate) =
                item.map_err(|error| format!("client certificate: {error}"))?
            {
                chain.push(certificate);
            }
        }
        let key = PrivateKey::from_pem(client.key.as_bytes())
            .map_err(|_| "client key: it is no private key in PEM".to_owned())?;
        builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(builder.build())
}

/// The roots that this machine trusts.
fn system_roots() -> Arc<Vec<Certificate<'static>>> {
    static ROOTS: std::sync::OnceLock<Arc<Vec<Certificate<'static>>>> = std::sync::OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        Arc::new(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
    };
    Arc::clone(ROOTS.get_or_init(load))
}

fn send(agent: &ureq::Agent, request: &Request<'_>, url: &Url) -> Result<Response<ureq::Body>, Error> {
    let mut call = agent.get(url.as_str());
    let is_first = *url == request.url;
    let own_host = same_host(url, request.base);
    // To other hosts only if told so, and never on a redirect's word.
    if (own_host || (request.repository.pass_credentials && is_first))
        && let Some((username, password)) = request.repository.basic()
    {
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        call = call.header(header::AUTHORIZATION, format!("Basic {secret}"));
    }
    let known =
        [(header::IF_NONE_MATCH, &request.known.etag), (header::IF_MODIFIED_SINCE, &request.known.modified)];
    for (name, value) in known {
        if !value.is_empty() {
            call = call.header(name, value.as_str());
        }
    }
    call.call().map_err(|error| failed(url, &error))
}

/// Scheme, host and port: what must be the same for credentials to be sent.
fn same_host(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

fn failed(url: &Url, error: &ureq::Error) -> Error {
    let reason = match error {
        ureq::Error::HostNotFound => "host not found".to_owned(),
        ureq::Error::ConnectionFailed => "connection failed".to_owned(),
        ureq::Error::Timeout(_) | ureq::Error::BodyStalled => "it does not answer in time".to_owned(),
        error => error.to_string(),
    };
    Error::Unreachable { url: shown(url.as_str()), reason }
}

/// Where a redirect leads, if it may be followed: never away from TLS, and only to HTTP.
fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let refused = |reason: &str| Error::Fetch { url: shown(from.as_str()), reason: reason.to_owned() };
    let location = text(headers, &header::LOCATION);
    if location.is_empty() {
        return Err(refused("it redirects without saying where"));
    }
    let target = from.join(&location).map_err(|_| refused("it redirects to something that is no URL"))?;
    match (from.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => Ok(target),
        ("https", "http") => Err(refused("it redirects away from https")),
        _ => Err(refused("it redirects to something that is not http")),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn read(request: &Request<'_>, response: Response<ureq::Body>) -> Result<Answer, Error> {
    let status = response.status();
    let url = shown(request.url.as_str());
    match status.as_u16() {
        200 => {}
        304 => return Ok(Answer::Unchanged),
        404 | 410 => return Ok(Answer::NotFound),
        _ => return Err(Error::Fetch { url, reason: status.to_string() }),
    }
    // Where nobody says how long an answer is, one that breaks off looks whole; asking whether it has changed would keep it.
    let framed = response.headers().contains_key(header::CONTENT_LENGTH)
        || response.headers().contains_key(header::TRANSFER_ENCODING);
    let validators = if framed {
        Validators {
            etag: text(response.headers(), &header::ETAG),
            modified: text(response.headers(), &header::LAST_MODIFIED),
        }
    } else {
        Validators::default()
    };
    let limit = request.limit;
    let mut body = response.into_body();
    if body.content_length().is_some_and(|length| length > limit) {
        return Err(Error::TooLarge { url, limit });
    }
    let mut content = Vec::new();
    let reader = body.with_config().limit(u64::MAX).reader();
    let read = reader.take(limit + 1).read_to_end(&mut content);
    read.map_err(|error| Error::Unreachable { url: url.clone(), reason: body_error(&error) })?;
    if content.len() as u64 > limit {
        return Err(Error::TooLarge { url, limit });
    }
    Ok(Answer::Body(content, validators))
}

fn body_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut => "it does not go on in time".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_tls() {
        let follow = |from: &str, to: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, to.parse().unwrap());
            redirected(&from.parse().unwrap(), &headers).ok().map(String::from)
        };
        assert_eq!(follow("https://a.org/x/y", "z").as_deref(), Some("https://a.org/x/z"));
        assert_eq!(follow("https://a.org/x", "//b.org/y").as_deref(), Some("https://b.org/y"));
        assert_eq!(follow("https://a.org/x", "http://a.org/x"), None);
        assert_eq!(follow("http://a.org/x", "file:///etc/passwd"), None);
    }

    #[test]
    fn hosts_differ_by_port_and_scheme() {
        let same = |a: &str, b: &str| same_host(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://a.org/x", "https://A.org:443/y"));
        assert!(!same("https://a.org", "http://a.org"));
        assert!(!same("https://a.org", "https://a.org:8443"));
        assert!(!same("https://a.org", "https://a.org.evil"));
    }
}
