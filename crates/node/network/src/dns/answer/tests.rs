//! The specification's examples, as questions and answers in text.

use std::sync::Arc;

use super::*;
use crate::Ranges;

fn domain() -> Domain {
    let ranges =
        Ranges { pods: "10.112.0.0/16".parse().unwrap(), services: "10.113.0.0/16".parse().unwrap() };
    Domain::new(&Config::new("/nowhere", "id", ranges)).unwrap()
}

fn port(name: Option<&str>, protocol: Protocol, port: u16) -> ServicePort {
    ServicePort { name: name.map(str::to_owned), protocol, port }
}

fn zone() -> Zone {
    let endpoint = |host: u8, hostname: Option<&str>| Endpoint {
        address: Ipv4Addr::new(10, 112, 0, host),
        hostname: hostname.map(str::to_owned),
    };
    let mut zone = Zone::new();
    zone.add_namespace("empty");
    zone.add_service(
        "shop",
        "web",
        Arc::new(ServiceNames {
            target: ServiceTarget::Address(Ipv4Addr::new(10, 113, 0, 7)),
            ports: vec![
                port(Some("http"), Protocol::Tcp, 80),
                port(Some("quic"), Protocol::Udp, 443),
                port(None, Protocol::Tcp, 81),
            ],
        }),
    );
    zone.add_service(
        "shop",
        "db",
        Arc::new(ServiceNames {
            target: ServiceTarget::Headless(vec![
                endpoint(5, Some("db-0")),
                endpoint(6, Some("DB-1")),
                endpoint(7, None),
            ]),
            ports: vec![port(Some("sql"), Protocol::Tcp, 5432)],
        }),
    );
    zone.add_service(
        "shop",
        "idle",
        Arc::new(ServiceNames {
            target: ServiceTarget::Headless(Vec::new()),
            ports: vec![port(Some("sql"), Protocol::Tcp, 5432)],
        }),
    );
    zone.add_service(
        "shop",
        "partner",
        Arc::new(ServiceNames {
            target: ServiceTarget::External("API.partner.test".to_owned()),
            ports: Vec::new(),
        }),
    );
    zone
}

/// What `name` (below the cluster domain unless it ends in a dot) is answered with, a line per record.
fn look_up(name: &str, kind: RecordType) -> String {
    let name = if name.ends_with('.') { name.to_owned() } else { format!("{name}.cluster.local.") };
    let text = |records: &[Record]| -> Vec<String> {
        records
            .iter()
            .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
            .collect()
    };
    match domain().look_up(&zone(), &Name::from_ascii(&name).unwrap(), kind) {
        Lookup::Found { answers, additionals } => {
            let mut lines = text(&answers);
            lines.extend(text(&additionals).into_iter().map(|line| format!("+ {line}")));
            lines.join("\n")
        }
        Lookup::Alias { record, target } => format!("{} -> {target}", text(&[*record])[0]),
        Lookup::NoData => "no data".to_owned(),
        Lookup::NxDomain => "no such name".to_owned(),
        Lookup::NotOurs => "not ours".to_owned(),
    }
}

#[track_caller]
fn check(name: &str, kind: RecordType, expected: &str) {
    assert_eq!(look_up(name, kind), expected, "{name} {kind}");
}

#[test]
fn a_service_has_its_address_under_its_name() {
    check("web.shop.svc", RecordType::A, "web.shop.svc.cluster.local. A 10.113.0.7");
    check("web.shop.svc", RecordType::AAAA, "no data");
    check("web.empty.svc", RecordType::A, "no such name");
    check("web.shop", RecordType::A, "no such name");
    check("x.web.shop.svc", RecordType::A, "no such name");
    check("a.b.c.d.e.f.web.shop.svc", RecordType::A, "no such name");
}

#[test]
fn a_headless_service_has_the_addresses_of_its_endpoints_and_a_name_for_each() {
    check(
        "db.shop.svc",
        RecordType::A,
        "db.shop.svc.cluster.local. A 10.112.0.5\n\
         db.shop.svc.cluster.local. A 10.112.0.6\n\
         db.shop.svc.cluster.local. A 10.112.0.7",
    );
    check("db-1.db.shop.svc", RecordType::A, "db-1.db.shop.svc.cluster.local. A 10.112.0.6");
    check("10-112-0-7.db.shop.svc", RecordType::A, "10-112-0-7.db.shop.svc.cluster.local. A 10.112.0.7");
    check("10-112-0-5.db.shop.svc", RecordType::A, "no such name");
    check("db-0.db.shop.svc", RecordType::AAAA, "no data");
    check("idle.shop.svc", RecordType::A, "no data");
    check("db-0.web.shop.svc", RecordType::A, "no such name");
}

#[test]
fn named_ports_are_service_records_with_addresses_beside_them() {
    check(
        "_http._tcp.web.shop.svc",
        RecordType::SRV,
        "_http._tcp.web.shop.svc.cluster.local. SRV 0 100 80 web.shop.svc.cluster.local.\n\
         + web.shop.svc.cluster.local. A 10.113.0.7",
    );
    check(
        "_sql._tcp.db.shop.svc",
        RecordType::SRV,
        "_sql._tcp.db.shop.svc.cluster.local. SRV 0 33 5432 db-0.db.shop.svc.cluster.local.\n\
         _sql._tcp.db.shop.svc.cluster.local. SRV 0 33 5432 db-1.db.shop.svc.cluster.local.\n\
         _sql._tcp.db.shop.svc.cluster.local. SRV 0 33 5432 10-112-0-7.db.shop.svc.cluster.local.\n\
         + db-0.db.shop.svc.cluster.local. A 10.112.0.5\n\
         + db-1.db.shop.svc.cluster.local. A 10.112.0.6\n\
         + 10-112-0-7.db.shop.svc.cluster.local. A 10.112.0.7",
    );
    check("_http._udp.web.shop.svc", RecordType::SRV, "no such name");
    check("_http._tcp.web.shop.svc", RecordType::A, "no data");
    check("_tcp.web.shop.svc", RecordType::A, "no data");
    check("_sql._tcp.idle.shop.svc", RecordType::SRV, "no data");
    assert_eq!(look_up("web.shop.svc", RecordType::SRV).lines().count(), 4, "every port and one address");
}

#[test]
fn an_external_name_is_an_alias_for_every_type() {
    let expected = "partner.shop.svc.cluster.local. CNAME api.partner.test. -> api.partner.test.";
    for kind in [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::TXT] {
        check("partner.shop.svc", kind, expected);
    }
}

#[test]
fn pods_have_names_by_address_in_every_namespace() {
    check("10-112-3-4.shop.pod", RecordType::A, "10-112-3-4.shop.pod.cluster.local. A 10.112.3.4");
    check("10-112-3-4.nowhere.pod", RecordType::A, "no such name");
    check("10-112-3.shop.pod", RecordType::A, "no such name");
    check("10-112-3-256.shop.pod", RecordType::A, "no such name");
    check("shop.pod", RecordType::A, "no data");
}

#[test]
fn addresses_of_the_cluster_have_names_and_others_are_not_ours() {
    check(
        "7.0.113.10.in-addr.arpa.",
        RecordType::PTR,
        "7.0.113.10.in-addr.arpa. PTR web.shop.svc.cluster.local.",
    );
    check(
        "5.0.112.10.IN-ADDR.arpa.",
        RecordType::PTR,
        "5.0.112.10.IN-ADDR.arpa. PTR db-0.db.shop.svc.cluster.local.",
    );
    check(
        "7.0.112.10.in-addr.arpa.",
        RecordType::PTR,
        "7.0.112.10.in-addr.arpa. PTR 10-112-0-7.db.shop.svc.cluster.local.",
    );
    check("9.9.113.10.in-addr.arpa.", RecordType::PTR, "no such name");
    check("7.0.113.10.in-addr.arpa.", RecordType::A, "no data");
    check("1.2.0.192.in-addr.arpa.", RecordType::PTR, "not ours");
    check("x.0.113.10.in-addr.arpa.", RecordType::PTR, "not ours");
}

#[test]
fn the_domain_itself_and_the_names_between_exist() {
    for name in ["cluster.local.", "svc.cluster.local.", "pod.cluster.local.", "shop.svc.cluster.local."] {
        check(name, RecordType::A, "no data");
    }
    check("empty.svc", RecordType::A, "no data");
    check("nowhere.svc", RecordType::A, "no such name");
    assert!(
        look_up("cluster.local.", RecordType::SOA).starts_with("cluster.local. SOA ns.dns.cluster.local.")
    );
    check("dns-version", RecordType::TXT, "dns-version.cluster.local. TXT 1.1.0");
    check("local.", RecordType::A, "not ours");
    check("example.com.", RecordType::A, "not ours");
    check("cluster.local.example.com.", RecordType::A, "not ours");
}
