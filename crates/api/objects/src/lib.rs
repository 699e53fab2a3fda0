//! Kubernetes objects as JSON values: what they are called, how their parts are read, how they are patched,
//! merged, defaulted and checked.
//!
//! Owns group-version-kinds, the table of built-in kinds and of their fields ([`kinds`], [`typing`]), metadata
//! accessors, selectors, quantities, cron schedules, the four patch formats, server-side apply with field ownership, upstream's
//! defaults, and the structural schemas of custom resources. What must hold: everything here is a pure function
//! of its arguments (the time is one of them), objects stay `serde_json` values so that unknown fields of custom
//! resources survive, and input is never trusted (depth and size of what recursion walks are bounded by the
//! JSON parser's limit of 128 levels). Keeps out: storage, HTTP, authorization and every controller's logic.

#![forbid(unsafe_code)]

pub mod apply;
pub mod decode;
pub mod defaults;
pub mod form;
pub mod gvk;
pub mod int_or_string;
pub mod kinds;
pub mod meta;
pub mod patch;
pub mod quantity;
pub mod schedule;
pub mod schema;
pub mod selector;
pub mod typing;

pub use gvk::{GroupKind, GroupResource, GroupVersionKind, GroupVersionResource};
pub use meta::Key;
pub use serde_json::Value;
