//! One exchange with one endpoint: connection, sign-in, redirects, deadlines.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::header::{AUTHORIZATION, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::auth::{Challenge, Tokens};
use super::progress::Progress;
use super::{Cause, Endpoint};
use crate::{Credentials, Tls};

const REDIRECTS: u32 = 5;
/// Of error answers and other small documents.
const ERROR_LIMIT: usize = 16 << 10;

/// Of a file that is sent.
const PIECE: usize = 64 << 10;

/// What is sent: nothing, a document, or a file.
pub(super) struct Body(pub(super) BoxBody<Bytes, std::io::Error>);

impl Default for Body {
    fn default() -> Self {
        Self(Empty::new().map_err(|never| match never {}).boxed())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Full::new(bytes).map_err(|never| match never {}).boxed())
    }
}

impl Body {
    pub(super) fn file(file: tokio::fs::File) -> Self {
        let stream =
            tokio_util::io::ReaderStream::with_capacity(file, PIECE).map_ok(hyper::body::Frame::data);
        Self(BodyExt::boxed(http_body_util::StreamBody::new(stream)))
    }
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, BoxBody<Bytes, std::io::Error>>;

/// Connections to all hosts. TLS is set up when the first `https` URL is met: the system's certificate authorities take
/// a while to read.
#[derive(Debug)]
pub(super) struct Http {
    certificate_authorities: Vec<PathBuf>,
    options: Tls,
    connect_timeout: Duration,
    plain: Client<HttpConnector, BoxBody<Bytes, std::io::Error>>,
    tls: OnceLock<HttpsClient>,
}

impl Http {
    pub(super) fn new(
        certificate_authorities: Vec<PathBuf>,
        options: Tls,
        connect_timeout: Duration,
    ) -> Self {
        let plain = Client::builder(TokioExecutor::new()).build(connector(connect_timeout));
        Self { certificate_authorities, options, connect_timeout, plain, tls: OnceLock::new() }
    }

    async fn request(
        &self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> Result<Response<Incoming>, Cause> {
        let url = shown(request.uri());
        let result = if request.uri().scheme_str() == Some("https") {
            self.tls().await?.request(request).await
        } else {
            self.plain.request(request).await
        };
        result.map_err(|error| Cause::Transport { url, reason: chain(&error) })
    }

    async fn tls(&self) -> Result<&HttpsClient, Cause> {
        if let Some(client) = self.tls.get() {
            return Ok(client);
        }
        let paths = self.certificate_authorities.clone();
        let roots = tokio::task::spawn_blocking(move || read_roots(&paths)).await;
        let roots = roots.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let config = self.options.config(roots).map_err(Cause::Tls)?;
        let mut http = connector(self.connect_timeout);
        http.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(https);
        Ok(self.tls.get_or_init(|| client))
    }
}

fn connector(timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(timeout));
    connector.set_nodelay(true);
    connector
}

fn read_roots(paths: &[PathBuf]) -> Result<rustls::RootCertStore, Cause> {
    let mut roots = rustls::RootCertStore::empty();
    // Single files that cannot be read are no reason to refuse the rest; a host that then is not trusted says so.
    let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in paths {
        let failed =
            |reason: String| Cause::CertificateAuthorities { path: path.display().to_string(), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| failed(e.to_string()))?;
            roots.add(certificate).map_err(|e| failed(e.to_string()))?;
        }
    }
    Ok(roots)
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A URL for people: queries of redirects and uploads hold signatures.
pub(super) fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    // Nor are user names and passwords for others.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

/// One endpoint, spoken to as one identity for one repository.
pub(super) struct Session<'a> {
    pub(super) http: &'a Http,
    pub(super) tokens: &'a Tokens,
    pub(super) endpoint: &'a Endpoint,
    pub(super) credentials: Credentials,
    /// `repository:library/redis:pull`
    pub(super) scope: String,
    pub(super) idle: Duration,
}

type BuildRequest<'a> = &'a (dyn Fn() -> http::Result<Request<Body>> + Send + Sync);

impl Session<'_> {
    /// Sends a request to a path of the endpoint (or an absolute URL on it), signs in if asked to, follows redirects.
    /// Only successful answers come back.
    pub(super) async fn send(
        &self,
        path: &str,
        build: BuildRequest<'_>,
    ) -> Result<Response<Incoming>, Cause> {
        let url = self.url(path)?;
        let key = self.tokens.key(&self.endpoint.base, &self.scope, &self.credentials);
        let remembered = self.tokens.get(&key);
        let had_one = remembered.is_some();
        let mut response = self.exchange(url.clone(), build, remembered).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            if had_one {
                self.tokens.forget(&key);
            }
            let challenges = response.headers().get_all(WWW_AUTHENTICATE);
            if let Some(challenge) = Challenge::choose(challenges.iter()) {
                let authorization = self.sign_in(&challenge, &key).await?;
                if let Some(authorization) = authorization {
                    response = self.exchange(url.clone(), build, Some(authorization)).await?;
                }
            }
        }
        self.check(&url, build, response).await
    }

    fn url(&self, path: &str) -> Result<Uri, Cause> {
        let text =
            if path.starts_with('/') { format!("{}{path}", self.endpoint.base) } else { path.to_owned() };
        text.parse().map_err(|_| Cause::Transport {
            url: self.endpoint.base.clone(),
            reason: "invalid URL".to_owned(),
        })
    }

    /// One request with its redirects. What authorizes goes to the endpoint's own host only.
    async fn exchange(
        &self,
        mut url: Uri,
        build: BuildRequest<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, Cause> {
        let own: Option<Uri> = self.endpoint.base.parse().ok();
        for _ in 0..=REDIRECTS {
            let mut request = build()
                .map_err(|e| Cause::Transport { url: shown(&url), reason: e.to_string() })?
                .map(|body| body.0);
            *request.uri_mut() = url.clone();
            let same_host = own
                .as_ref()
                .is_some_and(|own| own.authority() == url.authority() && own.scheme() == url.scheme());
            if let (true, Some(value)) = (same_host, &authorization) {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            let response = self.request(request).await?;
            let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else { return Ok(response) };
            url = redirect(&url, location)?;
        }
        Err(Cause::Redirect(format!("more than {REDIRECTS} redirects")))
    }

    /// A bare request, up to the head of its answer. Its body may take as long as it moves.
    pub(super) async fn request(
        &self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> Result<Response<Incoming>, Cause> {
        let url = shown(request.uri());
        let (progress, request) = Progress::of(request);
        let mut sent = std::pin::pin!(self.http.request(request));
        loop {
            let (deadline, limit) = progress.deadline(self.idle);
            match tokio::time::timeout_at(deadline, &mut sent).await {
                Ok(response) => return response,
                Err(_) if progress.deadline(self.idle).0 > deadline => {}
                Err(_) => return Err(Cause::Idle { url, limit }),
            }
        }
    }

    async fn check(
        &self,
        url: &Uri,
        build: BuildRequest<'_>,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, Cause> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let repository = self.scope.split(':').nth(1).unwrap_or_default().to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Cause::Denied { host: self.endpoint.host.clone(), repository, status: status.as_u16() })
            }
            StatusCode::NOT_FOUND => {
                let version = url.path().rsplit('/').next().unwrap_or_default();
                let separator = if version.starts_with("sha256:") { '@' } else { ':' };
                Err(Cause::NotFound(format!("{}/{repository}{separator}{version}", self.endpoint.host)))
            }
            _ => {
                let method = build().map(|request| request.method().to_string()).unwrap_or_default();
                let message =
                    error_message(&self.small_body(response, ERROR_LIMIT).await.unwrap_or_default());
                Err(Cause::Status { method, url: shown(url), status: status.as_u16(), message })
            }
        }
    }

    /// A whole body of limited size, in time.
    pub(super) async fn small_body(
        &self,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Bytes, Cause> {
        let failed = |reason: String| Cause::Transport { url: self.endpoint.base.clone(), reason };
        let collected =
            tokio::time::timeout(self.idle, Limited::new(response.into_body(), limit).collect()).await;
        match collected {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(Cause::Idle { url: self.endpoint.base.clone(), limit: self.idle }),
        }
    }
}

/// Where a redirect leads. Never from TLS to plain text, never to anything but HTTP.
fn redirect(from: &Uri, location: &HeaderValue) -> Result<Uri, Cause> {
    let refused = |text: &str| Cause::Redirect(text.chars().take(200).collect());
    let text = location.to_str().map_err(|_| refused("a location that is not text"))?;
    let to = if text.starts_with('/') && !text.starts_with("//") {
        let authority = from.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        format!("{}://{authority}{text}", from.scheme_str().unwrap_or_default())
    } else {
        text.to_owned()
    };
    let to: Uri = to.parse().map_err(|_| refused("an invalid location"))?;
    match (from.scheme_str(), to.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) => Ok(to),
        _ => Err(refused(&shown(&to))),
    }
}

/// The message of a registry's error document, shortened.
fn error_message(body: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = document.as_ref().and_then(|d| d["errors"][0]["message"].as_str()).unwrap_or_default();
    message.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, location: &str, expected: Option<&str>) {
        let to = redirect(&from.parse().unwrap(), &HeaderValue::from_str(location).unwrap());
        assert_eq!(to.ok().map(|uri| uri.to_string()).as_deref(), expected);
    }

    #[test]
    fn redirects_stay_safe() {
        check("https://a.io/v2/x", "https://cdn.io/y?sig=1", Some("https://cdn.io/y?sig=1"));
        check("https://a.io/v2/x", "/v2/z", Some("https://a.io/v2/z"));
        check("http://a.io/v2/x", "http://cdn.io/y", Some("http://cdn.io/y"));
        check("https://a.io/v2/x", "http://cdn.io/y", None);
        check("https://a.io/v2/x", "file:///etc/passwd", None);
        check("https://a.io/v2/x", "//cdn.io/y", None);
    }

    #[test]
    fn shown_urls_hide_secrets() {
        assert_eq!(shown(&"https://u:p@a.io/b?token=s".parse().unwrap()), "https://a.io/b");
    }
}
