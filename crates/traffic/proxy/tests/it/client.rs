//! The client's side, in plain bytes where bytes matter.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends these bytes and returns all that comes back until the connection ends.
pub(crate) async fn raw(proxy: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// One request on a connection of its own: status and body.
pub(crate) async fn request(
    proxy: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let length = body.len();
    let answer = raw(
        proxy,
        &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"),
    )
    .await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    (status, answer.split_once("\r\n\r\n").expect("an end of the head").1.to_owned())
}

pub(crate) async fn get(proxy: SocketAddr, host: &str, path: &str) -> (u16, String) {
    request(proxy, "GET", host, path, "").await
}
