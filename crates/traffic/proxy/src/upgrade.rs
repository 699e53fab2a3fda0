//! Connections that change their protocol: bytes are carried both ways until either side is done.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio_util::sync::CancellationToken;

/// How long either side may take to change over once both agreed to.
const CHANGE_OVER: Duration = Duration::from_secs(10);

/// Carries bytes between a client and an endpoint that agreed to change protocol, until either closes or `stop`.
pub(crate) async fn carry(client: OnUpgrade, endpoint: OnUpgrade, stop: CancellationToken) {
    let both = async { tokio::try_join!(client, endpoint) };
    let (client, endpoint) = match tokio::time::timeout(CHANGE_OVER, both).await {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => return tracing::debug!(%error, "connection did not change protocol"),
        Err(_) => return tracing::debug!("connection did not change protocol in time"),
    };
    stop.run_until_cancelled(pipe(TokioIo::new(client), TokioIo::new(endpoint))).await;
}

async fn pipe(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut endpoint: impl AsyncRead + AsyncWrite + Unpin,
) {
    // Either side may end a conversation at any time; that is no error of ours.
    if let Err(error) = copy_bidirectional(&mut client, &mut endpoint).await {
        tracing::debug!(%error, "upgraded connection ended");
    }
}
