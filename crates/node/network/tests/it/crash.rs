//! A process that is killed, and its successor.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use network::{Config, NodeNetwork, Protocol};

use nlink::{Connection, Route};

use crate::lab::{PATIENCE, Place, at, on_a_machine, service, serving_pod, snapshot, table};

/// Set for the process that is to be killed: the data directory.
const VICTIM: &str = "MAINSTAY_NETWORK_TEST_VICTIM";
const WEB: Ipv4Addr = Ipv4Addr::new(10, 157, 0, 50);

fn config(data_dir: &std::path::Path) -> Config {
    let ranges = network::Ranges {
        pods: "10.156.0.0/16".parse().unwrap(),
        services: "10.157.0.0/16".parse().unwrap(),
    };
    Config::new(data_dir, "crash", ranges)
}

/// Does nothing unless it is started by [`victim`]: then it builds a network, says so, and goes on until it is killed.
#[test]
fn process_to_be_killed() {
    let Some(data_dir) = std::env::var_os(VICTIM) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let network = NodeNetwork::ensure(config(std::path::Path::new(&data_dir))).await.unwrap();
        let a = network.attach("a").await.unwrap();
        network.attach("b").await.unwrap();
        network.set_services(table([service(WEB, Protocol::Tcp, &[at(a.address, 8080)])])).await.unwrap();
        println!("\nbuilt {}", a.address);
        // Busy, so that the kill comes in the middle of something.
        for number in 0_u32.. {
            let id = format!("churn-{}", number % 3);
            network.attach(&id).await.unwrap();
            network.set_services(table([service(WEB, Protocol::Tcp, &[at(a.address, 8080)])])).await.unwrap();
            network.detach(&id).await.unwrap();
            if number % 5 == 4 {
                println!("round {number}");
            }
        }
    });
}

/// The process, and the address of its pod `a`. It is in the host's namespace, like its parent thread.
fn victim(data_dir: &std::path::Path) -> (Child, BufReader<std::process::ChildStdout>, Ipv4Addr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::process_to_be_killed", "--nocapture"])
        .env(VICTIM, data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the process ended before it had built the network"
        );
        if let Some(address) = line.trim().strip_prefix("built ") {
            break address.parse().unwrap();
        }
    };
    (child, lines, address)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_network_goes_on_and_is_adopted() {
    on_a_machine(|lab| async move {
        let data_dir = lab.data_dir("crash");
        let before = snapshot(&lab).await;
        let (child, mut lines, address) = victim(&data_dir);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        kill(child);
        // Nobody is there, and everything works.
        let in_a = Place::at(&data_dir.join("network/netns/pods/a"));
        in_a.serve_tcp(at(Ipv4Addr::UNSPECIFIED, 8080), "a").await;
        let host = config(&data_dir).host_address();
        assert_eq!(Place::here().ask_tcp(at(WEB, 80)).await.unwrap(), format!("a {host}"));

        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        let attached = network.attached();
        assert_eq!(attached["a"].address, address);
        assert!(attached.contains_key("b"));
        assert_eq!(network.attach("a").await.unwrap(), attached["a"]);
        assert_eq!(
            Place::here().ask_tcp(at(WEB, 80)).await.unwrap(),
            format!("a {host}"),
            "before any table is set"
        );
        let (b, in_b) = serving_pod(&network, "b").await;
        network.set_services(table([service(WEB, Protocol::Tcp, &[at(b.address, 8080)])])).await.unwrap();
        assert_eq!(in_a.ask_tcp(at(WEB, 80)).await.unwrap(), format!("b {}", attached["a"].address));
        assert_eq!(in_b.ask_tcp(at(address, 8080)).await.unwrap(), format!("a {}", b.address));
        assert_ne!(network.attach("new").await.unwrap().address, address);
        network.remove().await.unwrap();
        assert_eq!(snapshot(&lab).await, before);
    });
}

#[test]
fn a_kill_at_any_moment_is_repaired_or_removed() {
    on_a_machine(|lab| async move {
        let data_dir = lab.data_dir("crash");
        let before = snapshot(&lab).await;
        for round in 0..6 {
            let (child, mut lines, _) = victim(&data_dir);
            for _ in 0..=round {
                lines.read_line(&mut String::new()).unwrap();
            }
            kill(child);
        }
        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        let attached: Vec<String> = network.attached().into_keys().collect();
        for id in &attached {
            let (pod, _) = serving_pod(&network, id).await;
            Place::here().ask_tcp(at(pod.address, 8080)).await.unwrap();
        }
        // What the kernel has is what is attached: nothing was left behind in the middle.
        let node = Place::at(&data_dir.join("network/netns/node")).route();
        let links = node.get_links().await.unwrap();
        let pods = links.iter().filter(|link| link.name_or("").starts_with('p')).count();
        assert_eq!(pods, attached.len());
        network.close().await;

        let (child, ..) = victim(&data_dir);
        kill(child);
        network::remove(&data_dir).await.unwrap();
        assert_eq!(snapshot(&lab).await, before);
    });
}

#[test]
fn half_a_pod_is_taken_apart() {
    on_a_machine(|lab| async move {
        let data_dir = lab.data_dir("crash");
        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        for id in ["whole", "unfinished", "unmounted", "unrecorded", "garbled"] {
            network.attach(id).await.unwrap();
        }
        network.close().await;
        let record = |id: &str| data_dir.join(format!("network/pods/{id}.json"));
        let mount = |id: &str| data_dir.join("network/netns/pods").join(id);
        let text = std::fs::read_to_string(record("unfinished")).unwrap();
        std::fs::write(record("unfinished"), text.replace("true", "false")).unwrap();
        std::fs::write(record("garbled"), "{\"addr").unwrap();
        std::fs::remove_file(record("unrecorded")).unwrap();
        nix::mount::umount(&mount("unmounted")).unwrap();

        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        assert_eq!(network.attached().into_keys().collect::<Vec<_>>(), ["whole"]);
        for id in ["unfinished", "unmounted", "unrecorded", "garbled"] {
            assert!(!record(id).exists() && !mount(id).exists(), "{id}");
        }
        let node = Place::at(&data_dir.join("network/netns/node")).route();
        // A namespace that has lost its name is taken apart by the kernel when it gets to it.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while node.get_links().await.unwrap().iter().filter(|link| link.name_or("").starts_with('p')).count()
            > 1
        {
            assert!(tokio::time::Instant::now() < deadline, "interfaces of half pods stayed");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        network.remove().await.unwrap();
    });
}

#[test]
fn a_link_that_somebody_deleted_is_made_again() {
    on_a_machine(|lab| async move {
        let data_dir = lab.data_dir("crash");
        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        let (a, _) = serving_pod(&network, "a").await;
        network.close().await;
        let host = Connection::<Route>::new().unwrap();
        host.del_link("ms-crash").await.unwrap();
        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        assert!(Place::here().ask_tcp(at(a.address, 8080)).await.unwrap().starts_with("a "));
        // A route that is missing, and an address, too.
        network.close().await;
        host.del_address("ms-crash", config(&data_dir).host_address().into(), 32).await.unwrap();
        let network = NodeNetwork::ensure(config(&data_dir)).await.unwrap();
        assert!(Place::here().ask_tcp(at(a.address, 8080)).await.unwrap().starts_with("a "));
        network.remove().await.unwrap();
    });
}
