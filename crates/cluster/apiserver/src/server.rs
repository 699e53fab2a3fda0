//! The server as a whole: what it is made of, how it starts, and its sockets.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::allocators::{Allocators, ServiceRange};
use crate::authn::Peer;
use crate::authz::Authorizer;
use crate::bootstrap;
use crate::catalog::Catalog;
use crate::cleanup;
use crate::core::Core;
use crate::http::body::boxed;
use crate::limits::PerClient;
use crate::pki::{self, Pki};
use crate::quota::Ledger;
use crate::service::LocalService;
use crate::user::User;
use crate::{expiry, serve, tokens};

/// What a server is started with.
#[derive(Clone)]
pub struct Config {
    pub store: Store,
    /// The addresses that Services get.
    pub service_range: ServiceRange,
    /// `cluster.local`
    pub cluster_domain: String,
    /// The authority's certificate, PEM, that Pods find in `kube-root-ca.crt`.
    pub authority_pem: String,
    /// Signs and checks service-account tokens.
    pub token_key: Arc<tokens::Key>,
    /// Where logs come from; can also be [set later](ApiServer::set_node).
    pub node: Option<Arc<dyn link::Node>>,
    /// Port of the API on its Service address and endpoints.
    pub port: u16,
    /// Requests handled at once, watches not counted.
    pub requests: usize,
    /// Watches open at once.
    pub watches: usize,
    /// Requests of one user handled at once.
    pub client_requests: usize,
    /// Watches, followed logs, commands and forwarded ports of one user open at once.
    pub client_watches: usize,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("service_range", &self.service_range).finish_non_exhaustive()
    }
}

const REQUESTS: usize = 400;
const WATCHES: usize = 10_000;
const CLIENT_REQUESTS: usize = 200;
const CLIENT_WATCHES: usize = 2_000;

impl Config {
    /// The usual configuration: Services in 10.96.0.0/16, domain `cluster.local`.
    #[must_use]
    pub fn new(store: Store, pki: &Pki) -> Config {
        Config {
            store,
            service_range: "10.96.0.0/16".parse().expect("the default service range is a network"),
            cluster_domain: "cluster.local".to_owned(),
            authority_pem: pki.authority_pem().to_owned(),
            token_key: pki.token_key(),
            node: None,
            port: 443,
            requests: REQUESTS,
            watches: WATCHES,
            client_requests: CLIENT_REQUESTS,
            client_watches: CLIENT_WATCHES,
        }
    }
}

/// Gives the metrics of the process as text.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("create {what} that the API starts with")]
    Bootstrap {
        what: String,
        #[source]
        source: store::Error,
    },
}

/// The API server. Dropping it ends its watches; the store closes with its last user.
#[derive(Debug)]
pub struct ApiServer {
    core: Arc<Core>,
    service_range: ServiceRange,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.core.shutdown.cancel();
    }
}

/// Time for a TLS handshake and for the head of a request.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time that open connections get to finish when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl ApiServer {
    /// Starts the server: makes sure that what every cluster has is there.
    ///
    /// # Errors
    /// If the store refuses those writes.
    pub async fn start(config: Config) -> Result<ApiServer, Error> {
        let core = Arc::new(Core {
            catalog: Catalog::new(config.store.clone()),
            authorizer: Authorizer::new(config.store.clone()),
            allocators: Allocators::new(config.service_range),
            token_key: config.token_key,
            authority_pem: config.authority_pem,
            node: RwLock::new(config.node),
            metrics: RwLock::default(),
            requests: Semaphore::new(config.requests),
            watches: Arc::new(Semaphore::new(config.watches)),
            client_requests: PerClient::new(config.client_requests),
            client_watches: PerClient::new(config.client_watches),
            quotas: Ledger::new(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            issuer: format!("https://kubernetes.default.svc.{}", config.cluster_domain),
            store: config.store,
        });
        bootstrap::run(&core, config.port).await?;
        cleanup::resume(&core);
        expiry::begin(&core);
        Ok(ApiServer { core, service_range: config.service_range })
    }

    /// The server for a client in this process that acts as `user`:
    /// `kube::Client::new(server.service(user), "default")`.
    #[must_use]
    pub fn service(&self, user: User) -> LocalService {
        LocalService::new(self.core.clone(), user)
    }

    /// Connects the machine that runs Pods.
    pub fn set_node(&self, node: Arc<dyn link::Node>) {
        *self.core.node.write().unwrap_or_else(PoisonError::into_inner) = Some(node);
    }

    /// Connects what answers `GET /metrics`: its text, in the OpenMetrics format. Until then there is no such page.
    pub fn set_metrics(&self, source: MetricsSource) {
        *self.core.metrics.write().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// Ends watches and background work and waits for the latter.
    pub async fn stop(&self) {
        self.core.shutdown.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }

    /// The addresses that Services get.
    #[must_use]
    pub fn service_range(&self) -> ServiceRange {
        self.service_range
    }

    /// Serves HTTPS on a listener until `shutdown`, then lets open requests finish for a few seconds.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: CancellationToken,
    ) {
        let acceptor = TlsAcceptor::from(tls);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.core.shutdown.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(error = %error, "a connection's task panicked");
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(self.core.clone(), acceptor.clone(), stream, shutdown.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::debug!("connections were still open at the end and are cut");
        }
    }
}

async fn connection(core: Arc<Core>, acceptor: TlsAcceptor, stream: TcpStream, shutdown: CancellationToken) {
    // Small answers must not wait for the peer's acknowledgements.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "could not set TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = match certificates.and_then(|chain| chain.first()) {
        None => Peer::Unknown,
        Some(certificate) => match pki::identity(certificate) {
            Some(user) => Peer::Certificate(user),
            None => Peer::Unknown,
        },
    };
    let peer = Arc::new(peer);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (core, peer) = (core.clone(), peer.clone());
        async move {
            let request = request.map(boxed);
            Ok::<_, std::convert::Infallible>(serve::handle(core, request, &peer).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE).max_buf_size(256 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(64 << 10)
        // Clients that open and reset streams without end are disconnected (CVE-2023-44487).
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %error, "connection ended");
    }
}
