//! Cluster DNS: names of the cluster domain from memory, all others from the host's resolvers.

mod answer;
mod forward;
mod server;
mod zone;

pub(crate) use server::serve;
pub use zone::{Endpoint, ServiceNames, ServicePort, ServiceTarget, Zone};

/// The port of DNS, ours and that of the resolvers in `resolv.conf`.
pub(crate) const PORT: u16 = 53;
