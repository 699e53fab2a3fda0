use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::resource::CONFIG_MAPS;
use crate::testing::{self, Answer};

fn config_map(name: &str, version: u32) -> Value {
    json!({ "metadata": { "name": name, "namespace": "a", "resourceVersion": version.to_string() } })
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn list(items: &[Value], version: u32) -> Answer {
    testing::json(200, &json!({ "metadata": { "resourceVersion": version.to_string() }, "items": items }))
}

/// A server that answers requests in turn and remembers their queries; afterwards it keeps a watch open and silent.
fn scripted(answers: Vec<Answer>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let queries = Arc::new(Mutex::new(Vec::new()));
    let log = queries.clone();
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let held = Arc::new(Mutex::new(Vec::new()));
    let client = testing::client(move |request| {
        log.lock().unwrap().push(request.uri().query().unwrap_or("").to_owned());
        answers.lock().unwrap().pop_front().unwrap_or_else(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            held.lock().unwrap().push(sender);
            testing::stream(receiver)
        })
    });
    (client, queries)
}

fn watch_answer(lines: &[String]) -> Answer {
    let (sender, receiver) = mpsc::unbounded_channel();
    for line in lines {
        sender.send(line.clone()).unwrap();
    }
    testing::stream(receiver)
}

async fn names(client: &Client, count: usize) -> Vec<String> {
    let events = watch(client, &CONFIG_MAPS, WatchOptions::default()).take(count);
    events
        .map(|event| match event {
            Event::Applied(object) => format!("+{}", meta::name(&object)),
            Event::Deleted(object) => format!("-{}", meta::name(&object)),
            Event::Resynced(keys) => {
                format!("={}", keys.iter().map(Key::to_string).collect::<Vec<_>>().join(","))
            }
        })
        .collect()
        .await
}

#[tokio::test(start_paused = true)]
async fn lists_then_follows_and_resumes_from_the_last_bookmark() {
    let first = watch_answer(&[
        line("ADDED", &config_map("two", 7)),
        line("DELETED", &config_map("one", 8)),
        line("BOOKMARK", &json!({ "metadata": { "resourceVersion": "20" } })),
    ]);
    let second = watch_answer(&[line("MODIFIED", &config_map("two", 21))]);
    let (client, queries) = scripted(vec![list(&[config_map("one", 3)], 5), first, second]);
    assert_eq!(names(&client, 5).await, ["+one", "=a/one", "+two", "-one", "+two"]);
    let queries = queries.lock().unwrap();
    assert!(queries[1].contains("resourceVersion=5"), "{queries:?}");
    assert!(queries[1].contains("allowWatchBookmarks=true"), "{queries:?}");
    assert!(queries[2].contains("resourceVersion=20"), "{queries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_place_lists_again() {
    let gone =
        json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version" });
    let (client, _) = scripted(vec![
        list(&[config_map("one", 3)], 5),
        watch_answer(&[line("ERROR", &gone)]),
        list(&[config_map("two", 9)], 9),
        testing::json(410, &gone),
        list(&[], 12),
    ]);
    assert_eq!(names(&client, 5).await, ["+one", "=a/one", "+two", "=a/two", "="]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_is_asked_again_with_growing_waits() {
    let failure = || testing::json(500, &json!({ "kind": "Status", "code": 500, "message": "no" }));
    let (client, queries) = scripted(vec![failure(), failure(), failure(), list(&[config_map("one", 3)], 5)]);
    let started = tokio::time::Instant::now();
    assert_eq!(names(&client, 2).await, ["+one", "=a/one"]);
    assert_eq!(queries.lock().unwrap().len(), 4);
    let waited = started.elapsed();
    let (least, most) = (FIRST_WAIT.mul_f64(7.0 * 0.75), FIRST_WAIT.mul_f64(7.0 * 1.25));
    assert!(waited >= least && waited <= most + Duration::from_millis(5), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_type_that_vanishes_leaves_an_empty_set() {
    let (client, _) = scripted(vec![
        list(&[config_map("one", 3)], 5),
        testing::json(
            404,
            &json!({ "kind": "Status", "code": 404, "message": "the server could not find it" }),
        ),
        list(&[config_map("two", 9)], 9),
    ]);
    assert_eq!(names(&client, 5).await, ["+one", "=a/one", "=", "+two", "=a/two"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_replaced() {
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    let (client, _) = scripted(vec![
        list(&[], 5),
        testing::stream(receiver),
        watch_answer(&[line("ADDED", &config_map("one", 6))]),
    ]);
    assert_eq!(names(&client, 2).await, ["=", "+one"]);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn metadata_watches_drop_the_rest_even_if_the_server_sends_it() {
    let mut object = config_map("one", 3);
    object["data"] = json!({ "k": "v" });
    let (client, _) = scripted(vec![list(&[object], 5)]);
    let events: Vec<Event> = watch(&client, &CONFIG_MAPS, WatchOptions::metadata()).take(1).collect().await;
    let Event::Applied(object) = &events[0] else { panic!("{events:?}") };
    assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), ["apiVersion", "kind", "metadata"]);
    assert_eq!(object["kind"], "ConfigMap");
}

#[tokio::test]
async fn lines_survive_any_split() {
    let (sender, receiver) = mpsc::unbounded_channel();
    for part in ["{\"a\"", ":1}\n\n{\"b\":2}\n{\"c\"", ":3}", "\n{\"cut"] {
        sender.send(part.to_owned()).unwrap();
    }
    drop(sender);
    let (_, body) = testing::client_body(testing::stream(receiver)).await;
    let mut lines = Lines::new(body);
    let mut found = Vec::new();
    while let Some(line) = lines.next().await {
        found.push(String::from_utf8(line.unwrap().to_vec()).unwrap());
    }
    assert_eq!(found, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
}
