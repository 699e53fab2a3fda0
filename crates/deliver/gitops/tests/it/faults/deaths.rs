//! The controller dies at any call of a sync, and another one takes over.

use std::time::Duration;

use serde_json::Value;
use test_kit::{Calls, Death, Faults};

use super::platform::{Commit, Platform};
use super::rounds;

/// How long a controller may live that dies at a call it does not come to.
const LIVES: Duration = Duration::from_secs(60);

/// Deploys a commit with a controller that dies, and goes on with one that does not; before that, `instead` may take
/// the commit's place. Whether the first one died.
async fn round(
    platform: &Platform,
    commit: Commit,
    instead: Option<Commit>,
    dies: (Calls, usize, Death),
) -> bool {
    platform.commit(commit);
    let before = (platform.runs("migrate"), platform.runs("smoke"));
    let (calls, number, death) = dies;
    let faults = Faults::none().dying(calls, number, death);
    let dying = platform.start(&faults);
    let died = async {
        tokio::select! {
            () = faults.died() => true,
            _ = platform.deployed() => false,
        }
    };
    let died = tokio::time::timeout(LIVES, died).await.expect("it dies or deploys");
    drop(dying);
    // What its status had said of a hook, nobody does again.
    let state = platform.application().await["status"]["operationState"].clone();
    let told = |hook: &str| {
        let same = state["syncResult"]["revision"] == platform.head().as_str() && state["phase"] == "Running";
        let results = state["syncResult"]["resources"].as_array();
        let begun = |one: &Value| one["name"] == hook && one["status"] == "Synced";
        instead.is_none() && same && results.is_some_and(|all| all.iter().any(begun))
    };
    let told = (told("migrate"), told("smoke"));
    if let Some(instead) = instead {
        platform.commit(instead);
    }
    let next = platform.start(&Faults::none());
    match instead {
        None => platform.deployed().await,
        // It may never have been left.
        Some(_) => platform.settled().await,
    };
    platform.verify(instead.unwrap_or(commit)).await;
    drop(next);
    for (hook, before, told) in [("migrate", before.0, told.0), ("smoke", before.1, told.1)] {
        let runs = platform.runs(hook) - before;
        let most = if told { 1 } else { 2 };
        let least = usize::from(instead.is_none());
        assert!(
            (least..=most).contains(&runs),
            "{dies:?} {instead:?}: {hook} ran {runs} times, told: {told}"
        );
    }
    died
}

async fn all(calls: Calls, most: usize) -> usize {
    let platform = Platform::new().await;
    {
        let _process = platform.start(&Faults::none());
        platform.deployed().await;
    }
    let (mut now, mut other) = (Commit::First, Commit::Renamed);
    for number in 0..most {
        let mut alive = 0;
        for death in [Death::Before, Death::After] {
            // Every other time the history is rewritten to what it was, so that what was begun is to be undone.
            let instead = (number % 2 == usize::from(death == Death::Before)).then_some(now);
            alive += usize::from(!round(&platform, other, instead, (calls, number, death)).await);
            if instead.is_none() {
                (now, other) = (other, now);
            }
        }
        // The sync is over before so many calls.
        if alive == 2 {
            return number;
        }
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_write_of_a_sync_is_made_good() {
    let writes = all(Calls::Writes, usize::MAX).await;
    println!("died at each of {writes} writes");
    assert!(writes > 10, "a sync writes more often than {writes} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_of_a_sync_is_made_good() {
    let most = usize::try_from(rounds(4)).expect("a number of calls");
    println!("died at each of {} calls", all(Calls::All, most).await);
}
