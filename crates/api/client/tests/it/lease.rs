//! Several candidates for one Lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::dynamic::DeleteOptions;
use client::lease::{Election, LEASES, Lost, Timings};
use client::{Api, Client, Key};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{LIMIT, start};

/// The shortest that whole seconds allow.
const QUICK: Timings = Timings {
    duration: Duration::from_secs(1),
    renew_deadline: Duration::from_millis(600),
    retry: Duration::from_millis(50),
};

fn candidate(client: &Client, name: &str) -> Election {
    Election::new(client, Key::namespaced("default", "leader"), name.to_owned(), QUICK)
}

async fn spec(client: &Client) -> Value {
    Api::new(client, &LEASES).get(&Key::namespaced("default", "leader")).await.unwrap()["spec"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_lease_is_taken_at_once_and_a_crashed_ones_when_it_runs_out() {
    let (_cluster, admin) = start().await;
    let mut first = candidate(&admin, "first");
    first.acquire().await;
    let held = spec(&admin).await;
    assert_eq!((&held["holderIdentity"], &held["leaseDurationSeconds"]), (&json!("first"), &json!(1)));
    assert_eq!(held["leaseTransitions"], 0);

    let mut second = candidate(&admin, "second");
    let holder = second.holder();
    let waiting = tokio::spawn(async move {
        second.acquire().await;
        second
    });
    test_kit::eventually_async("the second one knows whom it waits for", LIMIT, || async {
        let known = holder.borrow().clone();
        if known == "first" { Ok(()) } else { Err(known) }
    })
    .await;
    // As long as it is renewed nobody else gets it.
    let held = tokio::time::timeout(QUICK.duration * 2, first.hold()).await;
    assert!(held.is_err(), "{held:?}");
    assert!(!waiting.is_finished());
    first.release().await.unwrap();
    let second = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(second.identity(), "second");
    assert_eq!(spec(&admin).await["leaseTransitions"], 1);

    // The second one crashes: it neither renews nor releases.
    drop(second);
    let crashed = Instant::now();
    let mut third = candidate(&admin, "third");
    tokio::time::timeout(LIMIT, third.acquire()).await.unwrap();
    assert!(crashed.elapsed() >= QUICK.duration, "a lease is left its time: {:?}", crashed.elapsed());
    let taken = spec(&admin).await;
    assert_eq!((&taken["holderIdentity"], &taken["leaseTransitions"]), (&json!("third"), &json!(2)));
    // Who comes back to a lease that another holds has lost it.
    let mut late = candidate(&admin, "second");
    assert_eq!(late.hold().await, Lost::Taken { by: "third".to_owned() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_somebody_deleted_is_made_anew() {
    let (_cluster, admin) = start().await;
    let mut leader = candidate(&admin, "leader");
    leader.acquire().await;
    let key = Key::namespaced("default", "leader");
    Api::new(&admin, &LEASES).delete(&key, &DeleteOptions::default()).await.unwrap();
    let held = tokio::time::timeout(QUICK.renew_deadline, leader.hold()).await;
    assert!(held.is_err(), "{held:?}");
    assert_eq!(spec(&admin).await["holderIdentity"], "leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_one_leads_whatever_happens() {
    let (_cluster, admin) = start().await;
    let (leading, terms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let stop = CancellationToken::new();
    let candidates: Vec<_> = (0..4)
        .map(|number| {
            let (leading, terms, stop) = (Arc::clone(&leading), Arc::clone(&terms), stop.clone());
            let mut candidate = candidate(&admin, &format!("candidate-{number}"));
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = candidate.acquire() => {}
                    }
                    assert!(!leading.swap(true, Ordering::SeqCst), "two lead");
                    terms.fetch_add(1, Ordering::SeqCst);
                    let held = tokio::time::timeout(QUICK.retry * 3, candidate.hold()).await;
                    assert!(held.is_err(), "{held:?}");
                    leading.store(false, Ordering::SeqCst);
                    candidate.release().await.unwrap();
                }
            })
        })
        .collect();
    test_kit::eventually_async("several terms", LIMIT, || async {
        let done = terms.load(Ordering::SeqCst);
        if done >= 8 { Ok(()) } else { Err(done) }
    })
    .await;
    stop.cancel();
    for candidate in candidates {
        candidate.await.unwrap();
    }
}
