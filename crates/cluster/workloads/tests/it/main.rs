//! The built-in controllers against a real API server in this process, each under its own service account. A stand-in for the
//! kubelet makes Pods run; everything else is the real thing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch;
mod deployments;
mod garbage;
mod kubectl;
mod namespaces;
mod services;
mod stateful;
mod world;
