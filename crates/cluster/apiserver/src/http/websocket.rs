//! WebSocket connections, either with messages that carry the number of a channel in their first byte, or as a tunnel
//! for another protocol's bytes.

use std::future::Future;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::Response;
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use super::ApiBody;
use super::spdy::Wire;
use super::upgrade::{self, mentions};
use crate::core::{Call, Core};
use crate::error::ApiError;

/// Bytes of one message from a client.
const MESSAGE_LIMIT: usize = 4 << 20;

/// A request that asks for a WebSocket in a subprotocol that was agreed on.
pub(crate) struct Upgrade {
    protocol: &'static str,
    accept: String,
    on_upgrade: upgrade::Taken,
}

/// The first of the client's subprotocols that is among `known`.
pub(crate) fn negotiate(call: &Call, known: &[&'static str]) -> Result<Upgrade, ApiError> {
    let headers = &call.headers;
    if !mentions(headers, UPGRADE, "websocket") {
        return Err(ApiError::bad_request("Upgrade request required"));
    }
    let protocol = upgrade::choose(headers, SEC_WEBSOCKET_PROTOCOL, known)?;
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| ApiError::bad_request("no Sec-WebSocket-Key"))?;
    let on_upgrade = upgrade::take(call)?;
    Ok(Upgrade { protocol, accept: derive_accept_key(key.as_bytes()), on_upgrade })
}

impl Upgrade {
    /// The subprotocol that was agreed on.
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Answers that the protocol changes, and serves the connection's channels with `work`.
    pub(crate) fn accept<W, F>(self, core: &Arc<Core>, work: W) -> Response<ApiBody>
    where
        W: FnOnce(Channels) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        self.hand_over(core, |socket| work(Channels { socket }))
    }

    /// Answers that the protocol changes, and serves the bytes of the connection's messages with `work`.
    pub(crate) fn tunnel<W, F>(self, core: &Arc<Core>, work: W) -> Response<ApiBody>
    where
        W: FnOnce(Wire) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        self.hand_over(core, |socket| {
            let (sink, messages) = socket.split();
            let messages = messages.filter_map(async |message| match message {
                Ok(Frame::Binary(bytes)) => Some(Ok(bytes)),
                Ok(Frame::Close(_)) => Some(Err(std::io::ErrorKind::ConnectionAborted.into())),
                // The library answers pings by itself.
                Ok(_) => None,
                Err(error) => Some(Err(std::io::Error::other(error))),
            });
            let sink = sink.with(async |bytes| Ok(Frame::Binary(bytes)));
            let sink = sink.sink_map_err(|error: tungstenite::Error| std::io::Error::other(error));
            work(Wire { read: messages.boxed(), write: Box::pin(sink) })
        })
    }

    fn hand_over<W, F>(self, core: &Arc<Core>, work: W) -> Response<ApiBody>
    where
        W: FnOnce(WebSocketStream<TokioIo<Upgraded>>) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let Upgrade { protocol, accept, on_upgrade } = self;
        upgrade::serve(core, on_upgrade, async |upgraded| {
            let config = WebSocketConfig::default()
                .max_message_size(Some(MESSAGE_LIMIT))
                .max_frame_size(Some(MESSAGE_LIMIT));
            let io = TokioIo::new(upgraded);
            work(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
        });
        let accept = HeaderValue::try_from(accept).ok().map(|accept| (SEC_WEBSOCKET_ACCEPT, accept));
        upgrade::switching(
            "websocket",
            [(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol))].into_iter().chain(accept),
        )
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
