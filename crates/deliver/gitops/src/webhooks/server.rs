//! A server of nothing but webhooks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Webhooks;

/// Connections that are open at a time; further ones wait to be taken.
const CONNECTIONS: usize = 256;
/// How long a head may take to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// A pause where connections cannot be accepted, for want of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests under way may take once it is time to stop.
const DRAIN: Duration = Duration::from_secs(5);

pub(super) async fn serve(webhooks: Webhooks, listener: TcpListener, shutdown: CancellationToken) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(4);
    let open = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, permit.expect("the semaphore is never closed"))
        };
        let Some((accepted, permit)) = shutdown.run_until_cancelled(accepted).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                let _ = shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                continue;
            }
        };
        let webhooks = webhooks.clone();
        let answer = service_fn(move |request| {
            let webhooks = webhooks.clone();
            async move { Ok::<_, Infallible>(webhooks.answer(request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), answer).into_owned();
        let connection = open.watch(connection);
        // Ends by the deadlines of its requests, and is cut off with the runtime after the drain.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "requests were cut off: they did not end in time");
    }
}
