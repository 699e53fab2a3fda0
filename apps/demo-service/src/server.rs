//! The HTTP server: routes, and the manner of stopping.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::gateway::Gateway;
use crate::records::Records;

/// The largest body taken.
const MOST_BODY: usize = 64 * 1024;

/// How long requests under way may take once the service was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

struct Service {
    config: Config,
    gateway: Gateway,
    records: Records,
}

/// Serves until `stop` is cancelled, then finishes the requests under way.
///
/// # Errors
/// If the port cannot be taken.
pub async fn run(config: Config, stop: CancellationToken) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, config.port))
        .await
        .with_context(|| format!("listen on port {}", config.port))?;
    tracing::info!(service = config.name, version = config.version, port = config.port, "listening");
    let records = Records::new(config.database.clone());
    let service = Arc::new(Service { config, gateway: Gateway::new(), records });
    let server = auto::Builder::new(TokioExecutor::new());
    let open = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        // An accept fails for want of descriptors or because the peer left: neither ends the service.
        let Ok((stream, _)) = accepted else { continue };
        let service = service.clone();
        let handler = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), handler).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            // A broken connection is its client's affair.
            let _ = connection.await;
        });
    }
    drop(listener);
    tracing::info!("stopping");
    // Past the deadline what is left is cut off with the process.
    let _ = tokio::time::timeout(DRAIN, open.shutdown()).await;
    Ok(())
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.route(request).await.unwrap_or_else(|error| {
            self.json(
                StatusCode::BAD_GATEWAY,
                &json!({"service": self.config.name, "error": format!("{error:#}")}),
            )
        })
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Answer> {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, MOST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return Ok(
                    self.json(StatusCode::PAYLOAD_TOO_LARGE, &json!({"error": "the body is too large"}))
                );
            }
        };
        if let Some(upstream) = self.config.upstream(parts.uri.path()) {
            return self.gateway.forward(upstream, &parts, body).await;
        }
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/") => Ok(self.json(StatusCode::OK, &self.about())),
            (&Method::GET, "/healthz") => Ok(self.json(StatusCode::OK, &json!({"status": "ok"}))),
            (&Method::GET, _) => {
                let records = self.records.list().await?;
                Ok(self.json(StatusCode::OK, &json!({"service": self.config.name, "records": records})))
            }
            (&Method::POST, _) => {
                let record = self.records.add(&String::from_utf8_lossy(&body)).await?;
                Ok(self.json(StatusCode::CREATED, &json!({"service": self.config.name, "record": record})))
            }
            _ => Ok(self.json(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "use GET or POST"}))),
        }
    }

    fn about(&self) -> Value {
        json!({
            "service": self.config.name,
            "host": self.config.host,
            "version": self.config.version,
            "upstreams": self.config.upstreams.keys().collect::<Vec<_>>(),
            "records": if self.config.database.is_some() { "postgresql" } else { "memory" },
        })
    }

    fn json(&self, status: StatusCode, value: &Value) -> Answer {
        let body = Full::new(Bytes::from(format!("{value}\n"))).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let kind = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        response
    }
}
