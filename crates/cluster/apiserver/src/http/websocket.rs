//! WebSocket connections whose messages carry the number of a channel in their first byte.

use std::future::Future;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use super::ApiBody;
use super::body::full;
use crate::core::{Call, Core};
use crate::error::ApiError;

/// Bytes of one message from a client.
const MESSAGE_LIMIT: usize = 4 << 20;

/// A request that asks for a WebSocket in a subprotocol that was agreed on.
pub(crate) struct Upgrade {
    protocol: &'static str,
    accept: String,
    on_upgrade: OnUpgrade,
}

/// The first of the client's subprotocols that is among `known`.
pub(crate) fn negotiate(call: &Call, known: &[&'static str]) -> Result<Upgrade, ApiError> {
    let headers = &call.headers;
    if !mentions(headers, UPGRADE, "websocket") {
        let spdy = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().starts_with(b"SPDY"));
        return Err(ApiError::bad_request(if spdy {
            "SPDY is not supported: use a client that speaks WebSocket, such as kubectl 1.31 or newer"
        } else {
            "Upgrade request required"
        }));
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|value| value.split(',')).map(str::trim).collect();
    let protocol = offered.iter().find_map(|offered| known.iter().find(|known| *known == offered));
    let Some(protocol) = protocol else {
        return Err(ApiError::bad_request(format!(
            "unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}"
        )));
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| ApiError::bad_request("no Sec-WebSocket-Key"))?;
    let on_upgrade = call.take_upgrade().ok_or_else(|| {
        ApiError::bad_request("this connection cannot be upgraded: WebSockets need HTTP/1.1 over a socket")
    })?;
    Ok(Upgrade { protocol, accept: derive_accept_key(key.as_bytes()), on_upgrade })
}

fn mentions(headers: &HeaderMap, name: http::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    values.iter().flat_map(|value| value.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(word))
}

impl Upgrade {
    /// Answers that the protocol changes, and serves the connection with `work` until that returns or the server stops.
    pub(crate) fn accept<W, F>(self, core: &Arc<Core>, work: W) -> Response<ApiBody>
    where
        W: FnOnce(Channels) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let Upgrade { protocol, accept, on_upgrade } = self;
        let shutdown = core.shutdown.clone();
        core.tasks.spawn(async move {
            let serve = async {
                match on_upgrade.await {
                    Ok(upgraded) => work(Channels::new(upgraded).await).await,
                    Err(error) => tracing::debug!(error = %error, "a connection was not upgraded"),
                }
            };
            tokio::select! {
                () = serve => {}
                () = shutdown.cancelled() => {}
            }
        });
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        if let Ok(accept) = HeaderValue::try_from(accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

/// A message of one channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) channel: u8,
    pub(crate) bytes: Bytes,
}

/// An upgraded connection.
pub(crate) struct Channels {
    socket: WebSocketStream<TokioIo<Upgraded>>,
}

impl Channels {
    async fn new(upgraded: Upgraded) -> Channels {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Channels { socket }
    }

    /// Sends a message; waits while the client does not read.
    pub(crate) async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), tungstenite::Error> {
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(channel);
        message.put_slice(bytes);
        self.socket.send(Frame::Binary(message.freeze())).await
    }

    /// The next message; `None` when the client has gone. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let bytes = match self.socket.next().await? {
                Ok(Frame::Binary(bytes)) => bytes,
                Ok(Frame::Text(text)) => Bytes::copy_from_slice(text.as_bytes()),
                // The library answers pings by itself.
                Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => continue,
                Ok(Frame::Close(_)) | Err(_) => return None,
            };
            if let Some(channel) = bytes.first().copied() {
                return Some(Message { channel, bytes: bytes.slice(1..) });
            }
        }
    }

    /// Says good-bye.
    pub(crate) async fn close(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // A client that has gone already needs none.
        drop(self.socket.close(Some(frame)).await);
    }
}
