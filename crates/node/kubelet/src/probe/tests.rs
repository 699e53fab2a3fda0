use std::net::Ipv4Addr;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::testing::FakeRuntime;

fn check(probe: Value, port: u16) -> Check {
    let probe: Probe = serde_json::from_value(probe).unwrap();
    let container = json!({"name": "app", "ports": [{"name": "http", "containerPort": port}]});
    Check::of_probe(&probe, &serde_json::from_value(container).unwrap(), Ipv4Addr::LOCALHOST.into())
}

fn target(runtime: &Arc<FakeRuntime>) -> Target {
    Target { runtime: Arc::clone(runtime) as Arc<dyn Runtime>, container_id: "c".into() }
}

async fn ask(check: &Check) -> Answer {
    check.run(&target(&FakeRuntime::new()), Duration::from_millis(500)).await
}

/// Answers every connection with the text chosen by its request, then closes it; returns its port and what it was asked.
async fn server(answer: impl Fn(&str) -> String + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let size = stream.read(&mut buffer).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&buffer[..size]).into_owned();
            let text = answer(&request);
            log.lock().unwrap().push(request);
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    (port, asked)
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nok")
}

#[tokio::test]
async fn http_succeeds_from_200_to_399() {
    let (port, asked) =
        server(|request| status(if request.starts_with("GET /ok?x=1 ") { "204 No" } else { "503 No" })).await;
    let probe = json!({"httpGet": {"path": "/ok?x=1", "port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}});
    assert_eq!(ask(&check(probe, port)).await, Answer::Success);
    let request = asked.lock().unwrap()[0].to_ascii_lowercase();
    for header in ["user-agent: kube-probe/1.34\r\n", "x-a: b\r\n", &format!("host: 127.0.0.1:{port}\r\n")] {
        assert!(request.contains(header), "{header}: {request}");
    }
    let failed = ask(&check(json!({"httpGet": {"path": "no", "port": port}}), port)).await;
    assert_eq!(failed, Answer::Failure("HTTP probe failed with statuscode: 503".into()));
}

#[tokio::test]
async fn redirects_on_the_same_host_are_followed() {
    let (port, asked) = server(|request| {
        if request.starts_with("GET / ") {
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            status("500 No")
        }
    })
    .await;
    let failed = ask(&check(json!({"httpGet": {"port": port}}), port)).await;
    assert_eq!(failed, Answer::Failure("HTTP probe failed with statuscode: 500".into()));
    assert_eq!(asked.lock().unwrap().len(), 2);
    let (port, _) =
        server(|_| "HTTP/1.1 301 M\r\nLocation: https://example.org/\r\nContent-Length: 0\r\n\r\n".into())
            .await;
    assert_eq!(ask(&check(json!({"httpGet": {"port": port}}), port)).await, Answer::Success);
}

#[tokio::test]
async fn silence_and_closed_ports_fail_with_gos_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let Answer::Failure(text) = ask(&check(json!({"httpGet": {"port": port}}), port)).await else {
        panic!("succeeded")
    };
    assert!(text.contains("context deadline exceeded"), "{text}");
    assert_eq!(ask(&check(json!({"tcpSocket": {"port": port}}), port)).await, Answer::Success);
    drop(listener);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(
        ask(&check(json!({"tcpSocket": {"port": port}}), port)).await,
        Answer::Failure(refused.clone())
    );
    let http = ask(&check(json!({"httpGet": {"port": port}}), port)).await;
    assert_eq!(http, Answer::Failure(format!("Get \"http://127.0.0.1:{port}/\": {refused}")));
}

#[tokio::test]
async fn an_unknown_port_name_is_said() {
    let Answer::Failure(text) = ask(&check(json!({"tcpSocket": {"port": "nope"}}), 1)).await else {
        panic!("succeeded")
    };
    assert!(text.contains("nope"), "{text}");
}

#[test]
fn thresholds_count_answers_in_a_row() {
    let timing =
        Timing::of(&Probe { failure_threshold: Some(2), success_threshold: Some(2), ..Probe::default() });
    let mut count = Count::default();
    let answers = [true, false, true, true, false, false, true];
    let outcomes: Vec<_> = answers.into_iter().map(|answer| count.add(answer, &timing)).collect();
    assert_eq!(outcomes, [None, None, None, Some(true), None, Some(false), None]);
}

#[test]
fn defaults_are_those_of_the_api() {
    let timing = Timing::of(&Probe::default());
    let seconds = [timing.initial_delay, timing.period, timing.timeout].map(|duration| duration.as_secs());
    assert_eq!((seconds, timing.success_threshold, timing.failure_threshold), ([0, 10, 1], 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_prober_keeps_its_times_and_reports_changes() {
    let runtime = FakeRuntime::new();
    runtime.machine().exec_code = 1;
    let timing = Timing {
        initial_delay: Duration::from_secs(30),
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 3,
    };
    let reports: Arc<Mutex<Vec<(u64, Report)>>> = Arc::default();
    let (log, began) = (Arc::clone(&reports), Instant::now());
    let report = move |report| log.lock().unwrap().push((began.elapsed().as_secs(), report));
    let check = Check::Exec(vec!["x".into()]);
    // The container has been running for 5 s already.
    run(Kind::Liveness, timing, check, target(&runtime), Duration::from_secs(5), report).await;
    let failed = || Report::Failed("out".into());
    assert_eq!(
        *reports.lock().unwrap(),
        [(25, failed()), (35, failed()), (45, failed()), (45, Report::Outcome(false))]
    );
}
