//! Clients that mean no good: they are refused, and the others do not notice.

use std::time::{Duration, Instant};

use apiserver::{ApiServer, Config, User};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use kube::client::ConfigExt;
use tower::ServiceExt;

use crate::server::Server;

/// Far more than any of these takes, far less than what they try to make of it.
const SOON: Duration = Duration::from_secs(20);

async fn post(server: &Server, media: &str, body: String) -> (StatusCode, String) {
    let request = Request::post("/api/v1/namespaces/default/configmaps").header("content-type", media);
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let answer = tokio::time::timeout(SOON, server.api.service(User::admin()).oneshot(request)).await;
    let answer = answer.expect("an answer in time").unwrap();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

/// CVE-2019-11253: a small document that becomes a huge one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_explode_are_refused() {
    let server = Server::start().await;
    let mut bomb =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a: &a [x,x,x,x,x,x,x,x,x]\n"
            .to_owned();
    for (name, below) in ('b'..='z').zip('a'..) {
        let aliases = vec![format!("*{below}"); 9].join(",");
        bomb.push_str(&format!("  {name}: &{name} [{aliases}]\n"));
    }
    let (status, said) = post(&server, "application/yaml", bomb).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = 200_000;
        let value = format!("{}1{}", open.repeat(deep), close.repeat(deep));
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"deep"}},"data":{value}}}"#
        );
        let (status, said) = post(&server, "application/json", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{}", said.chars().take(300).collect::<String>());
    }
    let deep = format!("apiVersion: v1\nkind: ConfigMap\ndata: {}", "[".repeat(500_000));
    assert_eq!(post(&server, "application/yaml", deep).await.0, StatusCode::BAD_REQUEST);
    let long = format!(r#"{{"kind":"ConfigMap","data":{{"a":"{}"}}}}"#, "x".repeat(4 << 20));
    assert_eq!(post(&server, "application/json", long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

/// CVE-2023-44487: streams that are opened and reset as fast as they can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_resets_end_the_connection() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let config = kube::config::Kubeconfig::read_from(listening.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let mut tls = config.rustls_client_config().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let authority = config.cluster_url.authority().unwrap().to_string();
    let stream = tokio::net::TcpStream::connect(&authority).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let ended = tokio::spawn(connection);
    let begun = Instant::now();
    let mut sent = 0;
    while !ended.is_finished() && begun.elapsed() < SOON {
        let request =
            Request::get(format!("https://{authority}/api/v1/pods")).body(Empty::<Bytes>::new()).unwrap();
        let Ok(()) = sender.ready().await else { break };
        // Dropping the answer's future resets the stream.
        drop(sender.send_request(request));
        sent += 1;
        tokio::task::yield_now().await;
    }
    let result = tokio::time::timeout(SOON, ended).await.expect("the connection ends").unwrap();
    assert!(result.is_err(), "after {sent} streams: {result:?}");
    // Nobody else is concerned.
    listening.client().await.list_core_api_versions().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_leaves_room_for_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = store::Store::open(&directory.path().join("store"), &store::Config::default()).unwrap();
    let config =
        Config { client_watches: 2, ..Config::new(store, &apiserver::pki::Pki::ephemeral().unwrap()) };
    let api = ApiServer::start(config).await.unwrap();
    let watch = async |user: User| {
        let request = Request::get("/api/v1/pods?watch=1").body(Empty::<Bytes>::new()).unwrap();
        api.service(user).oneshot(request).await.unwrap()
    };
    let open = [watch(User::admin()).await, watch(User::admin()).await];
    assert!(open.iter().all(|answer| answer.status() == StatusCode::OK));
    let refused = watch(User::admin()).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let other = User::new("other", ["system:masters"]);
    assert_eq!(watch(other).await.status(), StatusCode::OK);
    drop(open);
    assert_eq!(watch(User::admin()).await.status(), StatusCode::OK);
}
