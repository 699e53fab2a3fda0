//! Who reaches whom, and as whom.

use std::net::Ipv4Addr;

use network::{NodeNetwork, Protocol};

use crate::lab::{Place, at, on_a_machine, service, serving_pod, table};

#[test]
fn pods_and_the_host_reach_pods_by_their_own_addresses() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("traffic1", 112)).await.unwrap();
        let (a, in_a) = serving_pod(&network, "a").await;
        let (b, in_b) = serving_pod(&network, "b").await;
        assert_ne!(a.address, b.address);
        assert_eq!(in_a.ask_tcp(at(b.address, 8080)).await.unwrap(), format!("b {}", a.address));
        assert_eq!(in_b.ask_tcp(at(a.address, 8080)).await.unwrap(), format!("a {}", b.address));
        assert_eq!(in_a.ask_tcp(at(a.address, 8080)).await.unwrap(), format!("a {}", a.address));
        assert_eq!(in_a.ask_tcp(at(Ipv4Addr::LOCALHOST, 8080)).await.unwrap(), "a 127.0.0.1");
        let host = network.config().host_address();
        assert_eq!(Place::here().ask_tcp(at(a.address, 8080)).await.unwrap(), format!("a {host}"));
        // And pods reach the host, by which they may be asked to come back.
        Place::here().serve_tcp(at(host, 9000), "host").await;
        assert_eq!(in_a.ask_tcp(at(host, 9000)).await.unwrap(), format!("host {}", a.address));
        network.remove().await.unwrap();
    });
}

#[test]
fn services_are_reached_from_pods_the_node_and_the_host_over_tcp_and_udp() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("traffic2", 114)).await.unwrap();
        let (a, in_a) = serving_pod(&network, "a").await;
        let (client, in_client) = serving_pod(&network, "client").await;
        let web = Ipv4Addr::new(10, 115, 3, 7);
        let entries =
            [Protocol::Tcp, Protocol::Udp].map(|protocol| service(web, protocol, &[at(a.address, 8080)]));
        network.set_services(table(entries)).await.unwrap();

        let (host, node) = (network.config().host_address(), network.config().node_address());
        let in_node = Place::at(&lab.data_dir("traffic2").join("network/netns/node"));
        let places = [(in_client, client.address), (Place::here(), host), (in_node, node)];
        for (place, address) in places {
            assert_eq!(place.ask_tcp(at(web, 80)).await.unwrap(), format!("a {address}"));
            assert_eq!(place.udp_client(at(web, 80)).await.ask().await.unwrap(), format!("a {address}"));
        }
        // A pod that reaches itself sees the node, so that its answer leaves it and comes back translated.
        assert_eq!(in_a.ask_tcp(at(web, 80)).await.unwrap(), format!("a {node}"));
        assert_eq!(in_a.udp_client(at(web, 80)).await.ask().await.unwrap(), format!("a {node}"));
        network.remove().await.unwrap();
    });
}

#[test]
fn the_api_listens_in_the_node_for_pods_and_the_host() {
    on_a_machine(|lab| async move {
        let network = NodeNetwork::ensure(lab.config("traffic3", 116)).await.unwrap();
        let api = at(network.config().api_address(), 443);
        let listener = tokio::net::TcpListener::from_std(network.listen_tcp(api).await.unwrap()).unwrap();
        let (pod, in_pod) = serving_pod(&network, "a").await;
        let server = tokio::spawn(async move {
            let mut peers = Vec::new();
            for _ in 0..2 {
                let (_stream, peer) = listener.accept().await.unwrap();
                peers.push(crate::lab::v4(peer));
            }
            peers
        });
        in_pod.ask_tcp(api).await.unwrap();
        Place::here().ask_tcp(api).await.unwrap();
        assert_eq!(server.await.unwrap(), [pod.address, network.config().host_address()]);
        // Nobody listens there any more: the namespace's own answer, not silence.
        let refused = in_pod.ask_tcp(api).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        network.remove().await.unwrap();
    });
}
