//! The API as clients meet it: `kube` in process, `kubectl` over TLS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod conformance;
mod custom;
mod hostile;
mod in_process;
mod kubectl;
mod lifecycle;
mod nodes;
mod quotas;
mod server;
mod sockets;
mod tours;
mod watching;
