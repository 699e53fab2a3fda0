//! Watches under load, and those that cannot keep up.

use std::time::Duration;

use store::{Config, Draft, Error, Expected, Scope, Store};

use crate::{draft, in_memory, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_watchers_see_all_events_in_one_order() {
    const WRITERS: usize = 4;
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask soak watches` asks for more")]
    let writes = std::env::var("MAINSTAY_SOAK_WRITES")
        .map_or(50, |all| all.parse::<usize>().expect("MAINSTAY_SOAK_WRITES is a number").div_ceil(WRITERS));
    let store = in_memory();
    let total = WRITERS * writes;
    let watchers: Vec<_> = (0..3)
        .map(|_| {
            let mut watch = store.watch(Scope::new("things", None), 0).unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < total {
                    seen.extend(watch.next(7).await.unwrap().iter().map(|event| event.object.revision));
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for write in 0..writes {
                    store.create(key(&format!("{writer}-{write}")), draft("x")).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let expected: Vec<u64> = (1..=total as u64).collect();
    for watcher in watchers {
        let seen = tokio::time::timeout(Duration::from_secs(20), watcher).await.unwrap().unwrap();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_cut_off_not_fed_gaps() {
    let config = Config { window_events: 10, ..Config::default() };
    let store = Store::in_memory(&config).unwrap();
    store.create(key("a"), draft("0")).await.unwrap();
    let mut slow = store.watch(Scope::new("things", None), 1).unwrap();
    for value in 0..20 {
        store.update(key("a"), Expected::Any, draft(&value.to_string())).await.unwrap();
    }
    assert!(matches!(slow.next(5).await, Err(Error::Compacted { requested: 1, .. })));
    assert!(matches!(store.watch(Scope::new("things", None), 5), Err(Error::Compacted { .. })));
    assert!(matches!(store.watch(Scope::new("things", None), 99), Err(Error::Future { .. })));
    store.create(key("b"), draft("0")).await.unwrap();
    assert!(store.watch(Scope::new("things", None), 21).is_ok());
}

#[tokio::test]
async fn superseded_bytes_are_bounded() {
    let config = Config { window_bytes: 100_000, ..Config::default() };
    let store = Store::in_memory(&config).unwrap();
    store.create(key("a"), draft("0")).await.unwrap();
    let large = "x".repeat(10_000);
    for _ in 0..100 {
        store.update(key("a"), Expected::Any, draft(&large)).await.unwrap();
    }
    // A small number of events stays however large they are; the rest is bounded by bytes.
    let oldest = match store.watch(Scope::new("things", None), 1) {
        Err(Error::Compacted { oldest, .. }) => oldest,
        other => panic!("{other:?}"),
    };
    assert_eq!(store.revision() - oldest, 64);
}

#[tokio::test]
async fn a_quiet_resource_keeps_its_watch_while_others_are_busy() {
    let config = Config { window_events: 10, ..Config::default() };
    let store = Store::in_memory(&config).unwrap();
    let mut quiet = store.watch(Scope::new("quiet", None), 0).unwrap();
    for value in 0..50 {
        store.create(key(&value.to_string()), draft("x")).await.unwrap();
    }
    let made =
        store.create(store::Key::new("quiet", None, "a"), Draft::with_revision_at(b"<>".to_vec(), 1)).await;
    assert_eq!(&made.unwrap().bytes[..], b"<51>");
    assert_eq!(quiet.next(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn closing_the_store_ends_its_watches() {
    let store = in_memory();
    let mut watch = store.watch(Scope::new("things", None), 0).unwrap();
    drop(store);
    let ended = tokio::time::timeout(Duration::from_secs(10), watch.next(1)).await.unwrap();
    assert!(matches!(ended, Err(Error::Closed)));
}
