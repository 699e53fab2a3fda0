//! The shared chains that spread connections, and the map elements that feed them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use nlink::netlink::nftables::{
    ChainName, DynsetExpr, DynsetOp, Expr, Rule, SetElement, SetElementData, Transaction, Verdict,
};

use super::plan::{Plan, Port, Spread};
use crate::node::{self, TABLE};
use crate::{Error, Protocol, nft};

/// Makes `chains`, or brings those that exist to what they should be. To be committed before a map refers to them: a
/// packet that is under way sees the maps change, but a chain of the same transaction still empty.
pub(crate) fn create_chains(mut transaction: Transaction, chains: &[Spread]) -> Result<Transaction, Error> {
    for spread in chains {
        let name = chain_name(*spread);
        transaction =
            transaction.update_chain(node::regular_chain(&name)?).flush_chain(TABLE, &name, nft::FAMILY);
        for rule in chain_rules(*spread) {
            transaction = transaction.add_rule(rule);
        }
    }
    Ok(transaction)
}

/// One transaction that carries out `plan`. With `afresh` the maps are emptied first: nobody knows what they hold.
pub(crate) fn change_maps(
    mut transaction: Transaction,
    plan: &Plan,
    afresh: bool,
) -> Result<Transaction, Error> {
    let (services, endpoints) = (node::services_map(), node::endpoints_map());
    if afresh {
        transaction = nft::flush(nft::flush(transaction, &services), &endpoints);
    }
    let forget: Vec<_> = plan.forget_services.iter().map(|port| service(*port)).collect();
    transaction = nft::delete(transaction, &services, &forget);
    let forget: Vec<_> = plan.forget_endpoints.iter().map(|(port, index)| endpoint(*port, *index)).collect();
    transaction = nft::delete(transaction, &endpoints, &forget);
    let set: Vec<_> = plan
        .set_endpoints
        .iter()
        .map(|(port, index, target)| endpoint(*port, *index).value(nft::target(*target)))
        .collect();
    transaction = nft::add(transaction, &endpoints, &set);
    let mut set = Vec::with_capacity(plan.set_services.len());
    for (port, spread) in &plan.set_services {
        let chain = ChainName::new(chain_name(*spread)).map_err(Error::netlink("name a chain"))?;
        set.push(service(*port).verdict(Verdict::JumpTo(chain)));
    }
    Ok(nft::add(transaction, &services, &set))
}

/// The port and the target in an element of the `affinity` map; `None` for one of another shape.
pub(crate) fn remembered(element: &SetElement) -> Option<(Port, SocketAddrV4)> {
    let key: &[u8; 16] = element.key().try_into().ok()?;
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(&key[4..8]).ok()?);
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == key[8])?;
    let port = u16::from_be_bytes([key[12], key[13]]);
    let Some(SetElementData::Value(value)) = element.data() else { return None };
    let host = Ipv4Addr::from(<[u8; 4]>::try_from(value.get(..4)?).ok()?);
    let target = SocketAddrV4::new(host, u16::from_be_bytes([*value.get(4)?, *value.get(5)?]));
    Some((Port { address, protocol, port }, target))
}

fn chain_name(spread: Spread) -> String {
    match spread.affinity {
        None => format!("spread-{}", spread.over),
        Some(seconds) => format!("sticky-{}-{seconds}", spread.over),
    }
}

/// Words 0 to 3 hold the client's key (client, address, protocol, port), 4 and 5 the target, 8 to 11 the key of an
/// endpoint (address, protocol, port, index).
fn chain_rules(spread: Spread) -> Vec<Rule> {
    let name = chain_name(spread);
    let pick: Vec<Expr> = nft::load_service_key(8)
        .into_iter()
        .chain([nft::random(11, spread.over), nft::look_up("endpoints", 8, 4)])
        .collect();
    let Some(seconds) = spread.affinity else {
        return vec![nft::rule(TABLE, &name, pick.into_iter().chain([nft::dnat(4)]))];
    };
    let client: Vec<Expr> = [nft::load_source(0)].into_iter().chain(nft::load_service_key(1)).collect();
    let remember = || -> Expr {
        DynsetExpr::new(DynsetOp::Update, "affinity", nft::word(0))
            .sreg_data(nft::word(4))
            .timeout(Duration::from_secs(u64::from(seconds)))
            .into()
    };
    let again = client.iter().cloned().chain([nft::look_up("affinity", 0, 4), remember(), nft::dnat(4)]);
    let first = pick.into_iter().chain(client.iter().cloned()).chain([remember(), nft::dnat(4)]);
    vec![nft::rule(TABLE, &name, again), nft::rule(TABLE, &name, first)]
}

fn service(port: Port) -> SetElement {
    SetElement::concat(nft::service_key(port.address, port.protocol, port.port))
}

fn endpoint(port: Port, index: u32) -> SetElement {
    let key = nft::service_key(port.address, port.protocol, port.port);
    SetElement::concat(key.into_iter().chain([SetElement::mark(index)]))
}
