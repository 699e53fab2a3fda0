//! Real containers on this machine.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod adoption;
mod attach;
mod exec;
mod fixture;
mod isolation;
mod lifecycle;
mod packed;
