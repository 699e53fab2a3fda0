//! A machine for one test, and what can be done on it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use network::{Config, NodeNetwork, PodNetwork, Protocol, Ranges, ServiceEntry, ServiceTable};
use nix::sched::CloneFlags;
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::link::VethLink;
use nlink::netlink::route::Ipv4Route;
use nlink::{Connection, Nftables, Route};

pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The host's address on its uplink, and the address of everything beyond.
pub(crate) const UPLINK: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);

/// The machine. Runs on a thread that is in the host's namespace; every thread made from it is too.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) outside: Place,
}

/// A network namespace to do things in.
#[derive(Clone)]
pub(crate) struct Place(Arc<File>);

impl Place {
    pub(crate) fn at(path: &Path) -> Self {
        Self(Arc::new(File::open(path).unwrap()))
    }

    /// The namespace of the calling thread.
    pub(crate) fn here() -> Self {
        Self::at(Path::new("/proc/thread-self/ns/net"))
    }

    fn fresh() -> Self {
        let made = std::thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Self::here()
        });
        made.join().unwrap()
    }

    pub(crate) fn route(&self) -> Connection<Route> {
        Connection::new_in(self.0.as_fd()).unwrap()
    }

    /// Runs blocking `work` on a thread inside.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let namespace = self.0.clone();
        std::thread::spawn(move || {
            nix::sched::setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            let _ = sender.send(work());
        });
        receiver.await.expect("the work inside the namespace panicked")
    }

    /// Connects, and returns what the server says first: a [`serve_tcp`](Self::serve_tcp) name and our address.
    pub(crate) async fn ask_tcp(&self, address: SocketAddrV4) -> io::Result<String> {
        self.run(move || {
            let mut stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
        .await
    }

    /// Sends a datagram from a socket that is kept, and returns the answer.
    pub(crate) async fn udp_client(&self, address: SocketAddrV4) -> UdpClient {
        let socket = self
            .run(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.connect(address).unwrap();
                socket
            })
            .await;
        UdpClient(Arc::new(socket))
    }

    /// Answers every connection with `name` and the client's address.
    pub(crate) async fn serve_tcp(&self, address: SocketAddrV4, name: &str) {
        let listener = self.run(move || TcpListener::bind(address).unwrap()).await;
        let name = name.to_owned();
        std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                let _ = stream.write_all(format!("{name} {}", peer.ip()).as_bytes());
                let _ = stream.shutdown(Shutdown::Write);
            }
        });
    }

    /// Keeps every connection open and sends back what it gets.
    pub(crate) async fn echo_tcp(&self, address: SocketAddrV4) {
        let listener = self.run(move || TcpListener::bind(address).unwrap()).await;
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
    }

    /// Answers every datagram with `name` and the client's address.
    pub(crate) async fn serve_udp(&self, address: SocketAddrV4, name: &str) {
        let socket = self.run(move || UdpSocket::bind(address).unwrap()).await;
        let name = name.to_owned();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }
}

pub(crate) struct UdpClient(Arc<UdpSocket>);

impl UdpClient {
    pub(crate) async fn ask(&self) -> io::Result<String> {
        let socket = self.0.clone();
        tokio::task::spawn_blocking(move || {
            socket.send(b"?")?;
            let mut buffer = [0; 2048];
            let length = socket.recv(&mut buffer)?;
            Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
        .await
        .unwrap()
    }
}

/// Runs a test on a machine of its own.
pub(crate) fn on_a_machine<F: Future<Output = ()>>(test: impl FnOnce(Lab) -> F + Send + 'static) {
    let machine = std::thread::spawn(move || {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let lab = Lab::new().await;
            tokio::time::timeout(Duration::from_secs(60), test(lab))
                .await
                .expect("the test takes over a minute");
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    });
    if let Err(panic) = machine.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    async fn new() -> Self {
        let outside = Place::fresh();
        let (here, there) = (Connection::<Route>::new().unwrap(), outside.route());
        // Settings that the namespace took over from the machine the tests run on.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        here.set_link_up("lo").await.unwrap();
        here.add_link(VethLink::new("up0", "down0").peer_netns_fd(outside.0.as_fd()).mtu(1400))
            .await
            .unwrap();
        here.add_address(Ipv4Address::new("up0", UPLINK, 24)).await.unwrap();
        here.set_link_up("up0").await.unwrap();
        there.set_link_up("lo").await.unwrap();
        there.add_address(Ipv4Address::new("down0", OUTSIDE, 24)).await.unwrap();
        there.set_link_up("down0").await.unwrap();
        here.add_route(Ipv4Route::default_route().gateway(OUTSIDE).dev("up0")).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), outside }
    }

    pub(crate) fn config(&self, id: &str, first: u8) -> Config {
        let range = |second: u8| format!("10.{second}.0.0/16").parse().unwrap();
        let ranges = Ranges { pods: range(first), services: range(first + 1) };
        let resolv_conf = self.dir.path().join("resolv.conf");
        Config { resolv_conf, ..Config::new(self.data_dir(id), id, ranges) }
    }

    pub(crate) fn data_dir(&self, id: &str) -> PathBuf {
        self.dir.path().join(id)
    }
}

impl Drop for Lab {
    /// A test that failed leaves its namespaces mounted, and then the directory could not be deleted.
    fn drop(&mut self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
            if Path::new(mount).starts_with(self.dir.path()) {
                let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
            }
        }
    }
}

/// Everything of the host that the network could have changed.
pub(crate) async fn snapshot(lab: &Lab) -> Vec<String> {
    let route = Connection::<Route>::new().unwrap();
    let nft = Connection::<Nftables>::new().unwrap();
    let mut lines = Vec::new();
    for link in route.get_links().await.unwrap() {
        let name = link.name_or("?").to_owned();
        let setting = |family: &str, key: &str| {
            std::fs::read_to_string(format!("/proc/sys/net/{family}/conf/{name}/{key}")).unwrap_or_default()
        };
        lines.push(format!("link {} {name} {:?}", link.ifindex(), link.mtu()));
        lines.push(format!(
            "settings {name} {} {}",
            setting("ipv4", "forwarding"),
            setting("ipv6", "disable_ipv6")
        ));
    }
    for address in route.get_addresses().await.unwrap() {
        if matches!(address.primary_address(), Some(IpAddr::V4(_))) {
            lines.push(format!("address {} {:?}", address.ifindex(), address.primary_address()));
        }
    }
    for entry in route.get_routes().await.unwrap().iter().filter(|entry| entry.is_ipv4()) {
        lines.push(format!("route {} {:?} {:?}", entry.destination_str(), entry.gateway(), entry.oif()));
    }
    for table in nft.list_tables().await.unwrap() {
        lines.push(format!("table {} {:?}", table.name, table.family));
        for rule in nft.list_rules(&table.name, table.family).await.unwrap() {
            lines.push(format!("rule {} {} {:?}", table.name, rule.chain, rule.nft_syntax_stateless()));
        }
    }
    for chain in nft.list_chains().await.unwrap() {
        lines.push(format!("chain {} {} {:?}", chain.table, chain.name, chain.policy));
    }
    for key in ["ip_forward", "conf/default/forwarding", "conf/all/forwarding"] {
        lines
            .push(format!("{key} {}", std::fs::read_to_string(format!("/proc/sys/net/ipv4/{key}")).unwrap()));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = lab.dir.path().to_str().unwrap();
    lines.extend(mounts.lines().filter(|line| line.contains(dir)).map(str::to_owned));
    lines.sort();
    lines
}

pub(crate) fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

pub(crate) fn service(address: Ipv4Addr, protocol: Protocol, targets: &[SocketAddrV4]) -> ServiceEntry {
    ServiceEntry { address, port: 80, protocol, targets: targets.to_vec(), affinity: None }
}

pub(crate) fn table(entries: impl IntoIterator<Item = ServiceEntry>) -> ServiceTable {
    ServiceTable { entries: entries.into_iter().collect() }
}

/// A pod with a TCP and a UDP server on port 8080 that answer with its name.
pub(crate) async fn serving_pod(network: &NodeNetwork, name: &str) -> (PodNetwork, Place) {
    let pod = network.attach(name).await.unwrap();
    let place = Place::at(&pod.netns);
    place.serve_tcp(at(Ipv4Addr::UNSPECIFIED, 8080), name).await;
    place.serve_udp(at(Ipv4Addr::UNSPECIFIED, 8080), name).await;
    (pod, place)
}

pub(crate) fn v4(address: SocketAddr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is no IPv4 address"),
    }
}
