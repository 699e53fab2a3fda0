//! Service addresses: what the caller asks for, and the task that brings the kernel there.
//!
//! Per Service port the kernel holds map elements only; the rules that read them depend on nothing but the number of
//! targets, so they are shared and rarely written:
//!
//! ```text
//! services   10.43.0.7 . tcp . 80            : jump spread-3
//! endpoints  10.43.0.7 . tcp . 80 . 0        : 10.42.0.4 . 8080          (and 1, 2)
//! spread-3   dnat to ip daddr . proto . dport . numgen random mod 3 map @endpoints
//! ```

mod plan;
mod rules;
mod worker;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub(crate) use worker::{Handle, worker};

/// A transport protocol of a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One port of one Service address, and where its connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The Service's address (`clusterIP`), inside the service range.
    pub address: Ipv4Addr,
    /// The Service's port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Ready pods, in any order; each new connection takes one at random. Without any, connections are refused at
    /// once (TCP reset, ICMP port unreachable).
    pub targets: Vec<SocketAddrV4>,
    /// `sessionAffinity: ClientIP`: a client's connections stay on one target until it was idle this long
    /// (Kubernetes' default is 10,800 s).
    pub affinity: Option<Duration>,
}

/// The whole desired state of Service addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceTable {
    /// At most one entry for each (address, port, protocol); of several the first counts.
    pub entries: Vec<ServiceEntry>,
}
