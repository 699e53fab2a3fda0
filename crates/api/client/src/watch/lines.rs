//! Lines of a streamed body.

use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

/// The longest event accepted: many times the largest object an API server stores.
const LONGEST: usize = 32 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Splits a body at newlines. Cancelling `next` loses nothing: what arrived stays buffered.
pub(crate) struct Lines {
    body: Pin<Box<Body>>,
    buffer: BytesMut,
    /// How far the buffer was searched already.
    searched: usize,
    /// Whether empty lines and an unfinished last one count.
    text: bool,
}

impl Lines {
    /// Of events: empty lines say nothing, and an unfinished one is dropped, because its event will come again.
    pub(crate) fn new(body: Body) -> Lines {
        Lines { body: Box::pin(body), buffer: BytesMut::new(), searched: 0, text: false }
    }

    /// Of text: every line counts.
    pub(crate) fn of_text(body: Body) -> Lines {
        Lines { text: true, ..Lines::new(body) }
    }

    /// The next line without its end; `None` when the body ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + found).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() && !self.text {
                    continue;
                }
                return Some(Ok(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Some(Err(format!("an event is longer than {LONGEST} bytes").into()));
            }
            let Some(frame) = self.body.frame().await else {
                self.searched = 0;
                let rest = self.buffer.split().freeze();
                return (self.text && !rest.is_empty()).then_some(Ok(rest));
            };
            match frame {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
