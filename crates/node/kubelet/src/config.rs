//! What a kubelet is built from.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::refusals::PrivilegedNamespaces;
use crate::runtime::Runtime;

/// Tells the time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything a [`crate::Kubelet`] needs.
#[derive(Clone)]
pub struct Config {
    /// Name of the Node object; Pods bound to it are run.
    pub node_name: String,
    /// A client that acts as `system:node:<name>` in the group `system:nodes`.
    pub client: client::Client,
    /// The machine.
    pub runtime: Arc<dyn Runtime>,
    /// For Pods' volumes, logs and records; made when missing. Nobody else writes there.
    pub data_dir: PathBuf,
    /// Beneath this lie the directories of provisioned PersistentVolumes.
    pub local_volumes: PathBuf,
    /// Who may run privileged Pods.
    pub privileged: PrivilegedNamespaces,
    /// Address of the node that Pods can reach: `status.hostIP` and the Node's `InternalIP`.
    pub node_ip: Ipv4Addr,
    /// Where cluster DNS answers.
    pub cluster_dns: Ipv4Addr,
    /// Usually `cluster.local`.
    pub cluster_domain: String,
    /// Search domains of the machine, appended to those of Pods.
    pub host_search: Vec<String>,
    /// How many Pods the node offers to run.
    pub max_pods: u32,
    /// The time.
    pub clock: Clock,
}

impl Config {
    /// A configuration with the usual choices: `cluster.local`, 250 Pods, nothing privileged, the machine's clock.
    pub fn new(
        node_name: impl Into<String>,
        client: client::Client,
        runtime: Arc<dyn Runtime>,
        data_dir: PathBuf,
        addresses: Addresses,
    ) -> Config {
        Config {
            node_name: node_name.into(),
            client,
            runtime,
            local_volumes: data_dir.join("volumes"),
            data_dir,
            privileged: PrivilegedNamespaces::None,
            node_ip: addresses.node,
            cluster_dns: addresses.dns,
            cluster_domain: "cluster.local".to_owned(),
            host_search: Vec::new(),
            max_pods: 250,
            clock: Arc::new(Timestamp::now),
        }
    }
}

/// The node's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Of the node, as Pods reach it.
    pub node: Ipv4Addr,
    /// Of cluster DNS.
    pub dns: Ipv4Addr,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("node_name", &self.node_name)
            .field("data_dir", &self.data_dir)
            .field("local_volumes", &self.local_volumes)
            .field("privileged", &self.privileged)
            .field("node_ip", &self.node_ip)
            .finish_non_exhaustive()
    }
}
