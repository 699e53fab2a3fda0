//! Compare, plan and assess: the decisions of a sync.
//!
//! Owns what Argo CD decides between Git and a cluster: whose a live object is ([`tracking`]), whether it differs
//! from its manifest ([`mod@compare`]), in which order a sync proceeds ([`plan`]), how well an object does
//! ([`health`]), what that says of the application ([`status`]), what its project permits and when ([`project`],
//! [`windows`]), what nobody manages ([`orphans`]), how it changes hands ([`takeover`]), and when to sync, heal and retry
//! ([`automatic`], [`schedule`]).
//!
//! What must hold: everything is a function of its arguments (the time is one of them), a manifest is never
//! changed, and a comparison never calls a field different that Git does not mention. Keeps out reading, rendering,
//! applying, and the shape of the Application object apart from the parts of its spec that decide something here.

#![forbid(unsafe_code)]

pub mod annotations;
pub mod automatic;
pub mod compare;
pub mod glob;
pub mod health;
pub mod hooks;
mod key;
pub mod options;
pub mod order;
pub mod orphans;
pub mod plan;
pub mod project;
pub mod schedule;
pub mod status;
pub mod takeover;
pub mod tracking;
pub mod windows;

pub use compare::{Comparison, IgnoreRules, Method, compare};
pub use health::{Health, HealthStatus};
pub use key::ResourceKey;
pub use options::SyncOptions;
pub use plan::{Phase, Plan, Step, Task};
pub use status::SyncStatus;
pub use tracking::{Tracking, TrackingId};

/// The field manager of everything that is applied.
pub const FIELD_MANAGER: &str = "argocd-controller";
