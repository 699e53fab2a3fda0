//! Who may do what: the policy of `argocd-rbac-cm` and of AppProjects, read as Argo CD reads it.
//!
//! Owns the lines of a policy (`p, SUBJECT, RESOURCE, ACTION, OBJECT, EFFECT` and `g, SUBJECT, ROLE`), the built-in roles
//! `role:readonly` and `role:admin`, what a request is answered with, and what is wrong with a policy.
//!
//! What must hold: a request is permitted if a line permits it and none denies it, for the default role or for the subject
//! itself; roles are inherited through at most ten steps. A line that the policy engine of Argo CD cannot use makes it
//! deny everything, and so it does here, with the reason. Nothing is read or asked: everything is a function of its
//! arguments.
//!
//! Keeps out who somebody is: signing in, groups and tokens.
#![forbid(unsafe_code)]

mod builtin;
mod line;
mod policy;
mod vocabulary;

pub use line::{Effect, Fault, Rule, Severity};
pub use policy::{Answer, MatchMode, Policy, Request};
pub use vocabulary::{Unknown, is_project_scoped, resource_named, understood};

#[cfg(test)]
mod tests;
