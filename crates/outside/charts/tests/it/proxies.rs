//! Repositories that are reached through a proxy of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use charts::{Error, Freshness, Repository};
use test_kit::FileServer;

use crate::world::World;

/// Tunnels every connection to one place, and keeps what it was asked for.
fn proxy(place: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:sesame@{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (place, log) = (place.clone(), Arc::clone(&log));
            std::thread::spawn(move || tunnel(client, &place, &log));
        }
    });
    (url, asked)
}

fn tunnel(client: TcpStream, place: &str, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        log.lock().unwrap().push(line.trim().to_owned());
        line.clear();
    }
    let (mut to_client, server) = (client, TcpStream::connect(place).unwrap());
    to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut from_server, mut to_server) = (server.try_clone().unwrap(), server);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let _ = std::io::copy(&mut reader, &mut to_server);
}

#[tokio::test]
async fn a_proxy_is_used_but_for_the_hosts_it_is_not_for() {
    let world = World::new();
    world.chart("web", "1.0.0");
    world.index();
    let server = FileServer::start(&world.served());
    let place = server.url().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let port = place.rsplit(':').next().unwrap();
    let (proxy, asked) = proxy(place.clone());
    let through = |host: &str, no_proxy: &str| Repository {
        proxy: proxy.clone(),
        no_proxy: no_proxy.to_owned(),
        ..Repository::new(format!("http://{host}:{port}"))
    };
    let charts = world.charts();
    // Nobody but the proxy knows the name.
    let repository = through("charts.invalid", "example.org");
    assert_eq!(charts.pull(&repository, "web", "*", Freshness::Recent).await.unwrap().version, "1.0.0");
    let lines = asked.lock().unwrap().clone();
    assert!(lines.contains(&format!("CONNECT charts.invalid:{port} HTTP/1.1")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.to_lowercase().starts_with("proxy-authorization: basic ")),
        "{lines:?}"
    );

    asked.lock().unwrap().clear();
    let spared = through("127.0.0.1", "127.0.0.0/8");
    charts.pull(&spared, "web", "*", Freshness::Latest).await.unwrap();
    assert!(asked.lock().unwrap().is_empty());
    let spared = through("charts.invalid", ".invalid");
    let error = charts.pull(&spared, "web", "*", Freshness::Latest).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn proxies_that_cannot_be_are_refused_without_their_password() {
    let charts = World::new().charts();
    for (url, proxy) in [
        ("https://charts.example.org", "ftp://user:sesame@host"),
        ("oci://ghcr.io/team/charts", "http://user:sesame@host"),
    ] {
        let repository = Repository { proxy: proxy.to_owned(), ..Repository::new(url) };
        let error = charts.pull(&repository, "web", "1.0.0", Freshness::Recent).await.unwrap_err();
        assert!(matches!(error, Error::Url { .. }), "{error}");
        assert!(!format!("{error:?}").contains("sesame") && error.to_string().contains("prox"), "{error}");
    }
}
