//! Pods on this machine.
//!
//! Owns: the Pods whose `spec.nodeName` is this node, from their first container to the last write of their status;
//! their volumes, probes, logs and Events; the Node object and its lease; and the translation of Services and
//! EndpointSlices into the node's network rules and DNS zone ([`services`]).
//!
//! What must hold:
//! - Decisions are pure: [`plan`] and [`status`] are functions of the specification, what is known, and the time. One worker per
//!   Pod carries them out, and is asked again after every change, so a missed or repeated event does no harm.
//! - Containers outlive this process. What is on disk is enough to adopt them: instance ids say which Pod, container
//!   and attempt they are.
//! - Nothing polls: work is started by watches, by the ends of containers, by probes and by deadlines.
//! - What a Pod asks for is not trusted. Names become paths only after they were checked, volume paths never leave their
//!   root, and what could reach out of a container needs [`PrivilegedNamespaces`].
//! - Secret values are written only to memory file systems and environments, never to logs, Events or errors.
//!
//! Kept out: scheduling, controllers, and how containers, images and networks work (adapters of their own).

#![forbid(unsafe_code)]

mod backoff;
mod config;
mod env;
mod hostfiles;
mod kubelet;
mod logs;
mod mailbox;
mod node;
mod observed;
mod plan;
mod pod;
mod probe;
mod records;
mod refusals;
mod resources;
mod runtime;
mod security;
mod services;
mod shared;
mod spec;
mod status;
#[cfg(test)]
mod testing;
mod volumes;
mod worker;

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

pub use config::{Addresses, Clock, Config};
pub use kubelet::{Error, Kubelet};
pub use refusals::PrivilegedNamespaces;
pub use runtime::{NodeRuntime, PodNetwork, Runtime, RuntimeError};

/// What a kubelet may do in the API: the rules of upstream's `system:node`, as far as they are used here.
pub fn rules() -> Vec<(&'static str, Value)> {
    let rules = json!([
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["create", "get", "list", "watch", "patch", "update"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch", "update"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch", "update"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps", "secrets", "services", "namespaces", "persistentvolumeclaims", "persistentvolumes"],
            "verbs": ["get", "list", "watch"],
        },
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["create", "get", "patch", "update"],
        },
    ]);
    vec![("kubelet", rules)]
}

/// Unmounts what a kubelet mounted beneath its data directory, deepest first; for `mainstay down`, once no container
/// runs any more.
pub fn unmount_all(data_dir: &Path) -> io::Result<()> {
    let Ok(data_dir) = data_dir.canonicalize() else { return Ok(()) };
    let mut mounts: Vec<_> =
        runtime::mount_points()?.into_iter().filter(|mount| mount.starts_with(&data_dir)).collect();
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    for mount in mounts {
        umount2(&mount, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    Ok(())
}
