//! Clients that mean no good: they are refused, and the others do not notice.

use std::time::Duration;

use apiserver::{ApiServer, Config, User};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use kube::client::ConfigExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// CVE-2023-44487: streams that are opened and reset before anybody could look at them.
///
/// The frames are written by hand and at once, in one TLS record: a client library on a busy machine may reset so slowly
/// that every stream is answered first, which is no flood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_resets_end_the_connection() {
    const STREAMS: u32 = 100;
    const GO_AWAY: u8 = 7;
    const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 0xb];
    let server = Server::start().await;
    let listening = server.listen().await;
    let config = kube::config::Kubeconfig::read_from(listening.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let mut tls = config.rustls_client_config().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let authority = config.cluster_url.authority().unwrap().to_string();
    let stream = tokio::net::TcpStream::connect(&authority).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();

    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    // GET https 127.0.0.1 /, by HPACK's static table.
    let headers = [&[0x82, 0x87, 0x84, 0x01, 9][..], b"127.0.0.1"].concat();
    for id in (1..).step_by(2).take(STREAMS as usize) {
        flood.extend(frame(1, 0x5, id, &headers));
        flood.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
    }
    stream.write_all(&flood).await.unwrap();
    let mut answer = Vec::new();
    // However the connection ends, what came before counts.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    let mut rest = answer.as_slice();
    let mut reason = None;
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if *kind == GO_AWAY {
            reason = after.get(4..8);
        }
        rest = after.get(length..).unwrap_or_default();
    }
    assert_eq!(reason, Some(&ENHANCE_YOUR_CALM[..]), "{answer:?}");
    // Nobody else is concerned.
    listening.client().await.list_core_api_versions().await.unwrap();
}

/// A frame of HTTP/2: RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
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
