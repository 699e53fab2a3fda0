//! What to change: the difference between two states of the Service table, as map elements.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Protocol, ServiceEntry};

/// A Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) address: Ipv4Addr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// Which rules spread a port's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spread {
    /// Number of targets, at least 1.
    pub(crate) over: u32,
    /// Seconds a client is remembered, at least 1.
    pub(crate) affinity: Option<u32>,
}

/// A port as the kernel has it; the position of a target is its index in the map of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) targets: Vec<SocketAddrV4>,
    pub(crate) affinity: Option<u32>,
}

impl Applied {
    pub(crate) fn spread(&self) -> Spread {
        let over = u32::try_from(self.targets.len()).expect("targets are distinct IPv4 sockets of one range");
        Spread { over, affinity: self.affinity }
    }
}

/// The whole table; ports without targets are absent.
pub(crate) type Table = BTreeMap<Port, Applied>;

/// Changes from one table to the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) forget_services: Vec<Port>,
    pub(crate) set_services: Vec<(Port, Spread)>,
    pub(crate) forget_endpoints: Vec<(Port, u32)>,
    pub(crate) set_endpoints: Vec<(Port, u32, SocketAddrV4)>,
    /// A UDP port lost a target: the kernel may know flows to it.
    pub(crate) leaves_flows: bool,
    /// A port that remembers clients lost a target: the kernel may remember clients of it.
    pub(crate) leaves_clients: bool,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    fn note_loss(&mut self, port: Port, applied: &Applied) {
        self.leaves_flows |= port.protocol == Protocol::Udp;
        self.leaves_clients |= applied.affinity.is_some();
    }
}

/// The table that `entries` ask for. Targets that stay keep their index of `current`, so that a pod more or less is one
/// element more or less.
pub(crate) fn desired(entries: &[ServiceEntry], current: &Table) -> Table {
    let mut table = Table::new();
    for entry in entries {
        let port = Port { address: entry.address, protocol: entry.protocol, port: entry.port };
        let mut targets = entry.targets.clone();
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() || table.contains_key(&port) {
            continue;
        }
        let affinity =
            entry.affinity.map(|timeout| u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX).max(1));
        let before = current.get(&port).map_or(&[][..], |applied| &applied.targets);
        table.insert(port, Applied { targets: keep_places(before, targets), affinity });
    }
    table
}

/// Orders `targets` so that those of `before` stay where they were as far as there is such a place.
fn keep_places(before: &[SocketAddrV4], targets: Vec<SocketAddrV4>) -> Vec<SocketAddrV4> {
    let mut places: Vec<Option<SocketAddrV4>> = vec![None; targets.len()];
    let mut homeless = Vec::new();
    let former: BTreeMap<SocketAddrV4, usize> = before.iter().copied().zip(0..).collect();
    for target in targets {
        match former.get(&target).and_then(|place| places.get_mut(*place)) {
            Some(place) => *place = Some(target),
            None => homeless.push(target),
        }
    }
    let mut homeless = homeless.into_iter();
    places.into_iter().filter_map(|place| place.or_else(|| homeless.next())).collect()
}

/// What turns `current` into `desired`.
pub(crate) fn plan(current: &Table, desired: &Table) -> Plan {
    let mut plan = Plan::default();
    for (port, applied) in current {
        if !desired.contains_key(port) {
            plan.forget_services.push(*port);
            plan.forget_endpoints.extend((0..).zip(&applied.targets).map(|(index, _)| (*port, index)));
            plan.note_loss(*port, applied);
        }
    }
    for (port, next) in desired {
        let Some(now) = current.get(port) else {
            plan.set_services.push((*port, next.spread()));
            plan.set_endpoints
                .extend((0..).zip(&next.targets).map(|(index, target)| (*port, index, *target)));
            continue;
        };
        if now.spread() != next.spread() {
            plan.forget_services.push(*port);
            plan.set_services.push((*port, next.spread()));
        }
        for (index, place) in (0_u32..).zip(0..now.targets.len().max(next.targets.len())) {
            let (before, after) = (now.targets.get(place), next.targets.get(place));
            if before == after {
                continue;
            }
            plan.forget_endpoints.extend(before.map(|_| (*port, index)));
            plan.set_endpoints.extend(after.map(|target| (*port, index, *target)));
        }
        if now.targets.iter().any(|target| !next.targets.contains(target)) {
            plan.note_loss(*port, now);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(port: u16, targets: &[u8]) -> ServiceEntry {
        ServiceEntry {
            address: Ipv4Addr::new(10, 1, 0, 1),
            port,
            protocol: Protocol::Tcp,
            targets: targets.iter().map(|host| socket(*host)).collect(),
            affinity: None,
        }
    }

    fn socket(host: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 8080)
    }

    fn port(port: u16) -> Port {
        Port { address: Ipv4Addr::new(10, 1, 0, 1), protocol: Protocol::Tcp, port }
    }

    fn table(entries: &[ServiceEntry]) -> Table {
        desired(entries, &Table::new())
    }

    #[test]
    fn the_same_table_in_another_order_changes_nothing() {
        let now = table(&[entry(80, &[1, 2]), entry(81, &[3])]);
        let next = desired(&[entry(81, &[3]), entry(80, &[2, 1, 2])], &now);
        assert!(plan(&now, &next).is_empty());
    }

    #[test]
    fn a_removed_target_moves_one_other_at_most() {
        let now = table(&[entry(80, &[1, 2, 3, 4])]);
        let next = desired(&[entry(80, &[1, 3, 4])], &now);
        let plan = plan(&now, &next);
        assert_eq!(plan.forget_endpoints, [(port(80), 1), (port(80), 3)]);
        assert_eq!(plan.set_endpoints, [(port(80), 1, socket(4))]);
        assert_eq!(plan.set_services, [(port(80), Spread { over: 3, affinity: None })]);
        assert!(!plan.leaves_flows && !plan.leaves_clients);
    }

    #[test]
    fn an_exchanged_target_touches_neither_rules_nor_neighbours() {
        let now = table(&[entry(80, &[1, 2, 3])]);
        let next = desired(&[entry(80, &[1, 9, 3])], &now);
        let plan = plan(&now, &next);
        assert_eq!((plan.set_services.len(), plan.forget_services.len()), (0, 0));
        assert_eq!(plan.set_endpoints, [(port(80), 1, socket(9))]);
    }

    #[test]
    fn a_service_without_targets_is_absent_and_the_first_of_two_equal_ports_counts() {
        assert!(table(&[entry(80, &[])]).is_empty());
        assert_eq!(table(&[entry(80, &[1]), entry(80, &[2])])[&port(80)].targets, [socket(1)]);
    }

    #[test]
    fn a_changed_affinity_changes_the_rules_only() {
        let now = table(&[entry(80, &[1, 2])]);
        let mut sticky = entry(80, &[1, 2]);
        sticky.affinity = Some(std::time::Duration::from_millis(10));
        let plan = plan(&now, &desired(&[sticky], &now));
        assert_eq!(plan.set_services, [(port(80), Spread { over: 2, affinity: Some(1) })]);
        assert!(plan.set_endpoints.is_empty() && !plan.leaves_clients);
    }

    #[test]
    fn a_lost_target_of_a_sticky_udp_port_leaves_flows_and_clients() {
        let mut sticky = entry(80, &[1, 2]);
        sticky.affinity = Some(std::time::Duration::from_secs(9));
        sticky.protocol = Protocol::Udp;
        let now = table(&[sticky.clone()]);
        sticky.targets.pop();
        let plan = plan(&now, &desired(&[sticky], &now));
        assert!(plan.leaves_flows && plan.leaves_clients);
    }

    /// Applying plans to a model of the kernel's maps ends with what was asked for, whatever came before.
    #[test]
    fn plans_lead_from_any_table_to_any_other() {
        let mut random = 7_u64;
        let mut next_random = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let (mut kernel_services, mut kernel_endpoints) = (BTreeMap::new(), BTreeMap::new());
        let mut now = Table::new();
        for _ in 0..2_000 {
            let entries: Vec<ServiceEntry> = (80..84)
                .filter_map(|port| {
                    let targets: Vec<u8> = (1..8).filter(|_| next_random(2) == 0).collect();
                    (next_random(4) > 0).then(|| entry(port, &targets))
                })
                .collect();
            let next = desired(&entries, &now);
            let plan = plan(&now, &next);
            for port in plan.forget_services {
                assert!(kernel_services.remove(&port).is_some(), "deleted a service that is absent");
            }
            for (port, index) in plan.forget_endpoints {
                assert!(
                    kernel_endpoints.remove(&(port, index)).is_some(),
                    "deleted an endpoint that is absent"
                );
            }
            for (port, spread) in plan.set_services {
                assert!(kernel_services.insert(port, spread).is_none(), "added a service twice");
            }
            for (port, index, target) in plan.set_endpoints {
                assert!(kernel_endpoints.insert((port, index), target).is_none(), "added an endpoint twice");
            }
            let wanted: BTreeMap<Port, Spread> =
                next.iter().map(|(port, applied)| (*port, applied.spread())).collect();
            assert_eq!(kernel_services, wanted);
            let held: BTreeMap<(Port, u32), SocketAddrV4> = next
                .iter()
                .flat_map(|(port, applied)| {
                    (0..).zip(&applied.targets).map(|(index, target)| ((*port, index), *target))
                })
                .collect();
            assert_eq!(kernel_endpoints, held);
            now = next;
        }
    }
}
