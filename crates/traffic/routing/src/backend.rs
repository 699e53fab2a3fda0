//! Backends and the choice among their endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One address that answers for a backend, and how many requests it has in hand.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    in_flight: AtomicUsize,
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, in_flight: AtomicUsize::new(0) }
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }
}

/// A request in the hands of an endpoint: dropping it says that the answer is through.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Relaxed);
        Self(endpoint)
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Endpoints that serve the same.
#[derive(Debug)]
pub struct Backend {
    pub name: String,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
}

impl Backend {
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The less busy of two endpoints drawn by `random`, leaving out those in `avoid` as long as there are others.
    /// Two draws spread load nearly as well as asking all, and do not herd onto the one that is idle just now.
    pub fn choose(&self, avoid: &[SocketAddr], mut random: impl FnMut() -> u32) -> Option<&Arc<Endpoint>> {
        let fresh = |endpoint: &&Arc<Endpoint>| !avoid.contains(&endpoint.address);
        let count = self.endpoints.iter().filter(fresh).count();
        if count == 0 {
            return match self.endpoints.len() {
                0 => None,
                all => self.endpoints.get(random() as usize % all),
            };
        }
        let mut draw = || self.endpoints.iter().filter(fresh).nth(random() as usize % count);
        let (first, second) = (draw()?, draw()?);
        Some(if second.in_flight() < first.in_flight() { second } else { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(count: u16) -> Backend {
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let endpoints = (1..=count).map(|port| Arc::new(Endpoint::new(address(port)))).collect();
        Backend { name: "b".to_owned(), endpoints }
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let backend = backend(2);
        let _busy = InFlight::new(backend.endpoints[0].clone());
        let mut draws = [0, 1].into_iter().cycle();
        let chosen = backend.choose(&[], || draws.next().unwrap_or_default()).unwrap();
        assert_eq!(chosen.address, backend.endpoints[1].address);
    }

    #[test]
    fn a_failed_endpoint_is_avoided_while_there_are_others() {
        let backend = backend(2);
        let failed = [backend.endpoints[0].address];
        for draw in 0..4 {
            assert_eq!(backend.choose(&failed, || draw).unwrap().address, backend.endpoints[1].address);
        }
        let all: Vec<_> = backend.endpoints.iter().map(|endpoint| endpoint.address).collect();
        assert!(backend.choose(&all, || 7).is_some(), "the last ones are tried again rather than given up");
        assert!(self::backend(0).choose(&[], || 0).is_none());
    }
}
