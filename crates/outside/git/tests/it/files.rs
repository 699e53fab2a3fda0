//! Single files behind URLs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use git::{Config, Credentials, Limits, PlainHttp, Repositories};

use super::remote;

/// Answers by path until the process ends; returns `http://127.0.0.1:PORT`. `/secret` shows the credentials it got.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let own = base.replace("127.0.0.1", "localhost");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            let headers: Vec<String> =
                lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let credentials =
                headers.iter().filter(|line| line.to_ascii_lowercase().starts_with("authorization"));
            let answer = match path.as_str() {
                "/a.yaml?x=1" => "200 OK\r\ncontent-length: 4\r\n\r\na: 1".to_owned(),
                "/moved" => format!("302 Found\r\nlocation: {own}/secret\r\ncontent-length: 0\r\n\r\n"),
                "/loop" => "302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".to_owned(),
                "/away" => {
                    "302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                "/large" => format!("200 OK\r\ncontent-length: 9000\r\n\r\n{}", "x".repeat(9000)),
                "/secret" => format!("200 OK\r\ncontent-length: 1\r\n\r\n{}", credentials.count()),
                _ => "404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            write!(connection, "HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1))
                .unwrap();
        }
    });
    base
}

#[tokio::test]
async fn a_file_is_there_or_not() {
    let base = serve();
    let (repositories, _cache) = remote();
    let found = repositories.file(&format!("{base}/a.yaml?x=1")).await.unwrap();
    assert_eq!(found.unwrap(), "a: 1");
    assert_eq!(repositories.file(&format!("{base}/b.yaml")).await.unwrap(), None);
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let base = serve();
    let cache = tempfile::tempdir().unwrap();
    let credentials =
        Credentials { url_prefix: base.clone(), username: "user".to_owned(), password: "pass".to_owned() };
    let config = Config {
        credentials: vec![credentials],
        plain_http: PlainHttp::Loopback,
        ..Config::new(cache.path())
    };
    let repositories = Repositories::new(config).unwrap();
    assert_eq!(repositories.file(&format!("{base}/secret")).await.unwrap().unwrap(), "1");
    assert_eq!(repositories.file(&format!("{base}/moved")).await.unwrap().unwrap(), "0");
}

#[tokio::test]
async fn what_leads_elsewhere_or_is_too_large_is_refused() {
    let base = serve();
    let cache = tempfile::tempdir().unwrap();
    let config = Config {
        plain_http: PlainHttp::Loopback,
        limits: Limits { file: 1000, ..Limits::default() },
        ..Config::new(cache.path())
    };
    let repositories = Repositories::new(config).unwrap();
    for (url, wanted) in [
        (format!("{base}/loop"), "it redirects too often"),
        (format!("{base}/away"), "it redirects to something that is no URL"),
        (format!("{base}/large"), "fetch"),
        (base.replace("http://", "http://user:pass@"), "is not a repository URL"),
        ("http://example.org/a".to_owned(), "plain http is refused"),
        ("file:///etc/passwd".to_owned(), "a local path"),
    ] {
        let error = repositories.file(&url).await.unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("pass@"), "{url}: {error}");
    }
}
