//! Service addresses and node ports: each given to one Service at a time.
//!
//! What is taken is read from the stored Services, so nothing else has to be kept consistent with them. Between the
//! choice and the write a number is held here; [`Reserved`] lets go of it when the write is over, whichever way.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use objects::schema::FieldError;
use serde_json::{Value, json};
use store::{ListOptions, Scope, Store};

use crate::core::Call;
use crate::error::ApiError;

/// The addresses Services get: an IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRange {
    base: Ipv4Addr,
    prefix: u8,
}

/// The text is no IPv4 network in which Services have room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 network between /8 and /28, such as 10.96.0.0/16")]
pub struct RangeError(String);

impl FromStr for ServiceRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<ServiceRange, RangeError> {
        let refuse = || RangeError(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let base: Ipv4Addr = base.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        if !(8..=28).contains(&prefix) || u32::from(base) & ((1 << (32 - prefix)) - 1) != 0 {
            return Err(refuse());
        }
        Ok(ServiceRange { base, prefix })
    }
}

impl ServiceRange {
    /// Addresses in the network.
    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// The address `offset` places after the network's own.
    #[must_use]
    pub fn address(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + offset)
    }

    /// The address of the Service `kubernetes` in namespace `default`: the first.
    #[must_use]
    pub fn api(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The address of the cluster's DNS: the tenth.
    #[must_use]
    pub fn dns(self) -> Ipv4Addr {
        self.address(10)
    }

    /// Whether a Service may have the address: not the network's own and not its broadcast address.
    fn usable(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.base));
        (1..self.size() - 1).contains(&offset)
    }
}

impl std::fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
/// The lowest addresses are left to Services that ask for a particular one, such as DNS.
const STATIC_BAND: u32 = 16;

#[derive(Debug, Default)]
struct Held {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
    /// Where the next search for an address starts.
    next_address: u32,
}

#[derive(Debug)]
pub(crate) struct Allocators {
    range: ServiceRange,
    held: Arc<Mutex<Held>>,
}

/// Numbers chosen for a write that is under way.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    held: Option<Arc<Mutex<Held>>>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Reserved {
    /// The write is done: from now on the stored Service holds the numbers.
    pub(crate) fn keep(self) {
        drop(self);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            self.addresses.iter().for_each(|address| {
                held.addresses.remove(address);
            });
            self.ports.iter().for_each(|port| {
                held.ports.remove(port);
            });
        }
    }
}

/// What the stored Services have.
#[derive(Default)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

impl Taken {
    fn read(store: &Store, except_uid: &str) -> Taken {
        let mut taken = Taken::default();
        let Ok(page) = store.list(&Scope::new("services", None), &ListOptions::default()) else {
            return taken;
        };
        for (_, object) in page.items {
            let Ok(service) = serde_json::from_slice::<Value>(&object.bytes) else { continue };
            if !except_uid.is_empty() && objects::meta::uid(&service) == except_uid {
                continue;
            }
            taken.addresses.extend(addresses(&service));
            taken.ports.extend(ports(&service));
        }
        taken
    }
}

fn addresses(service: &Value) -> impl Iterator<Item = Ipv4Addr> {
    service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(service["spec"].get("clusterIP"))
        .filter_map(|address| address.as_str()?.parse().ok())
}

fn ports(service: &Value) -> impl Iterator<Item = u16> {
    let spec = &service["spec"];
    let listed = spec["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]);
    listed
        .chain(spec.get("healthCheckNodePort"))
        .filter_map(|port| u16::try_from(port.as_u64()?).ok())
        .filter(|port| *port != 0)
}

impl Allocators {
    pub(crate) fn new(range: ServiceRange) -> Allocators {
        Allocators { range, held: Arc::default() }
    }

    pub(crate) fn range(&self) -> ServiceRange {
        self.range
    }

    /// Gives a Service that is about to be written the numbers it lacks; other objects pass untouched.
    pub(crate) fn reserve(
        &self,
        call: &Call,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Result<Reserved, ApiError> {
        if !call.resource.is("", "services") || call.info.subresource == "status" {
            return Ok(Reserved::default());
        }
        let kind = object["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
        if kind == "ExternalName" {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(spec) = object["spec"].as_object_mut() {
                    spec.remove(field);
                }
            }
            return Ok(Reserved::default());
        }
        let taken = Taken::read(&call.core.store, old.map(objects::meta::uid).unwrap_or_default());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reserved =
            Reserved { held: Some(self.held.clone()), addresses: Vec::new(), ports: Vec::new() };
        let mut problems = Vec::new();
        let result = self
            .address(&taken, &mut held, &mut reserved, old, object, &mut problems)
            .and_then(|()| node_ports(&kind, &taken, &mut held, &mut reserved, object, &mut problems));
        // The lock must be free before `reserved` is dropped: dropping takes it.
        drop(held);
        result?;
        if problems.is_empty() {
            Ok(reserved)
        } else {
            Err(ApiError::invalid("", "Service", objects::meta::name(object), &problems))
        }
    }

    fn address(
        &self,
        taken: &Taken,
        held: &mut Held,
        reserved: &mut Reserved,
        old: Option<&Value>,
        service: &mut Value,
        problems: &mut Vec<FieldError>,
    ) -> Result<(), ApiError> {
        let before = old.and_then(|old| old["spec"]["clusterIP"].as_str()).unwrap_or_default();
        let spec = &mut service["spec"];
        let first = spec["clusterIPs"][0].as_str().unwrap_or_default();
        let mut wanted =
            spec["clusterIP"].as_str().filter(|wanted| !wanted.is_empty()).unwrap_or(first).to_owned();
        if wanted.is_empty() {
            // An update that leaves the address out keeps it.
            before.clone_into(&mut wanted);
        }
        let field = "spec.clusterIPs";
        if wanted == "None" {
        } else if wanted.is_empty() {
            let address = self.free(taken, held).ok_or_else(|| {
                ApiError::new(
                    http::StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalError",
                    "Internal error occurred: failed to allocate a serviceIP: range is full",
                )
            })?;
            held.addresses.insert(address);
            reserved.addresses.push(address);
            wanted = address.to_string();
        } else if wanted != before {
            match wanted.parse::<Ipv4Addr>() {
                Ok(address) if !self.range.usable(address) => {
                    let detail = format!(
                        "failed to allocate IP {address}: the provided network does not match the current range"
                    );
                    problems.push(FieldError::invalid(field, json!([wanted]), detail));
                }
                Ok(address) if taken.addresses.contains(&address) || !held.addresses.insert(address) => {
                    let detail = format!("failed to allocate IP {address}: provided IP is already allocated");
                    problems.push(FieldError::invalid(field, json!([wanted]), detail));
                }
                Ok(address) => reserved.addresses.push(address),
                // Validation lets no other text pass: it is an IPv6 address, or has leading zeros.
                Err(_) => {
                    let detail = format!(
                        "failed to allocate IP {wanted}: the provided network does not match the current range"
                    );
                    problems.push(FieldError::invalid(field, json!([wanted]), detail));
                }
            }
        }
        spec["clusterIP"] = wanted.clone().into();
        spec["clusterIPs"] = json!([wanted]);
        if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if spec["ipFamilyPolicy"].is_null() {
            spec["ipFamilyPolicy"] = json!("SingleStack");
        }
        Ok(())
    }

    /// A free address, searched from where the last search ended so that addresses are not reused at once.
    fn free(&self, taken: &Taken, held: &mut Held) -> Option<Ipv4Addr> {
        let usable = self.range.size() - 2;
        let band = STATIC_BAND.min(usable / 2);
        let room = usable - band;
        for step in 0..room {
            let offset = band + 1 + (held.next_address + step) % room;
            let address = self.range.address(offset);
            if !taken.addresses.contains(&address) && !held.addresses.contains(&address) {
                held.next_address = (held.next_address + step + 1) % room;
                return Some(address);
            }
        }
        None
    }
}

fn node_ports(
    kind: &str,
    taken: &Taken,
    held: &mut Held,
    reserved: &mut Reserved,
    service: &mut Value,
    problems: &mut Vec<FieldError>,
) -> Result<(), ApiError> {
    let wanted = match kind {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    };
    let mut own: BTreeSet<u16> = BTreeSet::new();
    // Indexing would write a null where a Service has no ports.
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (at, port) in ports.into_iter().flatten().enumerate() {
        let given =
            port["nodePort"].as_u64().and_then(|given| u16::try_from(given).ok()).filter(|given| *given != 0);
        let field = format!("spec.ports[{at}].nodePort");
        match given {
            // A port of the same number for another protocol of the same Service shares the node port.
            Some(given) if own.contains(&given) => {}
            Some(given) if !wanted && kind == "ClusterIP" => {
                problems.push(FieldError::forbidden(&field, "may not be used when `type` is 'ClusterIP'"));
                own.insert(given);
            }
            Some(given) if !NODE_PORTS.contains(&given) => problems.push(FieldError::invalid(
                &field,
                given.into(),
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            )),
            Some(given) => {
                if taken.ports.contains(&given) || !held.ports.insert(given) {
                    problems.push(FieldError::invalid(
                        &field,
                        given.into(),
                        "provided port is already allocated",
                    ));
                } else {
                    reserved.ports.push(given);
                }
                own.insert(given);
            }
            None if wanted => {
                let free =
                    NODE_PORTS.clone().find(|port| !taken.ports.contains(port) && !held.ports.contains(port));
                let Some(free) = free else {
                    return Err(ApiError::new(
                        http::StatusCode::INTERNAL_SERVER_ERROR,
                        "InternalError",
                        "Internal error occurred: failed to allocate a nodePort: range is full",
                    ));
                };
                held.ports.insert(free);
                reserved.ports.push(free);
                own.insert(free);
                port["nodePort"] = free.into();
            }
            None => {
                if let Some(port) = port.as_object_mut() {
                    port.remove("nodePort");
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_networks_of_a_useful_size() {
        let range: ServiceRange = "10.96.0.0/16".parse().unwrap();
        assert_eq!(range.api().to_string(), "10.96.0.1");
        assert_eq!(range.dns().to_string(), "10.96.0.10");
        assert!(!range.usable("10.96.0.0".parse().unwrap()));
        assert!(!range.usable("10.96.255.255".parse().unwrap()));
        assert!(!range.usable("10.95.0.1".parse().unwrap()));
        for bad in ["", "10.96.0.0", "10.96.0.1/16", "10.96.0.0/30", "10.96.0.0/x", "fd00::/64"] {
            assert!(bad.parse::<ServiceRange>().is_err(), "{bad}");
        }
    }
}
