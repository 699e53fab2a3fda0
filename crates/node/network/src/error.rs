//! What can fail.

use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use ipnet::Ipv4Net;

/// A failure of the node network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The id cannot name an interface.
    #[error("network id {id:?} is not 1 to 12 characters of a-z and 0-9")]
    InvalidId {
        /// The id.
        id: String,
    },
    /// The range is no network address, or too small or large.
    #[error("address range {range} is not a network of /8 to /28")]
    InvalidRange {
        /// The range.
        range: Ipv4Net,
    },
    /// Pods and Services cannot share addresses.
    #[error("pod range {pods} and service range {services} overlap")]
    RangesOverlap {
        /// The pod range.
        pods: Ipv4Net,
        /// The service range.
        services: Ipv4Net,
    },
    /// A pod id that cannot be a file name.
    #[error("pod id {id:?} is not 1 to 128 characters of A-Z, a-z, 0-9, '-', '_' and '.'")]
    InvalidPodId {
        /// The id.
        id: String,
    },
    /// Every pod address is taken.
    #[error("no address left in the pod range {range}")]
    NoAddress {
        /// The range.
        range: Ipv4Net,
    },
    /// No pair of ranges is free on this machine.
    #[error(
        "no free pair of address ranges found: every candidate overlaps a route or an address of this machine"
    )]
    NoRange,
    /// A request to the kernel over netlink.
    #[error("{action}")]
    Netlink {
        /// What was attempted.
        action: String,
        /// The kernel's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A socket inside the node namespace.
    #[error("{action} {address} in the node namespace")]
    Socket {
        /// What was attempted.
        action: &'static str,
        /// The address.
        address: SocketAddrV4,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A thread for work inside a namespace.
    #[error("run work inside a network namespace")]
    Thread {
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A record in the data directory that cannot be read back.
    #[error("read network record {}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: serde_json::Error,
    },
    /// Another process works on the same thing and does not finish.
    #[error("wait for {what} for {seconds} s")]
    Busy {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The network was closed or removed.
    #[error("node network is closed")]
    Closed,
    /// A file or directory.
    #[error("{action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn netlink(action: impl Into<String>) -> impl FnOnce(nlink::Error) -> Self {
        let action = action.into();
        move |source| Self::Netlink { action, source: Box::new(source) }
    }
}
