//! Commands in containers and what they write: `exec` and `attach`.
//!
//! Over a WebSocket the subprotocols are upstream's `v5.channel.k8s.io` and `v4.channel.k8s.io`: the first byte of a
//! message names a channel, the rest is its bytes. Over SPDY, which older clients ask for, each channel is a
//! [stream](peer) of its own.

mod peer;

use futures::StreamExt;
use http::Response;
use link::{AttachRequest, ExecRequest, Input, LinkError, Output, Session};
use serde_json::{Value, json};

use super::feed::Feed;
use super::log;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::ApiBody;
use crate::http::spdy;
use crate::http::websocket::{self, Message};
use peer::{Peer, Streams};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Of the fifth protocol: the byte that follows names the channel that ends.
const CLOSE: u8 = 255;

const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// The end of a stream is a part of SPDY, so it needs no fifth protocol.
const STREAM_PROTOCOLS: &[&str] = &["v4.channel.k8s.io"];

/// Runs a command.
pub(super) async fn exec(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    let (_, container) = log::target(call)?;
    let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let upgrade = Upgrade::negotiate(call)?;
    let request = ExecRequest {
        namespace: call.info.namespace.clone(),
        pod: call.info.name.clone(),
        container,
        command,
        stdin: call.query.flag("stdin"),
        tty: call.query.flag("tty"),
    };
    let node = call.core.node().ok_or_else(|| ApiError::unavailable("the node is not running"))?;
    // Whether the command can run at all is known before the answer, so it is an answer and not a message.
    let session = node.exec(request).await.map_err(|error| log::refused(&error))?;
    Ok(upgrade.accept(call, session))
}

/// Connects with a container's own input and output.
pub(super) async fn attach(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    let (_, container) = log::target(call)?;
    let upgrade = Upgrade::negotiate(call)?;
    let request = AttachRequest {
        namespace: call.info.namespace.clone(),
        pod: call.info.name.clone(),
        container,
        stdin: call.query.flag("stdin"),
    };
    let node = call.core.node().ok_or_else(|| ApiError::unavailable("the node is not running"))?;
    let session = node.attach(request).await.map_err(|error| log::refused(&error))?;
    Ok(upgrade.accept(call, session))
}

/// The protocol that the connection changes to.
enum Upgrade {
    Socket(websocket::Upgrade),
    Streams(spdy::Upgrade, u8),
}

impl Upgrade {
    fn negotiate(call: &Call) -> Result<Upgrade, ApiError> {
        if spdy::asked(call) {
            return Ok(Upgrade::Streams(
                spdy::negotiate(call, STREAM_PROTOCOLS)?,
                peer::expected(&call.query),
            ));
        }
        Ok(Upgrade::Socket(websocket::negotiate(call, PROTOCOLS)?))
    }

    /// Answers that the protocol changes, and carries the session over the connection.
    fn accept(self, call: &Call, session: Session) -> Response<ApiBody> {
        match self {
            Upgrade::Socket(upgrade) => {
                upgrade.accept(&call.core, move |channels| talk(Peer::Socket(Box::new(channels)), session))
            }
            Upgrade::Streams(upgrade, expected) => upgrade.accept(&call.core, move |wire| {
                spdy::serve(wire, async move |mut opened| {
                    if let Some(streams) = Streams::gather(&mut opened, expected).await {
                        talk(Peer::Streams(streams), session).await;
                    }
                })
            }),
        }
    }
}

/// Carries bytes both ways until the command ends or the client goes away.
async fn talk(mut channels: Peer, session: Session) {
    let Session { input, mut output } = session;
    let mut input = Feed::new(input);
    // An empty message tells clients that the connection stands.
    if channels.send(STDOUT, &[]).await.is_err() {
        return;
    }
    loop {
        let said = async {
            input.room().await;
            channels.next().await
        };
        let event = tokio::select! {
            event = output.next() => event,
            message = said => {
                // A client that has gone ends the command: the session is dropped.
                let Some(message) = message else { return };
                if let Some(message) = meant(message) {
                    input.put(message);
                }
                continue;
            }
        };
        let sent = match event {
            Some(Ok(Output::Stdout(bytes))) => channels.send(STDOUT, &bytes).await,
            Some(Ok(Output::Stderr(bytes))) => channels.send(STDERR, &bytes).await,
            Some(Ok(Output::Ended(code))) => return finish(&mut channels, &ended(code)).await,
            Some(Err(error)) => return finish(&mut channels, &broken(&error)).await,
            None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// What a client's message means to the command, if anything.
fn meant(Message { channel, bytes }: Message) -> Option<Input> {
    match channel {
        STDIN => Some(Input::Bytes(bytes)),
        CLOSE if bytes.first() == Some(&STDIN) => Some(Input::End),
        RESIZE => size(&bytes),
        _ => None,
    }
}

async fn finish(channels: &mut Peer, status: &Value) {
    // If the client has gone, there is nobody to tell.
    drop(channels.send(ERROR, status.to_string().as_bytes()).await);
    channels.close().await;
}

fn size(bytes: &[u8]) -> Option<Input> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let side = |name: &str| value[name].as_u64().and_then(|side| u16::try_from(side).ok());
    Some(Input::Resize { columns: side("Width")?, rows: side("Height")? })
}

/// How the command ended, as clients read it.
fn ended(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
}

fn broken(error: &LinkError) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {error}"),
        "details": {"causes": [{"message": error.to_string()}]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ends_are_what_clients_send_and_read() {
        assert_eq!(size(br#"{"Width":80,"Height":24}"#), Some(Input::Resize { columns: 80, rows: 24 }));
        assert_eq!(size(b"{}"), None);
        assert_eq!(size(br#"{"Width":800000,"Height":24}"#), None);
        assert_eq!(ended(3)["details"]["causes"][0]["message"], "3");
        assert_eq!(ended(0)["status"], "Success");
    }
}
