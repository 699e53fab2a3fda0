//! Charts from real servers, compared with what the real `helm` makes of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dependencies;
mod faults;
mod http;
mod oci;
mod proxies;
mod safety;
mod tls;
mod world;
