//! Uploads to a registry that is slow, and to one that stands still.

use std::convert::Infallible;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use registry::{Cause, Error, Keyring, Reference, Registry, RegistryConfig};

use crate::fake::{Request, Response, response};
use crate::image::image;

const IDLE: Duration = Duration::from_secs(2);
/// More than the buffers of a connection hold.
const LAYER: usize = 24 << 20;
/// What the registry takes at once, before it rests.
const PIECE: usize = 2 << 20;

/// A registry that takes uploads piece by piece, each after a rest, and answers after one more.
async fn registry(rest: fn(usize) -> Duration) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service =
                service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, rest).await) });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
            );
        }
    });
    (host, task)
}

async fn answer(request: Request, rest: fn(usize) -> Duration) -> Response {
    match *request.method() {
        Method::HEAD => response(404, &[], ""),
        Method::POST => response(202, &[("location", "/v2/a/blobs/uploads/1")], ""),
        _ => {
            let mut body = request.into_body();
            let (mut taken, mut rested) = (0, 0);
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.into_data().map_or(0, |data| data.len());
                if taken - rested >= PIECE {
                    rested = taken;
                    tokio::time::sleep(rest(taken)).await;
                }
            }
            if taken >= PIECE {
                tokio::time::sleep(IDLE * 3 / 2).await;
            }
            response(201, &[], "")
        }
    }
}

async fn push(rest: fn(usize) -> Duration) -> Result<(), Error> {
    let (host, task) = registry(rest).await;
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), &vec![7; LAYER]);
    let client = Registry::new(RegistryConfig { idle_timeout: IDLE, ..RegistryConfig::default() }).unwrap();
    let name = Reference::parse(&format!("{host}/a:1")).unwrap();
    let pushed = client.push(&name, &image, &Keyring::default()).await;
    task.abort();
    pushed.map(drop)
}

#[tokio::test]
async fn an_upload_may_take_longer_than_it_may_stand_still() {
    push(|_| IDLE / 8).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    let error =
        push(|taken| if taken > LAYER / 4 { Duration::from_secs(3600) } else { Duration::ZERO }).await;
    let cause = match error.unwrap_err() {
        Error::Attempts { mut attempts, .. } => attempts.remove(0).cause,
        other @ Error::Mirror(_) => panic!("{other}"),
    };
    assert!(matches!(cause, Cause::Idle { .. }), "{cause}");
}
