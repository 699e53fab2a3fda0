//! SPDY/3.1 connections and their streams, served: straight after an upgrade, or inside a WebSocket.
//!
//! A connection takes bounded memory: a stream has a short queue, and while that is full nothing is read. A stream
//! whose reader lets the others wait for [`STALL`] is reset.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt};
use http::Response;
use http::header::{HeaderName, HeaderValue, UPGRADE};
use hyper_util::rt::TokioIo;
use spdy::{Decoder, Encoder, Frame, Headers, status};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::ApiBody;
use super::upgrade::{self, mentions};
use crate::core::{Call, Core};
use crate::error::ApiError;

/// Pieces of data that wait for a stream's reader.
const QUEUE: usize = 4;
/// Frames that wait to be written.
const WRITES: usize = 8;
/// Streams that are open at once.
const STREAMS: usize = 256;
/// Bytes of one frame that is sent.
const PIECE: usize = 32 << 10;
/// Time for which a stream's reader may let the others wait.
const STALL: Duration = Duration::from_secs(30);

/// Bytes of a connection in both directions.
pub(crate) struct Wire {
    pub(crate) read: BoxStream<'static, io::Result<Bytes>>,
    pub(crate) write: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
}

/// A request that asks for SPDY in a protocol that was agreed on.
pub(crate) struct Upgrade {
    protocol: &'static str,
    on_upgrade: upgrade::Taken,
}

const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Whether the request asks for SPDY.
pub(crate) fn asked(call: &Call) -> bool {
    mentions(&call.headers, UPGRADE, "SPDY/3.1")
}

/// The first of the client's protocols that is among `known`.
pub(crate) fn negotiate(call: &Call, known: &[&'static str]) -> Result<Upgrade, ApiError> {
    let protocol = upgrade::choose(&call.headers, PROTOCOL, known)?;
    Ok(Upgrade { protocol, on_upgrade: upgrade::take(call)? })
}

impl Upgrade {
    /// Answers that the protocol changes, and serves the connection with `work`.
    pub(crate) fn accept<W, F>(self, core: &Arc<Core>, work: W) -> Response<ApiBody>
    where
        W: FnOnce(Wire) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        upgrade::serve(core, self.on_upgrade, async |upgraded| {
            let (read, write) = tokio::io::split(TokioIo::new(upgraded));
            let write = futures::sink::unfold(write, async |mut write, bytes: Bytes| {
                write.write_all(&bytes).await?;
                write.flush().await?;
                Ok::<_, io::Error>(write)
            });
            work(Wire { read: ReaderStream::new(read).boxed(), write: Box::pin(write) }).await;
        });
        upgrade::switching("SPDY/3.1", [(PROTOCOL, HeaderValue::from_static(self.protocol))])
    }
}

/// A stream that the client opened. It is not accepted before [`Writer::accept`].
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) headers: Headers,
    /// What arrives; ends when the client has sent all.
    pub(crate) input: mpsc::Receiver<Bytes>,
    /// Resolves when the stream is over in both directions before its time.
    pub(crate) reset: oneshot::Receiver<()>,
    pub(crate) output: Writer,
}

/// The way back on a stream. A send waits while the client does not read.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

/// The connection is over.
#[derive(Debug, thiserror::Error)]
#[error("write to a connection that is over")]
pub(crate) struct Gone;

impl Writer {
    pub(crate) async fn accept(&self) -> Result<(), Gone> {
        self.frame(Frame::Reply { stream: self.stream, headers: Headers::default(), last: false }).await
    }

    pub(crate) async fn send(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.frame(Frame::Data { stream: self.stream, bytes: piece, last: false }).await?;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&self) -> Result<(), Gone> {
        self.frame(Frame::Data { stream: self.stream, bytes: Bytes::new(), last: true }).await
    }

    /// Refuses the stream, or breaks it off.
    pub(crate) async fn reset(&self, status: u32) -> Result<(), Gone> {
        self.frame(Frame::Reset { stream: self.stream, status }).await
    }

    async fn frame(&self, frame: Frame) -> Result<(), Gone> {
        self.frames.send(frame).await.map_err(|_| Gone)
    }
}

/// Serves a connection: `work` gets the streams as the client opens them, and the connection ends with it, with the
/// client, or with the first thing that is not SPDY.
pub(crate) async fn serve<W, F>(wire: Wire, work: W)
where
    W: FnOnce(mpsc::Receiver<Stream>) -> F,
    F: Future<Output = ()>,
{
    let Wire { read, mut write } = wire;
    let (frames, mut outgoing) = mpsc::channel::<Frame>(WRITES);
    let (opened, streams) = mpsc::channel(QUEUE);
    let writing = async {
        let mut encoder = Encoder::default();
        while let Some(frame) = outgoing.recv().await {
            if write.send(encoder.encode(&frame)).await.is_err() {
                return;
            }
        }
        // The client has all of it or has gone; neither needs more.
        drop(write.close().await);
    };
    tokio::pin!(writing);
    let finished = {
        let reading = Reader { frames, opened, open: HashMap::new(), highest: 0 }.run(read);
        tokio::pin!(reading);
        tokio::select! {
            () = reading => false,
            () = work(streams) => true,
            () = &mut writing => false,
        }
    };
    // By now nobody holds the sending end, so what was queued last is written and the writing ends.
    if finished {
        drop(timeout(STALL, writing).await);
    }
}

/// A stream as the reader of its connection knows it.
struct Open {
    /// Until the client has sent all.
    data: Option<mpsc::Sender<Bytes>>,
    /// Its other end lives as long as somebody serves the stream.
    reset: oneshot::Sender<()>,
}

/// What reading a connection needs to know.
struct Reader {
    frames: mpsc::Sender<Frame>,
    opened: mpsc::Sender<Stream>,
    open: HashMap<u32, Open>,
    /// Number of the newest stream.
    highest: u32,
}

impl Reader {
    async fn run(mut self, mut read: BoxStream<'static, io::Result<Bytes>>) {
        let mut decoder = Decoder::default();
        while let Some(Ok(bytes)) = read.next().await {
            decoder.push(&bytes);
            loop {
                match decoder.take() {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if self.handle(frame).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(error = %error, "a client sent what is not SPDY");
                        return;
                    }
                }
            }
        }
    }

    /// An error ends the connection.
    async fn handle(&mut self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::Open { stream, headers, last } => self.opens(stream, headers, last).await,
            Frame::Data { stream, bytes, last } => {
                if !bytes.is_empty() {
                    self.data(stream, bytes).await?;
                }
                if last {
                    self.ended(stream);
                }
                Ok(())
            }
            Frame::Headers { stream, last: true, .. } => {
                self.ended(stream);
                Ok(())
            }
            Frame::Reset { stream, .. } => {
                if let Some(open) = self.open.remove(&stream) {
                    // Whoever served it may have ended already.
                    open.reset.send(()).ok();
                }
                Ok(())
            }
            // Ours would be even.
            Frame::Ping { id } if id % 2 == 1 => self.answer(Frame::Ping { id }).await,
            Frame::GoAway { .. } => Err(Gone),
            Frame::Ping { .. } | Frame::Headers { .. } | Frame::Reply { .. } | Frame::Other { .. } => Ok(()),
        }
    }

    async fn opens(&mut self, stream: u32, headers: Headers, last: bool) -> Result<(), Gone> {
        if stream.is_multiple_of(2) || stream <= self.highest {
            return self.answer(Frame::Reset { stream, status: status::PROTOCOL_ERROR }).await;
        }
        self.highest = stream;
        self.open.retain(|_, open| !open.reset.is_closed());
        if self.open.len() >= STREAMS {
            return self.answer(Frame::Reset { stream, status: status::REFUSED_STREAM }).await;
        }
        let (data, input) = mpsc::channel(QUEUE);
        let (reset, was_reset) = oneshot::channel();
        self.open.insert(stream, Open { data: (!last).then_some(data), reset });
        let output = Writer { stream, frames: self.frames.clone() };
        self.opened.send(Stream { headers, input, output, reset: was_reset }).await.map_err(|_| Gone)
    }

    fn ended(&mut self, stream: u32) {
        if let Some(open) = self.open.get_mut(&stream) {
            open.data = None;
        }
    }

    async fn data(&mut self, stream: u32, bytes: Bytes) -> Result<(), Gone> {
        // A stream that is over here may still be written to until the client has heard of it.
        let data = self.open.get(&stream).and_then(|open| open.data.as_ref());
        let Some(data) = data else { return Ok(()) };
        match timeout(STALL, data.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                self.ended(stream);
                Ok(())
            }
            Err(_) => {
                self.open.remove(&stream);
                self.answer(Frame::Reset { stream, status: status::FLOW_CONTROL_ERROR }).await
            }
        }
    }

    async fn answer(&self, frame: Frame) -> Result<(), Gone> {
        self.frames.send(frame).await.map_err(|_| Gone)
    }
}
