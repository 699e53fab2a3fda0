//! How well an object does, by the rules of Argo CD's built-in and bundled checks.

mod aggregate;
mod conditions;
mod custom;
mod lua;
mod pod;
mod workloads;

use std::fmt;

use objects::{Value, meta};

pub use aggregate::{Contribution, aggregate, contribution};
pub use lua::{Check, Checks};

use crate::annotations::HOOK_FINALIZER;
use crate::key::group;

/// From best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthStatus {
    Healthy,
    Suspended,
    Progressing,
    Missing,
    Degraded,
    Unknown,
}

impl HealthStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }

    /// `None` for a word that is none of the statuses.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all =
            [Self::Healthy, Self::Suspended, Self::Progressing, Self::Missing, Self::Degraded, Self::Unknown];
        all.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub status: HealthStatus,
    /// Empty where there is nothing to add.
    pub message: String,
}

impl Health {
    #[must_use]
    pub fn new(status: HealthStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

fn healthy() -> Health {
    Health::new(HealthStatus::Healthy, "")
}

fn progressing(message: impl Into<String>) -> Health {
    Health::new(HealthStatus::Progressing, message)
}

fn degraded(message: impl Into<String>) -> Health {
    Health::new(HealthStatus::Degraded, message)
}

fn suspended(message: impl Into<String>) -> Health {
    Health::new(HealthStatus::Suspended, message)
}

fn unknown(message: impl Into<String>) -> Health {
    Health::new(HealthStatus::Unknown, message)
}

/// Whether an object is being deleted, other than a hook that has yet to end.
fn is_going(object: &Value) -> bool {
    meta::is_deleting(object) && !meta::finalizers(object).any(|finalizer| finalizer == HOOK_FINALIZER)
}

/// The health of a live object; `None` where nothing is known about its kind.
#[must_use]
pub fn assess(object: &Value) -> Option<Health> {
    if is_going(object) {
        return Some(progressing("Pending deletion"));
    }
    let group = group(object);
    let version = object["apiVersion"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let kind = meta::kind(object);
    if let Some(check) = custom::check(group, kind) {
        return Some(check(object));
    }
    let (check, versions): (fn(&Value) -> Health, &[&str]) = match (group, kind) {
        ("apps", "Deployment") => (workloads::deployment, &["v1"]),
        ("apps", "StatefulSet") => (workloads::stateful_set, &["v1"]),
        ("apps", "DaemonSet") => (workloads::daemon_set, &["v1"]),
        ("apps", "ReplicaSet") => (workloads::replica_set, &["v1"]),
        ("networking.k8s.io" | "extensions", "Ingress") => (workloads::ingress, &[]),
        ("", "Service") => (workloads::service, &["v1"]),
        ("", "PersistentVolumeClaim") => (workloads::volume_claim, &["v1"]),
        ("", "Pod") => (pod::pod, &["v1"]),
        ("batch", "Job") => (workloads::job, &["v1"]),
        ("autoscaling", "HorizontalPodAutoscaler") => (workloads::autoscaler, &["v1", "v2"]),
        ("apiregistration.k8s.io", "APIService") => (workloads::api_service, &["v1", "v1beta1"]),
        ("argoproj.io", "Workflow") => (workloads::workflow, &[]),
        _ => return None,
    };
    if !versions.is_empty() && !versions.contains(&version) {
        return Some(unknown(format!("unsupported {kind} API version {version}")));
    }
    Some(check(object))
}

/// An integer of a status or spec; 0 where there is none, as in Go.
fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
