//! Cluster DNS as pods see it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_server::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use network::{Endpoint, NodeNetwork, Protocol, ServiceNames, ServicePort, ServiceTarget, Zone};

use crate::lab::{Lab, OUTSIDE, PATIENCE, Place, at, on_a_machine, serving_pod};

const WEB: Ipv4Addr = Ipv4Addr::new(10, 159, 0, 50);

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.metadata.recursion_desired = true;
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_version(0);
        message.set_edns(edns);
    }
    message
}

async fn ask(place: &Place, server: SocketAddrV4, question: Message) -> (Message, usize) {
    place
        .run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(server).unwrap();
            socket.send(&question.to_vec().unwrap()).unwrap();
            let mut buffer = [0; 65_535];
            let length = socket.recv(&mut buffer).unwrap();
            (Message::from_vec(&buffer[..length]).unwrap(), length)
        })
        .await
}

async fn ask_tcp(place: &Place, server: SocketAddrV4, question: Message) -> Message {
    place
        .run(move || {
            let mut stream = std::net::TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let bytes = question.to_vec().unwrap();
            stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
            read_framed(&mut stream)
        })
        .await
}

fn read_framed(stream: &mut std::net::TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut buffer).unwrap();
    Message::from_vec(&buffer).unwrap()
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(A(address)) => Some(*address),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

fn zone() -> Zone {
    let service = |target| {
        Arc::new(ServiceNames {
            target,
            ports: vec![ServicePort { name: Some("http".to_owned()), protocol: Protocol::Tcp, port: 80 }],
        })
    };
    let endpoints = |count: u8| {
        (1..=count)
            .map(|host| Endpoint { address: Ipv4Addr::new(10, 158, 1, host), hostname: None })
            .collect()
    };
    let mut zone = Zone::new();
    zone.add_service("shop", "web", service(ServiceTarget::Address(WEB)));
    zone.add_service("shop", "peers", service(ServiceTarget::Headless(endpoints(3))));
    zone.add_service("shop", "crowd", service(ServiceTarget::Headless(endpoints(200))));
    zone.add_service("shop", "partner", service(ServiceTarget::External("api.partner.test".to_owned())));
    zone
}

/// A resolver of the outside that knows `*.test`: `large.test` does not fit a datagram, `silent.test` is not answered.
async fn resolver(lab: &Lab, resolv_conf: &std::path::Path) {
    fn answer(question: Message, is_tcp: bool) -> Option<Vec<u8>> {
        let query = question.queries[0].clone();
        let name = query.name().to_lowercase();
        let mut answer = question.into_response();
        let mut add = |data| answer.add_answer(Record::from_rdata(name.clone(), 60, data)).clone();
        match (name.to_ascii().as_str(), query.query_type()) {
            ("silent.test.", _) => return None,
            ("large.test.", RecordType::TXT) if is_tcp => {
                for number in 0..30 {
                    add(RData::TXT(TXT::new(vec![format!("{number:0100}")])));
                }
            }
            ("large.test.", RecordType::TXT) => answer.metadata.truncation = true,
            ("www.test." | "api.partner.test.", RecordType::A) => {
                add(RData::A(A(Ipv4Addr::new(203, 0, 113, 9))));
            }
            ("www.test.", _) => {}
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        Some(answer.to_vec().unwrap())
    }
    let address = at(OUTSIDE, 53);
    let (udp, tcp) = lab
        .outside
        .run(move || (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap()))
        .await;
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            if let Some(bytes) = answer(Message::from_vec(&buffer[..length]).unwrap(), false) {
                udp.send_to(&bytes, peer).unwrap();
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let bytes = answer(read_framed(&mut stream), true).unwrap();
            stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    });
    fs::write(resolv_conf, format!("nameserver {OUTSIDE}\n")).unwrap();
}

#[test]
fn names_of_the_cluster_resolve_in_pods_and_change_at_once() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("dns1", 158)).await.unwrap();
        let (_, pod) = serving_pod(&network, "a").await;
        let dns = at(network.config().dns_address(), 53);
        let name = "web.shop.svc.cluster.local.";
        let (answer, _) = ask(&pod, dns, question(name, RecordType::A, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);

        network.set_dns(zone());
        let (answer, _) = ask(&pod, dns, question("WEB.shop.SVC.cluster.local.", RecordType::A, None)).await;
        assert_eq!(addresses(&answer), [WEB]);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        assert_eq!(
            answer.queries[0].name().to_ascii(),
            "WEB.shop.SVC.cluster.local.",
            "the spelling is kept"
        );
        let (answer, _) = ask(&pod, dns, question(name, RecordType::AAAA, Some(1232))).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        assert!(answer.edns.is_some());
        assert_eq!(addresses(&ask_tcp(&pod, dns, question(name, RecordType::A, None)).await), [WEB]);
        // What a search list asks for on the way to a name of the outside.
        for detour in [
            "www.example.com.shop.svc.cluster.local.",
            "www.example.com.svc.cluster.local.",
            "www.example.com.cluster.local.",
        ] {
            let (answer, _) = ask(&pod, dns, question(detour, RecordType::A, None)).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{detour}");
        }
        // The host and the node reach it too.
        assert_eq!(addresses(&ask(&Place::here(), dns, question(name, RecordType::A, None)).await.0), [WEB]);
        network.remove().await.unwrap();
    });
}

#[test]
fn long_answers_are_cut_and_whole_over_tcp() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("dns2", 160)).await.unwrap();
        network.set_dns(zone());
        let (_, pod) = serving_pod(&network, "a").await;
        let dns = at(network.config().dns_address(), 53);
        let crowd = |payload| question("crowd.shop.svc.cluster.local.", RecordType::A, payload);
        for (payload, limit) in [(None, 512), (Some(1000), 1000), (Some(65_000), 1232)] {
            let (answer, length) = ask(&pod, dns, crowd(payload)).await;
            assert!(answer.metadata.truncation, "{payload:?}");
            assert!(length <= limit, "{length} bytes for {payload:?}");
        }
        assert_eq!(addresses(&ask_tcp(&pod, dns, crowd(None)).await).len(), 200);
        // Clients that take the first address spread.
        let mut first = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let (answer, _) =
                ask(&pod, dns, question("peers.shop.svc.cluster.local.", RecordType::A, None)).await;
            assert_eq!(addresses(&answer).len(), 3);
            first.insert(answer.answers[0].data.to_string());
        }
        assert_eq!(first.len(), 3);
        network.remove().await.unwrap();
    });
}

#[test]
fn other_names_are_asked_of_the_hosts_resolvers_with_a_deadline() {
    on_a_machine(|lab| async move {
        let config = lab.config("dns3", 162);
        let network = NodeNetwork::ensure(config.clone()).await.unwrap();
        network.set_dns(zone());
        let (_, pod) = serving_pod(&network, "a").await;
        let dns = at(config.dns_address(), 53);
        let www = || question("www.test.", RecordType::A, None);
        let (answer, _) = ask(&pod, dns, www()).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "no resolver yet");
        // A resolver that is ourselves is none.
        fs::write(&config.resolv_conf, format!("nameserver {}\n", config.dns_address())).unwrap();
        assert_eq!(ask(&pod, dns, www()).await.0.metadata.response_code, ResponseCode::ServFail);

        resolver(&lab, &config.resolv_conf).await;
        let (answer, _) = ask(&pod, dns, www()).await;
        assert_eq!(addresses(&answer), [Ipv4Addr::new(203, 0, 113, 9)]);
        let (answer, _) = ask(&pod, dns, question("www.test.", RecordType::AAAA, None)).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        let (answer, _) = ask(&pod, dns, question("nowhere.test.", RecordType::A, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        // An alias to the outside comes with what it leads to.
        let (answer, _) =
            ask(&pod, dns, question("partner.shop.svc.cluster.local.", RecordType::A, None)).await;
        assert_eq!(answer.answers[0].record_type(), RecordType::CNAME);
        assert_eq!(addresses(&answer), [Ipv4Addr::new(203, 0, 113, 9)]);
        // Too long for a datagram, on both ways.
        let large = || question("large.test.", RecordType::TXT, None);
        assert!(ask(&pod, dns, large()).await.0.metadata.truncation);
        assert_eq!(ask_tcp(&pod, dns, large()).await.answers.len(), 30);

        let started = Instant::now();
        let (answer, _) = ask(&pod, dns, question("silent.test.", RecordType::A, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        let took = started.elapsed();
        assert!(took > Duration::from_millis(1_500) && took < Duration::from_secs(3), "{took:?}");
        network.remove().await.unwrap();
    });
}
