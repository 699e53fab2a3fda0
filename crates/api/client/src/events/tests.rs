use std::sync::Mutex as StdMutex;

use jiff::ToSpan;

use super::*;
use crate::testing;

fn pod() -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web-0", "namespace": "shop", "uid": "u1", "resourceVersion": "7" } })
}

fn recorder() -> (Recorder, Arc<StdMutex<Vec<String>>>) {
    let requests = Arc::new(StdMutex::new(Vec::new()));
    let log = requests.clone();
    let client = testing::client(move |request| {
        log.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        testing::json(200, &json!({}))
    });
    (Recorder::new(&client, "test-controller"), requests)
}

#[tokio::test]
async fn equal_events_are_counted_others_written() {
    let (recorder, requests) = recorder();
    recorder.warning(&pod(), "BackOff", "restarting").await;
    recorder.warning(&pod(), "BackOff", "restarting").await;
    recorder.normal(&pod(), "BackOff", "restarting").await;
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0], "POST /api/v1/namespaces/shop/events");
    assert!(requests[1].starts_with("PATCH /api/v1/namespaces/shop/events/web-0."), "{requests:?}");
    assert!(requests[2].starts_with("POST"), "{requests:?}");
}

#[tokio::test]
async fn a_flood_ends() {
    let (recorder, requests) = recorder();
    for n in 0..40 {
        recorder.warning(&pod(), "Failed", &format!("attempt {n}")).await;
    }
    assert_eq!(requests.lock().unwrap().len(), 25);
}

#[test]
fn the_budget_comes_back_and_memory_is_bounded() {
    let mut recent = Recent::default();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for _ in 0..25 {
        assert_eq!(recent.next("o", "e", start), Next::New);
    }
    assert_eq!(recent.next("o", "e", start + 299.seconds()), Next::Suppressed);
    assert_eq!(recent.next("o", "e", start + 301.seconds()), Next::New);
    for n in 0..20_000i64 {
        let now = start + n.milliseconds();
        recent.next(&format!("o{n}"), "e", now);
        recent.written(format!("e{n}"), Key::cluster("k"), now);
    }
    recent.written("last".to_owned(), Key::cluster("k"), start + 20.seconds());
    assert!(matches!(recent.next("other", "last", start + 20.seconds()), Next::Repeat { count: 1, .. }));
}

#[test]
fn event_reads_as_describe_expects() {
    let (recorder, now) = (recorder_without_runtime(), "2026-01-02T03:04:05Z".parse().unwrap());
    let event = recorder.event(
        &involved_object(&pod(), Some("spec.containers{web}")),
        EventType::Normal,
        "R",
        "m",
        now,
    );
    assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{web}");
    assert_eq!(event["involvedObject"]["uid"], "u1");
    assert_eq!(event["source"]["component"], "test-controller");
    assert_eq!(event["metadata"]["namespace"], "shop");
    let long = "x".repeat(300);
    assert!(event_name(&long, now).len() <= 253);
    assert_eq!(clip("aé", 2), "a");
}

fn recorder_without_runtime() -> Recorder {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    recorder().0
}
