//! What can be known before anything is built.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use nlink::netlink::messages::RouteMessage;
use nlink::netlink::nftables::Policy;

use crate::config::{Config, Ranges, overlap};
use crate::host::{self, Host};
use crate::{Error, nft};

/// The kernel's number of the forward hook.
const HOOK_FORWARD: u32 = 2;
/// Pairs of `10.x.0.0/16` that instances choose from: clear of the usual ranges of Docker (172.17 and up), k3s (42, 43),
/// OpenVPN (8), Podman (88), kubeadm (96 to 111), Flannel (244) and of the lower numbers that offices use.
const FIRST_PAIR: u8 = 112;
const PAIRS: u8 = 60;
/// When a route covers all of 10.0.0.0/8 (a VPN often does): pairs within 172.18.0.0 to 172.31.0.0.
const FALLBACK_FIRST: u8 = 18;
const FALLBACK_PAIRS: u8 = 7;

/// How much a [`Problem`] spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The network cannot be built.
    Fatal,
    /// It works, except for what the problem names.
    Limited,
}

/// Something to mend before a network can be built or works fully.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, a sentence without a final stop.
    pub what: String,
    /// What mends it, in the imperative.
    pub fix: String,
}

/// Checks what [`NodeNetwork::ensure`](crate::NodeNetwork::ensure) needs; takes a few milliseconds and changes nothing.
pub async fn preflight(config: &Config) -> Vec<Problem> {
    let fatal = |what: String, fix: &str| Problem { severity: Severity::Fatal, what, fix: fix.to_owned() };
    if let Err(error) = config.validate() {
        return vec![fatal(error.to_string(), "choose other address ranges or another id")];
    }
    if !nix::unistd::geteuid().is_root() {
        return vec![fatal("network namespaces and nftables need root".to_owned(), "run as root (sudo)")];
    }
    let host = match Host::open() {
        Ok(host) => host,
        Err(error) => {
            return vec![fatal(
                chain(&error),
                "use a kernel with nftables (CONFIG_NF_TABLES) and give CAP_NET_ADMIN",
            )];
        }
    };
    let mut problems = Vec::new();
    match occupied(&host, &config.id).await {
        Ok(occupied) => {
            for range in [config.pod_range, config.service_range] {
                problems.extend(occupied.iter().filter(|(taken, _)| overlap(*taken, range)).map(
                    |(taken, by)| {
                        fatal(
                            format!("address range {range} overlaps {taken}, {by} of this machine"),
                            "choose other address ranges",
                        )
                    },
                ));
            }
        }
        Err(error) => problems.push(fatal(chain(&error), "give CAP_NET_ADMIN")),
    }
    match firewall(&host, &config.id).await {
        Ok(problem) => problems.extend(problem),
        Err(error) => problems.push(fatal(
            chain(&error),
            "use a kernel with nftables (CONFIG_NF_TABLES) and give CAP_NET_ADMIN",
        )),
    }
    problems
}

/// Picks a pair of ranges that no route and no address of this machine touches and that `reserve` accepts. The search
/// starts at a place that follows from `id`, so that data directories differ even when they are not up at the same
/// time; keep the result with the data.
///
/// There is no route yet when two instances choose at the same moment: `reserve` must let only one of them have a pair.
pub async fn choose_ranges(id: &str, reserve: impl FnMut(&Ranges) -> bool) -> Result<Ranges, Error> {
    let occupied = occupied(&Host::open()?, id).await?;
    candidates(id)
        .filter(|ranges| {
            let is_free = |range| !occupied.iter().any(|(taken, _)| overlap(*taken, range));
            is_free(ranges.pods) && is_free(ranges.services)
        })
        .find(reserve)
        .ok_or(Error::NoRange)
}

/// All pairs in the order they are tried.
fn candidates(id: &str) -> impl Iterator<Item = Ranges> {
    let start = fnv(id);
    let range = |first: u8, second: u8| {
        Ipv4Net::new(Ipv4Addr::new(first, second, 0, 0), 16).expect("16 is a prefix length")
    };
    let pairs = move |network: u8, first: u8, count: u8| {
        (0..count).map(move |step| {
            let place =
                u8::try_from((start + u64::from(step)) % u64::from(count)).expect("below a count of 8 bits");
            let number = first + 2 * place;
            Ranges { pods: range(network, number), services: range(network, number + 1) }
        })
    };
    pairs(10, FIRST_PAIR, PAIRS).chain(pairs(172, FALLBACK_FIRST, FALLBACK_PAIRS))
}

/// FNV-1a, 64 bits, with room left so that adding a step cannot overflow: it spreads names and is the same in every
/// release.
fn fnv(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash >> 8
}

/// Ranges in use, with the kind of use; what belongs to `id` itself and default routes do not count.
async fn occupied(host: &Host, id: &str) -> Result<Vec<(Ipv4Net, &'static str)>, Error> {
    let own = crate::node::find_link(&host.route, &host::link_name(id)).await?;
    let mut occupied = Vec::new();
    for route in host.routes().await? {
        if !route.is_default() && (own.is_none() || route.oif() != own) {
            occupied.extend(destination(&route).map(|range| (range, "a route")));
        }
    }
    let addresses = host.route.get_addresses().await.map_err(Error::netlink("list addresses"))?;
    for address in addresses {
        if let Some(IpAddr::V4(local)) = address.primary_address()
            && own != Some(address.ifindex())
            && let Ok(range) = Ipv4Net::new(*local, address.prefix_len())
        {
            occupied.push((range.trunc(), "an address"));
        }
    }
    Ok(occupied)
}

fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    match route.destination() {
        Some(IpAddr::V4(destination)) => Ipv4Net::new(*destination, route.dst_len()).ok(),
        _ => None,
    }
}

/// A firewall that forwards nothing by default (Docker's does) keeps pods from the outside: its verdict cannot be taken
/// back by another table.
async fn firewall(host: &Host, id: &str) -> Result<Option<Problem>, Error> {
    let chains = host.chains().await?;
    let closed = chains.iter().find(|chain| {
        chain.hook == Some(HOOK_FORWARD)
            && chain.policy == Some(Policy::Drop.to_u32())
            && matches!(chain.family, nft::FAMILY | nlink::netlink::nftables::Family::Inet)
    });
    let Some(closed) = closed else { return Ok(None) };
    let link = host::link_name(id);
    let table =
        if chains.iter().any(|chain| chain.name == "DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
    Ok(Some(Problem {
        severity: Severity::Limited,
        what: format!(
            "the firewall's chain {} in table {} drops forwarded packets, so pods will not reach addresses outside this \
             machine",
            closed.name, closed.table
        ),
        fix: format!(
            "iptables -I {table} -i {link} -j ACCEPT; \
             iptables -I {table} -o {link} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        ),
    }))
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_distinct_valid_and_start_where_the_id_says() {
        let all: Vec<Ranges> = candidates("a1b2").collect();
        assert_eq!(all.len(), usize::from(PAIRS + FALLBACK_PAIRS));
        for ranges in &all {
            Config::new("/nowhere", "a1b2", *ranges).validate().unwrap();
        }
        let mut pods: Vec<_> = all.iter().map(|ranges| ranges.pods).collect();
        pods.sort();
        pods.dedup();
        assert_eq!(pods.len(), all.len());
        assert_ne!(candidates("a1b2").next(), candidates("c3d4").next());
        assert_eq!(candidates("a1b2").next(), candidates("a1b2").next());
    }
}
