//! Pod network, Service addresses and cluster DNS of one node.
//!
//! Owns: one network namespace per data directory (the *node namespace*) with its routes, nftables rules and DNS
//! server; one namespace and one routed veth pair per pod; and on the host one veth, two routes, one nftables table and
//! the forwarding flags those need.
//!
//! Must hold:
//! - Everything survives the death of the process that made it and is adopted by [`NodeNetwork::ensure`]; nothing else
//!   on the host is touched, and [`remove`] takes away exactly what was added.
//! - Pods see clients by their own addresses: only a pod that reaches itself through a Service is masqueraded, and what
//!   leaves the machine.
//! - A change of a Service is one atomic transaction that carries only what changed.
//! - No program is run: everything is a netlink message or a system call.
//!
//! Keeps out: Kubernetes (the caller translates Services and pods to the plain values here), containers, IPv6, ports
//! of Services on the host's own addresses (NodePort), and everybody else: neither the neighbourhood nor pods of another
//! instance on the same machine open connections to pods or Service addresses; only pods and the host do.

mod config;
mod dns;
mod error;
mod files;
mod host;
mod netns;
mod network;
mod nft;
mod node;
mod pods;
mod preflight;
mod services;
mod sysctl;

pub use config::{Config, Ranges};
pub use dns::{Endpoint, ServiceNames, ServicePort, ServiceTarget, Zone};
pub use error::Error;
pub use network::{NodeNetwork, remove};
pub use pods::PodNetwork;
pub use preflight::{Problem, Severity, choose_ranges, preflight};
pub use services::{Protocol, ServiceEntry, ServiceTable};
