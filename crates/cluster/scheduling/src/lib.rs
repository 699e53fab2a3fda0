//! Which Pod on which node, and why not.
//!
//! Owns a picture of the cluster reduced to what placing a Pod needs ([`Cluster`]) and the decision itself ([`choose`]): hard rules
//! with their reasons in kube-scheduler's words, then a score. What must hold: no clock, no randomness, no I/O; the same picture
//! and Pod give the same answer. Kept out: binding, events and the queue (the scheduler loop has them), preemption (a Pod waits
//! until there is room), and volumes (the loop knows claims; here a Pod only brings the node selectors of its bound volumes).
#![forbid(unsafe_code)]

mod choose;
mod cluster;
mod interpod;
mod request;
mod selector;
mod spread;
mod taint;

pub use choose::{Unschedulable, choose};
pub use cluster::Cluster;
pub use request::{Requests, requests};
