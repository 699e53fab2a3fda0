//! What a client says to a Pod, given on while the Pod is listened to.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use link::{LinkError, Sender};

/// The way in to a command or a port. Who waits for [room](Feed::room) before the next message is taken off the client
/// can go on reading what the Pod writes in the meantime: a Pod that waits for its output to be read reads no input.
pub(super) struct Feed<T>(Option<Sender<T>>);

impl<T> Feed<T> {
    pub(super) fn new(sender: Sender<T>) -> Self {
        Feed(Some(sender))
    }

    /// Nobody reads what is put here.
    pub(super) fn deaf() -> Self {
        Feed(None)
    }

    /// Waits until a message can be put. Cancelling loses nothing.
    pub(super) async fn room(&mut self) {
        poll_fn(|context| self.poll_room(context)).await;
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(sender) = &mut self.0 else { return Poll::Ready(()) };
        let flushed = ready!(sender.as_mut().poll_flush(context));
        let ready: Result<(), LinkError> = match flushed {
            Ok(()) => ready!(sender.as_mut().poll_ready(context)),
            Err(error) => Err(error),
        };
        if ready.is_err() {
            // It reads no more; what it still writes is of interest all the same.
            self.0 = None;
        }
        Poll::Ready(())
    }

    /// Puts one message; there must be [room](Feed::room) for it. What nobody reads any more is dropped.
    pub(super) fn put(&mut self, message: T) {
        if let Some(sender) = &mut self.0
            && sender.as_mut().start_send(message).is_err()
        {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt as _, SinkExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn there_is_room_once_what_was_put_is_read() {
        let (sender, mut receiver) = futures::channel::mpsc::channel::<u8>(0);
        let mut feed = Feed::new(Box::pin(sender.sink_map_err(|_| gone())));
        feed.room().await;
        feed.put(1);
        assert!(feed.room().now_or_never().is_none(), "a full queue");
        assert_eq!(receiver.next().await, Some(1));
        tokio::time::timeout(Duration::from_secs(10), feed.room()).await.unwrap();
        drop(receiver);
        feed.put(2);
        feed.room().now_or_never().expect("nobody waits for those who have gone");
    }

    fn gone() -> LinkError {
        LinkError::Exec { message: "gone".to_owned() }
    }
}
