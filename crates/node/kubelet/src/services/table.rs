//! From Services and EndpointSlices to rules and names: a pure translation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use network::{
    Endpoint, Protocol, ServiceEntry, ServiceNames, ServicePort, ServiceTable, ServiceTarget, Zone,
};
use objects::meta::{self, Key};
use serde_json::Value;

use crate::env::ServiceAddress;

/// Namespace and name.
type Name = (String, String);

/// What is kept of the cluster.
#[derive(Debug, Default)]
pub(super) struct State {
    services: BTreeMap<Name, KeptService>,
    slices: BTreeMap<Name, KeptSlice>,
    namespaces: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptService {
    /// `None` without an address of its own.
    ip: Option<Ipv4Addr>,
    headless: bool,
    external_name: Option<String>,
    ports: Vec<KeptPort>,
    /// `publishNotReadyAddresses`.
    all_addresses: bool,
    affinity: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptPort {
    name: String,
    port: u16,
    protocol: String,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptSlice {
    service: Name,
    /// Name, protocol and number.
    ports: Vec<(String, String, u16)>,
    endpoints: Vec<KeptEndpoint>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptEndpoint {
    address: Ipv4Addr,
    hostname: Option<String>,
    ready: bool,
    /// Not ready because it is going away, but still answering.
    serving: bool,
    terminating: bool,
}

impl State {
    pub(super) fn set_service(&mut self, object: &Value) -> bool {
        let Ok(service) = serde_json::from_value::<Service>(object.clone()) else {
            tracing::warn!(service = %Key::of(object), "a Service cannot be read");
            return self.remove_service(object);
        };
        replace(&mut self.services, name(object), keep_service(&service))
    }

    pub(super) fn set_slice(&mut self, object: &Value) -> bool {
        let slice =
            serde_json::from_value::<EndpointSlice>(object.clone()).ok().and_then(|slice| keep_slice(&slice));
        match slice {
            Some(slice) => replace(&mut self.slices, name(object), slice),
            // Of another address family, or of nobody.
            None => self.remove_slice(object),
        }
    }

    pub(super) fn set_namespace(&mut self, object: &Value) -> bool {
        self.namespaces.insert(meta::name(object).to_owned())
    }

    pub(super) fn remove_service(&mut self, object: &Value) -> bool {
        self.services.remove(&name(object)).is_some()
    }

    pub(super) fn remove_slice(&mut self, object: &Value) -> bool {
        self.slices.remove(&name(object)).is_some()
    }

    pub(super) fn remove_namespace(&mut self, object: &Value) -> bool {
        self.namespaces.remove(meta::name(object))
    }

    pub(super) fn retain_services(&mut self, keys: &[Key]) -> bool {
        retain(&mut self.services, keys)
    }

    pub(super) fn retain_slices(&mut self, keys: &[Key]) -> bool {
        retain(&mut self.slices, keys)
    }

    pub(super) fn retain_namespaces(&mut self, keys: &[Key]) -> bool {
        let before = self.namespaces.len();
        let names: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        self.namespaces.retain(|name| names.contains(name.as_str()));
        before != self.namespaces.len()
    }

    /// For the environment of containers.
    pub(super) fn addresses(&self) -> Vec<ServiceAddress> {
        let with_address =
            self.services.iter().filter_map(|(name, service)| Some((name, service, service.ip?)));
        with_address
            .map(|((namespace, name), service, ip)| ServiceAddress {
                namespace: namespace.clone(),
                name: name.clone(),
                cluster_ip: ip.to_string(),
                ports: service
                    .ports
                    .iter()
                    .map(|port| crate::env::ServicePort {
                        name: port.name.clone(),
                        port: port.port,
                        protocol: port.protocol.clone(),
                    })
                    .collect(),
            })
            .collect()
    }

    /// The rules. The API server's own Service is served inside the node's network and has none.
    pub(super) fn table(&self) -> ServiceTable {
        let slices = self.slices_by_service();
        let mut entries = Vec::new();
        for (key, service) in &self.services {
            let Some(address) = service.ip.filter(|_| !is_api(key)) else { continue };
            for port in &service.ports {
                let Some(protocol) = protocol(&port.protocol) else { continue };
                let slices = slices.get(key).map(Vec::as_slice).unwrap_or_default();
                let targets = targets(service, port, slices);
                entries.push(ServiceEntry {
                    address,
                    port: port.port,
                    protocol,
                    targets,
                    affinity: service.affinity,
                });
            }
        }
        ServiceTable { entries }
    }

    /// The names.
    pub(super) fn zone(&self) -> Zone {
        let mut zone = Zone::new();
        for namespace in &self.namespaces {
            zone.add_namespace(namespace);
        }
        let slices = self.slices_by_service();
        for (key, service) in &self.services {
            let slices = slices.get(key).map(Vec::as_slice).unwrap_or_default();
            if let Some(names) = names(service, slices) {
                zone.add_service(&key.0, &key.1, Arc::new(names));
            }
        }
        zone
    }

    fn slices_by_service(&self) -> BTreeMap<&Name, Vec<&KeptSlice>> {
        let mut out: BTreeMap<&Name, Vec<&KeptSlice>> = BTreeMap::new();
        for slice in self.slices.values() {
            out.entry(&slice.service).or_default().push(slice);
        }
        out
    }
}

fn is_api(name: &Name) -> bool {
    name.0 == "default" && name.1 == "kubernetes"
}

fn name(object: &Value) -> Name {
    (meta::namespace(object).unwrap_or_default().to_owned(), meta::name(object).to_owned())
}

fn replace<T: PartialEq>(map: &mut BTreeMap<Name, T>, name: Name, new: T) -> bool {
    if map.get(&name) == Some(&new) {
        return false;
    }
    map.insert(name, new);
    true
}

fn retain<T>(map: &mut BTreeMap<Name, T>, keys: &[Key]) -> bool {
    let before = map.len();
    let names: BTreeSet<(&str, &str)> =
        keys.iter().map(|key| (key.namespace.as_deref().unwrap_or(""), key.name.as_str())).collect();
    map.retain(|(namespace, name), _| names.contains(&(namespace.as_str(), name.as_str())));
    before != map.len()
}

fn keep_service(service: &Service) -> KeptService {
    let spec = service.spec.clone().unwrap_or_default();
    let cluster_ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let external = spec.type_.as_deref() == Some("ExternalName");
    let seconds =
        spec.session_affinity_config.and_then(|config| config.client_ip?.timeout_seconds).unwrap_or(10_800);
    KeptService {
        ip: cluster_ip.parse().ok().filter(|_| !external),
        headless: cluster_ip == "None" && !external,
        external_name: spec.external_name.filter(|_| external),
        ports: spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                Some(KeptPort {
                    name: port.name.clone().unwrap_or_default(),
                    port: u16::try_from(port.port).ok()?,
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                })
            })
            .collect(),
        all_addresses: spec.publish_not_ready_addresses == Some(true),
        affinity: (spec.session_affinity.as_deref() == Some("ClientIP"))
            .then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(10_800))),
    }
}

fn keep_slice(slice: &EndpointSlice) -> Option<KeptSlice> {
    let labels = slice.metadata.labels.as_ref()?;
    let service = labels.get("kubernetes.io/service-name")?;
    if slice.address_type != "IPv4" {
        return None;
    }
    let ports = slice.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port?).ok()?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((port.name.clone().unwrap_or_default(), protocol, number))
    });
    let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        endpoint.addresses.iter().filter_map(|address| address.parse().ok()).map(move |address| {
            // Absent conditions mean yes, yes and no.
            let ready = conditions.ready.unwrap_or(true);
            KeptEndpoint {
                address,
                hostname: endpoint.hostname.clone(),
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
            }
        })
    });
    Some(KeptSlice {
        service: (slice.metadata.namespace.clone()?, service.clone()),
        ports: ports.collect(),
        endpoints: endpoints.collect(),
    })
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        // SCTP: no rules, so connections find nobody.
        _ => None,
    }
}

/// The ready endpoints of a port; when there are none, those that go away but still answer, as kube-proxy does.
fn targets(service: &KeptService, port: &KeptPort, slices: &[&KeptSlice]) -> Vec<SocketAddrV4> {
    let mut ready = BTreeSet::new();
    let mut leaving = BTreeSet::new();
    for slice in slices {
        let matching =
            slice.ports.iter().filter(|(name, protocol, _)| *name == port.name && *protocol == port.protocol);
        for (_, _, number) in matching {
            for endpoint in &slice.endpoints {
                let target = SocketAddrV4::new(endpoint.address, *number);
                if endpoint.ready || (service.all_addresses && !endpoint.terminating) {
                    ready.insert(target);
                } else if endpoint.serving && endpoint.terminating {
                    leaving.insert(target);
                }
            }
        }
    }
    if ready.is_empty() { leaving } else { ready }.into_iter().collect()
}

fn names(service: &KeptService, slices: &[&KeptSlice]) -> Option<ServiceNames> {
    let target = if let Some(name) = &service.external_name {
        ServiceTarget::External(name.clone())
    } else if service.headless {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for endpoint in slices.iter().flat_map(|slice| &slice.endpoints) {
            if endpoint.ready || service.all_addresses {
                let endpoint = Endpoint { address: endpoint.address, hostname: endpoint.hostname.clone() };
                if !endpoints.contains(&endpoint) {
                    endpoints.push(endpoint);
                }
            }
        }
        ServiceTarget::Headless(endpoints)
    } else {
        ServiceTarget::Address(service.ip?)
    };
    let ports = service.ports.iter().filter_map(|port| {
        let target_port = slices
            .iter()
            .flat_map(|slice| &slice.ports)
            .find(|(name, protocol, _)| *name == port.name && *protocol == port.protocol)
            .map(|(_, _, number)| *number);
        Some(ServicePort {
            name: Some(port.name.clone()).filter(|name| !name.is_empty()),
            protocol: protocol(&port.protocol)?,
            port: target_port.filter(|_| service.headless).unwrap_or(port.port),
        })
    });
    Some(ServiceNames { target, ports: ports.collect() })
}
