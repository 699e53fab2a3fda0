//! The server: UDP and TCP on the node namespace's DNS address.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Message, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio_util::sync::CancellationToken;

use super::answer::{Domain, Lookup};
use super::forward::Forwarder;
use super::zone::Zone;
use crate::Config;

/// A TCP connection that asks nothing for so long is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that wait on one TCP connection.
const TCP_QUEUE: usize = 32;
/// Aliases followed for one question.
const ALIAS_LIMIT: usize = 8;
/// What we send in one datagram, whatever the client says it can take.
const DATAGRAM: u16 = 1232;
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// Serves until `shutdown`. The sockets are non-blocking.
pub(crate) fn serve(
    config: &Config,
    zone: Arc<ArcSwap<Zone>>,
    udp: UdpSocket,
    tcp: TcpListener,
    shutdown: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let domain = Domain::new(config).ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, "the cluster domain is no DNS name")
    })?;
    let forwarder = Forwarder::new(config.resolv_conf.clone(), [config.pod_range, config.service_range]);
    let handler = Handler { domain, zone, forwarder, turn: AtomicUsize::new(0) };
    let mut server = Server::new(handler);
    server.register_socket(tokio::net::UdpSocket::from_std(udp)?);
    server.register_listener(tokio::net::TcpListener::from_std(tcp)?, TCP_IDLE, TCP_QUEUE);
    Ok(async move {
        shutdown.cancelled().await;
        match tokio::time::timeout(SHUTDOWN_DEADLINE, server.shutdown_gracefully()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the DNS server ended with an error"),
            Err(_) => tracing::debug!("the DNS server did not end in time and was dropped"),
        }
    })
}

struct Handler {
    domain: Domain,
    zone: Arc<ArcSwap<Zone>>,
    forwarder: Forwarder,
    /// Where lists of addresses start, so that clients that take the first spread.
    turn: AtomicUsize,
}

/// A response in the making.
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Reply {
    fn new(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let reply = self.reply(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        let mut edns = Edns::new();
        edns.set_version(0);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(asked) = &request.edns {
            // What the client can take bounds the answer; beyond it the server sets the truncation bit.
            edns.set_max_payload(asked.max_payload().min(DATAGRAM));
            builder.edns(&edns);
        }
        let message = builder.build(metadata, &reply.answers, &reply.authorities, [], &reply.additionals);
        match response.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "could not send a DNS response");
                metadata.response_code = ResponseCode::ServFail;
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}

impl Handler {
    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.op_code != OpCode::Query {
            return Reply::new(ResponseCode::NotImp);
        }
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Reply::new(ResponseCode::BADVERS);
        }
        let Ok(info) = request.request_info() else { return Reply::new(ResponseCode::FormErr) };
        if info.query.query_class() != DNSClass::IN {
            return Reply::new(ResponseCode::Refused);
        }
        // The spelling of the question is kept: some clients check it (0x20 encoding).
        self.resolve(info.query.original().name(), info.query.query_type()).await
    }

    /// Follows aliases through the zone, and asks the outside for where they lead beyond.
    async fn resolve(&self, name: &Name, kind: RecordType) -> Reply {
        let zone = self.zone.load_full();
        let mut reply = Reply { authoritative: true, ..Reply::new(ResponseCode::NoError) };
        let mut name = name.clone();
        for _ in 0..ALIAS_LIMIT {
            match self.domain.look_up(&zone, &name, kind) {
                Lookup::Found { mut answers, additionals } => {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed) % answers.len();
                    answers.rotate_left(turn);
                    reply.answers.extend(answers);
                    reply.additionals = additionals;
                    return reply;
                }
                Lookup::Alias { record, target } => {
                    reply.answers.push(*record);
                    if kind == RecordType::CNAME {
                        return reply;
                    }
                    name = target;
                }
                Lookup::NoData => {
                    reply.authorities.push(self.domain.authority());
                    return reply;
                }
                Lookup::NxDomain => {
                    reply.code = ResponseCode::NXDomain;
                    reply.authorities.push(self.domain.authority());
                    return reply;
                }
                Lookup::NotOurs => return self.forward(reply, &name, kind).await,
            }
        }
        Reply::new(ResponseCode::ServFail)
    }

    async fn forward(&self, mut reply: Reply, name: &Name, kind: RecordType) -> Reply {
        match self.forwarder.ask(name, kind).await {
            Ok(answer) => {
                let Message { metadata, answers, authorities, .. } = answer;
                reply.code = metadata.response_code;
                reply.authoritative = !reply.answers.is_empty();
                reply.answers.extend(answers);
                reply.authorities = authorities;
                reply
            }
            Err(error) => {
                tracing::debug!(%name, error = &error as &dyn std::error::Error, "could not resolve a name of the outside");
                Reply::new(ResponseCode::ServFail)
            }
        }
    }
}
