//! Connections with ports of Pods.
//!
//! Either over a WebSocket in upstream's subprotocol `v4.channel.k8s.io`: two channels for each port, one for its bytes
//! and one for its error, each begun with a message that names the port. Or over SPDY, as kubectl does it, which opens
//! [streams](tunnel) as it needs them.

mod tunnel;

use bytes::Bytes;
use futures::stream;
use futures::stream::{SelectAll, StreamExt};
use http::Response;
use link::{ByteStream, Connection, LinkError};

use super::feed::Feed;
use super::log;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::ApiBody;
use crate::http::spdy;
use crate::http::websocket::{self, Channels};

const CHANNELS: &str = "v4.channel.k8s.io";
/// SPDY inside the messages of a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// What SPDY's streams mean.
const STREAMS: &str = "portforward.k8s.io";
/// Ports of one connection.
const MOST: usize = 64;

/// A port's bytes, its channel and whether it has ended.
type Arrivals = SelectAll<stream::BoxStream<'static, (u8, Result<Option<Bytes>, LinkError>)>>;

pub(super) async fn forward(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    log::scheduled(call)?;
    let node = || call.core.node().ok_or_else(|| ApiError::unavailable("the node is not running"));
    let forwarder = |node| tunnel::Forwarder::new(node, &call.info.namespace, &call.info.name);
    if spdy::asked(call) {
        let upgrade = spdy::negotiate(call, &[STREAMS])?;
        let forwarder = forwarder(node()?);
        return Ok(
            upgrade.accept(&call.core, move |wire| spdy::serve(wire, |streams| forwarder.run(streams)))
        );
    }
    let upgrade = websocket::negotiate(call, &[TUNNEL, CHANNELS])?;
    if upgrade.protocol() == TUNNEL {
        let forwarder = forwarder(node()?);
        return Ok(
            upgrade.tunnel(&call.core, move |wire| spdy::serve(wire, |streams| forwarder.run(streams)))
        );
    }
    let ports = ports(call)?;
    let node = node()?;
    let mut connections = Vec::with_capacity(ports.len());
    for port in &ports {
        connections.push(node.connect(call.info.namespace.clone(), call.info.name.clone(), *port).await);
    }
    Ok(upgrade.accept(&call.core, move |channels| carry(channels, ports, connections)))
}

fn ports(call: &Call) -> Result<Vec<u16>, ApiError> {
    call.query
        .all("ports")
        .flat_map(|list| list.split(','))
        .map(|port| port.parse::<u16>().ok().filter(|port| *port > 0))
        .collect::<Option<Vec<u16>>>()
        .filter(|ports| !ports.is_empty() && ports.len() <= MOST)
        .ok_or_else(|| ApiError::bad_request("query parameter \"ports\" must name 1 to 64 ports"))
}

async fn carry(mut channels: Channels, ports: Vec<u16>, connections: Vec<Result<Connection, LinkError>>) {
    let mut inputs: Vec<Feed<Bytes>> = Vec::with_capacity(ports.len());
    let mut arrivals: Arrivals = SelectAll::new();
    for (at, (port, connection)) in ports.iter().zip(connections).enumerate() {
        let Ok(data) = u8::try_from(at * 2) else { return };
        for channel in [data, data + 1] {
            if channels.send(channel, &port.to_le_bytes()).await.is_err() {
                return;
            }
        }
        match connection {
            Ok(Connection { input, output }) => {
                inputs.push(Feed::new(input));
                arrivals.push(tagged(data, output));
            }
            Err(error) => {
                inputs.push(Feed::deaf());
                drop(channels.send(data + 1, whole(&error).as_bytes()).await);
            }
        }
    }
    loop {
        let said = async {
            for input in &mut inputs {
                input.room().await;
            }
            channels.next().await
        };
        tokio::select! {
            Some((channel, arrived)) = arrivals.next() => {
                let sent = match arrived {
                    Ok(Some(bytes)) => channels.send(channel, &bytes).await,
                    Ok(None) if arrivals.is_empty() => { channels.close().await; return; }
                    Ok(None) => Ok(()),
                    Err(error) => channels.send(channel + 1, whole(&error).as_bytes()).await,
                };
                if sent.is_err() {
                    return;
                }
            }
            message = said => {
                let Some(message) = message else { return };
                let place = inputs.get_mut(usize::from(message.channel / 2)).filter(|_| message.channel % 2 == 0);
                if let Some(input) = place {
                    input.put(message.bytes);
                }
            }
        }
    }
}

fn tagged(
    channel: u8,
    output: ByteStream,
) -> stream::BoxStream<'static, (u8, Result<Option<Bytes>, LinkError>)> {
    let bytes = output.map(move |chunk| (channel, chunk.map(Some)));
    bytes.chain(stream::iter([(channel, Ok(None))])).boxed()
}

/// An error with its cause.
fn whole(error: &LinkError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
