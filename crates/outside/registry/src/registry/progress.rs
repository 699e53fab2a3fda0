//! Whether the body of a request moves: an upload may take as long as it needs, but not stand still.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// A registry may take this many times longer to answer when it has all of an upload: it checks its digest then, and writes
/// or copies it to where it stays.
const TO_KEEP: u32 = 10;

/// How far a request's body is.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

struct State {
    moved: Instant,
    sent: u64,
    /// As far as it is announced.
    size: Option<u64>,
}

impl Progress {
    /// A request whose body tells how far it is.
    pub(super) fn of<E>(request: Request<BoxBody<Bytes, E>>) -> (Self, Request<BoxBody<Bytes, E>>)
    where
        E: 'static,
    {
        let size = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let progress = Self(Arc::new(Mutex::new(State { moved: Instant::now(), sent: 0, size })));
        let watching = progress.clone();
        (progress, request.map(|body| Watched { body, progress: watching }.boxed()))
    }

    /// When the request is given up, unless its body moves before that, and after how long a rest. `idle` is the longest
    /// that it may stand still on its way.
    pub(super) fn deadline(&self, idle: Duration) -> (Instant, Duration) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = state.sent > 0 && state.size.is_some_and(|size| state.sent >= size);
        let limit = if all { idle * TO_KEEP } else { idle };
        (state.moved + limit, limit)
    }

    fn moved(&self, bytes: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.moved = Instant::now();
        state.sent += bytes as u64;
    }
}

struct Watched<E> {
    body: BoxBody<Bytes, E>,
    progress: Progress,
}

impl<E> Body for Watched<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.progress.moved(frame.data_ref().map_or(0, Bytes::remaining));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
