#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod backend;
mod client;
mod serving;
