//! The client that asks both servers: HTTP/2 over TLS with a client certificate, and as little else as can be.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A server and how to speak to it.
#[derive(Clone)]
pub(crate) struct Target {
    address: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Target {
    pub(crate) fn read(kubeconfig: &Path) -> Result<Target> {
        let text =
            std::fs::read_to_string(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
        let server = value(&text, "server").context("the cluster has no address")?;
        let address = server.strip_prefix("https://").context("the address is not https")?.to_owned();
        let authority = part(&text, "certificate-authority")?;
        let certificate = part(&text, "client-certificate")?;
        let key = part(&text, "client-key")?;
        let mut roots = rustls::RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(&authority) {
            roots.add(one?)?;
        }
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key)?)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Target { address, tls: Arc::new(tls) })
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host).to_owned();
        let stream =
            TlsConnector::from(self.tls.clone()).connect(ServerName::try_from(name)?, stream).await?;
        // As Go's client has it: room for large answers.
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(1 << 30)
            .max_frame_size(64 << 10)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// The value of a field of a kubeconfig with one cluster and one user.
fn value<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(field)?.strip_prefix(": "))
}

/// A certificate or key: in the kubeconfig itself, or in the file it names.
fn part(text: &str, field: &str) -> Result<Vec<u8>> {
    if let Some(data) = value(text, &format!("{field}-data")) {
        let decoded = base64::engine::general_purpose::STANDARD.decode(data);
        return decoded.with_context(|| format!("decode {field}"));
    }
    let path = value(text, field).with_context(|| format!("the kubeconfig has no {field}"))?;
    std::fs::read(path).with_context(|| format!("read {path}"))
}

/// Some connections, used in turns.
pub(crate) struct Client {
    target: Target,
    senders: Vec<SendRequest<Full<Bytes>>>,
    next: AtomicUsize,
}

impl Client {
    pub(crate) async fn connect(target: &Target, connections: usize) -> Result<Client> {
        let mut senders = Vec::new();
        for _ in 0..connections {
            senders.push(target.connection().await?);
        }
        Ok(Client { target: target.clone(), senders, next: AtomicUsize::new(0) })
    }

    /// The answer's head; its body is still to be read.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len();
        let mut sender = self.senders[at].clone();
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("https://{}{path}", self.target.address))
            .header("accept", "application/json")
            .header("content-type", kind)
            .header("user-agent", "bench/1")
            .body(Full::new(body))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            let status = response.status();
            let said = response.into_body().collect().await?.to_bytes();
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&said[..said.len().min(300)]));
        }
        Ok(response)
    }

    pub(crate) async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<Bytes> {
        let response = self.open(method, path, kind, body).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Bytes> {
        self.send(Method::GET, path, "application/json", Bytes::new()).await
    }
}
