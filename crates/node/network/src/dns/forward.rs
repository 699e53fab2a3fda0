//! Names of the outside: asked of the host's resolvers, within a deadline.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_server::proto::rr::{Name, RecordType};
use ipnet::Ipv4Net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// All that a pod waits for a name of the outside.
const DEADLINE: Duration = Duration::from_secs(2);
/// The least number of datagrams sent before giving up: one may be lost.
const ATTEMPTS: usize = 2;
/// As many servers as the C library uses (`MAXNS`).
const SERVERS: usize = 3;
/// Questions on their way at a time; more are refused, so that a flood inside stays inside.
const CONCURRENCY: usize = 512;
/// The size that passes every network without fragments (DNS flag day 2020).
const DATAGRAM: u16 = 1232;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("no resolver is configured on the host")]
    NoResolver,
    #[error("too many questions are on their way")]
    Overloaded,
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("ask a resolver")]
    Io(#[source] io::Error),
    #[error("encode or decode a message")]
    Message(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The host's resolvers.
#[derive(Debug)]
pub(crate) struct Forwarder {
    path: PathBuf,
    /// Cluster addresses: a resolver there would be ourselves, asked again and again.
    excluded: [Ipv4Net; 2],
    known: Mutex<Known>,
    permits: Semaphore,
}

#[derive(Debug, Default)]
struct Known {
    modified: Option<SystemTime>,
    servers: Arc<[IpAddr]>,
}

impl Forwarder {
    pub(crate) fn new(path: PathBuf, excluded: [Ipv4Net; 2]) -> Self {
        Self { path, excluded, known: Mutex::default(), permits: Semaphore::new(CONCURRENCY) }
    }

    /// Asks the resolvers in turn, round after round. An answer that is too long for a datagram is fetched over TCP.
    pub(crate) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, ForwardError> {
        let _permit = self.permits.try_acquire().map_err(|_| ForwardError::Overloaded)?;
        let servers = self.servers();
        if servers.is_empty() {
            return Err(ForwardError::NoResolver);
        }
        let attempts = servers.len().max(ATTEMPTS);
        let deadline = Instant::now() + DEADLINE;
        let mut last = ForwardError::Deadline;
        for (attempt, server) in servers.iter().cycle().take(attempts).enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(attempts - attempt).unwrap_or(1);
            match tokio::time::timeout(share, exchange(SocketAddr::new(*server, super::PORT), name, kind))
                .await
            {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    tracing::debug!(%server, error = &error as &dyn std::error::Error, "a resolver failed");
                    last = error;
                }
                Err(_) => last = ForwardError::Deadline,
            }
        }
        Err(last)
    }

    /// What `resolv.conf` lists; it is read again when its modification time changes. A file that is absent while it is
    /// being replaced keeps what was known.
    fn servers(&self) -> Arc<[IpAddr]> {
        let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        // The state is replaced as a whole, so a panic elsewhere leaves it consistent.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if modified.is_some()
            && known.modified != modified
            && let Ok(text) = fs::read_to_string(&self.path)
        {
            *known = Known { modified, servers: self.parse(&text) };
        }
        Arc::clone(&known.servers)
    }

    fn parse(&self, text: &str) -> Arc<[IpAddr]> {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some("nameserver")).then(|| words.next())?
            })
            .filter_map(|server| server.parse::<IpAddr>().ok())
            .filter(|server| match server {
                IpAddr::V4(server) => !self.is_excluded(*server),
                IpAddr::V6(_) => true,
            })
            .take(SERVERS)
            .collect()
    }

    fn is_excluded(&self, server: Ipv4Addr) -> bool {
        self.excluded.iter().any(|range| range.contains(&server))
    }
}

/// One question to one server, from a fresh port each time so that answers are hard to forge.
async fn exchange(server: SocketAddr, name: &Name, kind: RecordType) -> Result<Message, ForwardError> {
    let mut question = Message::query();
    question.add_query(Query::query(name.clone(), kind));
    question.metadata.recursion_desired = true;
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM).set_version(0);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(|error| ForwardError::Message(Box::new(error)))?;
    let answer = over_udp(server, &question, &bytes).await?;
    if answer.metadata.truncation { over_tcp(server, &question, &bytes).await } else { Ok(answer) }
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, ForwardError> {
    let local: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await.map_err(ForwardError::Io)?;
    socket.connect(server).await.map_err(ForwardError::Io)?;
    socket.send(bytes).await.map_err(ForwardError::Io)?;
    let mut buffer = [0; DATAGRAM as usize];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(ForwardError::Io)?;
        // Anything else is a late or forged datagram: the answer may still come.
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && answers(&answer, question)
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, ForwardError> {
    let mut stream = TcpStream::connect(server).await.map_err(ForwardError::Io)?;
    let length = u16::try_from(bytes.len()).map_err(|error| ForwardError::Message(Box::new(error)))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await.map_err(ForwardError::Io)?;
    let length = stream.read_u16().await.map_err(ForwardError::Io)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(ForwardError::Io)?;
    let answer = Message::from_vec(&buffer).map_err(|error| ForwardError::Message(Box::new(error)))?;
    if answers(&answer, question) {
        Ok(answer)
    } else {
        Err(ForwardError::Io(io::Error::other("the answer is to another question")))
    }
}

fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
        && answer.queries == question.queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_c_library_does_and_never_ourselves() {
        let ranges = ["10.112.0.0/16", "10.113.0.0/16"].map(|range| range.parse().unwrap());
        let forwarder = Forwarder::new(PathBuf::new(), ranges);
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 10.113.0.10\nnameserver\t192.0.2.1\n \
                    nameserver 2001:db8::1 \nnameserver fe80::1%eth0\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let expected: [IpAddr; 3] =
            ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|server| server.parse().unwrap());
        assert_eq!(*forwarder.parse(text), expected);
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_keeps_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let forwarder = Forwarder::new(path.clone(), ["10.112.0.0/16".parse().unwrap(); 2]);
        assert!(forwarder.servers().is_empty());
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(*forwarder.servers(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        fs::remove_file(&path).unwrap();
        assert_eq!(forwarder.servers().len(), 1);
        fs::write(&path, "nameserver 192.0.2.7\n").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(*forwarder.servers(), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    }
}
