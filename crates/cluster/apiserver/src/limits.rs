//! What one client may have open at once, so that the rest is left for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A number of places for each client.
#[derive(Debug)]
pub(crate) struct PerClient {
    most: usize,
    /// Those that hold any.
    held: Mutex<HashMap<String, usize>>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<PerClient>,
    client: String,
}

impl PerClient {
    pub(crate) fn new(most: usize) -> Arc<PerClient> {
        Arc::new(PerClient { most, held: Mutex::default() })
    }

    /// A place for the client, unless it has all of its own.
    pub(crate) fn take(self: &Arc<Self>, client: &str) -> Option<Place> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(client) {
            Some(count) if *count >= self.most => return None,
            Some(count) => *count += 1,
            None if self.most == 0 => return None,
            None => {
                held.insert(client.to_owned(), 1);
            }
        }
        Some(Place { of: self.clone(), client: client.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_places() {
        let places = PerClient::new(2);
        let (one, two) = (places.take("a"), places.take("a"));
        assert!(one.is_some() && two.is_some() && places.take("a").is_none());
        let other = places.take("b");
        assert!(other.is_some());
        drop(one);
        let three = places.take("a");
        assert!(three.is_some());
        drop((two, three, other));
        assert!(places.held.lock().unwrap().is_empty());
    }
}
