//! What `argocd-notifications-cm` says: services, templates, triggers, defaults and subscriptions, and what is wrong with
//! them.
//!
//! What must hold: keys are read as Argo CD reads them (`service.TYPE[.NAME]`, `template.NAME`, `trigger.NAME`,
//! `defaultTriggers[.SERVICE]`, `subscriptions`, `context`); a fault says whether it makes Argo CD refuse all of the
//! configuration or only keeps something from being sent; a value of a Secret is never looked at, only whether its key is
//! there. Nothing is read or asked: everything is a function of its arguments.
//!
//! Keeps out evaluating conditions and sending.
#![forbid(unsafe_code)]

mod configuration;
mod faults;

pub use configuration::{Condition, Configuration, Service, Subscription};
pub use faults::{Fault, Weight};

#[cfg(test)]
mod tests;
