//! The HTTP data plane: takes requests, finds their route in a table, and passes them to an endpoint.
//!
//! Owns the listening side (HTTP/1.1 and HTTP/2, TLS by server name), the forwarding side (pooled connections), what
//! happens between them (headers, retries, deadlines, upgrades), and the counting. The table and the certificates are
//! swapped from outside at any time; a request sees one table from beginning to end.
//!
//! What must hold:
//! - No request is lost because an endpoint goes away: one that never reached an endpoint goes to another, and one
//!   that a closing connection swallowed is sent again if its method says that this is safe.
//! - Whatever a client sends, memory for it is bounded: heads are, bodies stream, slow heads are cut off.
//! - Nothing a client claims about itself in forwarding headers is believed.
//!
//! Kept out: Kubernetes, where routes come from, and matching rules (`routing`).
#![forbid(unsafe_code)]

mod body;
mod budget;
mod certificates;
mod forward;
mod headers;
mod respond;
mod server;
mod upgrade;

pub use certificates::{CertificateError, Certificates};
pub use forward::Timeouts;
pub use server::{Config, Proxy};
