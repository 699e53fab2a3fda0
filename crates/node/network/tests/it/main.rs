//! The node network against the real kernel. Each test is a machine of its own: a thread in a fresh network namespace
//! that plays the host, with an uplink to another namespace that plays the outside. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod dns;
mod host;
mod lab;
mod outside;
mod services;
mod traffic;
