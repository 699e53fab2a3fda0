//! Against a real registry, and against a server that misbehaves as real ones do.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod fake;
mod image;
mod real;
mod uploads;
mod wire;
