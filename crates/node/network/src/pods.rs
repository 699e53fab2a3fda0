//! Pods: a namespace, an address and a routed veth pair each.
//!
//! A pod is a record (`pods/<id>.json`), a mount (`netns/pods/<id>`), an interface in the node namespace and a member of
//! its `live` set. The record is written first and says `ready` last, so whoever finds it knows what to undo.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::Ipv4Net;
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::link::VethLink;
use nlink::netlink::route::Ipv4Route;
use nlink::netlink::types::route::RouteScope;
use nlink::{Connection, Route};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::{self, Config};
use crate::netns::{self, Namespace};
use crate::node::Node;
use crate::{Error, sysctl};

/// What a pod sees.
const INTERFACE: &str = "eth0";
const ID_LIMIT: usize = 128;
/// Network address, host, node.
const RESERVED: u32 = 3;
/// Attaching and detaching take milliseconds.
const CLAIM_DEADLINE: Duration = Duration::from_secs(30);

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNetwork {
    /// Where its network namespace is mounted.
    pub netns: PathBuf,
    /// Its address, on `eth0`.
    pub address: Ipv4Addr,
    /// Its gateway: the node's address.
    pub gateway: Ipv4Addr,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    address: Ipv4Addr,
    ready: bool,
}

/// The pods of one node.
#[derive(Debug)]
pub(crate) struct Pods {
    records: PathBuf,
    namespaces: PathBuf,
    range: Ipv4Net,
    gateway: Ipv4Addr,
    mtu: u32,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    attached: BTreeMap<String, Ipv4Addr>,
    /// Ids that are being attached or detached, with the address they hold meanwhile.
    busy: BTreeMap<String, Option<Ipv4Addr>>,
    /// Where the search for a free address goes on: addresses come round again as late as possible.
    next: u32,
}

impl Pods {
    /// Reads the records: keeps complete pods, undoes the rest. With `fresh` the namespaces are gone with the last boot,
    /// and every record is stale.
    pub(crate) async fn open(config: &Config, mtu: u32, node: &Node, fresh: bool) -> Result<Self, Error> {
        let state_dir = config.state_dir();
        let pods = Self {
            records: state_dir.join("pods"),
            namespaces: state_dir.join("netns/pods"),
            range: config.pod_range,
            gateway: config.node_address(),
            mtu,
            state: Mutex::default(),
            released: Notify::new(),
        };
        for id in ids(&pods.records, &pods.namespaces)? {
            let record = pods.read(&id)?;
            match record {
                Some(Record { address, ready: true })
                    if !fresh && pods.is_whole(&id, address, node).await? =>
                {
                    pods.lead_to(&id, address, node).await?;
                    let mut state = pods.state();
                    state.next = state.next.max(u32::from(address) - u32::from(pods.range.network()) + 1);
                    state.attached.insert(id, address);
                }
                record => pods.dismantle(&id, record.map(|record| record.address), node).await?,
            }
        }
        Ok(pods)
    }

    pub(crate) fn attached(&self) -> BTreeMap<String, PodNetwork> {
        self.state().attached.iter().map(|(id, address)| (id.clone(), self.describe(id, *address))).collect()
    }

    /// Gives the pod its network, or tells what it has.
    pub(crate) async fn attach(&self, id: &str, node: &Node) -> Result<PodNetwork, Error> {
        validate(id)?;
        let _claim = self.claim(id).await?;
        let attached = self.state().attached.get(id).copied();
        if let Some(address) = attached {
            return Ok(self.describe(id, address));
        }
        let remains = self.read(id)?.map(|record| record.address);
        self.dismantle(id, remains, node).await?;
        let address = self.reserve(id)?;
        self.write(id, &Record { address, ready: false })?;
        if let Err(error) = self.build(id, address, node).await {
            if let Err(undo) = self.dismantle(id, Some(address), node).await {
                tracing::warn!(pod = id, error = %undo, "could not undo a failed attachment");
            }
            return Err(error);
        }
        self.write(id, &Record { address, ready: true })?;
        self.state().attached.insert(id.to_owned(), address);
        Ok(self.describe(id, address))
    }

    /// Takes the pod's network away; nothing happens when it has none.
    pub(crate) async fn detach(&self, id: &str, node: &Node) -> Result<(), Error> {
        validate(id)?;
        let claim = self.claim(id).await?;
        let address = self.state().attached.remove(id).or(self.read(id)?.map(|record| record.address));
        claim.hold(address);
        self.dismantle(id, address, node).await
    }

    async fn build(&self, id: &str, address: Ipv4Addr, node: &Node) -> Result<(), Error> {
        let failed = |what: &str| Error::netlink(format!("{what} of pod {id}"));
        let namespace = Namespace::create(&self.namespaces.join(id), pod_settings).await?;
        let name = interface_of(address);
        let link = VethLink::new(name.as_str(), INTERFACE).mtu(self.mtu).peer_netns_fd(namespace.fd());
        node.route.add_link(link).await.map_err(failed("create the interface"))?;
        self.configure_inside(&namespace, address).await.map_err(failed("set up the interface"))?;
        self.lead_to(id, address, node).await
    }

    /// The node's side of a pod's link. The route ends with the node's own address when somebody deletes the
    /// host's link, so this is done for adopted pods too.
    async fn lead_to(&self, id: &str, address: Ipv4Addr, node: &Node) -> Result<(), Error> {
        let failed = |what: &str| Error::netlink(format!("{what} of pod {id}"));
        let index = node.link_index(&interface_of(address)).await?;
        let up = node.route.set_link_up_by_index(index).await;
        up.map_err(failed("bring up the node's end of the link"))?;
        let route = Ipv4Route::new(address, 32).dev_index(index).scope(RouteScope::Link);
        let added = node.route.replace_route(route.prefsrc(self.gateway)).await;
        added.map_err(failed("add the route to the address"))?;
        node.admit_pod(address).await
    }

    /// The pod's own side: an address that shares no subnet with anybody, and everything through the node.
    async fn configure_inside(&self, namespace: &Namespace, address: Ipv4Addr) -> Result<(), nlink::Error> {
        let route: Connection<Route> = Connection::new_in(namespace.fd())?;
        route.set_link_up("lo").await?;
        let index = route.resolve_interface(&INTERFACE.into()).await?;
        route.add_address(Ipv4Address::with_index(index, address, 32)).await?;
        route.set_link_up_by_index(index).await?;
        route.add_route(Ipv4Route::new(self.gateway, 32).dev_index(index).scope(RouteScope::Link)).await?;
        route.add_route(Ipv4Route::default_route().gateway(self.gateway).dev_index(index)).await
    }

    /// Undoes whatever part of a pod exists.
    async fn dismantle(&self, id: &str, address: Option<Ipv4Addr>, node: &Node) -> Result<(), Error> {
        if let Some(address) = address {
            node.refuse_pod(address).await?;
            let name = interface_of(address);
            node.route
                .del_link_if_exists(name.as_str())
                .await
                .map_err(Error::netlink(format!("delete the interface of pod {id}")))?;
        }
        netns::remove(&self.namespaces.join(id))?;
        remove_file(&self.record_path(id))
    }

    async fn is_whole(&self, id: &str, address: Ipv4Addr, node: &Node) -> Result<bool, Error> {
        if !self.range.contains(&address) || Namespace::open(&self.namespaces.join(id))?.is_none() {
            return Ok(false);
        }
        Ok(crate::node::find_link(&node.route, &interface_of(address)).await?.is_some())
    }

    fn describe(&self, id: &str, address: Ipv4Addr) -> PodNetwork {
        PodNetwork { netns: self.namespaces.join(id), address, gateway: self.gateway }
    }

    /// A free address, held for the claimed pod `id`.
    fn reserve(&self, id: &str) -> Result<Ipv4Addr, Error> {
        let mut state = self.state();
        let taken: BTreeSet<Ipv4Addr> =
            state.attached.values().copied().chain(state.busy.values().copied().flatten()).collect();
        let size = 1_u32 << (32 - u32::from(self.range.prefix_len()));
        let usable = size - RESERVED - 1;
        let start = state.next.max(RESERVED) - RESERVED;
        let offset = (0..usable)
            .map(|step| RESERVED + (start + step) % usable)
            .find(|offset| !taken.contains(&config::nth(self.range, *offset)))
            .ok_or(Error::NoAddress { range: self.range })?;
        let address = config::nth(self.range, offset);
        state.next = offset + 1;
        state.busy.insert(id.to_owned(), Some(address));
        Ok(address)
    }

    /// One attach or detach of a pod at a time.
    async fn claim(&self, id: &str) -> Result<Claim<'_>, Error> {
        let claimed = async {
            loop {
                let released = self.released.notified();
                tokio::pin!(released);
                released.as_mut().enable();
                {
                    let mut state = self.state();
                    if !state.busy.contains_key(id) {
                        state.busy.insert(id.to_owned(), None);
                        return;
                    }
                }
                released.await;
            }
        };
        tokio::time::timeout(CLAIM_DEADLINE, claimed).await.map_err(|_| Error::Busy {
            what: format!("another attachment of pod {id}"),
            seconds: CLAIM_DEADLINE.as_secs(),
        })?;
        Ok(Claim { pods: self, id: id.to_owned() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a single statement, so a panic elsewhere leaves it consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.records.join(format!("{id}.json"))
    }

    fn read(&self, id: &str) -> Result<Option<Record>, Error> {
        let path = self.record_path(id);
        match fs::read(&path) {
            // Half a record: the writer was killed before anything else was made.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { action: "read pod record", path, source }),
        }
    }

    fn write(&self, id: &str, record: &Record) -> Result<(), Error> {
        let path = self.record_path(id);
        let text = serde_json::to_vec(record).expect("an address and a flag are valid JSON");
        crate::files::replace(&path, &text)
    }
}

/// The right to change one pod.
struct Claim<'a> {
    pods: &'a Pods,
    id: String,
}

impl Claim<'_> {
    /// Keeps `address` from being given away while the pod is taken apart.
    fn hold(&self, address: Option<Ipv4Addr>) {
        self.pods.state().busy.insert(self.id.clone(), address);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.pods.state().busy.remove(&self.id);
        self.pods.released.notify_waiters();
    }
}

/// Settings of a new pod's namespace; runs inside.
fn pod_settings() -> Result<(), Error> {
    // Resolvers and servers in pods must not try a family that leads nowhere.
    sysctl::set_if_present("ipv6/conf/all/disable_ipv6", "1")?;
    sysctl::set_if_present("ipv6/conf/default/disable_ipv6", "1")?;
    // As containerd and Docker do: a port below 1024 and an echo request concern nobody but the pod.
    sysctl::set_if_present("ipv4/ip_unprivileged_port_start", "0")?;
    sysctl::set_if_present("ipv4/ping_group_range", "0 2147483647")
}

/// The node's end of a pod's link; follows from the address, so that no second mapping can disagree.
fn interface_of(address: Ipv4Addr) -> String {
    format!("p{:08x}", u32::from(address))
}

/// An id is a file name below our own directories and nothing else.
fn validate(id: &str) -> Result<(), Error> {
    let is_valid = (1..=ID_LIMIT).contains(&id.len())
        && !id.starts_with('.')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if is_valid { Ok(()) } else { Err(Error::InvalidPodId { id: id.to_owned() }) }
}

/// Every pod that left a trace.
fn ids(records: &Path, namespaces: &Path) -> Result<BTreeSet<String>, Error> {
    let mut ids = BTreeSet::new();
    for (directory, suffix) in [(records, ".json"), (namespaces, "")] {
        let failed = |source| Error::File { action: "list directory", path: directory.to_owned(), source };
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(suffix));
            ids.extend(id.filter(|id| validate(id).is_ok()).map(str::to_owned));
        }
    }
    Ok(ids)
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove pod record", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
