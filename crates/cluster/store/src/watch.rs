//! A reader's position in the event window.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::memory::State;
use crate::{Error, Event, Revision, Scope};

/// The events of a scope after a revision, in order. Holds no events of its own.
#[derive(Debug)]
pub struct Watch {
    state: Arc<RwLock<State>>,
    scope: Scope,
    position: Revision,
    changed: watch::Receiver<Revision>,
}

impl Watch {
    pub(crate) fn start(state: Arc<RwLock<State>>, scope: Scope, from: Revision) -> Result<Watch, Error> {
        let changed =
            state.write().unwrap_or_else(PoisonError::into_inner).subscribe(&scope.resource, from)?;
        Ok(Watch { state, scope, position: from, changed })
    }

    /// Everything of the scope up to this revision has been returned.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.position
    }

    /// The next events, at least one and at most `limit`. Cancelling loses none.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the window has moved past this watch, [`Error::Closed`] when the store has gone.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        loop {
            self.changed.borrow_and_update();
            let events = self.poll(limit)?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.changed.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// The events that are there already, at most `limit`; moves [`Watch::position`] to the newest revision if that
    /// was all of them.
    ///
    /// # Errors
    /// [`Error::Compacted`].
    pub fn poll(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (events, position) = state.events(&self.scope, self.position, limit)?;
        drop(state);
        self.position = position;
        Ok(events)
    }
}
