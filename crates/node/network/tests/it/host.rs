//! What the host gets and gets back.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Instant;

use network::{Config, NodeNetwork, Protocol, Severity, choose_ranges, preflight, remove};
use nlink::netlink::nftables::{BaseChain, Chain, Family, FilterHook, Policy, Priority, Rule};
use nlink::netlink::route::Ipv4Route;
use nlink::{Connection, Nftables, Route};

use crate::lab::{Lab, Place, at, on_a_machine, service, serving_pod, snapshot, table};

/// A firewall of somebody else's, with a forward policy as given.
async fn unrelated_ruleset(policy: Policy) {
    let nft = Connection::<Nftables>::new().unwrap();
    let chain = Chain::new("filter", "FORWARD").unwrap().family(Family::Ip);
    nft.transaction()
        .add_table("filter", Family::Ip)
        .add_chain(chain.base(BaseChain::filter(FilterHook::Forward, Priority::Filter).policy(policy)))
        .add_rule(Rule::new("filter", "FORWARD").family(Family::Ip).match_iif("docker0").accept())
        .commit(&nft)
        .await
        .unwrap();
}

#[test]
fn removing_restores_the_host_exactly() {
    on_a_machine(|lab| async move {
        unrelated_ruleset(Policy::Accept).await;
        let before = snapshot(&lab).await;
        let network = NodeNetwork::ensure(lab.config("host1", 130)).await.unwrap();
        let (a, in_a) = serving_pod(&network, "a").await;
        network.attach("b").await.unwrap();
        let web = Ipv4Addr::new(10, 131, 0, 50);
        network.set_services(table([service(web, Protocol::Tcp, &[at(a.address, 8080)])])).await.unwrap();
        in_a.ask_tcp(at(web, 80)).await.unwrap();
        assert_ne!(snapshot(&lab).await, before);
        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        assert_eq!(network.attached().into_keys().collect::<Vec<_>>(), ["b"]);
        network.remove().await.unwrap();
        assert_eq!(snapshot(&lab).await, before);
        assert!(!lab.data_dir("host1").join("network").exists());
        remove(&lab.data_dir("host1")).await.unwrap();
    });
}

#[test]
fn two_instances_do_not_disturb_each_other() {
    on_a_machine(|lab| async move {
        let before = snapshot(&lab).await;
        let one = NodeNetwork::ensure(lab.config("one", 132)).await.unwrap();
        let alone = snapshot(&lab).await;
        let two = NodeNetwork::ensure(lab.config("two", 134)).await.unwrap();
        let (a, in_a) = serving_pod(&one, "pod").await;
        let (b, in_b) = serving_pod(&two, "pod").await;
        for (network, place, pod, web) in [
            (&one, &in_a, &a, Ipv4Addr::new(10, 133, 0, 50)),
            (&two, &in_b, &b, Ipv4Addr::new(10, 135, 0, 50)),
        ] {
            network
                .set_services(table([service(web, Protocol::Tcp, &[at(pod.address, 8080)])]))
                .await
                .unwrap();
            assert!(place.ask_tcp(at(web, 80)).await.unwrap().starts_with("pod "));
            assert!(Place::here().ask_tcp(at(web, 80)).await.unwrap().starts_with("pod "));
        }
        // The first goes: the second keeps its way out, and the host is as if the first had never been.
        lab.outside.serve_tcp(at(crate::lab::OUTSIDE, 80), "outside").await;
        one.remove().await.unwrap();
        assert!(in_b.ask_tcp(at(crate::lab::OUTSIDE, 80)).await.unwrap().starts_with("outside "));
        assert!(in_b.ask_tcp(at(Ipv4Addr::new(10, 135, 0, 50), 80)).await.unwrap().starts_with("pod "));
        // Another first one, which is there longer than the second.
        let one = NodeNetwork::ensure(lab.config("one", 132)).await.unwrap();
        two.remove().await.unwrap();
        let names = |lines: Vec<String>| -> Vec<String> {
            // Interface numbers differ.
            let keep = |line: &String| line.starts_with("settings") || line.starts_with("chain");
            lines.into_iter().filter(keep).collect()
        };
        assert_eq!(names(snapshot(&lab).await), names(alone));
        one.remove().await.unwrap();
        assert_eq!(snapshot(&lab).await, before);
    });
}

#[test]
fn forwarding_that_was_on_stays_on() {
    on_a_machine(|lab| async move {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let before = snapshot(&lab).await;
        let network = NodeNetwork::ensure(lab.config("host2", 136)).await.unwrap();
        network.remove().await.unwrap();
        assert_eq!(snapshot(&lab).await, before);
    });
}

#[test]
fn other_ranges_for_the_same_data_replace_the_network() {
    on_a_machine(|lab| async move {
        let before = snapshot(&lab).await;
        let network = NodeNetwork::ensure(lab.config("host3", 138)).await.unwrap();
        network.attach("a").await.unwrap();
        network.close().await;
        let moved = NodeNetwork::ensure(lab.config("host3", 140)).await.unwrap();
        assert!(moved.attached().is_empty());
        let (a, _) = serving_pod(&moved, "a").await;
        assert!(moved.config().pod_range.contains(&a.address));
        Place::here().ask_tcp(at(a.address, 8080)).await.unwrap();
        moved.remove().await.unwrap();
        assert_eq!(snapshot(&lab).await, before);
    });
}

#[test]
fn attaching_is_idempotent_and_ids_stay_below_the_directory() {
    on_a_machine(|lab| async move {
        let started = Instant::now();
        preflight(&lab.config("host4", 142)).await;
        let checked = started.elapsed();
        let network = NodeNetwork::ensure(lab.config("host4", 142)).await.unwrap();
        let built = started.elapsed() - checked;
        let (first, again) = tokio::join!(network.attach("a"), network.attach("a"));
        assert_eq!(first.unwrap(), again.unwrap());
        for id in ["", "../a", ".", "a/b", "a b", &"x".repeat(129)] {
            network.attach(id).await.unwrap_err();
            network.detach(id).await.unwrap_err();
        }
        let many: Vec<String> = (0..30).map(|number| format!("pod-{number}")).collect();
        let started = Instant::now();
        let attached = futures::future::join_all(many.iter().map(|id| network.attach(id))).await;
        println!("preflight {checked:?}, network {built:?}, 30 pods at once {:?}", started.elapsed());
        let mut addresses: Vec<_> = attached.into_iter().map(|pod| pod.unwrap().address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), many.len());
        network.remove().await.unwrap();
    });
}

#[test]
fn a_range_of_pods_can_be_used_up_and_freed() {
    on_a_machine(|lab| async move {
        let config = Config { pod_range: "10.144.0.0/28".parse().unwrap(), ..lab.config("host5", 144) };
        let network = NodeNetwork::ensure(config).await.unwrap();
        for number in 0..12 {
            network.attach(&format!("pod-{number}")).await.unwrap();
        }
        assert!(network.attach("more").await.unwrap_err().to_string().contains("no address left"));
        let freed = network.attached()["pod-5"].address;
        network.detach("pod-5").await.unwrap();
        assert_eq!(network.attach("more").await.unwrap().address, freed);
        network.remove().await.unwrap();
    });
}

#[test]
fn preflight_finds_taken_ranges_and_closed_firewalls() {
    on_a_machine(|lab| async move {
        let config = lab.config("host6", 146);
        assert_eq!(preflight(&config).await, []);
        let network = NodeNetwork::ensure(config.clone()).await.unwrap();
        // Our own is no obstacle to ourselves, but to others.
        assert_eq!(preflight(&config).await, []);
        let rival = Config { id: "rival".to_owned(), ..config.clone() };
        assert!(preflight(&rival).await.iter().all(|problem| problem.severity == Severity::Fatal));
        assert!(!preflight(&rival).await.is_empty());
        network.remove().await.unwrap();

        let route = Connection::<Route>::new().unwrap();
        let wide = Ipv4Route::new(Ipv4Addr::new(10, 146, 0, 0), 15).dev("up0");
        route.add_route(wide).await.unwrap();
        unrelated_ruleset(Policy::Drop).await;
        let problems = preflight(&config).await;
        assert_eq!(problems.iter().filter(|problem| problem.severity == Severity::Fatal).count(), 2);
        assert!(problems[0].what.contains("10.146.0.0/15"), "{problems:?}");
        let firewall = problems.last().unwrap();
        assert_eq!(firewall.severity, Severity::Limited);
        assert!(firewall.fix.contains("-i ms-host6 -j ACCEPT"), "{firewall:?}");
    });
}

#[test]
fn chosen_ranges_are_free_even_when_a_vpn_takes_all_of_10() {
    on_a_machine(|lab: Lab| async move {
        let ranges = choose_ranges("aa", |_| true).await.unwrap();
        assert_ne!(ranges, choose_ranges("bb", |_| true).await.unwrap());
        let network = NodeNetwork::ensure(Config::new(lab.data_dir("aa"), "aa", ranges)).await.unwrap();
        assert_eq!(choose_ranges("aa", |_| true).await.unwrap(), ranges, "our own are free for ourselves");
        network.remove().await.unwrap();
        let route = Connection::<Route>::new().unwrap();
        route.add_route(Ipv4Route::new(ranges.pods.network(), 16).dev("up0")).await.unwrap();
        assert_ne!(choose_ranges("aa", |_| true).await.unwrap(), ranges);
        route.add_route(Ipv4Route::new(Ipv4Addr::new(10, 0, 0, 0), 8).dev("up0")).await.unwrap();
        assert_eq!(choose_ranges("aa", |_| true).await.unwrap().pods.network().octets()[0], 172);
        route.add_route(Ipv4Route::new(Ipv4Addr::new(172, 16, 0, 0), 12).dev("up0")).await.unwrap();
        choose_ranges("aa", |_| true).await.unwrap_err();
    });
}
