//! Lines of a streamed body.

use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

/// The longest event accepted: many times the largest object an API server stores.
const LONGEST: usize = 32 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Splits a body at newlines. Cancelling `next` loses nothing: what arrived stays buffered.
pub(super) struct Lines {
    body: Pin<Box<Body>>,
    buffer: BytesMut,
    /// How far the buffer was searched already.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Lines {
        Lines { body: Box::pin(body), buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line without its end; `None` when the body ended (an unfinished line is dropped: its event will come again).
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + found).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Some(Ok(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Some(Err(format!("an event is longer than {LONGEST} bytes").into()));
            }
            match self.body.frame().await? {
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
