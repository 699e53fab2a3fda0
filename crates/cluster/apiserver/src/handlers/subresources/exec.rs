//! Commands in containers and what they write, over a WebSocket: `exec` and `attach`.
//!
//! The subprotocols are upstream's `v5.channel.k8s.io` and `v4.channel.k8s.io`: the first byte of a message names a
//! channel, the rest is its bytes. The older SPDY upgrade is refused with a sentence that says so.

use futures::{SinkExt, StreamExt};
use http::Response;
use link::{ExecRequest, Input, LinkError, LogRequest, Output, Session};
use serde_json::{Value, json};

use super::log;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::ApiBody;
use crate::http::websocket::{self, Channels, Message};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Of the fifth protocol: the byte that follows names the channel that ends.
const CLOSE: u8 = 255;

const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// Runs a command.
pub(super) async fn exec(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    let (_, container) = log::target(call)?;
    let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let upgrade = websocket::negotiate(call, PROTOCOLS)?;
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
    let core = call.core.clone();
    Ok(upgrade.accept(&core.clone(), move |channels| async move { talk(channels, session).await }))
}

/// Follows what a container writes. Its standard input is nobody's: containers are started without one.
pub(super) async fn attach(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    let (_, container) = log::target(call)?;
    if call.query.flag("stdin") {
        return Err(ApiError::not_supported("attaching to the standard input of a container"));
    }
    let upgrade = websocket::negotiate(call, PROTOCOLS)?;
    let request = LogRequest {
        follow: true,
        tail_lines: Some(0),
        ..LogRequest::new(call.info.namespace.clone(), call.info.name.clone(), container)
    };
    let node = call.core.node().ok_or_else(|| ApiError::unavailable("the node is not running"))?;
    let lines = node.logs(request).await.map_err(|error| log::refused(&error))?;
    let output =
        lines.map(|chunk| chunk.map(Output::Stdout)).chain(futures::stream::iter([Ok(Output::Ended(0))]));
    let input =
        Box::pin(futures::sink::drain().sink_map_err(|never: std::convert::Infallible| match never {}));
    let session = Session { input, output: output.boxed() };
    let core = call.core.clone();
    Ok(upgrade.accept(&core.clone(), move |channels| async move { talk(channels, session).await }))
}

/// Carries bytes both ways until the command ends or the client goes away.
async fn talk(mut channels: Channels, session: Session) {
    let Session { mut input, mut output } = session;
    // An empty message tells clients that the connection stands.
    if channels.send(STDOUT, &[]).await.is_err() {
        return;
    }
    let mut open = true;
    loop {
        tokio::select! {
            event = output.next() => {
                let sent = match event {
                    Some(Ok(Output::Stdout(bytes))) => channels.send(STDOUT, &bytes).await,
                    Some(Ok(Output::Stderr(bytes))) => channels.send(STDERR, &bytes).await,
                    Some(Ok(Output::Ended(code))) => {
                        finish(&mut channels, &ended(code)).await;
                        return;
                    }
                    Some(Err(error)) => {
                        finish(&mut channels, &broken(&error)).await;
                        return;
                    }
                    None => return,
                };
                if sent.is_err() {
                    return;
                }
            }
            message = channels.next(), if open => match message {
                Some(Message { channel: STDIN, bytes }) => {
                    if input.send(Input::Bytes(bytes)).await.is_err() {
                        open = false;
                    }
                }
                Some(Message { channel: CLOSE, bytes }) if bytes.first() == Some(&STDIN) => {
                    drop(input.send(Input::End).await);
                }
                Some(Message { channel: RESIZE, bytes }) => {
                    if let Some(size) = size(&bytes) {
                        drop(input.send(size).await);
                    }
                }
                Some(_) => {}
                // The client has gone; dropping the session ends the command.
                None => return,
            }
        }
    }
}

async fn finish(channels: &mut Channels, status: &Value) {
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
