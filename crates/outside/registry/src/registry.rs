//! Requests to registries and their mirrors.
//!
//! The few requests are written over `hyper` rather than taken from a client crate: mirrors per host, resuming a blob where
//! it broke off, deadlines between two pieces of a body, and trying several pull secrets all sit between the
//! requests, and the memory of a second HTTP stack is saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};

use crate::{Credentials, Digest, Keyring, Reference, Tls};

mod auth;
mod blob;
mod error;
mod http_client;
mod manifest;
mod progress;
mod push;
mod tags;

pub use error::{Attempt, Cause, Error};
pub use manifest::{Descriptor, Manifest, Platform};
pub use push::Upload;

use http_client::{Body, Session};

/// Attempts for one request or blob at one endpoint before it is given up.
const ATTEMPTS: u32 = 4;
/// Doubled after every failed attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Host of an image name → base URLs asked instead, in order, before the host itself:
    /// `ghcr.io` → `["http://127.0.0.1:5000"]`.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Hosts (with port, as in the image name) spoken to over plain HTTP. Loopback hosts always are.
    pub plain_http: Vec<String>,
    /// PEM files of further certificate authorities; the system's are always trusted.
    pub certificate_authorities: Vec<PathBuf>,
    /// For every connection of this client. With any of it set, loopback hosts are spoken to over TLS too.
    pub tls: Tls,
    /// For establishing a connection.
    pub connect_timeout: Duration,
    /// Between two pieces of a body, in either direction, and up to a response's first byte; ten times as long for the answer
    /// to an upload that was sent as a whole.
    pub idle_timeout: Duration,
    /// For one blob or manifest, all attempts together.
    pub total_timeout: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            plain_http: Vec::new(),
            certificate_authorities: Vec::new(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(900),
        }
    }
}

/// A client for all registries; cheap to clone, shares connections and tokens.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: RegistryConfig,
    http: http_client::Http,
    tokens: auth::Tokens,
}

/// Where a repository can be asked for: a mirror or its own host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    /// `https://registry-1.docker.io`, without a slash at the end.
    base: String,
    /// Whose credentials apply: `docker.io`, `127.0.0.1:5000`.
    host: String,
}

impl Registry {
    /// Reads nothing and connects nowhere yet.
    pub fn new(config: RegistryConfig) -> Result<Self, Error> {
        for url in config.mirrors.values().flatten() {
            let valid = url
                .parse::<http::Uri>()
                .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
            if !valid {
                return Err(Error::Mirror(url.clone()));
            }
        }
        let http = http_client::Http::new(
            config.certificate_authorities.clone(),
            config.tls.clone(),
            config.connect_timeout,
        );
        Ok(Self { inner: Arc::new(Inner { config, http, tokens: auth::Tokens::default() }) })
    }

    /// The manifest a name stands for now, for one platform.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
        keyring: &Keyring,
    ) -> Result<Manifest, Error> {
        let mut asked = Asked::default();
        for (endpoint, credentials) in self.candidates(self.endpoints(reference), reference, keyring) {
            if asked.is_settled(&endpoint) {
                continue;
            }
            let session = self.session(&endpoint, reference, credentials, "pull");
            match self.in_time(manifest::resolve(&session, reference, platform)).await {
                Ok(manifest) => return Ok(manifest),
                Err(cause) => asked.note(&endpoint, cause),
            }
        }
        Err(Error::new("resolve", reference, asked.attempts))
    }

    /// The tags of a repository, in the order in which the registry lists them.
    pub async fn tags(&self, reference: &Reference, keyring: &Keyring) -> Result<Vec<String>, Error> {
        let mut asked = Asked::default();
        for (endpoint, credentials) in self.candidates(self.endpoints(reference), reference, keyring) {
            if asked.is_settled(&endpoint) {
                continue;
            }
            let session = self.session(&endpoint, reference, credentials, "pull");
            match self.in_time(tags::list(&session, reference)).await {
                Ok(tags) => return Ok(tags),
                Err(cause) => asked.note(&endpoint, cause),
            }
        }
        Err(Error::new("list the tags of", reference, asked.attempts))
    }

    /// Fetches a blob into a new file, which is complete and checked when this returns, though perhaps not on disk yet.
    pub async fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        keyring: &Keyring,
        file: &Path,
    ) -> Result<(), Error> {
        let mut asked = Asked::default();
        for (endpoint, credentials) in self.candidates(self.endpoints(reference), reference, keyring) {
            if asked.is_settled(&endpoint) {
                continue;
            }
            let session = self.session(&endpoint, reference, credentials, "pull");
            match self.in_time(blob::fetch(&session, reference, blob, file)).await {
                Ok(()) => return Ok(()),
                Err(cause) => asked.note(&endpoint, cause),
            }
        }
        Err(Error::new("fetch a blob of", reference, asked.attempts))
    }

    /// Uploads an image to the host of its name (never to a mirror). Blobs that are there already are not sent again.
    pub async fn push(
        &self,
        reference: &Reference,
        image: &Upload,
        keyring: &Keyring,
    ) -> Result<Digest, Error> {
        let mut asked = Asked::default();
        for (endpoint, credentials) in self.candidates(vec![self.origin(reference)], reference, keyring) {
            if asked.is_settled(&endpoint) {
                continue;
            }
            let session = self.session(&endpoint, reference, credentials, "pull,push");
            match self.in_time(push::push(&session, reference, image)).await {
                Ok(digest) => return Ok(digest),
                Err(cause) => asked.note(&endpoint, cause),
            }
        }
        Err(Error::new("push", reference, asked.attempts))
    }

    /// Every endpoint with every set of credentials that may open it, in the order to try them.
    fn candidates(
        &self,
        endpoints: Vec<Endpoint>,
        reference: &Reference,
        keyring: &Keyring,
    ) -> Vec<(Endpoint, Credentials)> {
        let each = endpoints.into_iter().flat_map(|endpoint| {
            let credentials = with_anonymous(lookup(keyring, &endpoint, reference));
            credentials.into_iter().map(move |credentials| (endpoint.clone(), credentials))
        });
        each.collect()
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Cause>>) -> Result<T, Cause> {
        let limit = self.inner.config.total_timeout;
        tokio::time::timeout(limit, work).await.unwrap_or(Err(Cause::Deadline(limit)))
    }

    fn session<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        reference: &Reference,
        credentials: Credentials,
        actions: &str,
    ) -> Session<'a> {
        Session {
            http: &self.inner.http,
            tokens: &self.inner.tokens,
            endpoint,
            credentials,
            scope: format!("repository:{}:{actions}", reference.repository()),
            idle: self.inner.config.idle_timeout,
        }
    }

    fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let mirrors = self.inner.config.mirrors.get(reference.host()).into_iter().flatten();
        let mirrors = mirrors.map(|url| {
            let base = url.trim_end_matches('/').trim_end_matches("/v2").to_owned();
            let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
            let host = host.split('/').next().unwrap_or_default().to_owned();
            Endpoint { base, host }
        });
        mirrors.chain([self.origin(reference)]).collect()
    }

    fn origin(&self, reference: &Reference) -> Endpoint {
        let host = reference.host();
        // Docker Hub's registry answers under another name than its images have.
        let authority = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let plain = (is_loopback(host) && !self.inner.config.tls.is_special())
            || self.inner.config.plain_http.iter().any(|plain| plain == host);
        let scheme = if plain { "http" } else { "https" };
        Endpoint { base: format!("{scheme}://{authority}"), host: host.to_owned() }
    }
}

/// What came of the endpoints asked so far.
#[derive(Debug, Default)]
struct Asked {
    attempts: Vec<Attempt>,
}

impl Asked {
    /// Whether other credentials would change nothing at this endpoint.
    fn is_settled(&self, endpoint: &Endpoint) -> bool {
        let last = self.attempts.last().filter(|attempt| attempt.endpoint == endpoint.base);
        last.is_some_and(|attempt| !matches!(attempt.cause, Cause::Denied { .. }))
    }

    fn note(&mut self, endpoint: &Endpoint, cause: Cause) {
        tracing::debug!(endpoint = endpoint.base, %cause, "an endpoint gave no answer to use");
        self.attempts.retain(|attempt| attempt.endpoint != endpoint.base);
        self.attempts.push(Attempt { endpoint: endpoint.base.clone(), cause });
    }
}

/// Credentials for a mirror are those that name the mirror: a host's secrets are not shown to another.
fn lookup(keyring: &Keyring, endpoint: &Endpoint, reference: &Reference) -> Vec<Credentials> {
    if endpoint.host == reference.host() {
        return keyring.lookup(reference);
    }
    let there = Reference::parse(&format!("{}/{}", endpoint.host, reference.repository()));
    there.map(|there| keyring.lookup(&there)).unwrap_or_default()
}

/// Secrets first, as the kubelet tries them; without a fitting one, nobody in particular.
fn with_anonymous(mut credentials: Vec<Credentials>) -> Vec<Credentials> {
    if credentials.is_empty() {
        credentials.push(Credentials::Anonymous);
    }
    credentials
}

fn is_loopback(host: &str) -> bool {
    let name = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or_else(|| host.split(':').next().unwrap_or_default(), |(address, _)| address);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A request without a body, tried again while the reason looks temporary.
async fn get(
    session: &Session<'_>,
    method: Method,
    path: &str,
    accept: &str,
) -> Result<http::Response<hyper::body::Incoming>, Cause> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let request = || http::Request::builder().method(method.clone()).header(ACCEPT, accept);
        match session.send(path, &|| request().body(Body::default())).await {
            Err(cause) if cause.is_temporary() && attempt < ATTEMPTS => {
                tracing::debug!(endpoint = session.endpoint.base, %cause, attempt, "trying a request again");
                tokio::time::sleep(pause).await;
                pause *= 2;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The content type without parameters.
fn media_type<T>(response: &http::Response<T>) -> String {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(mirrors: &[(&str, &str)]) -> Registry {
        let mirrors =
            mirrors.iter().map(|(host, url)| ((*host).to_owned(), vec![(*url).to_owned()])).collect();
        Registry::new(RegistryConfig { mirrors, ..RegistryConfig::default() }).unwrap()
    }

    #[track_caller]
    fn check(image: &str, expected: &[(&str, &str)]) {
        let registry = registry(&[("ghcr.io", "http://127.0.0.1:5000/v2/")]);
        let endpoints = registry.endpoints(&Reference::parse(image).unwrap());
        let found: Vec<_> = endpoints.iter().map(|e| (e.base.as_str(), e.host.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn mirrors_come_before_the_host() {
        check("redis", &[("https://registry-1.docker.io", "docker.io")]);
        check("ghcr.io/a/b", &[("http://127.0.0.1:5000", "127.0.0.1:5000"), ("https://ghcr.io", "ghcr.io")]);
        check("localhost:5000/a", &[("http://localhost:5000", "localhost:5000")]);
        check("[::1]:5000/a", &[("http://[::1]:5000", "[::1]:5000")]);
        check("127.example.com/a", &[("https://127.example.com", "127.example.com")]);
    }

    #[test]
    fn secrets_of_a_host_are_not_for_its_mirror() {
        let registry = registry(&[("ghcr.io", "http://127.0.0.1:5000")]);
        let reference = Reference::parse("ghcr.io/a/b").unwrap();
        let endpoints = registry.endpoints(&reference);
        let basic = |name: &str| Credentials::Basic { username: name.to_owned(), password: String::new() };
        let mut keyring = Keyring::single("ghcr.io", basic("origin"));
        assert_eq!(lookup(&keyring, &endpoints[0], &reference), []);
        assert_eq!(lookup(&keyring, &endpoints[1], &reference), [basic("origin")]);
        keyring.extend(Keyring::single("127.0.0.1:5000", basic("mirror")));
        assert_eq!(lookup(&keyring, &endpoints[0], &reference), [basic("mirror")]);
    }

    #[test]
    fn mirrors_must_be_urls() {
        let mirrors = BTreeMap::from([("a.io".to_owned(), vec!["127.0.0.1:5000".to_owned()])]);
        let result = Registry::new(RegistryConfig { mirrors, ..RegistryConfig::default() });
        assert!(matches!(result, Err(Error::Mirror(_))));
    }
}
