//! What the host gets: one veth, two routes, one nftables table, and forwarding on the interfaces that need it.
//!
//! The table `ip mainstay-<id>`:
//!
//! ```text
//! postrouting (nat)   what pods send out of the machine leaves with the machine's address
//! forward (filter)    nothing but answers is forwarded to pods: forwarding must not open them to the neighbourhood
//! forwarding-<if>     an empty chain for each interface on which Mainstay switched forwarding on
//! ```
//!
//! The empty chains are the memory of what to restore. They live in the kernel beside the setting itself, so they end
//! with it at a restart, and other instances see them: an interface that two instances need is restored by the last.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::net::IpAddr;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::link::VethLink;
use nlink::netlink::messages::{LinkMessage, RouteMessage};
use nlink::netlink::nftables::{
    BaseChain, Chain, ChainInfo, CtState, Field, FilterHook, Match, NatHook, Priority, Rule,
};
use nlink::netlink::route::Ipv4Route;
use nlink::{Connection, Nftables, Route};

use crate::config::Config;
use crate::netns::CURRENT;
use crate::node::{self, Node};
use crate::{Error, nft, sysctl};

const TABLE_PREFIX: &str = "mainstay-";
const MARKER_PREFIX: &str = "forwarding-";
/// When no default route tells.
const USUAL_MTU: u32 = 1500;
/// Every instance holds the lock for a few milliseconds.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Connections to the host's network namespace.
pub(crate) struct Host {
    pub(crate) route: Connection<Route>,
    pub(crate) nft: Connection<Nftables>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn open() -> Result<Self, Error> {
        let route = Connection::<Route>::new().map_err(Error::netlink("open a netlink socket for routes"))?;
        Ok(Self { route, nft: nft::connect(None)? })
    }

    /// Gives the host its side of everything; keeps what is there already.
    pub(crate) async fn connect(&self, config: &Config, node: &Node) -> Result<(), Error> {
        let _lock = lock().await?;
        self.ensure_table(config).await?;
        self.ensure_link(config, node).await?;
        node.connect(config).await?;
        self.ensure_routes(config).await?;
        self.ensure_forwarding(config).await
    }

    /// Switches forwarding on where the default routes lead now.
    pub(crate) async fn follow_uplinks(&self, config: &Config) -> Result<(), Error> {
        let _lock = lock().await?;
        self.ensure_forwarding(config).await
    }

    /// Takes away everything that [`Host::connect`] added for `id`.
    pub(crate) async fn disconnect(&self, id: &str) -> Result<(), Error> {
        let _lock = lock().await?;
        let table = table_name(id);
        let chains = self.chains().await?;
        let markers_of = |owner: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            chains
                .iter()
                .filter(|chain| chain.family == nft::FAMILY && owner(&chain.table))
                .filter_map(|chain| chain.name.strip_prefix(MARKER_PREFIX).map(str::to_owned))
                .collect()
        };
        let ours = markers_of(&|owner| owner == table);
        let others = markers_of(&|owner| owner != table && owner.starts_with(TABLE_PREFIX));
        for interface in ours.difference(&others) {
            sysctl::set_if_present(&forwarding_key(interface), "0")?;
        }
        self.route
            .del_link_if_exists(link_name(id).as_str())
            .await
            .map_err(Error::netlink(format!("delete interface {}", link_name(id))))?;
        self.nft
            .del_table_if_exists(table.as_str(), nft::FAMILY)
            .await
            .map_err(Error::netlink(format!("delete nftables table {table}")))?;
        Ok(())
    }

    /// IPv4 routes of every table, without those the kernel adds for addresses.
    pub(crate) async fn routes(&self) -> Result<Vec<RouteMessage>, Error> {
        let routes = self.route.get_routes().await.map_err(Error::netlink("list routes"))?;
        Ok(routes.into_iter().filter(RouteMessage::is_ipv4).collect())
    }

    pub(crate) async fn chains(&self) -> Result<Vec<ChainInfo>, Error> {
        self.nft.list_chains().await.map_err(Error::netlink("list nftables chains"))
    }

    async fn links(&self) -> Result<Vec<LinkMessage>, Error> {
        self.route.get_links().await.map_err(Error::netlink("list interfaces"))
    }

    /// The interfaces that default routes lead to.
    async fn uplinks(&self) -> Result<Vec<LinkMessage>, Error> {
        let through: BTreeSet<u32> = self
            .routes()
            .await?
            .iter()
            .filter(|route| route.is_default())
            .filter_map(RouteMessage::oif)
            .collect();
        Ok(self.links().await?.into_iter().filter(|link| through.contains(&link.ifindex())).collect())
    }

    /// What pods may send without fragmentation.
    pub(crate) async fn mtu(&self) -> Result<u32, Error> {
        Ok(self.uplinks().await?.iter().filter_map(LinkMessage::mtu).min().unwrap_or(USUAL_MTU))
    }

    /// The link exists when both ends do and know each other; half a link is made anew.
    async fn ensure_link(&self, config: &Config, node: &Node) -> Result<(), Error> {
        let name = link_name(&config.id);
        let failed = |what: &str| Error::netlink(format!("{what} interface {name}"));
        let here = self.route.get_link_by_name(name.as_str()).await.map_err(failed("look for"))?;
        let there =
            node.route.get_link_by_name(node::UPLINK).await.map_err(failed("look for the peer of"))?;
        let linked = here.as_ref().zip(there.as_ref()).is_some_and(|(here, there)| {
            here.link() == Some(there.ifindex()) && there.link() == Some(here.ifindex())
        });
        if !linked {
            self.route.del_link_if_exists(name.as_str()).await.map_err(failed("replace"))?;
            node.route.del_link_if_exists(node::UPLINK).await.map_err(failed("replace the peer of"))?;
            let link = VethLink::new(name.as_str(), node::UPLINK)
                .mtu(self.mtu().await?)
                .peer_netns_fd(node.namespace.fd());
            self.route.add_link(link).await.map_err(failed("create"))?;
        }
        // IPv4 only, and a link-local address would only add noise.
        sysctl::set_if_present(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        let index = self.link_index(&name).await?;
        self.route
            .replace_address(Ipv4Address::with_index(index, config.host_address(), 32))
            .await
            .map_err(failed("add the address of"))?;
        self.route.set_link_up_by_index(index).await.map_err(failed("bring up"))
    }

    async fn ensure_routes(&self, config: &Config) -> Result<(), Error> {
        let index = self.link_index(&link_name(&config.id)).await?;
        let present = self.routes().await?;
        for range in [config.pod_range, config.service_range] {
            let is_there = present.iter().any(|route| {
                route.oif() == Some(index)
                    && route.destination() == Some(&IpAddr::V4(range.network()))
                    && route.dst_len() == range.prefix_len()
            });
            if !is_there {
                let route = Ipv4Route::new(range.network(), range.prefix_len())
                    .gateway(config.node_address())
                    .dev_index(index)
                    .onlink()
                    .prefsrc(config.host_address());
                self.route
                    .add_route(route)
                    .await
                    .map_err(Error::netlink(format!("add a route to {range}")))?;
            }
        }
        Ok(())
    }

    /// Forwarding is a property of the interface a packet comes in by: ours for what pods send, the uplink for the
    /// answers.
    async fn ensure_forwarding(&self, config: &Config) -> Result<(), Error> {
        sysctl::set(&forwarding_key(&link_name(&config.id)), "1")?;
        let chains = self.chains().await?;
        for uplink in self.uplinks().await? {
            let Some(name) = uplink.name() else { continue };
            let marker = format!("{MARKER_PREFIX}{name}");
            let marked = |table: &dyn Fn(&str) -> bool| {
                chains.iter().any(|chain| chain.name == marker && table(&chain.table))
            };
            if marked(&|table| table == table_name(&config.id)) {
                sysctl::set(&forwarding_key(name), "1")?;
                continue;
            }
            let key = forwarding_key(name);
            let is_off = sysctl::get(&key)?.as_deref() == Some("0");
            if is_off || marked(&|table| table.starts_with(TABLE_PREFIX)) {
                // The memory first: dying between the two leaves a marker too many, never a setting unaccounted for.
                let chain = chain(&table_name(&config.id), &marker)?;
                self.nft
                    .transaction()
                    .update_chain(chain)
                    .commit(&self.nft)
                    .await
                    .map_err(Error::netlink(format!("remember that forwarding is switched on for {name}")))?;
                sysctl::set(&key, "1")?;
                tracing::info!(interface = name, "switched on IPv4 forwarding");
            }
        }
        Ok(())
    }

    async fn ensure_table(&self, config: &Config) -> Result<(), Error> {
        let table = table_name(&config.id);
        let tables =
            self.nft.list_tables_in(nft::FAMILY).await.map_err(Error::netlink("list nftables tables"))?;
        // Made in one transaction, so a table that exists is complete.
        if tables.iter().any(|present| present.name == table) {
            return Ok(());
        }
        let link = link_name(&config.id);
        let rule = |name: &str| Rule::new(&table, name).family(nft::FAMILY);
        let (pods, prefix) = (config.pod_range.network(), config.pod_range.prefix_len());
        let masquerade = rule("postrouting")
            .match_saddr_v4(pods, prefix)
            .then(Match::ne(Field::Oifname, link.as_str()))
            .masquerade();
        let answers =
            rule("forward").match_oif(&link).match_ct_state(CtState::ESTABLISHED | CtState::RELATED).accept();
        self.nft
            .transaction()
            .add_table(&table, nft::FAMILY)
            .add_chain(
                chain(&table, "postrouting")?.base(BaseChain::nat(NatHook::Postrouting, Priority::SrcNat)),
            )
            .add_chain(
                chain(&table, "forward")?.base(BaseChain::filter(FilterHook::Forward, Priority::Filter)),
            )
            .add_rule(masquerade)
            .add_rule(answers)
            .add_rule(rule("forward").match_oif(&link).drop())
            .commit(&self.nft)
            .await
            .map_err(Error::netlink(format!("create nftables table {table}")))
    }

    async fn link_index(&self, name: &str) -> Result<u32, Error> {
        node::find_link(&self.route, name).await?.ok_or_else(|| Error::Netlink {
            action: format!("find interface {name}"),
            source: Box::new(std::io::Error::from(std::io::ErrorKind::NotFound)),
        })
    }
}

/// The host's end of the link.
pub(crate) fn link_name(id: &str) -> String {
    format!("ms-{id}")
}

fn table_name(id: &str) -> String {
    format!("{TABLE_PREFIX}{id}")
}

fn chain(table: &str, name: &str) -> Result<Chain, Error> {
    Ok(Chain::new(table, name).map_err(Error::netlink(format!("name chain {name}")))?.family(nft::FAMILY))
}

fn forwarding_key(interface: &str) -> String {
    format!("ipv4/conf/{interface}/forwarding")
}

/// One instance at a time changes a host: a lock on the host's network namespace itself, which the kernel drops with the
/// holder.
async fn lock() -> Result<Flock<File>, Error> {
    let mut file = File::open(CURRENT).map_err(|source| Error::File {
        action: "open network namespace",
        path: CURRENT.into(),
        source,
    })?;
    let deadline = tokio::time::Instant::now() + LOCK_DEADLINE;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, errno)) if errno != nix::errno::Errno::EAGAIN => {
                return Err(Error::File {
                    action: "lock network namespace",
                    path: CURRENT.into(),
                    source: errno.into(),
                });
            }
            Err(_) if tokio::time::Instant::now() > deadline => {
                return Err(Error::Busy {
                    what: "another instance that changes the host's network".to_owned(),
                    seconds: LOCK_DEADLINE.as_secs(),
                });
            }
            Err((again, _)) => file = again,
        }
        tokio::time::sleep(LOCK_RETRY).await;
    }
}
