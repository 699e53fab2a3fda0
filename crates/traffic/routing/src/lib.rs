//! Route tables: which backend answers a request, and which of its endpoints.
//!
//! Owns the matching rules of Ingress (`networking.k8s.io/v1`: exact hosts before wildcards before none, exact paths
//! before prefixes, longer prefixes first, prefixes by whole path elements) and the choice among endpoints. A
//! [`Table`] is immutable: a change makes a new one, which takes over the counters of the routes and endpoints it
//! keeps, so that swapping tables loses neither statistics nor the knowledge of who is busy.
//!
//! Looking up and choosing allocate nothing and take no lock. Kept out: sockets, HTTP, Kubernetes, the clock;
//! randomness is an argument.
#![forbid(unsafe_code)]

mod backend;
mod matching;
mod stats;
mod table;

pub use backend::{Backend, Endpoint, InFlight};
pub use matching::{HostMatch, PathMatch};
pub use stats::{BUCKETS, Class, Snapshot, Stats};
pub use table::{Route, RouteSpec, Table, Target};
