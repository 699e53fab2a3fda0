//! The other end of a session, of either protocol: numbered channels in both directions.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT};
use crate::http::Query;
use crate::http::spdy::{Gone, Stream, Writer};
use crate::http::websocket::{Channels, Message};

/// Time for a client to open its streams, as upstream.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) enum Peer {
    Socket(Box<Channels>),
    Streams(Streams),
}

impl Peer {
    pub(super) async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        match self {
            Peer::Socket(socket) => socket.send(channel, bytes).await.map_err(|_| Gone),
            Peer::Streams(streams) => match streams.outputs.get(usize::from(channel)) {
                Some(Some(output)) => output.send(Bytes::copy_from_slice(bytes)).await,
                // The client did not ask for this one.
                _ => Ok(()),
            },
        }
    }

    /// The next message; `None` when the client has gone. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Option<Message> {
        match self {
            Peer::Socket(socket) => socket.next().await,
            Peer::Streams(streams) => match streams.inputs.next().await {
                Some(message) => Some(message),
                // All inputs have ended, the session has not: the connection itself tells when the client goes.
                None => futures::future::pending().await,
            },
        }
    }

    pub(super) async fn close(&mut self) {
        match self {
            Peer::Socket(socket) => socket.close().await,
            Peer::Streams(streams) => {
                for output in streams.outputs.iter().flatten() {
                    // A client that has gone already needs none.
                    drop(output.finish().await);
                }
            }
        }
    }
}

/// The streams of a client that speaks SPDY.
pub(super) struct Streams {
    /// By channel.
    outputs: [Option<Writer>; 5],
    inputs: SelectAll<BoxStream<'static, Message>>,
}

/// A bit for each channel that the client opens a stream for.
pub(super) fn expected(query: &Query) -> u8 {
    let tty = query.flag("tty");
    let channels = [
        (STDIN, query.flag("stdin")),
        (STDOUT, query.flag("stdout")),
        (STDERR, query.flag("stderr") && !tty),
        (ERROR, true),
        (RESIZE, tty),
    ];
    channels.iter().filter(|(_, wanted)| *wanted).fold(0, |bits, (channel, _)| bits | 1 << channel)
}

impl Streams {
    /// Accepts the streams that are expected; `None` if they do not come.
    pub(super) async fn gather(opened: &mut mpsc::Receiver<Stream>, expected: u8) -> Option<Streams> {
        let mut streams = Streams { outputs: [const { None }; 5], inputs: SelectAll::new() };
        let mut missing = expected;
        let all = async {
            while missing != 0 {
                let stream = opened.recv().await?;
                let channel = match stream.headers.get("streamtype") {
                    Some("stdin") => STDIN,
                    Some("stdout") => STDOUT,
                    Some("stderr") => STDERR,
                    Some("error") => ERROR,
                    Some("resize") => RESIZE,
                    _ => return None,
                };
                if missing & 1 << channel == 0 {
                    return None;
                }
                missing &= !(1 << channel);
                stream.output.accept().await.ok()?;
                streams.add(channel, stream);
            }
            Some(())
        };
        timeout(PATIENCE, all).await.ok().flatten()?;
        Some(streams)
    }

    fn add(&mut self, channel: u8, stream: Stream) {
        let Stream { input, output, reset, .. } = stream;
        self.outputs[usize::from(channel)] = Some(output);
        // The stream counts as served while this end of `reset` lives.
        let bytes = stream::unfold((input, reset), |(mut input, reset)| async move {
            let bytes = input.recv().await?;
            Some((bytes, (input, reset)))
        });
        let messages = bytes.map(move |bytes| Message { channel, bytes });
        let end = async move { Message { channel: CLOSE, bytes: Bytes::copy_from_slice(&[channel]) } };
        self.inputs.push(messages.chain(end.into_stream()).boxed());
    }
}
