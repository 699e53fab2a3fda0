//! What an installation on an existing cluster consists of: its manifests, and a Helm chart of the same.
//!
//! Owns the objects that run the controllers there (their workload, their accounts and permissions, what surrounds
//! them) and the settings by which they differ. Each object is written once, in [`objects`](mod@objects), over a *source* that
//! answers for the settings: with their values it makes manifests, with expressions over `.Values` it makes a chart's
//! templates.
//!
//! What must hold:
//! - A chart that is rendered with the values it was made with is the manifests, but for the namespace of the release,
//!   which Helm makes.
//! - The workload satisfies the Pod security standard `restricted`, and its account may do nothing that a rule here does not
//!   say. What it may deploy is a role of its own, so that it can be narrowed without touching the rest.
//!
//! Keeps out the cluster, and what the rules say: which permissions the controllers need is told by their crates, in
//! [`Parts`].
#![forbid(unsafe_code)]

mod chart;
mod objects;
mod settings;
mod source;

use serde_json::Value;

pub use chart::chart;
pub use settings::Settings;

/// The name of everything that is installed, and of the release where nobody gives another.
pub const NAME: &str = "mainstay";
/// The label by which an installation is found again; its value is [`NAME`].
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The port of health and metrics.
pub const PORT: u16 = 8082;
/// The port on which the container takes webhooks; their Service has HTTP's own.
pub const WEBHOOK_PORT: u16 = 8090;

/// What is installed comes from these.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The version of the program.
    pub version: String,
    /// CustomResourceDefinitions.
    pub definitions: Vec<Value>,
    pub rules: Rules,
}

/// Rules of RBAC, each a list.
#[derive(Debug, Clone)]
pub struct Rules {
    /// In the namespace of the Applications.
    pub applications: Value,
    /// Of the cluster.
    pub cluster: Value,
    /// Where an Argo CD is looked for.
    pub argo_cd: Value,
    /// Of the cluster, where Rollouts are run.
    pub rollouts: Value,
    /// Where repositories deploy to, in a ClusterRole.
    pub deploy: Value,
    /// As `deploy`, in a Role.
    pub deploy_namespaced: Value,
}

/// The manifests, in an order in which they can be created.
#[must_use]
pub fn manifests(parts: &Parts, settings: &Settings) -> Vec<Value> {
    let values = settings.values();
    let source = source::Source::Values { values: &values, namespace: &settings.namespace };
    let mut all = vec![objects::namespace(&settings.namespace)];
    all.extend(objects::definitions(parts));
    all.extend(objects::templates(parts).iter().flat_map(|template| template.made(source)));
    all
}

#[cfg(test)]
mod tests;
