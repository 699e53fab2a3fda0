//! One Kubernetes client for everybody.
//!
//! Owns what every controller needs on top of [`kube::Client`]: dynamic objects ([`dynamic`]), discovery
//! ([`discovery`]), list-and-watch ([`watch`]), the reconcile loop ([`controller`]), Events ([`events`]), logs
//! ([`logs`]), one leader among several processes ([`lease`]), waiting for a state ([`wait`]), counting what was asked ([`requests`]), clients for clusters elsewhere
//! ([`remote`]), and the way from a kubeconfig to a client ([`mod@connect`]).
//!
//! What must hold:
//! - Nobody here knows whether the [`Client`] ends in this process or on another cluster.
//! - Every request has a deadline, every watch resumes by itself, every task is joined by who started it.
//! - Nothing keeps a second copy of the cluster: a watch hands each object on and forgets it, a controller keeps
//!   keys. What a reconcile needs it reads, and because lists and gets are answered from the newest state (no
//!   `resourceVersion` is sent), a pass always sees the writes of the pass before it.
//!
//! Kept out: typed Kubernetes structures (objects are `serde_json::Value`, so unknown fields survive), and what any
//! particular controller decides.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod claim;
pub mod conditions;
pub mod connect;
pub mod controller;
pub mod discovery;
pub mod dynamic;
mod error;
pub mod events;
pub mod hash;
pub mod lease;
pub mod logs;
pub mod remote;
pub mod requests;
pub mod resource;
#[cfg(test)]
mod testing;
pub mod wait;
pub mod watch;

pub use discovery::Resources;
pub use dynamic::Api;
pub use error::{Error, Status, chain};
pub use kube::Client;
pub use objects::meta::Key;
pub use resource::ResourceType;
