//! What a node network is built from, and the addresses that follow from it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::Error;

/// Longest [`Config::id`], so that `ms-<id>` stays an interface name (15 bytes).
const ID_LIMIT: usize = 12;

/// What [`NodeNetwork::ensure`](crate::NodeNetwork::ensure) builds from. Two instances on one machine differ in
/// every field but `cluster_domain` and `resolv_conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where namespaces are mounted and pods are recorded (`<data_dir>/network`).
    pub data_dir: PathBuf,
    /// Names what the host gets: the interface `ms-<id>` and the nftables table `mainstay-<id>`.
    /// 1 to 12 characters of `a-z0-9`, unique on the machine.
    pub id: String,
    /// Addresses of pods, and of the two ends of the host's link; /8 to /28.
    pub pod_range: Ipv4Net,
    /// Addresses of Services; /8 to /28, apart from `pod_range`.
    pub service_range: Ipv4Net,
    /// Usually `cluster.local`; no trailing dot.
    pub cluster_domain: String,
    /// The host's resolvers; other names than the cluster's go to the name servers listed there.
    pub resolv_conf: PathBuf,
}

impl Config {
    /// A configuration with `cluster.local` and `/etc/resolv.conf`.
    pub fn new(data_dir: impl Into<PathBuf>, id: impl Into<String>, ranges: Ranges) -> Self {
        Self {
            data_dir: data_dir.into(),
            id: id.into(),
            pod_range: ranges.pods,
            service_range: ranges.services,
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }

    /// The host's end of its link: first address of the pod range. Connections from the host arrive in pods from it.
    pub fn host_address(&self) -> Ipv4Addr {
        nth(self.pod_range, 1)
    }

    /// The node namespace's end: second address of the pod range, and every pod's gateway.
    pub fn node_address(&self) -> Ipv4Addr {
        nth(self.pod_range, 2)
    }

    /// First address of the service range, where pods find the API (`kubernetes.default`).
    pub fn api_address(&self) -> Ipv4Addr {
        nth(self.service_range, 1)
    }

    /// Tenth address of the service range, where cluster DNS answers.
    pub fn dns_address(&self) -> Ipv4Addr {
        nth(self.service_range, 10)
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let id_is_valid = (1..=ID_LIMIT).contains(&self.id.len())
            && self.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !id_is_valid {
            return Err(Error::InvalidId { id: self.id.clone() });
        }
        for range in [self.pod_range, self.service_range] {
            if range != range.trunc() || !(8..=28).contains(&range.prefix_len()) {
                return Err(Error::InvalidRange { range });
            }
        }
        if overlap(self.pod_range, self.service_range) {
            return Err(Error::RangesOverlap { pods: self.pod_range, services: self.service_range });
        }
        Ok(())
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        state_dir(&self.data_dir)
    }
}

/// Everything this crate keeps on disk for the data directory.
pub(crate) fn state_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("network")
}

/// A pod range and a service range that do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ranges {
    /// For pods.
    pub pods: Ipv4Net,
    /// For Services.
    pub services: Ipv4Net,
}

pub(crate) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The `n`th address of the range; the caller keeps `n` below the size of the smallest range allowed (16).
pub(crate) fn nth(range: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()) + n)
}
