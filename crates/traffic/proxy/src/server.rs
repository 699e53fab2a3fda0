//! The listening side: connections in, requests to their routes, and the manner of stopping.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use routing::{Class, Table};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::body::SharedBody;
use crate::certificates::{Certificates, Current};
use crate::forward::{Forwarder, Outgoing, Timeouts};
use crate::headers::{self, Arrival};
use crate::respond::{Body, Refusal};

/// How long a client may take for a TLS handshake, and for the head of a request.
const HEAD: Duration = Duration::from_secs(30);

/// The largest head of a request.
const MOST_HEAD: usize = 64 * 1024;

/// How long requests under way may take once the proxy was told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// How long to leave a listener alone after it failed: for want of descriptors the next accept fails at once too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a proxy serves and within which bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// The current route table.
    pub table: Arc<ArcSwap<Table>>,
    /// The current certificates.
    pub certificates: Arc<ArcSwap<Certificates>>,
    pub timeouts: Timeouts,
    /// Connections open at a time, over all listeners; more wait to be accepted.
    pub connections: usize,
}

/// A proxy. Clones serve the same table with the same connections to endpoints.
#[derive(Clone)]
pub struct Proxy {
    inner: Arc<Inner>,
}

struct Inner {
    table: Arc<ArcSwap<Table>>,
    tls: Arc<rustls::ServerConfig>,
    forwarder: Forwarder,
    connections: Arc<Semaphore>,
    server: auto::Builder<TokioExecutor>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Proxy {
    #[must_use]
    pub fn new(config: Config) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Current(config.certificates)));
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MOST_HEAD);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MOST_HEAD).expect("64 KiB"))
            .max_concurrent_streams(250)
            .keep_alive_interval(Duration::from_secs(60));
        Self {
            inner: Arc::new(Inner {
                table: config.table,
                tls: Arc::new(tls),
                forwarder: Forwarder::new(config.timeouts),
                connections: Arc::new(Semaphore::new(config.connections)),
                server,
            }),
        }
    }

    /// Serves HTTP on a listener until `stop` is cancelled; then finishes the requests under way, for 30 s at most.
    pub async fn serve_http(&self, listener: TcpListener, stop: CancellationToken) {
        self.serve(listener, None, stop).await;
    }

    /// As [`Self::serve_http`], with TLS.
    pub async fn serve_https(&self, listener: TcpListener, stop: CancellationToken) {
        self.serve(listener, Some(TlsAcceptor::from(self.inner.tls.clone())), stop).await;
    }

    async fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>, stop: CancellationToken) {
        let open = GracefulShutdown::new();
        let local = listener.local_addr().ok();
        while let Some((stream, client, permit)) = self.accept(&listener, &stop).await {
            let arrival =
                Arrival { client, port: local.map_or(0, |address| address.port()), encrypted: tls.is_some() };
            let connection =
                Connection { proxy: self.clone(), arrival, stop: stop.clone(), watcher: open.watcher() };
            let tls = tls.clone();
            tokio::spawn(async move {
                connection.run(stream, tls).await;
                drop(permit);
            });
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests were cut off: they did not end in time");
        }
    }

    /// The next connection; `None` once it is time to stop.
    async fn accept(
        &self,
        listener: &TcpListener,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        loop {
            let permit =
                stop.run_until_cancelled(self.inner.connections.clone().acquire_owned()).await?.ok()?;
            match stop.run_until_cancelled(listener.accept()).await? {
                Ok((stream, client)) => return Some((stream, client, permit)),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await?;
                }
            }
        }
    }
}

/// One connection of a client.
struct Connection {
    proxy: Proxy,
    arrival: Arrival,
    stop: CancellationToken,
    watcher: hyper_util::server::graceful::Watcher,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.http(stream).await };
        match tokio::time::timeout(HEAD, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(client = %self.arrival.client, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(client = %self.arrival.client, "TLS handshake took too long"),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { proxy, arrival, stop, watcher } = self;
        let server = proxy.inner.server.clone();
        let service = service_fn(move |request| {
            let (proxy, stop) = (proxy.clone(), stop.clone());
            async move { Ok::<_, Infallible>(proxy.inner.handle(request, arrival, &stop).await) }
        });
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(client = %arrival.client, error, "connection ended early");
        }
    }
}

impl Inner {
    async fn handle(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
        stop: &CancellationToken,
    ) -> Response<Body> {
        let begin = Instant::now();
        let table = self.table.load_full();
        let Some(host) = host(&request) else {
            return Refusal::BadRequest("400 Bad Request: no valid Host").response();
        };
        let Some(route) = table.find(&host, request.uri().path()).cloned() else {
            return Refusal::NoRoute.response();
        };
        let response = match outgoing(request, arrival) {
            Ok(outgoing) => self.forwarder.forward(&route, outgoing, stop).await,
            Err(refusal) => Err(refusal),
        };
        let response = response.unwrap_or_else(Refusal::response);
        route.stats.record(Class::of(response.status().as_u16()), begin.elapsed());
        response
    }
}

/// The host a request is for: in lower case, without its port.
fn host(request: &Request<Incoming>) -> Option<String> {
    let host = match request.uri().authority() {
        Some(authority) => authority.host(),
        None => {
            let value = request.headers().get(header::HOST)?.to_str().ok()?;
            match value.rsplit_once(':') {
                Some((host, port)) if !port.contains(']') && port.bytes().all(|b| b.is_ascii_digit()) => host,
                _ => value,
            }
        }
    };
    let valid =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/\\?#@".contains(&byte));
    valid.then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

/// Prepares a request for the endpoint.
fn outgoing(mut request: Request<Incoming>, arrival: Arrival) -> Result<Outgoing, Refusal> {
    if headers::ambiguous_length(request.headers()) {
        return Err(Refusal::BadRequest("400 Bad Request: two lengths of the body"));
    }
    let protocol = headers::upgrade(request.headers());
    let upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    // HTTP/2 carries the host in the URL; the endpoint is spoken to in HTTP/1.1, which wants the header.
    if let Some(authority) = head.uri.authority()
        && let Ok(value) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(header::HOST, value);
    }
    headers::strip_hop_by_hop(&mut head.headers);
    let host = head.headers.get(header::HOST).cloned();
    headers::set_forwarding(&mut head.headers, arrival, host.as_ref(), upgrade.is_some());
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    Ok(Outgoing { head, body: SharedBody::new(body), upgrade })
}
