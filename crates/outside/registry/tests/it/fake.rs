//! A server whose answers a test decides, request by request.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;
pub(crate) type Request = http::Request<Incoming>;
pub(crate) type Response = http::Response<Body>;

pub(crate) struct Fake {
    pub(crate) host: String,
    /// `METHOD path authorization`, in order.
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&str, &Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log, own) = (Arc::new(answer), Arc::clone(&seen), host.clone());
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (answer, log, own) = (Arc::clone(&answer), Arc::clone(&log), own.clone());
                let service = service_fn(move |request: Request| {
                    let header = request.headers().get("authorization").map(|value| value.to_str().unwrap());
                    let line = format!("{} {} {}", request.method(), request.uri(), header.unwrap_or("-"));
                    log.lock().unwrap().push(line);
                    let response = answer(&own, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { host, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into()).map_err(|never| match never {}).boxed()).unwrap()
}

/// Announces all of `body` and breaks off after `sent` bytes.
pub(crate) fn broken(status: u16, body: &[u8], sent: usize) -> Response {
    let frames = [
        Ok(Frame::data(Bytes::copy_from_slice(&body[..sent]))),
        Err(std::io::Error::other("broken off on purpose")),
    ];
    let stream = StreamBody::new(futures::stream::iter(frames));
    http::Response::builder()
        .status(status)
        .header("content-length", body.len())
        .body(http_body_util::BodyExt::boxed(stream))
        .unwrap()
}
