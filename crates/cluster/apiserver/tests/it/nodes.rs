//! What the server asks of a node, evictions, and a server that comes back.

use std::sync::{Arc, Mutex};

use apiserver::{ApiServer, Config, User};
use futures::future::BoxFuture;
use futures::stream;
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, EvictParams, LogParams, Patch, PatchParams, PostParams};
use link::{ByteStream, Connection, ExecRequest, Input, LinkError, LogRequest, Node, Output, Session};
use serde_json::{Value, json};

use crate::server::Server;

/// A node that remembers what it was asked.
#[derive(Default)]
struct Notes {
    asked: Mutex<Vec<LogRequest>>,
}

impl Node for Notes {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, LinkError>> {
        self.asked.lock().unwrap().push(request.clone());
        Box::pin(async move {
            if request.previous {
                return Err(LinkError::NoPrevious { pod: request.pod, container: request.container });
            }
            Ok(stream::iter([Ok("one\n".into()), Ok("two\n".into())]).boxed())
        })
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn bound_pod(server: &Server) -> Api<Pod> {
    let pods: Api<Pod> = Api::namespaced(server.admin(), "default");
    let pod: Pod = from(json!({"metadata": {"name": "p", "labels": {"app": "p"}}, "spec": {"containers": [
        {"name": "main", "image": "x"}, {"name": "side", "image": "x"}]}}));
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "here"}}).to_string();
    let request =
        http::Request::post("/api/v1/namespaces/default/pods/p/binding").body(binding.into_bytes()).unwrap();
    server.admin().request_text(request).await.unwrap();
    pods
}

fn said<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an answer of the API: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_from_the_node() {
    let server = Server::start().await;
    let pods = bound_pod(&server).await;
    let main = LogParams { container: Some("main".to_owned()), ..LogParams::default() };
    assert_eq!(said(pods.logs("p", &main).await), (503, "the node is not running".to_owned()));
    let node = Arc::new(Notes::default());
    server.api.set_node(node.clone());
    let params = LogParams { tail_lines: Some(5), timestamps: true, ..main.clone() };
    assert_eq!(pods.logs("p", &params).await.unwrap(), "one\ntwo\n");
    let expected =
        LogRequest { tail_lines: Some(5), timestamps: true, ..LogRequest::new("default", "p", "main") };
    assert_eq!(*node.asked.lock().unwrap(), [expected]);
    let which = said(pods.logs("p", &LogParams::default()).await);
    assert_eq!(
        which,
        (400, "a container name must be specified for pod p, choose one of: [main side]".to_owned())
    );
    let before = said(pods.logs("p", &LogParams { previous: true, ..main }).await);
    assert_eq!(before, (400, r#"previous terminated container "main" in pod "p" not found"#.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eviction_respects_the_budget() {
    let server = Server::start().await;
    let pods = bound_pod(&server).await;
    let running = json!({"status": {"phase": "Running"}});
    pods.patch_status("p", &PatchParams::default(), &Patch::Merge(running)).await.unwrap();
    let budgets: Api<k8s_openapi::api::policy::v1::PodDisruptionBudget> =
        Api::namespaced(server.admin(), "default");
    let budget = from(
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}}),
    );
    budgets.create(&PostParams::default(), &budget).await.unwrap();
    let (code, message) = said(pods.evict("p", &EvictParams::default()).await);
    assert_eq!(code, 429, "{message}");
    let allowed = json!({"status": {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    budgets.patch_status("b", &PatchParams::default(), &Patch::Merge(allowed)).await.unwrap();
    pods.evict("p", &EvictParams::default()).await.unwrap();
    assert!(pods.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    let left = budgets.get("b").await.unwrap().status.unwrap();
    assert_eq!(left.disruptions_allowed, 0);
}

/// A node whose every command repeats its input, says who it is on standard error, and ends with the code that its
/// first argument names; and whose every port answers with what it is sent.
pub(crate) struct Echo;

impl Node for Echo {
    fn logs(&self, _: LogRequest) -> BoxFuture<'_, Result<ByteStream, LinkError>> {
        Box::pin(async { Ok(stream::iter([Ok("line\n".into())]).boxed()) })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Session, LinkError>> {
        Box::pin(async move {
            let (input, said) = futures::channel::mpsc::channel::<Input>(4);
            let code = request.command[0].parse().unwrap_or(0);
            let who = format!("{} tty={}\n", request.container, request.tty);
            let echoed = said.take_while(|input| futures::future::ready(*input != Input::End)).filter_map(
                async |input| match input {
                    Input::Bytes(bytes) => Some(Ok(Output::Stdout(bytes))),
                    _ => None,
                },
            );
            let echoed = if request.stdin { echoed.boxed() } else { stream::empty().boxed() };
            let last = stream::iter([Ok(Output::Stderr(who.into())), Ok(Output::Ended(code))]);
            let input = input.sink_map_err(|_| LinkError::Unavailable);
            Ok(Session { input: Box::pin(input), output: echoed.chain(last).boxed() })
        })
    }

    fn connect(&self, _: String, pod: String, port: u16) -> BoxFuture<'_, Result<Connection, LinkError>> {
        Box::pin(async move {
            if port == 1 {
                let source = std::io::ErrorKind::ConnectionRefused.into();
                return Err(LinkError::Connect { pod, port, source });
            }
            let (input, output) = futures::channel::mpsc::channel(4);
            let input = Box::pin(input.sink_map_err(|_| LinkError::Unavailable));
            Ok(Connection { input, output: output.map(Ok).boxed() })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_runs_commands_and_attaches() {
    let server = Server::start().await;
    bound_pod(&server).await;
    server.api.set_node(Arc::new(Echo));
    let listening = server.listen().await;
    tokio::task::spawn_blocking(move || {
        let typed = listening.kubectl(&["exec", "-i", "p", "-c", "side", "--", "0"], "typed\n");
        assert!(typed.status.success(), "{}", String::from_utf8_lossy(&typed.stderr));
        assert_eq!((&*typed.stdout, &*typed.stderr), (&b"typed\n"[..], &b"side tty=false\n"[..]));
        let failed = listening.kubectl(&["exec", "p", "-c", "main", "--", "7"], "");
        assert_eq!(failed.status.code(), Some(7));
        assert!(String::from_utf8_lossy(&failed.stderr).contains("command terminated with exit code 7"));
        let missing = listening.fail_with(&["exec", "p", "-c", "nobody", "--", "0"], "");
        assert!(missing.contains("container nobody is not valid for pod p"), "{missing}");
        for arguments in [&["attach", "p", "-c", "main"][..], &["attach", "-i", "p", "-c", "main"]] {
            let attached = listening.kubectl(arguments, "typed\n");
            let said = String::from_utf8_lossy(&attached.stderr);
            assert!(attached.stdout.starts_with(b"line\n"), "{said}");
        }
        // Older clients speak SPDY, and kubectl still does if it is told to.
        let older = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
        let typed = listening.kubectl_in(&[older], &["exec", "-i", "p", "-c", "side", "--", "0"], "typed\n");
        assert!(typed.status.success(), "{}", String::from_utf8_lossy(&typed.stderr));
        assert_eq!((&*typed.stdout, &*typed.stderr), (&b"typed\n"[..], &b"side tty=false\n"[..]));
        let long = "a line of some length\n".repeat(40_000);
        for environment in [&[][..], &[older]] {
            let echoed =
                listening.kubectl_in(environment, &["exec", "-i", "p", "-c", "side", "--", "0"], &long);
            assert!(echoed.stdout == long.as_bytes(), "{}", String::from_utf8_lossy(&echoed.stderr));
        }
        let failed = listening.kubectl_in(&[older], &["exec", "p", "-c", "main", "--", "7"], "");
        assert_eq!(failed.status.code(), Some(7), "{}", String::from_utf8_lossy(&failed.stderr));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    bound_pod(&server).await;
    server.api.set_node(Arc::new(Echo));
    let listening = server.listen().await;
    let pods: Api<Pod> = Api::namespaced(listening.client().await, "default");
    let mut forwarder = pods.portforward("p", &[8080, 1]).await.unwrap();
    let mut port = forwarder.take_stream(8080).unwrap();
    port.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    port.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    let refused = forwarder.take_error(1).unwrap().await.unwrap();
    assert!(refused.contains("connect with port 1"), "{refused}");
}

/// What a server behind a forwarded port answers to all that it is sent.
fn echoed(port: u16, sent: &[u8]) -> Vec<u8> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.to_vec();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_forwards_ports() {
    let server = Server::start().await;
    let pods = bound_pod(&server).await;
    let running = json!({"status": {"phase": "Running"}});
    pods.patch_status("p", &PatchParams::default(), &Patch::Merge(running)).await.unwrap();
    server.api.set_node(Arc::new(Echo));
    let listening = server.listen().await;
    tokio::task::spawn_blocking(move || {
        let long: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        // Inside a WebSocket, as kubectl does it by itself, and straight, as older ones did.
        for environment in [&[][..], &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")]] {
            let forwarding = listening.forward(environment, &["port-forward", "pod/p", ":8080"]);
            assert_eq!(echoed(forwarding.port, b"ping"), b"ping");
            assert!(echoed(forwarding.port, &long) == long, "{environment:?}");
            let port = forwarding.port;
            let many: Vec<_> = (0..20_u8)
                .map(|at| std::thread::spawn(move || assert_eq!(echoed(port, &[at; 70_000]), [at; 70_000])))
                .collect();
            many.into_iter().for_each(|thread| thread.join().unwrap());
            drop(forwarding);
            let refused = listening.forward(environment, &["port-forward", "pod/p", ":1"]);
            assert_eq!(echoed(refused.port, b""), b"");
            let said = refused.said();
            assert!(said.contains("error forwarding port 1 to pod p: connect with port 1"), "{said}");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_upgraded_says_so() {
    let server = Server::start().await;
    bound_pod(&server).await;
    server.api.set_node(Arc::new(Echo));
    let ask = async |headers: &[(&str, &str)]| {
        let mut request =
            http::Request::post("/api/v1/namespaces/default/pods/p/exec?command=ls&container=main");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        said(server.admin().request_text(request.body(Vec::new()).unwrap()).await)
    };
    assert_eq!(ask(&[]).await, (400, "Upgrade request required".to_owned()));
    let spdy = [("upgrade", "SPDY/3.1"), ("connection", "Upgrade")];
    let (code, message) = ask(&spdy).await;
    assert!(code == 400 && message.starts_with("unable to negotiate protocol"), "{message}");
    let (code, message) = ask(&[spdy[0], spdy[1], ("x-stream-protocol-version", "v4.channel.k8s.io")]).await;
    assert!(code == 400 && message.contains("needs HTTP/1.1 over a socket"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_has_everything_and_makes_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let pki = || apiserver::pki::Pki::open(&directory.path().join("pki")).unwrap();
    let start = async || {
        let store = store::Store::open(&directory.path().join("store"), &store::Config::default()).unwrap();
        ApiServer::start(Config::new(store, &pki())).await.unwrap()
    };
    let client = |server: &ApiServer| kube::Client::new(server.service(User::admin()), "default");
    let server = start().await;
    let secrets: Api<Secret> = Api::namespaced(client(&server), "default");
    let made = secrets
        .create(&PostParams::default(), &from(json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})))
        .await;
    let made = made.unwrap();
    let version = made.metadata.resource_version.clone();
    drop(secrets);
    server.stop().await;
    drop(server);
    // The client's own worker lets go of the service a moment after its last handle.
    let server = loop {
        match store::Store::open(&directory.path().join("store"), &store::Config::default()) {
            Ok(store) => break ApiServer::start(Config::new(store, &pki())).await.unwrap(),
            Err(store::Error::InUse) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let secrets: Api<Secret> = Api::namespaced(client(&server), "default");
    assert_eq!(secrets.get("s").await.unwrap(), made);
    let list = secrets.list(&kube::api::ListParams::default()).await.unwrap();
    assert_eq!(list.metadata.resource_version, version, "a second start writes nothing");
    secrets.delete("s", &DeleteParams::default()).await.unwrap();
}
