//! Progressive delivery: Argo Rollouts canaries (`argoproj.io/v1alpha1` Rollout) by replica ratio.
//!
//! Owns the Rollout controller: its ReplicaSets, the order in which they grow and shrink, steps, pauses, abort, and
//! the status that Argo Rollouts' tools read. Field, label and annotation names are upstream's, so that a team can
//! move in and out.
//!
//! Layout: [`spec`](spec) reads a Rollout, [`counts`](counts) says how many Pods each side gets, [`plan`](plan) turns a
//! Rollout and its ReplicaSets into actions and a status (pure: the time is an argument), [`controller`](controller) does
//! what the plan says. A plan depends on nothing but the objects, so doing it twice changes nothing.
//!
//! Kept out: traffic routing, analysis, experiments, blue-green and workload references. A Rollout that asks for them
//! gets an `InvalidSpec` condition that names the field.
#![forbid(unsafe_code)]

mod conditions;
mod controller;
mod counts;
mod definitions;
mod hash;
mod plan;
mod replica_set;
mod spec;
mod status;
mod steps;

pub use controller::{SERVICE_ACCOUNT, rules, run};
pub use definitions::definitions;
