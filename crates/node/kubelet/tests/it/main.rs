//! Pods with everything real: API server, image store, containers, network. Each test is a machine of its own: a thread
//! in a fresh network namespace that plays the host. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adoption;
mod machine;
mod network;
mod pods;
