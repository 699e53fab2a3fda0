use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use proxy::{Certificates, Config, Proxy, Timeouts};
use routing::{HostMatch, PathMatch, RouteSpec, Table, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::client::{get, raw, request};

struct Running {
    address: SocketAddr,
    table: Arc<ArcSwap<Table>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(timeouts: Timeouts) -> Self {
        let table = Arc::new(ArcSwap::from_pointee(Table::default()));
        let config =
            Config { table: table.clone(), certificates: Arc::default(), timeouts, connections: 1_000 };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (proxy, token) = (Proxy::new(config), stop.clone());
        let task = tokio::spawn(async move { proxy.serve_http(listener, token).await });
        Self { address, table, stop, task }
    }

    /// Makes these endpoints answer for `api.checkmate`.
    fn route(&self, endpoints: &[SocketAddr]) {
        let targets = vec![Target { backend: "api".to_owned(), weight: 1, endpoints: endpoints.to_vec() }];
        let spec = RouteSpec {
            name: "api".to_owned(),
            host: HostMatch::parse("api.checkmate"),
            path: PathMatch::Prefix("/".to_owned()),
            targets,
        };
        let table = Table::new([spec], Some(&self.table.load()));
        self.table.store(Arc::new(table));
    }

    fn retries(&self) -> u64 {
        self.table.load().routes().map(|route| route.stats.snapshot().retries).sum()
    }
}

#[tokio::test]
async fn passes_requests_on_and_says_who_asked() {
    let (running, backend) = (Running::start(Timeouts::default()).await, Backend::start("a").await);
    running.route(&[backend.address]);
    let port = running.address.port();
    let answer = raw(
        running.address,
        &format!("POST /users?page=2 HTTP/1.1\r\nHost: API.checkmate:{port}\r\nX-Forwarded-For: 6.6.6.6\r\nX-Custom: 1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nalice"),
    )
    .await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(body.starts_with("a POST /users?page=2 "), "{body}");
    assert!(body.ends_with(" 5"), "{body}");
    for header in [
        format!("host=API.checkmate:{port}"),
        "x-custom=1".to_owned(),
        "x-forwarded-for=127.0.0.1".to_owned(),
        "x-real-ip=127.0.0.1".to_owned(),
        "x-forwarded-proto=http".to_owned(),
        format!("x-forwarded-port={port}"),
        format!("x-forwarded-host=API.checkmate:{port}"),
    ] {
        assert!(body.contains(&header), "{header} in {body}");
    }
    assert!(!body.contains("6.6.6.6"), "{body}");
}

#[tokio::test]
async fn says_what_is_missing() {
    let running = Running::start(Timeouts::default()).await;
    assert_eq!(get(running.address, "api.checkmate", "/").await, (404, "404 page not found\n".to_owned()));
    running.route(&[]);
    assert_eq!(get(running.address, "api.checkmate", "/").await, (503, "no available server\n".to_owned()));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    running.route(&[nobody]);
    assert_eq!(get(running.address, "api.checkmate", "/").await, (502, "Bad Gateway".to_owned()));
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up() {
    let timeouts = Timeouts { answer: Duration::from_millis(100), ..Timeouts::default() };
    let (running, backend) = (Running::start(timeouts).await, Backend::start("a").await);
    running.route(&[backend.address]);
    assert_eq!(get(running.address, "api.checkmate", "/never").await, (504, "Gateway Timeout".to_owned()));
}

#[tokio::test]
async fn refuses_what_could_be_read_two_ways() {
    let (running, backend) = (Running::start(Timeouts::default()).await, Backend::start("a").await);
    running.route(&[backend.address]);
    // A chunked body wins over a length, and the length is not passed on (RFC 9112 §6.3): the endpoint sees one
    // request whose body is empty.
    let head = "POST / HTTP/1.1\r\nHost: api.checkmate\r\nConnection: close\r\nContent-Length: 4\r\n";
    let hidden = "GET /admin HTTP/1.1\r\nHost: api.checkmate\r\n\r\n";
    let answer =
        raw(running.address, &format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(" 0"), "{answer}");
    assert!(!answer.contains("/admin"), "{answer}");
    let answer = raw(running.address, &format!("{head}Content-Length: 5\r\n\r\nabcd")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let nowhere = raw(running.address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(nowhere.starts_with("HTTP/1.1 400 "), "{nowhere}");
}

#[tokio::test]
async fn large_bodies_stream_through() {
    let (running, backend) = (Running::start(Timeouts::default()).await, Backend::start("a").await);
    running.route(&[backend.address]);
    let body = "x".repeat(8 << 20);
    let (status, answer) = request(running.address, "PUT", "api.checkmate", "/", &body).await;
    assert_eq!(status, 200);
    assert!(answer.ends_with(&format!(" {}", body.len())), "{answer}");
}

#[tokio::test]
async fn a_connection_can_change_its_protocol() {
    let (running, backend) = (Running::start(Timeouts::default()).await, Backend::start("a").await);
    running.route(&[backend.address]);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let ask = "GET /ws HTTP/1.1\r\nHost: api.checkmate\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"ping").await.unwrap();
    let mut echo = String::new();
    stream.read_to_string(&mut echo).await.unwrap();
    assert_eq!(echo, "gnip");
}

/// Endpoints come and go, gracefully and abruptly, under requests on kept and on new connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_endpoints_come_and_go() {
    let running = Running::start(Timeouts::default()).await;
    let steady = Backend::start("steady").await;
    let mut passing = Backend::start("passing").await;
    running.route(&[steady.address, passing.address]);
    let (done, answered) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (done, answered, address) = (done.clone(), answered.clone(), running.address);
            tokio::spawn(async move {
                while !done.is_cancelled() {
                    let (status, body) = get(address, "api.checkmate", "/").await;
                    assert_eq!(status, 200, "{body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more_answers = || async {
        let enough = answered.load(Ordering::Relaxed) + 30;
        test_kit::eventually_async("requests are answered", Duration::from_secs(30), || async {
            let now = answered.load(Ordering::Relaxed);
            if now >= enough { Ok(()) } else { Err(now) }
        })
        .await;
    };
    for round in 0..20 {
        more_answers().await;
        let next = Backend::start("passing").await;
        if round % 2 == 0 {
            // As with a Pod that stops: first it leaves the table, then it ends.
            running.route(&[steady.address, next.address]);
            passing.stop().await;
        } else {
            // As with a crash: it is gone before the table knows.
            passing.kill().await;
            more_answers().await;
            running.route(&[steady.address, next.address]);
        }
        passing = next;
    }
    done.cancel();
    for client in clients {
        client.await.unwrap();
    }
    assert!(running.retries() > 0, "nothing was put to the test");
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let (running, backend) = (Running::start(Timeouts::default()).await, Backend::start("a").await);
    running.route(&[backend.address]);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: api.checkmate\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"al").await.unwrap();
    // The endpoint has the request in hand once it is counted there.
    test_kit::eventually_async("the request is in hand", Duration::from_secs(10), || async {
        let table = running.table.load_full();
        let busy: usize = table
            .routes()
            .flat_map(|route| route.backends())
            .flat_map(|b| b.endpoints())
            .map(|e| e.in_flight())
            .sum();
        if busy == 1 { Ok(()) } else { Err(busy) }
    })
    .await;
    running.stop.cancel();
    stream.write_all(b"ex").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    running.task.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn tls_serves_the_certificate_of_the_name() {
    let backend = Backend::start("a").await;
    let running = Running::start(Timeouts::default()).await;
    running.route(&[backend.address]);
    let made = rcgen::generate_simple_self_signed(["api.checkmate".to_owned()]).unwrap();
    let mut certificates = Certificates::default();
    certificates
        .add("api.checkmate", made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())
        .unwrap();
    let proxy = Proxy::new(Config {
        table: running.table.clone(),
        certificates: Arc::new(ArcSwap::from_pointee(certificates)),
        timeouts: Timeouts::default(),
        connections: 10,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = running.stop.clone();
    tokio::spawn(async move { proxy.serve_https(listener, stop).await });

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let connect = |name: &'static str| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await.unwrap();
            connector.connect(name.try_into().unwrap(), stream).await
        }
    };
    let mut stream = connect("api.checkmate").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: api.checkmate\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The proxy may end the connection without TLS's farewell.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("x-forwarded-proto=https"), "{answer}");
    assert!(connect("other.checkmate").await.is_err());
}
