//! A request body that can be sent again as long as nobody has begun to read it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A handle on a request's body. Clones share it: an attempt that fails before it has read anything leaves the body
/// to the next one.
#[derive(Clone)]
pub(crate) struct SharedBody {
    inner: Arc<Mutex<Incoming>>,
    begun: Arc<AtomicBool>,
    empty: bool,
    hint: SizeHint,
}

impl SharedBody {
    pub(crate) fn new(body: Incoming) -> Self {
        let (empty, hint) = (body.is_end_stream(), body.size_hint());
        Self { inner: Arc::new(Mutex::new(body)), begun: Arc::default(), empty, hint }
    }

    /// Whether an attempt now would send the whole body.
    pub(crate) fn whole(&self) -> bool {
        self.empty || !self.begun.load(Ordering::Acquire)
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.begun.store(true, Ordering::Release);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.empty || self.inner.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}
