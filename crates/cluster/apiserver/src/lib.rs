//! The Kubernetes REST API over the store.
//!
//! Owns what a request means: discovery, verbs, patches, admission, validation, authorization, tables, and the kinds
//! that are served (built-in, defined by CustomResourceDefinitions, or by our minimal definitions). What must hold:
//!
//! - objects are JSON from the request to the store and back, never typed values that would drop unknown fields;
//! - an answer with success is durable; an update is stored only over the version it was decided on;
//! - every caller is authenticated, authorized and admitted, in process as over a socket;
//! - nothing waits without a deadline and nothing a client sends makes memory grow without a bound.
//!
//! Keeps out every controller: what an object leads to is other services' work, and they come through this API.

#![forbid(unsafe_code)]

mod admission;
mod allocators;
mod authn;
mod authz;
mod bootstrap;
mod catalog;
mod cleanup;
mod convert;
mod core;
mod discovery;
mod error;
mod expiry;
mod fields;
mod handlers;
mod http;
mod input;
mod kinds;
mod limits;
mod object;
mod openapi;
pub mod pki;
mod quota;
mod serve;
mod server;
mod service;
mod table;
pub mod tokens;
mod user;
mod validation;
mod write;

pub use allocators::{RangeError, ServiceRange};
pub use http::body::ApiBody;
pub use server::{ApiServer, Config, Error, MetricsSource};
pub use service::LocalService;
pub use user::User;

/// The Kubernetes whose API this is.
pub const KUBERNETES_VERSION: &str = "v1.34.4";
