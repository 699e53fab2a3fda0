//! The node: images, containers, network and kubelet of this machine.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use containers::{Containers, ContainersConfig, MonitorCommand};
use images::ImageStore;
use kubelet::{Addresses, Kubelet, NodeRuntime, PrivilegedNamespaces};
use network::{NodeNetwork, Ranges};
use registry::{Registry, RegistryConfig};
use tokio::net::TcpListener;

use crate::MONITOR;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::settings::Settings;
use crate::up::cluster::Cluster;
use crate::up::tasks::Tasks;

/// The port of the API on its Service address, where Pods find it.
const API_PORT: u16 = 443;

/// How long Pods may take to end: the longest usual grace period.
const GRACE: Duration = Duration::from_secs(120);

/// The name of the node. Fixed, because Pods and volumes are bound to it and a machine may be renamed.
pub(crate) fn name() -> String {
    "mainstay".to_owned()
}

pub(crate) fn network_config(data: &DataDir, ranges: Ranges) -> network::Config {
    network::Config::new(data.node(), data.id(), ranges)
}

pub(crate) fn containers_config(data: &DataDir) -> Result<ContainersConfig> {
    Ok(ContainersConfig {
        root: data.containers(),
        monitor: MonitorCommand { exe: Environment::executable()?, args_prefix: vec![MONITOR.to_owned()] },
        cgroup_parent: format!("mainstay-{}", data.id()),
    })
}

/// Where the kubelet keeps what is its own.
pub(crate) fn kubelet_dir(data: &DataDir) -> PathBuf {
    data.node().join("kubelet")
}

/// The running node.
pub(crate) struct Node {
    images: ImageStore,
    network: Arc<NodeNetwork>,
    kubelet: Arc<Kubelet>,
}

impl Node {
    /// Sets up the network, adopts what still runs, and starts the kubelet.
    pub(crate) async fn start(
        settings: &Settings,
        cluster: &Cluster,
        data: &DataDir,
        ranges: Ranges,
        tasks: &mut Tasks,
    ) -> Result<Self> {
        let config = network_config(data, ranges);
        let addresses = Addresses { node: config.host_address(), dns: config.dns_address() };
        let api = SocketAddrV4::new(config.api_address(), API_PORT);
        let network =
            async { NodeNetwork::ensure(config).await.map(Arc::new).context("set up the node's network") };
        let containers =
            async { Containers::open(containers_config(data)?).await.context("open the containers") };
        let images = async {
            let registry = RegistryConfig { mirrors: settings.mirrors.clone(), ..RegistryConfig::default() };
            let registry = Registry::new(registry).context("set up the registry client")?;
            ImageStore::open(data.images(), registry).await.context("open the image store")
        };
        let (network, containers, images) = tokio::try_join!(network, containers, images)?;

        let listener = network.listen_tcp(api).await.with_context(|| format!("listen on {api} for Pods"))?;
        let listener = TcpListener::from_std(listener).context("listen on the API's Service address")?;
        cluster.serve("API for Pods", listener, tasks);

        let runtime = Arc::new(NodeRuntime::new(containers, images.clone(), network.clone()));
        let mut config =
            kubelet::Config::new(name(), cluster.account("kubelet"), runtime, kubelet_dir(data), addresses);
        config.local_volumes = data.volumes();
        config.privileged = privileged(&settings.allow_privileged);
        let kubelet = Arc::new(Kubelet::new(config).await.context("prepare the kubelet")?);
        cluster.set_node(kubelet.clone());
        let (running, stop) = (kubelet.clone(), tasks.token());
        tasks.run("kubelet", async move { running.run(stop).await });
        Ok(Self { images, network, kubelet })
    }

    pub(crate) fn images(&self) -> &ImageStore {
        &self.images
    }

    /// Stops every Pod gracefully; their objects stay, so that the next start runs them again.
    pub(crate) async fn stop_pods(&self) {
        if !self.kubelet.stop_pods(GRACE).await {
            tracing::warn!(seconds = GRACE.as_secs(), "Pods did not stop in time");
        }
    }

    /// Ends what serves the network from this process; the network itself stays for the next start.
    pub(crate) async fn close(self) {
        drop(self.kubelet);
        // Whoever else still holds the network is a task that was cut off; what it serves ends with the process.
        if let Some(network) = Arc::into_inner(self.network) {
            network.close().await;
        }
    }
}

/// `all` stands for every namespace.
fn privileged(names: &[String]) -> PrivilegedNamespaces {
    if names.is_empty() {
        PrivilegedNamespaces::None
    } else if names.iter().any(|name| name == "all") {
        PrivilegedNamespaces::All
    } else {
        PrivilegedNamespaces::Only(names.iter().cloned().collect())
    }
}
