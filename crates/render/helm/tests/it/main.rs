//! Charts from disk, compared with what real Helm made of them.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod applications;
mod cases;
mod charts;
mod corpus;
mod safety;
mod shared;
