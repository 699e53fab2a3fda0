//! Port-forwarding over SPDY: for each connection the client opens two streams, one for bytes and one for an error, with
//! a request's number in common.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use link::{Connection, Node, Sender};
use spdy::status;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::whole;
use crate::http::spdy::{Gone, Stream, Writer};

/// Time for the second stream of a pair, as upstream.
const PATIENCE: Duration = Duration::from_secs(30);

/// Forwards the connections of one client to one Pod.
pub(super) struct Forwarder {
    node: Arc<dyn Node>,
    namespace: String,
    pod: String,
}

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

/// A stream whose other half has not come.
struct Half {
    kind: Kind,
    stream: Stream,
    until: Instant,
}

/// The two streams of a connection.
struct Pair {
    port: u16,
    data: Stream,
    error: Stream,
}

impl Forwarder {
    pub(super) fn new(node: Arc<dyn Node>, namespace: &str, pod: &str) -> Forwarder {
        Forwarder { node, namespace: namespace.to_owned(), pod: pod.to_owned() }
    }

    /// Until the client goes.
    pub(super) async fn run(self, mut opened: mpsc::Receiver<Stream>) {
        let mut waiting: HashMap<String, Half> = HashMap::new();
        let mut forwards = FuturesUnordered::new();
        loop {
            let next = waiting.values().map(|half| half.until).min();
            tokio::select! {
                stream = opened.recv() => {
                    let Some(stream) = stream else { return };
                    match beside(&mut forwards, pair(&mut waiting, stream)).await {
                        Ok(Some(pair)) => forwards.push(self.forward(pair)),
                        Ok(None) => {}
                        Err(Gone) => return,
                    }
                }
                Some(_) = forwards.next() => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let late: Vec<String> = waiting
                        .iter()
                        .filter(|(_, half)| half.until <= Instant::now())
                        .map(|(request, _)| request.clone())
                        .collect();
                    for half in late.iter().filter_map(|request| waiting.remove(request)) {
                        if beside(&mut forwards, half.stream.output.reset(status::CANCEL)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// An error means that the client has gone.
    async fn forward(&self, pair: Pair) -> Result<(), Gone> {
        let Pair { port, data, error } = pair;
        let connected = self.node.connect(self.namespace.clone(), self.pod.clone(), port).await;
        let failure = match connected {
            Ok(connection) => carry(connection, data.input, &data.output, data.reset).await?,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            let text = format!("error forwarding port {port} to pod {}: {}", self.pod, whole(&failure));
            error.output.send(text.into()).await?;
        }
        error.output.finish().await?;
        data.output.finish().await
    }
}

/// Awaits `work` while the forwards go on. All of them wait in one line for room to write: those that are before it take
/// their room and keep it, so that `work` would never have its turn if nobody asked them to go on.
async fn beside<F: Future, W: Future>(forwards: &mut FuturesUnordered<F>, work: W) -> W::Output {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(_) = forwards.next() => {}
        }
    }
}

/// Accepts a stream; both halves once they are there.
async fn pair(waiting: &mut HashMap<String, Half>, stream: Stream) -> Result<Option<Pair>, Gone> {
    let kind = match stream.headers.get("streamtype") {
        Some("data") => Some(Kind::Data),
        Some("error") => Some(Kind::Error),
        _ => None,
    };
    let request = stream.headers.get("requestid").map(str::to_owned);
    let port = stream.headers.get("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
    let (Some(kind), Some(request), Some(port)) = (kind, request, port) else {
        stream.output.reset(status::REFUSED_STREAM).await?;
        return Ok(None);
    };
    if waiting.get(&request).is_some_and(|half| half.kind == kind) {
        stream.output.reset(status::REFUSED_STREAM).await?;
        return Ok(None);
    }
    stream.output.accept().await?;
    Ok(match waiting.remove(&request) {
        None => {
            waiting.insert(request, Half { kind, stream, until: Instant::now() + PATIENCE });
            None
        }
        Some(Half { stream: other, .. }) => Some(match kind {
            Kind::Data => Pair { port, data: stream, error: other },
            Kind::Error => Pair { port, data: other, error: stream },
        }),
    })
}

/// Carries bytes until the Pod has sent all, or the client resets its stream.
async fn carry(
    connection: Connection,
    mut from: mpsc::Receiver<Bytes>,
    to: &Writer,
    reset: tokio::sync::oneshot::Receiver<()>,
) -> Result<Option<link::LinkError>, Gone> {
    let Connection { input, mut output } = connection;
    let up = async move {
        let mut input: Sender<Bytes> = input;
        while let Some(bytes) = from.recv().await {
            if input.send(bytes).await.is_err() {
                // The Pod reads no more; what it still writes is carried all the same.
                return;
            }
        }
        // Says to the Pod that nothing more comes; one that has gone need not know.
        drop(input.close().await);
    };
    let down = async {
        while let Some(chunk) = output.next().await {
            match chunk {
                Ok(bytes) => to.send(bytes).await?,
                Err(error) => return Ok(Some(error)),
            }
        }
        Ok(None)
    };
    tokio::pin!(up, down);
    let mut fed = false;
    tokio::pin!(reset);
    loop {
        tokio::select! {
            ended = &mut down => return ended,
            () = &mut up, if !fed => fed = true,
            _ = &mut reset => return Ok(None),
        }
    }
}
