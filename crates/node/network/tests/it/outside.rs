//! The world beyond the machine: pods get out, nobody gets in.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use network::{NodeNetwork, Protocol};
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::link::VethLink;
use nlink::netlink::route::Ipv4Route;
use nlink::{Connection, Route};

use crate::lab::{OUTSIDE, PATIENCE, UPLINK, at, on_a_machine, service, serving_pod, table};

#[test]
fn pods_reach_the_outside_with_the_address_of_the_machine() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("outside1", 148)).await.unwrap();
        let (_, in_a) = serving_pod(&network, "a").await;
        lab.outside.serve_tcp(at(OUTSIDE, 80), "outside").await;
        lab.outside.serve_udp(at(OUTSIDE, 81), "outside").await;
        let expected = format!("outside {UPLINK}");
        assert_eq!(in_a.ask_tcp(at(OUTSIDE, 80)).await.unwrap(), expected);
        assert_eq!(in_a.udp_client(at(OUTSIDE, 81)).await.ask().await.unwrap(), expected);
        network.remove().await.unwrap();
    });
}

#[test]
fn the_neighbourhood_does_not_reach_pods_services_or_the_api() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("outside2", 150)).await.unwrap();
        let (a, _) = serving_pod(&network, "a").await;
        let web = Ipv4Addr::new(10, 151, 0, 50);
        network.set_services(table([service(web, Protocol::Tcp, &[at(a.address, 8080)])])).await.unwrap();
        let api = at(network.config().api_address(), 443);
        let _listener = network.listen_tcp(api).await.unwrap();
        // A neighbour that knows the ranges routes them to this machine, which forwards now.
        let neighbour = lab.outside.route();
        neighbour.add_route(Ipv4Route::new(Ipv4Addr::new(10, 0, 0, 0), 8).gateway(UPLINK)).await.unwrap();
        for address in [at(a.address, 8080), at(web, 80), api, at(network.config().dns_address(), 53)] {
            let reached = lab.outside.run(move || {
                std::net::TcpStream::connect_timeout(&address.into(), Duration::from_millis(300))
            });
            assert_eq!(reached.await.unwrap_err().kind(), ErrorKind::TimedOut, "{address}");
        }
        network.remove().await.unwrap();
    });
}

#[test]
fn packets_are_no_larger_than_the_uplink_takes() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("outside3", 152)).await.unwrap();
        let (_, in_a) = serving_pod(&network, "a").await;
        let link = in_a.route().get_link_by_name("eth0").await.unwrap().unwrap();
        assert_eq!(link.mtu(), Some(1400));
        network.remove().await.unwrap();
    });
}

#[test]
fn a_default_route_that_comes_later_is_followed() {
    on_a_machine(|lab| async move {
        let host = Connection::<Route>::new().unwrap();
        let before = crate::lab::snapshot(&lab).await;
        let network = NodeNetwork::ensure(lab.config("outside4", 154)).await.unwrap();
        let (_, in_a) = serving_pod(&network, "a").await;
        lab.outside.serve_tcp(at(OUTSIDE, 80), "outside").await;
        host.add_link(VethLink::new("wlan0", "wlan1")).await.unwrap();
        host.add_address(Ipv4Address::new("wlan0", Ipv4Addr::new(192, 168, 7, 2), 24)).await.unwrap();
        for name in ["wlan0", "wlan1"] {
            host.set_link_up(name).await.unwrap();
        }
        let route =
            Ipv4Route::default_route().gateway(Ipv4Addr::new(192, 168, 7, 1)).dev("wlan0").metric(600);
        host.add_route(route).await.unwrap();
        let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/wlan0/forwarding").unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while forwarding().trim() != "1" {
            assert!(tokio::time::Instant::now() < deadline, "forwarding on wlan0 stayed off");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(in_a.ask_tcp(at(OUTSIDE, 80)).await.is_ok());
        network.remove().await.unwrap();
        assert_eq!(forwarding().trim(), "0");
        host.del_link("wlan0").await.unwrap();
        assert_eq!(crate::lab::snapshot(&lab).await, before);
    });
}
