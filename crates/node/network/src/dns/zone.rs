//! The names of the cluster, as plain values.
//!
//! Follows the Kubernetes DNS specification, version 1.1.0 (kubernetes/dns, `docs/specification.md`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::Protocol;

/// One named or unnamed port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The port's name; SRV records exist only for named ports.
    pub name: Option<String>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The number SRV records carry: the Service's port for a ClusterIP, the target port for a headless Service.
    pub port: u16,
}

/// An address behind a headless Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The pod's `hostname` when its `subdomain` names this Service (pods of a StatefulSet): it resolves as
    /// `hostname.service.namespace.svc.<domain>`. Otherwise the dashed address takes its place.
    pub hostname: Option<String>,
}

/// What a Service's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceTarget {
    /// An address that the node balances.
    Address(Ipv4Addr),
    /// `clusterIP: None`: the addresses of the endpoints that are ready (or all of them with
    /// `publishNotReadyAddresses`).
    Headless(Vec<Endpoint>),
    /// `type: ExternalName`: another name, with or without a trailing dot.
    External(String),
}

/// One Service's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNames {
    /// What the name resolves to.
    pub target: ServiceTarget,
    /// Its ports, for SRV records.
    pub ports: Vec<ServicePort>,
}

/// All names of the cluster domain; an immutable value, swapped as a whole by
/// [`NodeNetwork::set_dns`](crate::NodeNetwork::set_dns). Services are shared, so building the next zone from the same
/// `Arc`s is cheap.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    namespaces: BTreeMap<String, BTreeMap<String, Arc<ServiceNames>>>,
    reverse: BTreeMap<Ipv4Addr, Owner>,
}

/// Whose address it is, for reverse lookups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) namespace: String,
    pub(crate) service: String,
    /// The name of the endpoint in front of the Service's, for a headless Service.
    pub(crate) endpoint: Option<String>,
}

impl Zone {
    /// An empty zone: every name of the cluster domain answers NXDOMAIN.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a namespace known, so that `1-2-3-4.<namespace>.pod.<domain>` resolves in it.
    pub fn add_namespace(&mut self, namespace: &str) {
        self.namespaces.entry(namespace.to_ascii_lowercase()).or_default();
    }

    /// Adds or replaces a Service (and makes its namespace known). An address that several Services claim belongs, for
    /// reverse lookups, to the one added last.
    pub fn add_service(&mut self, namespace: &str, name: &str, service: Arc<ServiceNames>) {
        let owner = Owner {
            namespace: namespace.to_ascii_lowercase(),
            service: name.to_ascii_lowercase(),
            endpoint: None,
        };
        match &service.target {
            ServiceTarget::Address(address) => {
                self.reverse.insert(*address, owner.clone());
            }
            ServiceTarget::Headless(endpoints) => {
                for endpoint in endpoints {
                    let owner = Owner { endpoint: Some(endpoint.label()), ..owner.clone() };
                    self.reverse.insert(endpoint.address, owner);
                }
            }
            ServiceTarget::External(_) => {}
        }
        self.namespaces.entry(owner.namespace).or_default().insert(owner.service, service);
    }

    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&ServiceNames> {
        self.namespaces.get(namespace)?.get(name).map(Arc::as_ref)
    }

    pub(crate) fn owner(&self, address: Ipv4Addr) -> Option<&Owner> {
        self.reverse.get(&address)
    }
}

impl Endpoint {
    /// The label in front of the Service's name.
    pub(crate) fn label(&self) -> String {
        match &self.hostname {
            Some(hostname) => hostname.to_ascii_lowercase(),
            None => dashed(self.address),
        }
    }
}

/// `1-2-3-4`
fn dashed(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

/// The address that a dashed label stands for.
pub(crate) fn undashed(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok()
}
