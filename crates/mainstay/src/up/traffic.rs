//! From outside to Pods: the proxy and what fills its route table.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use proxy::{Certificates, Proxy, Timeouts};
use routing::Table;
use tokio::net::TcpListener;

use crate::settings::Settings;
use crate::up::cluster::{Cluster, ServerCertificate};
use crate::up::tasks::Tasks;

/// Connections from outside that are open at a time.
const CONNECTIONS: usize = 10_000;

/// The class of the Ingresses that are served.
const CLASS: &str = "traefik";

/// The running proxy.
pub(crate) struct Traffic {
    http: SocketAddr,
}

impl Traffic {
    pub(crate) async fn start(settings: &Settings, cluster: &Cluster, tasks: &mut Tasks) -> Result<Self> {
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let certificates = Arc::new(ArcSwap::from_pointee(Certificates::default()));
        let proxy = Proxy::new(proxy::Config {
            table: table.clone(),
            certificates: certificates.clone(),
            timeouts: Timeouts::default(),
            connections: CONNECTIONS,
        });
        let http = listen(settings, settings.http_port).await?;
        let https = listen(settings, settings.https_port).await?;
        let address = http.local_addr().context("read the proxy's address")?;
        let (plain, stop) = (proxy.clone(), tasks.token());
        tasks.run("HTTP proxy", async move { plain.serve_http(http, stop).await });
        let stop = tasks.token();
        tasks.run("HTTPS proxy", async move { proxy.serve_https(https, stop).await });
        let fallback = cluster.server_certificate()?;
        let config = routes::Config {
            client: cluster.account(routes::ACCOUNT),
            table,
            certificates: Arc::new(move |given| {
                certificates.store(Arc::new(collect(given, fallback.clone())))
            }),
            class: CLASS.to_owned(),
            address: address.ip(),
        };
        tasks.run("routes", routes::run(config, tasks.token()));
        Ok(Self { http: address })
    }

    /// The address for a browser on this machine.
    pub(crate) fn http_url(&self) -> String {
        let ip = if self.http.ip().is_unspecified() { [127, 0, 0, 1].into() } else { self.http.ip() };
        format!("http://{}/", SocketAddr::new(ip, self.http.port()))
    }
}

/// Certificates as the proxy takes them. One that it cannot use is reported and left out, so that the others are served.
fn collect(given: Vec<routes::Certificate>, fallback: ServerCertificate) -> Certificates {
    let mut certificates = Certificates::default();
    let (chain, key) = fallback.into_parts();
    if let Err(error) = certificates.set_fallback(chain, key) {
        tracing::error!(%error, "the certificate for unknown names cannot be served");
    }
    for certificate in given {
        for name in &certificate.names {
            if let Err(error) = certificates.add(name, &certificate.chain, &certificate.key) {
                tracing::warn!(name, %error, "a certificate cannot be served");
            }
        }
    }
    certificates
}

async fn listen(settings: &Settings, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::new(settings.listen, port);
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))
}
