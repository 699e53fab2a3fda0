//! The one task that changes Service rules.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;

use nlink::Connection;
use nlink::netlink::Netfilter;
use nlink::netlink::netfilter::{ConntrackFilter, IpProtocol};
use nlink::netlink::nftables::SetElement;
use nlink::netlink::types::AddressFamily;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::plan::{self, Plan, Port, Spread, Table};
use super::{Protocol, ServiceTable, rules};
use crate::node::{self, Node, TABLE};
use crate::{Error, nft};

/// Callers that wait while a change is being made.
const QUEUE: usize = 16;

type Request = (ServiceTable, oneshot::Sender<Result<(), Error>>);

/// Hands tables to the task.
#[derive(Debug, Clone)]
pub(crate) struct Handle(mpsc::Sender<Request>);

impl Handle {
    /// Returns when the kernel has taken the table.
    pub(crate) async fn apply(&self, table: ServiceTable) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        self.0.send((table, sender)).await.map_err(|_| Error::Closed)?;
        receiver.await.map_err(|_| Error::Closed)?
    }
}

/// The task, to be spawned by its owner; it ends with `shutdown`.
pub(crate) fn worker(
    node: Arc<Node>,
    shutdown: CancellationToken,
) -> (Handle, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let worker = Worker { node, known: None };
    (Handle(sender), worker.run(receiver, shutdown))
}

struct Worker {
    node: Arc<Node>,
    /// What the kernel holds; unknown at the start and after a failure, and then everything is sent.
    known: Option<Known>,
}

#[derive(Default)]
struct Known {
    table: Table,
    chains: BTreeSet<Spread>,
}

impl Worker {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, shutdown: CancellationToken) {
        loop {
            let (table, answer) = tokio::select! {
                () = shutdown.cancelled() => return,
                request = requests.recv() => match request {
                    Some(request) => request,
                    None => return,
                },
            };
            // A caller that was cancelled does not undo the change.
            let _ = answer.send(self.apply(&table).await);
        }
    }

    async fn apply(&mut self, wanted: &ServiceTable) -> Result<(), Error> {
        let known = self.known.take();
        let afresh = known.is_none();
        let mut known = known.unwrap_or_default();
        let table = plan::desired(&wanted.entries, &known.table);
        let plan = plan::plan(&known.table, &table);
        if afresh || !plan.is_empty() {
            let used: BTreeSet<Spread> = plan.set_services.iter().map(|(_, spread)| *spread).collect();
            let new: Vec<Spread> = used.difference(&known.chains).copied().collect();
            if !new.is_empty() {
                let transaction = rules::create_chains(self.node.nft.transaction(), &new)?;
                self.node.commit(transaction, "create chains for Service addresses").await?;
                known.chains.extend(new);
            }
            let transaction = rules::change_maps(self.node.nft.transaction(), &plan, afresh)?;
            self.node.commit(transaction, "change Service addresses").await?;
            tracing::debug!(
                services = plan.set_services.len(),
                endpoints = plan.set_endpoints.len(),
                afresh,
                "Service addresses changed"
            );
        }
        known.table = table;
        let known = self.known.insert(known);
        // The rules are in place; what remains would only end later by itself.
        if let Err(error) = forget(&self.node, &known.table, &plan, afresh).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not drop what the kernel remembers of former targets"
            );
        }
        Ok(())
    }
}

/// Drops remembered clients and UDP flows of targets that are gone. A UDP flow would go to the old address for as long
/// as the client keeps talking; a TCP connection is refused by the pod or by the guard.
async fn forget(node: &Node, table: &Table, plan: &Plan, afresh: bool) -> Result<(), Error> {
    if afresh || plan.leaves_clients {
        forget_clients(node, table).await?;
    }
    if afresh || plan.leaves_flows {
        forget_flows(node, table).await?;
    }
    Ok(())
}

fn is_target(table: &Table, port: Port, target: SocketAddrV4) -> bool {
    table.get(&port).is_some_and(|applied| applied.targets.contains(&target))
}

async fn forget_clients(node: &Node, table: &Table) -> Result<(), Error> {
    let affinity = node::affinity_map();
    let elements = node
        .nft
        .list_set_elements(TABLE, affinity.name(), nft::FAMILY)
        .await
        .map_err(Error::netlink("list remembered clients"))?;
    for element in elements {
        if rules::remembered(&element).is_some_and(|(port, target)| is_target(table, port, target)) {
            continue;
        }
        match node.nft.del_set_elements(&affinity, &[SetElement::new(element.key().to_vec())]).await {
            // It expired meanwhile.
            Err(error) if error.is_not_found() => {}
            result => result.map_err(Error::netlink("forget a client"))?,
        }
    }
    Ok(())
}

async fn forget_flows(node: &Node, table: &Table) -> Result<(), Error> {
    let failed = |what: &str| Error::netlink(format!("{what} UDP flows of the node namespace"));
    let conntrack: Connection<Netfilter> =
        Connection::new_in(node.namespace.fd()).map_err(failed("reach"))?;
    let filter = ConntrackFilter::new().proto(IpProtocol::Udp).family(AddressFamily::Inet);
    for flow in conntrack.get_conntrack_matching(&filter).await.map_err(failed("list"))? {
        let (Some(asked), Some(answers)) =
            (socket(flow.orig.dst_ip, flow.orig.dst_port), socket(flow.reply.src_ip, flow.reply.src_port))
        else {
            continue;
        };
        let port = Port { address: *asked.ip(), protocol: Protocol::Udp, port: asked.port() };
        if asked == answers || is_target(table, port, answers) {
            continue;
        }
        match conntrack.del_conntrack_entry(&flow).await {
            Err(error) if error.is_not_found() => {}
            result => result.map_err(failed("drop"))?,
        }
    }
    Ok(())
}

fn socket(address: Option<IpAddr>, port: Option<u16>) -> Option<SocketAddrV4> {
    match address {
        Some(IpAddr::V4(address)) => Some(SocketAddrV4::new(address, port?)),
        _ => None,
    }
}
