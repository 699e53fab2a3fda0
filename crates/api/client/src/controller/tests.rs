use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::resource::{PODS, REPLICA_SETS};
use crate::testing;

/// A server with two replica sets and one pod of the first; watches stay silent.
fn cluster() -> Client {
    let silent = Arc::new(Mutex::new(Vec::new()));
    testing::client(move |request| {
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            let (sender, receiver) = mpsc::unbounded_channel();
            silent.lock().unwrap().push(sender);
            return testing::stream(receiver);
        }
        let object = |name: &str, owner: &[Value]| json!({ "metadata": { "name": name, "namespace": "a", "ownerReferences": owner } });
        let items = if request.uri().path().ends_with("/pods") {
            let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u",
                "controller": true });
            vec![object("web-1", &[owner])]
        } else {
            vec![object("web", &[]), object("db", &[])]
        };
        testing::json(200, &json!({ "metadata": { "resourceVersion": "1" }, "items": items }))
    })
}

async fn until(what: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(3600), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the state was reached");
}

#[tokio::test(start_paused = true)]
async fn owners_are_reconciled_and_failures_repeated_until_shutdown() {
    let passes = Arc::new(Mutex::new(Vec::new()));
    let log = passes.clone();
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(
        Controller::new("test", cluster())
            .primary(REPLICA_SETS)
            .owned(PODS, REPLICA_SETS)
            .concurrency(2)
            .run(
                move |key| {
                    let mut log = log.lock().unwrap();
                    log.push(key.to_string());
                    let attempts = log.iter().filter(|name| **name == key.to_string()).count();
                    async move {
                        match (key.name.as_str(), attempts) {
                            ("db", 1) => Err("not yet".into()),
                            ("db", 2) => panic!("a bug"),
                            _ => Ok::<_, BoxError>(Action::Done),
                        }
                    }
                },
                shutdown.clone(),
            ),
    );
    let count = |name: &str| passes.lock().unwrap().iter().filter(|pass| *pass == name).count();
    until(|| count("a/db") == 3 && count("a/web") >= 1).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(1), run).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_resync_enqueues_everything_again() {
    let passes = Arc::new(AtomicUsize::new(0));
    let counter = passes.clone();
    let shutdown = CancellationToken::new();
    let controller =
        Controller::new("test", cluster()).primary(REPLICA_SETS).resync(Duration::from_secs(600));
    let reconcile = move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, BoxError>(Action::Done) }
    };
    let started = tokio::time::Instant::now();
    let run = tokio::spawn(controller.run(reconcile, shutdown.clone()));
    until(|| passes.load(Ordering::SeqCst) == 4).await;
    assert!(started.elapsed() >= Duration::from_secs(540), "{:?}", started.elapsed());
    shutdown.cancel();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn passes_are_bounded_and_shutdown_waits_for_them() {
    let (running, most, ended) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let shutdown = CancellationToken::new();
    let reconcile = {
        let (running, most, ended) = (running.clone(), most.clone(), ended.clone());
        move |_: Key| {
            let (running, most, ended) = (running.clone(), most.clone(), ended.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                ended.fetch_add(1, Ordering::SeqCst);
                Ok::<_, BoxError>(Action::Done)
            }
        }
    };
    let (sender, receiver) = mpsc::channel(16);
    for name in ["a", "b", "c", "d"] {
        sender.send(Key::cluster(name)).await.unwrap();
    }
    let run = tokio::spawn(
        Controller::new("test", cluster()).triggers(receiver).concurrency(3).run(reconcile, shutdown.clone()),
    );
    until(|| running.load(Ordering::SeqCst) == 3).await;
    shutdown.cancel();
    run.await.unwrap();
    assert_eq!((most.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (3, 3));
}
