//! The node namespace: its end of the host's link, its settings and its standing nftables rules.
//!
//! The table `ip mainstay` of the namespace:
//!
//! ```text
//! set live        addresses that exist: both ends of the host's link, pods, what is served here (DNS, API)
//! set hairpin     pod . pod, for every pod
//! map services    address . protocol . port : jump to a chain for the number of targets   (see `services`)
//! map endpoints   address . protocol . port . index : target address . target port
//! map affinity    client . address . protocol . port : target address . target port, for a time
//!
//! prerouting, output (nat)          look the destination up in services, several times (see `ATTEMPTS`)
//! guard-in, guard-out (filter, after the translation)
//!                                   refuse pod and service addresses that are not live: a Service without targets,
//!                                   an unknown address, a pod that is gone
//! postrouting (nat)                 a pod that reached itself gets the node's address as its peer, or its answer would
//!                                   never leave it
//! ```

use std::fmt;
use std::net::Ipv4Addr;

use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::nftables::{
    BaseChain, Chain, ChainName, FilterHook, NatHook, NatStatement, Priority, Rule, Set, SetDataType,
    SetElement, SetKeyType, Transaction, Verdict,
};
use nlink::netlink::route::{Ipv4Route, RouteType};
use nlink::netlink::types::addr::Scope;
use nlink::netlink::types::route::RouteScope;
use nlink::{Connection, Nftables, Route};

use crate::config::Config;
use crate::netns::Namespace;
use crate::{Error, nft, sysctl};

pub(crate) const TABLE: &str = "mainstay";
/// The node's end of the host's link.
pub(crate) const UPLINK: &str = "host0";

/// An empty chain that names the layout of the table: one made by a release with another layout is replaced.
const LAYOUT: &str = "layout-1";
const REFUSE: &str = "refuse";

/// Kubernetes' default for `sessionAffinityConfig.clientIP.timeoutSeconds`; each Service brings its own.
const AFFINITY_DEFAULT: std::time::Duration = std::time::Duration::from_secs(10_800);
/// Clients remembered at a time, over all Services: about 100 bytes each.
const AFFINITY_LIMIT: u32 = 262_144;

/// A transaction is atomic for the rules, but a packet that is under way while it is committed may look a service up
/// in the old maps and its endpoint in the new ones, and not find it. Its chain returns then, and the lookup is
/// repeated; each attempt meets another commit with a chance of some 1 in 10,000 even under constant change.
const ATTEMPTS: usize = 3;

/// Just after destination translation.
const GUARD_PRIORITY: Priority = Priority::Custom(-90);

const ICMP_PORT_UNREACHABLE: u8 = 3;
const ROUTE_OF_LAST_RESORT: u32 = u32::MAX - 1;

/// Connections into the node namespace.
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) route: Connection<Route>,
    pub(crate) nft: Connection<Nftables>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the namespace, or makes it; says whether it is new.
    pub(crate) async fn open(config: &Config) -> Result<(Self, Origin), Error> {
        let path = config.state_dir().join("netns/node");
        let (namespace, origin) = match Namespace::open(&path)? {
            Some(namespace) => (namespace, Origin::Adopted),
            None => (Namespace::create(&path, || Ok(())).await?, Origin::New),
        };
        let route =
            Connection::new_in(namespace.fd()).map_err(Error::netlink("open a netlink socket for routes"))?;
        let nft = nft::connect(Some(&namespace))?;
        Ok((Self { namespace, route, nft }, origin))
    }

    /// Settings and rules; before any link leads here, so that nothing passes unguarded.
    pub(crate) async fn prepare(&self, config: &Config) -> Result<(), Error> {
        self.namespace
            .run(|| {
                sysctl::set_if_present("ipv6/conf/all/disable_ipv6", "1")?;
                sysctl::set("ipv4/ip_forward", "1")?;
                // Strict on every interface: a pod cannot send from an address that is not its own.
                sysctl::set("ipv4/conf/all/rp_filter", "1")?;
                // What a new namespace takes over from the host must not change how addresses are resolved here.
                for key in ["arp_ignore", "arp_announce", "arp_filter"] {
                    sysctl::set(&format!("ipv4/conf/all/{key}"), "0")?;
                    sysctl::set(&format!("ipv4/conf/default/{key}"), "0")?;
                }
                sysctl::set("ipv4/conf/all/send_redirects", "0")?;
                sysctl::set("ipv4/conf/default/send_redirects", "0")
            })
            .await?;
        self.route.set_link_up("lo").await.map_err(Error::netlink("bring up lo in the node namespace"))?;
        self.ensure_table(config).await
    }

    /// Addresses and routes over the link whose node end exists already.
    pub(crate) async fn connect(&self, config: &Config) -> Result<(), Error> {
        let failed = |what: &str| Error::netlink(format!("{what} in the node namespace"));
        let uplink = self.link_index(UPLINK).await?;
        let (node, host) = (config.node_address(), config.host_address());
        self.route
            .replace_address(Ipv4Address::with_index(uplink, node, 32))
            .await
            .map_err(failed("add the node's address"))?;
        self.route.set_link_up_by_index(uplink).await.map_err(failed("bring up the link to the host"))?;
        let routes = [
            Ipv4Route::new(host, 32).dev_index(uplink).scope(RouteScope::Link).prefsrc(node),
            Ipv4Route::default_route().gateway(host).dev_index(uplink).onlink().prefsrc(node),
            // A pod that is gone must not be looked for on the host, which would send the packet back.
            Ipv4Route::new(config.pod_range.network(), config.pod_range.prefix_len())
                .route_type(RouteType::Unreachable)
                .metric(ROUTE_OF_LAST_RESORT),
        ];
        for route in routes {
            self.route.replace_route(route).await.map_err(failed("add a route"))?;
        }
        Ok(())
    }

    /// Makes `address` of the service range this namespace's own.
    pub(crate) async fn serve_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        let lo = self.link_index("lo").await?;
        // Host scope keeps it from becoming the source of anything but answers.
        self.route
            .replace_address(Ipv4Address::with_index(lo, address, 32).scope(Scope::Host))
            .await
            .map_err(Error::netlink(format!("add address {address} to the node namespace")))?;
        self.commit(
            nft::add(self.nft.transaction(), &live_set(), &[SetElement::ipv4(address)]),
            "admit an address",
        )
        .await
    }

    /// Admits a pod's address.
    pub(crate) async fn admit_pod(&self, address: Ipv4Addr) -> Result<(), Error> {
        let transaction = nft::add(self.nft.transaction(), &live_set(), &[SetElement::ipv4(address)]);
        let transaction = nft::add(transaction, &hairpin_set(), &[hairpin(address)]);
        self.commit(transaction, "admit a pod's address").await
    }

    /// Refuses a pod's address from now on; one that was not admitted is refused already.
    pub(crate) async fn refuse_pod(&self, address: Ipv4Addr) -> Result<(), Error> {
        for (set, element) in [(live_set(), SetElement::ipv4(address)), (hairpin_set(), hairpin(address))] {
            let transaction = nft::delete(self.nft.transaction(), &set, &[element]);
            match transaction.commit(&self.nft).await {
                Err(error) if !error.is_not_found() => {
                    return Err(Error::netlink("refuse a pod's address")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn link_index(&self, name: &str) -> Result<u32, Error> {
        find_link(&self.route, name).await?.ok_or_else(|| Error::Netlink {
            action: format!("find interface {name} in the node namespace"),
            source: Box::new(std::io::Error::from(std::io::ErrorKind::NotFound)),
        })
    }

    pub(crate) async fn commit(&self, transaction: Transaction, action: &str) -> Result<(), Error> {
        transaction
            .commit(&self.nft)
            .await
            .map_err(Error::netlink(format!("{action} (nftables, node namespace)")))
    }

    /// Creates the table, or keeps the one that is there with all it knows.
    async fn ensure_table(&self, config: &Config) -> Result<(), Error> {
        let chains = self
            .nft
            .list_chains_in(TABLE, nft::FAMILY)
            .await
            .map_err(Error::netlink("list nftables chains in the node namespace"))?;
        let standing = [config.host_address(), config.node_address()].map(SetElement::ipv4);
        if chains.iter().any(|chain| chain.name == LAYOUT) {
            return self
                .commit(nft::add(self.nft.transaction(), &live_set(), &standing), "admit the node")
                .await;
        }
        let mut transaction = self.nft.transaction();
        let tables = self
            .nft
            .list_tables_in(nft::FAMILY)
            .await
            .map_err(Error::netlink("list nftables tables in the node namespace"))?;
        if tables.iter().any(|table| table.name == TABLE) {
            transaction = transaction.del_table(TABLE, nft::FAMILY);
        }
        transaction = transaction.add_table(TABLE, nft::FAMILY);
        for set in [live_set(), hairpin_set(), services_map(), endpoints_map(), affinity_map()] {
            transaction = transaction.add_set(set);
        }
        for chain in chains_of_table()? {
            transaction = transaction.add_chain(chain);
        }
        for rule in rules_of_table(config)? {
            transaction = transaction.add_rule(rule);
        }
        self.commit(nft::add(transaction, &live_set(), &standing), "create the rules").await
    }
}

/// Whether something was found or had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was there.
    Adopted,
    /// It is new.
    New,
}

/// The index of an interface, if there is one of that name.
pub(crate) async fn find_link(route: &Connection<Route>, name: &str) -> Result<Option<u32>, Error> {
    let link =
        route.get_link_by_name(name).await.map_err(Error::netlink(format!("look for interface {name}")))?;
    Ok(link.map(|link| link.ifindex()))
}

fn set(name: &str, key: SetKeyType) -> Set {
    Set::new(TABLE, name).family(nft::FAMILY).key_type(key)
}

fn live_set() -> Set {
    set("live", SetKeyType::Ipv4Addr)
}

fn hairpin_set() -> Set {
    set("hairpin", SetKeyType::Concat(vec![SetKeyType::Ipv4Addr, SetKeyType::Ipv4Addr]))
}

fn hairpin(address: Ipv4Addr) -> SetElement {
    SetElement::concat([SetElement::ipv4(address), SetElement::ipv4(address)])
}

fn service_key_type() -> Vec<SetKeyType> {
    vec![SetKeyType::Ipv4Addr, SetKeyType::InetProto, SetKeyType::InetService]
}

fn target_type() -> SetDataType {
    SetDataType::Value(SetKeyType::Concat(vec![SetKeyType::Ipv4Addr, SetKeyType::InetService]))
}

pub(crate) fn services_map() -> Set {
    set("services", SetKeyType::Concat(service_key_type())).vmap()
}

pub(crate) fn endpoints_map() -> Set {
    let mut key = service_key_type();
    key.push(SetKeyType::Mark);
    set("endpoints", SetKeyType::Concat(key)).map(target_type())
}

pub(crate) fn affinity_map() -> Set {
    let mut key = service_key_type();
    key.insert(0, SetKeyType::Ipv4Addr);
    set("affinity", SetKeyType::Concat(key))
        .map(target_type())
        .dynamic()
        .timeout(AFFINITY_DEFAULT)
        .size(AFFINITY_LIMIT)
}

/// A chain that rules jump to.
pub(crate) fn regular_chain(name: &str) -> Result<Chain, Error> {
    Ok(Chain::new(TABLE, name).map_err(Error::netlink(format!("name chain {name}")))?.family(nft::FAMILY))
}

fn chains_of_table() -> Result<Vec<Chain>, Error> {
    let base = |name: &str, base: BaseChain| Ok::<_, Error>(regular_chain(name)?.base(base));
    Ok(vec![
        regular_chain(LAYOUT)?,
        regular_chain(REFUSE)?,
        base("prerouting", BaseChain::nat(NatHook::Prerouting, Priority::DstNat))?,
        base("output", BaseChain::nat(NatHook::Output, Priority::DstNat))?,
        base("postrouting", BaseChain::nat(NatHook::Postrouting, Priority::SrcNat))?,
        base("guard-in", BaseChain::filter(FilterHook::Prerouting, GUARD_PRIORITY))?,
        base("guard-out", BaseChain::filter(FilterHook::Output, GUARD_PRIORITY))?,
    ])
}

fn rules_of_table(config: &Config) -> Result<Vec<Rule>, Error> {
    let new = |chain: &str| Rule::new(TABLE, chain).family(nft::FAMILY);
    let refuse = ChainName::new(REFUSE).map_err(Error::netlink("name a chain"))?;
    let mut rules = vec![
        new(REFUSE).reject_tcp_reset(),
        new(REFUSE).reject_icmp(ICMP_PORT_UNREACHABLE),
        nft::rule(
            TABLE,
            "postrouting",
            [nft::load_source(0), nft::load_destination(1), nft::is_member("hairpin", 0)],
        )
        .nat(NatStatement::snat(config.node_address())),
    ];
    for chain in ["prerouting", "output"] {
        let key = nft::load_service_key(0);
        let look_up = nft::rule(TABLE, chain, key.into_iter().chain([nft::verdict_of("services", 0)]));
        rules.extend(vec![look_up; ATTEMPTS]);
    }
    for chain in ["guard-in", "guard-out"] {
        for range in [config.service_range, config.pod_range] {
            let guard = new(chain).match_daddr_v4(range.network(), range.prefix_len());
            rules.push(
                guard
                    .then(nft::load_destination(0))
                    .then(nft::is_no_member("live", 0))
                    .then(Verdict::GotoTo(refuse.clone())),
            );
        }
    }
    Ok(rules)
}
