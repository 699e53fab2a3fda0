//! nftables through netlink: connections, and the few expressions our rules are made of.
//!
//! Registers are 16 words of 32 bits. A concatenated key occupies one word per field, so keys are spelled here by the
//! word they start at.

use std::net::{Ipv4Addr, SocketAddrV4};

use nlink::netlink::nftables::{
    Expr, Family, LookupExpr, MetaKey, NumgenKind, PayloadBase, RawExpr, RawMessage, Register, Rule, Set,
    SetElement, Transaction,
};
use nlink::{Connection, Nftables};

use crate::netns::Namespace;
use crate::{Error, Protocol};

/// All our tables are IPv4.
pub(crate) const FAMILY: Family = Family::Ip;

/// Elements per message: the attribute that holds them is limited to 64 KiB, an element takes up to 80 bytes.
const ELEMENTS_PER_MESSAGE: usize = 500;

/// One transaction is one `sendmsg`; this is room for about 300,000 endpoints. The kernel charges what is sent only.
const SEND_BUFFER: usize = 32 << 20;

const NFT_MSG_DELSETELEM: u8 = 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFT_NAT_DNAT: u32 = 1;
const NFPROTO_IPV4: u32 = 2;

/// A connection to nftables of `namespace`, or of the calling thread's for `None`.
pub(crate) fn connect(namespace: Option<&Namespace>) -> Result<Connection<Nftables>, Error> {
    let failed = || Error::netlink("open a netlink socket for nftables");
    let connection = match namespace {
        Some(namespace) => Connection::new_in(namespace.fd()).map_err(failed())?,
        None => Connection::<Nftables>::new().map_err(failed())?,
    };
    nix::sys::socket::setsockopt(connection.socket(), nix::sys::socket::sockopt::SndBufForce, &SEND_BUFFER)
        .map_err(|errno| Error::Netlink {
        action: "enlarge the send buffer of a netlink socket".to_owned(),
        source: Box::new(std::io::Error::from(errno)),
    })?;
    Ok(connection)
}

/// The register that starts at 32-bit word `index` (below 16).
pub(crate) fn word(index: usize) -> Register {
    Register::word(index).expect("rules use words below 16")
}

/// A rule of `expressions`.
pub(crate) fn rule(table: &str, chain: &str, expressions: impl IntoIterator<Item = Expr>) -> Rule {
    expressions
        .into_iter()
        .fold(Rule::new(table, chain).family(FAMILY), |rule, expression| rule.then(expression))
}

pub(crate) fn load_source(at: usize) -> Expr {
    payload(at, PayloadBase::Network, 12, 4)
}

pub(crate) fn load_destination(at: usize) -> Expr {
    payload(at, PayloadBase::Network, 16, 4)
}

/// Loads destination address, protocol and destination port into three words: the key of a Service port. The rule stops
/// at a packet without ports.
pub(crate) fn load_service_key(at: usize) -> [Expr; 3] {
    [
        load_destination(at),
        Expr::Meta { dreg: word(at + 1), key: MetaKey::L4Proto },
        payload(at + 2, PayloadBase::Transport, 2, 2),
    ]
}

/// A random number below `modulus`, in host byte order.
pub(crate) fn random(at: usize, modulus: u32) -> Expr {
    Expr::Numgen { dreg: word(at), kind: NumgenKind::Random, modulus, offset: 0 }
}

/// Looks the key at word `key` up in `map` and puts what it maps to at word `value`.
pub(crate) fn look_up(map: &str, key: usize, value: usize) -> Expr {
    LookupExpr::new(map, word(key)).dreg(word(value)).into()
}

/// Ends the rule unless the key at word `key` is (not) in `set`.
pub(crate) fn is_member(set: &str, key: usize) -> Expr {
    LookupExpr::new(set, word(key)).into()
}

pub(crate) fn is_no_member(set: &str, key: usize) -> Expr {
    LookupExpr::new(set, word(key)).invert().into()
}

/// Ends the packet's way through the chain with the verdict that `map` holds for the key at word `key`.
pub(crate) fn verdict_of(map: &str, key: usize) -> Expr {
    LookupExpr::new(map, word(key)).dreg(Register::Verdict).into()
}

/// `dnat to` the address at word `at` and the port at the next one. Written raw because the library's own form loads
/// constants only.
pub(crate) fn dnat(at: usize) -> Expr {
    let mut attributes = Vec::new();
    for (kind, value) in [
        (NFTA_NAT_TYPE, NFT_NAT_DNAT),
        (NFTA_NAT_FAMILY, NFPROTO_IPV4),
        (NFTA_NAT_REG_ADDR_MIN, word(at).wire()),
        (NFTA_NAT_REG_PROTO_MIN, word(at + 1).wire()),
    ] {
        push_attribute(&mut attributes, kind, &value.to_be_bytes());
    }
    RawExpr::new("nat", attributes).into()
}

/// Adds elements, however many.
pub(crate) fn add(transaction: Transaction, set: &Set, elements: &[SetElement]) -> Transaction {
    elements
        .chunks(ELEMENTS_PER_MESSAGE)
        .fold(transaction, |transaction, chunk| transaction.add_set_elements(set, chunk))
}

/// Deletes elements, however many; each must exist.
pub(crate) fn delete(transaction: Transaction, set: &Set, elements: &[SetElement]) -> Transaction {
    elements
        .chunks(ELEMENTS_PER_MESSAGE)
        .fold(transaction, |transaction, chunk| transaction.del_set_elements(set, chunk))
}

/// Deletes every element: the message of a deletion without any elements in it.
pub(crate) fn flush(transaction: Transaction, set: &Set) -> Transaction {
    let mut attributes = Vec::new();
    push_attribute(&mut attributes, NFTA_SET_ELEM_LIST_TABLE, &c_string(set.table()));
    push_attribute(&mut attributes, NFTA_SET_ELEM_LIST_SET, &c_string(set.name()));
    transaction.raw(RawMessage::new(NFT_MSG_DELSETELEM, FAMILY).attrs(attributes))
}

/// `address . protocol . port`, as [`load_service_key`] lays it out.
pub(crate) fn service_key(address: Ipv4Addr, protocol: Protocol, port: u16) -> [SetElement; 3] {
    [SetElement::ipv4(address), SetElement::inet_proto(protocol.number()), SetElement::port(port)]
}

/// `address . port`, what a map of targets holds.
pub(crate) fn target(target: SocketAddrV4) -> SetElement {
    SetElement::concat([SetElement::ipv4(*target.ip()), SetElement::port(target.port())])
}

fn payload(at: usize, base: PayloadBase, offset: u32, len: u32) -> Expr {
    Expr::Payload { dreg: word(at), base, offset, len }
}

/// `struct nlattr`: length with header, type, value, padding to 4 bytes.
fn push_attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("names and numbers are short");
    into.extend_from_slice(&length.to_ne_bytes());
    into.extend_from_slice(&kind.to_ne_bytes());
    into.extend_from_slice(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

fn c_string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
