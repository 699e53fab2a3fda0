//! What a question is answered with, from the zone alone: no I/O.
//!
//! Follows the Kubernetes DNS specification 1.1.0 and, where that is silent (SRV for a Service's own name, pods by
//! dashed address in any known namespace, times to live), CoreDNS with kubeadm's `pods insecure`.

use std::net::Ipv4Addr;

use hickory_server::proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use ipnet::Ipv4Net;

use super::zone::{Endpoint, ServiceNames, ServicePort, ServiceTarget, Zone, undashed};
use crate::{Config, Protocol};

/// Seconds that answers may be kept, and denials: a Service that appears must be found at once.
const TTL: u32 = 5;
/// The version of the specification, as TXT of `dns-version.<domain>`.
const SPECIFICATION: &str = "1.1.0";
const MAILBOX: &str = "hostmaster";
/// Of a StatefulSet of any size the first so many; all of them do not fit a message anyway.
const ADDITIONAL_LIMIT: usize = 256;

/// The part of the name space that is answered here.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    name: Name,
    reverse: [Ipv4Net; 2],
}

/// What is known about a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Records of the type asked for, and addresses of the names in them.
    Found { answers: Vec<Record>, additionals: Vec<Record> },
    /// The name stands for another one, which is to be resolved in turn.
    Alias { record: Box<Record>, target: Name },
    /// The name exists, without records of the type.
    NoData,
    /// No such name.
    NxDomain,
    /// A name of the outside.
    NotOurs,
}

/// What a name of the domain is, whatever type was asked for.
enum Entry<'a> {
    /// A name above others.
    Node,
    Addresses(Vec<Ipv4Addr>),
    Service(&'a ServiceNames),
    Ports(&'a ServiceNames, Vec<&'a ServicePort>),
    Alias(&'a str),
    Version,
}

impl Domain {
    /// `None` for a cluster domain that is no name.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let mut name = Name::from_ascii(config.cluster_domain.to_ascii_lowercase()).ok()?;
        name.set_fqdn(true);
        Some(Self { name, reverse: [config.pod_range, config.service_range] })
    }

    /// Looks `name` up; any spelling of case is the same name.
    pub(crate) fn look_up(&self, zone: &Zone, name: &Name, kind: RecordType) -> Lookup {
        if let Some(address) = reversed(name) {
            let is_ours = self.reverse.iter().any(|range| range.contains(&address));
            return if is_ours { self.reverse(zone, name, address, kind) } else { Lookup::NotOurs };
        }
        if !self.name.zone_of(name) {
            return Lookup::NotOurs;
        }
        let depth = usize::from(name.num_labels() - self.name.num_labels());
        let labels: Vec<String> = name
            .iter()
            .take(depth)
            .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match entry(zone, &labels) {
            Some(entry) => self.records(name, &labels, entry, kind),
            None => Lookup::NxDomain,
        }
    }

    /// The record that goes with a denial and says how long to believe it.
    pub(crate) fn authority(&self) -> Record {
        let server = self.prefixed(&["ns", "dns"]);
        let mailbox = self.prefixed(&[MAILBOX]);
        let soa = SOA::new(server, mailbox, 1, 7_200, 1_800, 86_400, TTL);
        Record::from_rdata(self.name.clone(), TTL, RData::SOA(soa))
    }

    fn records(&self, name: &Name, labels: &[&str], entry: Entry<'_>, kind: RecordType) -> Lookup {
        let record = |data: RData| Record::from_rdata(name.clone(), TTL, data);
        let addresses = |found: Vec<Ipv4Addr>| {
            some(found.into_iter().map(|address| record(RData::A(A(address)))).collect(), Vec::new())
        };
        match (entry, kind) {
            (Entry::Alias(target), _) => match external(target) {
                Some(target) => {
                    let alias = record(RData::CNAME(CNAME(target.clone())));
                    Lookup::Alias { record: Box::new(alias), target }
                }
                None => Lookup::NxDomain,
            },
            (Entry::Node, RecordType::SOA) if labels.is_empty() => some(vec![self.authority()], Vec::new()),
            (Entry::Version, RecordType::TXT) => {
                some(vec![record(RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()])))], Vec::new())
            }
            (Entry::Addresses(found), RecordType::A) => addresses(found),
            (Entry::Service(service), RecordType::A) => addresses(service.addresses()),
            (Entry::Service(service), RecordType::SRV) => {
                self.ports(name, &service.ports.iter().collect::<Vec<_>>(), service, labels)
            }
            (Entry::Ports(service, ports), RecordType::SRV) => {
                self.ports(name, &ports, service, &labels[2..])
            }
            _ => Lookup::NoData,
        }
    }

    /// SRV records of `ports`, for each address a name of its own; `service` are the labels of the Service's name.
    fn ports(&self, name: &Name, ports: &[&ServicePort], target: &ServiceNames, service: &[&str]) -> Lookup {
        let hosts: Vec<(Name, Ipv4Addr)> = match &target.target {
            ServiceTarget::Address(address) => vec![(self.prefixed(service), *address)],
            ServiceTarget::Headless(endpoints) => endpoints
                .iter()
                .map(|endpoint| {
                    let label = endpoint.label();
                    let mut labels = vec![label.as_str()];
                    labels.extend(service);
                    (self.prefixed(&labels), endpoint.address)
                })
                .collect(),
            ServiceTarget::External(_) => Vec::new(),
        };
        let weight = u16::try_from(100 / hosts.len().max(1)).unwrap_or(1).max(1);
        let mut answers = Vec::new();
        for port in ports {
            answers.extend(hosts.iter().map(|(host, _)| {
                Record::from_rdata(
                    name.clone(),
                    TTL,
                    RData::SRV(SRV::new(0, weight, port.port, host.clone())),
                )
            }));
        }
        let additionals = hosts
            .into_iter()
            .take(ADDITIONAL_LIMIT)
            .map(|(host, address)| Record::from_rdata(host, TTL, RData::A(A(address))))
            .collect();
        some(answers, additionals)
    }

    fn reverse(&self, zone: &Zone, name: &Name, address: Ipv4Addr, kind: RecordType) -> Lookup {
        let Some(owner) = zone.owner(address) else { return Lookup::NxDomain };
        if kind != RecordType::PTR {
            return Lookup::NoData;
        }
        let mut labels: Vec<&str> = owner.endpoint.as_deref().into_iter().collect();
        labels.extend([owner.service.as_str(), owner.namespace.as_str(), "svc"]);
        let record = Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(self.prefixed(&labels))));
        some(vec![record], Vec::new())
    }

    /// `labels.<domain>`; the domain itself for labels that no name can have.
    fn prefixed(&self, labels: &[&str]) -> Name {
        labels
            .iter()
            .rev()
            .try_fold(self.name.clone(), |name, label| name.prepend_label(*label))
            .unwrap_or_else(|_| self.name.clone())
    }
}

impl ServiceNames {
    fn addresses(&self) -> Vec<Ipv4Addr> {
        match &self.target {
            ServiceTarget::Address(address) => vec![*address],
            ServiceTarget::Headless(endpoints) => endpoints.iter().map(|endpoint| endpoint.address).collect(),
            ServiceTarget::External(_) => Vec::new(),
        }
    }

    fn endpoints(&self) -> &[Endpoint] {
        match &self.target {
            ServiceTarget::Headless(endpoints) => endpoints,
            _ => &[],
        }
    }
}

/// The name of `labels` below the domain.
fn entry<'a>(zone: &'a Zone, labels: &[&str]) -> Option<Entry<'a>> {
    match labels {
        [] | ["svc"] | ["pod"] => Some(Entry::Node),
        ["dns-version"] => Some(Entry::Version),
        [namespace, "svc" | "pod"] => zone.has_namespace(namespace).then_some(Entry::Node),
        [address, namespace, "pod"] => {
            let address = undashed(address).filter(|_| zone.has_namespace(namespace))?;
            Some(Entry::Addresses(vec![address]))
        }
        [service, namespace, "svc"] => {
            let service = zone.service(namespace, service)?;
            Some(match &service.target {
                ServiceTarget::External(target) => Entry::Alias(target),
                _ => Entry::Service(service),
            })
        }
        [label, service, namespace, "svc"] => {
            let service = zone.service(namespace, service)?;
            if let Some(protocol) = protocol(label) {
                return service.ports.iter().any(|port| port.protocol == protocol).then_some(Entry::Node);
            }
            let addresses: Vec<Ipv4Addr> = service
                .endpoints()
                .iter()
                .filter(|endpoint| endpoint.label() == *label)
                .map(|endpoint| endpoint.address)
                .collect();
            (!addresses.is_empty()).then_some(Entry::Addresses(addresses))
        }
        [port, protocol_label, service, namespace, "svc"] => {
            let service = zone.service(namespace, service)?;
            let (name, protocol) = (port.strip_prefix('_')?, protocol(protocol_label)?);
            let ports: Vec<&ServicePort> = service
                .ports
                .iter()
                .filter(|port| {
                    port.protocol == protocol && port.name.as_deref().is_some_and(|own| own == name)
                })
                .collect();
            (!ports.is_empty()).then_some(Entry::Ports(service, ports))
        }
        _ => None,
    }
}

fn protocol(label: &str) -> Option<Protocol> {
    match label {
        "_tcp" => Some(Protocol::Tcp),
        "_udp" => Some(Protocol::Udp),
        _ => None,
    }
}

fn some(answers: Vec<Record>, additionals: Vec<Record>) -> Lookup {
    if answers.is_empty() { Lookup::NoData } else { Lookup::Found { answers, additionals } }
}

/// An ExternalName's target is absolute, with or without the dot.
fn external(target: &str) -> Option<Name> {
    let mut name = Name::from_ascii(target.to_ascii_lowercase()).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The address that a complete name of `in-addr.arpa` stands for.
fn reversed(name: &Name) -> Option<Ipv4Addr> {
    let labels: Vec<&[u8]> = name.iter().collect();
    let [d, c, b, a, zone, arpa] = labels.as_slice() else { return None };
    if !zone.eq_ignore_ascii_case(b"in-addr") || !arpa.eq_ignore_ascii_case(b"arpa") {
        return None;
    }
    let octet = |label: &&[u8]| std::str::from_utf8(label).ok()?.parse::<u8>().ok();
    Some(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?))
}

#[cfg(test)]
mod tests;
