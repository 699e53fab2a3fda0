//! The controller against the real API server in process, with real Git repositories.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behaviour;
mod charts;
mod checkmate;
mod clusters;
mod codedang;
mod faults;
mod flow;
mod operations;
mod place;
mod projects;
mod rollback;
mod roots;
mod sets;
mod tenancy;
mod terminate;
mod webhooks;
mod world;
