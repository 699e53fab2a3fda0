//! The whole of one node's network, and its life: ensure, use, close, remove.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use ipnet::Ipv4Net;
use nlink::netlink::{NetworkEvent, RtnetlinkGroup};
use nlink::{Connection, Route};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{self, Config};
use crate::dns::{self, Zone};
use crate::host::Host;
use crate::node::{Node, Origin};
use crate::pods::{PodNetwork, Pods};
use crate::services::{self, ServiceTable};
use crate::{Error, files, netns};

/// How long a port of the predecessor may take to become free.
const BIND_DEADLINE: Duration = Duration::from_secs(5);
const BIND_RETRY: Duration = Duration::from_millis(10);
/// Route changes come in bursts (DHCP, a VPN).
const UPLINK_SETTLE: Duration = Duration::from_millis(100);
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The network of one node, up and served by this process.
///
/// Guarantees: everything in the kernel outlives this value and the process, except DNS, listeners, and reactions to
/// changed routes, which end with [`close`](Self::close) or drop. Methods may be called concurrently and cancelled at any
/// point; the next call repairs.
#[derive(Debug)]
pub struct NodeNetwork {
    config: Config,
    node: Arc<Node>,
    pods: Arc<Pods>,
    services: services::Handle,
    zone: Arc<ArcSwap<Zone>>,
    tasks: std::sync::Mutex<JoinSet<()>>,
    shutdown: DropGuard,
}

/// What [`remove`] needs to know of a network that no process serves.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    id: String,
    pod_range: Ipv4Net,
    service_range: Ipv4Net,
}

impl NodeNetwork {
    /// Builds the network, or adopts what a previous process left. A network that was built with another id or other
    /// ranges is removed first. Needs root. Must be called within a Tokio runtime; the calling thread's network namespace
    /// is the host.
    pub async fn ensure(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let state_dir = config.state_dir();
        remember(&config).await?;
        for directory in ["", "pods", "netns/pods"] {
            create_dir(&state_dir.join(directory))?;
        }
        let host = Host::open()?;
        let (node, origin) = Node::open(&config).await?;
        node.prepare(&config).await?;
        host.connect(&config, &node).await?;
        let node = Arc::new(node);
        let pods = Pods::open(&config, host.mtu().await?, &node, origin == Origin::New).await?;
        node.serve_address(config.dns_address()).await?;

        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (services, worker) = services::worker(Arc::clone(&node), shutdown.clone());
        tasks.spawn(worker);
        let zone = Arc::new(ArcSwap::from_pointee(Zone::new()));
        let network = Self {
            config,
            node,
            pods: Arc::new(pods),
            services,
            zone,
            tasks: std::sync::Mutex::new(tasks),
            shutdown: shutdown.drop_guard(),
        };
        network.serve_dns().await?;
        network.follow_uplinks(host)?;
        Ok(network)
    }

    /// What it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Gives a pod a namespace, an address and a link. `pod_id` is up to 128 characters of `A-Za-z0-9-_.`; asking again
    /// returns what the pod has.
    pub async fn attach(&self, pod_id: &str) -> Result<PodNetwork, Error> {
        let (pods, node, id) = (Arc::clone(&self.pods), Arc::clone(&self.node), pod_id.to_owned());
        to_the_end(async move { pods.attach(&id, &node).await }).await
    }

    /// Takes a pod's network away, which must be done after its processes ended; nothing happens when it has none.
    pub async fn detach(&self, pod_id: &str) -> Result<(), Error> {
        let (pods, node, id) = (Arc::clone(&self.pods), Arc::clone(&self.node), pod_id.to_owned());
        to_the_end(async move { pods.detach(&id, &node).await }).await
    }

    /// All pods that have a network, those of previous processes included.
    pub fn attached(&self) -> BTreeMap<String, PodNetwork> {
        self.pods.attached()
    }

    /// Replaces the table of Service addresses: one atomic change that carries only what is different. When this
    /// returns, new connections follow the new table.
    pub async fn set_services(&self, table: ServiceTable) -> Result<(), Error> {
        self.services.apply(table).await
    }

    /// Replaces the names of the cluster domain, at once and as a whole.
    pub fn set_dns(&self, zone: Zone) {
        self.zone.store(Arc::new(zone));
    }

    /// Listens inside the node namespace, non-blocking. An address of the service range becomes the namespace's own and
    /// is reachable from pods and from the host.
    pub async fn listen_tcp(&self, address: SocketAddrV4) -> Result<TcpListener, Error> {
        self.own(*address.ip()).await?;
        self.bind(address, "listen on tcp", move || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .await
    }

    /// Binds a UDP socket inside the node namespace, like [`listen_tcp`](Self::listen_tcp).
    pub async fn bind_udp(&self, address: SocketAddrV4) -> Result<UdpSocket, Error> {
        self.own(*address.ip()).await?;
        self.bind(address, "bind udp", move || {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .await
    }

    /// Ends this process's part (DNS, watches) and leaves everything in the kernel for a successor.
    pub async fn close(self) {
        let Self { shutdown, tasks, .. } = self;
        drop(shutdown);
        let mut tasks = tasks.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let joined = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_DEADLINE, joined).await.is_err() {
            tracing::warn!("tasks of the node network did not end in time and were aborted");
        }
    }

    /// Closes, and removes everything from the kernel and the data directory.
    pub async fn remove(self) -> Result<(), Error> {
        let data_dir = self.config.data_dir.clone();
        self.close().await;
        remove(&data_dir).await
    }

    async fn own(&self, address: Ipv4Addr) -> Result<(), Error> {
        if self.config.service_range.contains(&address) {
            self.node.serve_address(address).await?;
        }
        Ok(())
    }

    /// Opens a socket in the node namespace, patient with a predecessor that is about to die.
    async fn bind<T: Send + 'static>(
        &self,
        address: SocketAddrV4,
        action: &'static str,
        open: impl Fn() -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let deadline = tokio::time::Instant::now() + BIND_DEADLINE;
        loop {
            let open = open.clone();
            match self.node.namespace.run(move || Ok(open())).await? {
                Ok(socket) => return Ok(socket),
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(BIND_RETRY).await;
                }
                Err(source) => return Err(Error::Socket { action, address, source }),
            }
        }
    }

    async fn serve_dns(&self) -> Result<(), Error> {
        let address = SocketAddrV4::new(self.config.dns_address(), dns::PORT);
        let udp = self.bind_udp(address).await?;
        let tcp = self.listen_tcp(address).await?;
        let server = dns::serve(&self.config, Arc::clone(&self.zone), udp, tcp, self.token())
            .map_err(|source| Error::Socket { action: "serve DNS on", address, source })?;
        self.spawn(server);
        Ok(())
    }

    /// A default route over another interface (Wi-Fi after cable) needs forwarding there.
    fn follow_uplinks(&self, host: Host) -> Result<(), Error> {
        let failed = || Error::netlink("watch the host's routes");
        let events = Connection::<Route>::new().map_err(failed())?;
        events.subscribe(&[RtnetlinkGroup::Ipv4Route]).map_err(failed())?;
        let (config, shutdown) = (self.config.clone(), self.token());
        self.spawn(async move {
            let watch = watch_uplinks(&host, &config, &events);
            tokio::select! { () = shutdown.cancelled() => {}, () = watch => {} }
        });
        Ok(())
    }

    fn token(&self) -> CancellationToken {
        self.shutdown.token().clone()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).spawn(task);
    }
}

/// Runs `work` whole even when the caller is cancelled: its steps belong together, and a second attempt must not meet
/// the first one's thread inside a namespace.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work).await.map_err(|error| Error::Thread { source: io::Error::other(error) })?
}

async fn watch_uplinks(host: &Host, config: &Config, events: &Connection<Route>) {
    let mut changes = events.events().await;
    while let Some(change) = changes.next().await {
        match change {
            Ok(NetworkEvent::NewRoute(route)) if route.is_default() && route.is_ipv4() => {}
            Ok(_) => continue,
            Err(error) => tracing::debug!(%error, "missed changes of the host's routes"),
        }
        tokio::time::sleep(UPLINK_SETTLE).await;
        if let Err(error) = host.follow_uplinks(config).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not follow a changed default route"
            );
        }
    }
    tracing::warn!("the watch on the host's routes ended: a new default route will not be followed");
}

/// Removes the network of a data directory from the kernel and from the directory, whether or not the process that made
/// it is alive. Nothing happens when there is none.
pub async fn remove(data_dir: &Path) -> Result<(), Error> {
    let state_dir = config::state_dir(data_dir);
    let Some(record) = recall(&state_dir)? else { return Ok(()) };
    Host::open()?.disconnect(&record.id).await?;
    let namespaces = state_dir.join("netns");
    for mount in files_of(&namespaces.join("pods"))?.into_iter().chain(files_of(&namespaces)?) {
        netns::remove(&mount)?;
    }
    fs::remove_dir_all(&state_dir).map_err(|source| Error::File {
        action: "remove directory",
        path: state_dir,
        source,
    })
}

/// Writes down what is about to be built, and removes what was built differently.
async fn remember(config: &Config) -> Result<(), Error> {
    let record =
        Record { id: config.id.clone(), pod_range: config.pod_range, service_range: config.service_range };
    let state_dir = config.state_dir();
    match recall(&state_dir)? {
        Some(present) if present == record => return Ok(()),
        Some(_) => remove(&config.data_dir).await?,
        None => {}
    }
    create_dir(&state_dir)?;
    let text = serde_json::to_vec(&record).expect("names and ranges are valid JSON");
    files::replace(&record_path(&state_dir), &text)
}

fn recall(state_dir: &Path) -> Result<Option<Record>, Error> {
    let path = record_path(state_dir);
    match fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Record { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { action: "read network record", path, source }),
    }
}

fn record_path(state_dir: &Path) -> PathBuf {
    state_dir.join("network.json")
}

fn create_dir(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| Error::File {
        action: "create directory",
        path: path.to_owned(),
        source,
    })
}

/// Files in a directory, none if it does not exist.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { action: "list directory", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
