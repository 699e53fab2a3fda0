//! From an object that is not well to the cause.
//!
//! Owns the analysis behind `mainstay why`: from an Application across its sources, its rendering, its project, its sync
//! and its resources, from a workload to the Pod and the container, and from there to scheduling, images, probes,
//! volumes, Services and routes. Objects go in, a [`Node`] comes out.
//!
//! What must hold: everything is a function of its arguments. What the analysis needs to know it asks of [`Facts`];
//! what is not known yet is noted there as a [`Question`], and whoever can read the API answers and asks again
//! ([`Facts::take_questions`]). So exactly what matters is read, however large the cluster is. Messages are those of the
//! API, word for word. A branch that could not be read says so and is never taken for healthy. Keeps out reading,
//! printing to a terminal, and repairing.
//!
//! ```
//! use why::{Answer, Facts, State, Target, explain};
//! let target = Target::new("", "PersistentVolumeClaim", "shop", "data");
//! let mut facts = Facts::default();
//! loop {
//!     let tree = explain(&facts, &target);
//!     let questions = facts.take_questions();
//!     if questions.is_empty() {
//!         assert_eq!(tree.state, State::Blocked);
//!         break;
//!     }
//!     for question in questions {
//!         facts.add(question, Answer::Absent);
//!     }
//! }
//! ```

#![forbid(unsafe_code)]

mod application;
mod facts;
mod generic;
mod ingress;
mod pod;
mod pod_container;
mod reading;
mod rolling;
mod service;
mod source;
mod tree;
mod volume;
mod workload;

pub use facts::{Answer, Facts, Question};
pub use sync::ResourceKey as Target;
pub use tree::{Node, State};

/// Where Applications are looked for that are named without a namespace.
pub const NAMESPACE: &str = "argocd";

/// Deeper chains of applications in applications are cut.
const MOST_DEPTH: usize = 16;

/// The tree of reasons below an object. It is complete once [`Facts::take_questions`] has nothing more to ask.
#[must_use]
pub fn explain(facts: &Facts, target: &Target) -> Node {
    let mut tree = object(&Path::root(facts), target);
    tree.finish();
    tree
}

/// The way from the root to a place in the tree.
#[derive(Clone)]
struct Path<'a> {
    facts: &'a Facts,
    above: Vec<Target>,
}

impl<'a> Path<'a> {
    fn root(facts: &'a Facts) -> Self {
        Self { facts, above: Vec::new() }
    }

    fn below(&self, target: &Target) -> Self {
        let mut above = self.above.clone();
        above.push(target.clone());
        Self { facts: self.facts, above }
    }

    /// Whether going on would go in a circle, or without end.
    fn ends_at(&self, target: &Target) -> bool {
        self.above.len() > MOST_DEPTH || self.above.contains(target)
    }

    /// Whether an Application is explained, and its Pods are a part of it anyway.
    fn in_application(&self) -> bool {
        self.above.iter().any(|target| target.kind == "Application")
    }
}

/// Whatever object it is.
fn object(path: &Path<'_>, target: &Target) -> Node {
    if path.ends_at(target) {
        return Node::of(target).with_status("already above");
    }
    match path.facts.object(target) {
        facts::Found::There(object) => known(&path.below(target), target, object),
        facts::Found::Absent => Node::of(target).blocked("not found"),
        facts::Found::UnknownKind => {
            Node::of(target).blocked("the cluster serves no such kind").with_hint(format!(
                "install the CustomResourceDefinition of {}",
                if target.group.is_empty() {
                    target.kind.clone()
                } else {
                    format!("{}.{}", target.kind, target.group)
                }
            ))
        }
        facts::Found::Failed(reason) => Node::of(target).unread(reason),
        facts::Found::NotYet => Node::of(target),
    }
}

fn known(path: &Path<'_>, target: &Target, object: &objects::Value) -> Node {
    match (target.group.as_str(), target.kind.as_str()) {
        ("argoproj.io", "Application") => application::application(path, target, object),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("argoproj.io", "Rollout") => {
            workload::workload(path, target, object)
        }
        ("batch", "Job") => workload::job(path, target, object),
        ("batch", "CronJob") => workload::cron_job(path, target, object),
        ("", "Pod") => pod::pod(path, target, object),
        ("", "PersistentVolumeClaim") => volume::claim(path, target, object),
        ("", "Service") => service::service(path, target, object),
        ("networking.k8s.io", "Ingress") => ingress::ingress(path, target, object),
        _ => generic::generic(path, target, object),
    }
}

#[cfg(test)]
mod tests;
