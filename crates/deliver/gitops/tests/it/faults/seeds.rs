//! Errors, lost answers and torn watches, chosen by seeds.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use test_kit::{Faults, Trouble};

use super::platform::{Commit, Platform};
use super::rounds;

/// Seeds at the same time: most of one's time is spent waiting.
const AT_ONCE: usize = 4;
/// Calls that go wrong while one commit is deployed.
const TROUBLES: u32 = 6;
/// The deadline of a request.
const REQUEST: Duration = Duration::from_secs(30);
/// No seed may take longer, whatever goes wrong.
const DEADLINE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_the_cluster_ends_as_git_describes_it() {
    let seeds = rounds(24);
    let begun = Instant::now();
    let mut failures = stream::iter(0..seeds)
        .map(|seed| async move {
            let run = tokio::spawn(tokio::time::timeout(DEADLINE, one(seed)));
            match run.await {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(format!("seed {seed}: not done after {DEADLINE:?}")),
                Err(panic) => Some(format!("seed {seed}: {panic}")),
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|failure| async { failure })
        .boxed();
    let first = failures.next().await;
    assert!(first.is_none(), "{first:?}");
    println!("{seeds} seeds ended as Git describes it ({:?})", begun.elapsed());
}

/// All commits, each with its troubles; `u64::MAX` has none.
async fn one(seed: u64) {
    let platform = Platform::new().await;
    let mut troubles = 0;
    let mut round = 0;
    let mut syncs = 0;
    for commit in [Commit::First, Commit::Renamed, Commit::Broken, Commit::Mended] {
        round += 1;
        let left = if seed == u64::MAX { 0 } else { TROUBLES };
        let faults = Faults::seeded(seed.wrapping_mul(31).wrapping_add(round), left);
        if commit != Commit::First {
            platform.commit(commit);
        }
        let process = platform.start(&faults);
        if commit == Commit::Broken {
            let before = platform.marked().await;
            platform.refused().await;
            platform.verify(Commit::Renamed).await;
            assert_eq!(
                platform.marked().await,
                before,
                "nothing is applied or pruned while nothing can be rendered"
            );
        } else {
            syncs += 1;
            platform.deployed().await;
            platform.verify(commit).await;
        }
        if commit == Commit::Mended {
            platform.drift().await;
            platform.healed("3").await;
            platform.deployed().await;
            platform.verify(commit).await;
        }
        troubles += faults.troubles().values().sum::<u32>() as usize;
        drop(process);
    }
    // Each trouble may end one attempt; whatever runs again is a sync of everything.
    for hook in ["migrate", "smoke"] {
        let runs = platform.runs(hook);
        assert!((syncs..=syncs + troubles).contains(&runs), "{hook} ran {runs} times in {syncs} syncs");
    }
    if seed == u64::MAX {
        assert_eq!((platform.runs("migrate"), platform.runs("smoke")), (syncs, syncs));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_goes_wrong_every_hook_runs_once_a_sync() {
    one(u64::MAX).await;
}

/// Neither the first request nor the write of an object is ever answered: both end by the deadline of a request.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_never_come_are_not_waited_for() {
    let platform = Platform::new().await;
    let faults = Faults::none();
    faults.plan("POST /api/v1/namespaces/shop/configmaps", Trouble::Hangs);
    let _process = platform.start(&faults);
    platform.deployed_within(2 * REQUEST).await;
    platform.verify(Commit::First).await;
    assert_eq!(faults.troubles()[&Trouble::Hangs], 1);
}

/// The comparison after a sync fails, and with it the pass that made the sync.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sync_came_to_is_told_whatever_fails_after_it() {
    let platform = Platform::new().await;
    let faults = Faults::none();
    let _process = platform.start(&faults);
    platform.deployed().await;
    let one = "/api/v1/namespaces/shop/configmaps/one";
    faults.plan_after(&format!("PATCH {one}"), &format!("GET {one}"), Trouble::ServerError);
    platform.drift().await;
    platform.healed("1").await;
    platform
        .told("the healing", |state| {
            state["operation"]["sync"]["autoHealAttemptsCount"] == 1 && state["phase"] == "Succeeded"
        })
        .await;
    assert_eq!(faults.troubles()[&Trouble::ServerError], 1);
}

/// A hook that is to go stays until its deletion succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_cannot_be_deleted_is_deleted_later() {
    let platform = Platform::new().await;
    let faults = Faults::none();
    for trouble in [Trouble::ServerError, Trouble::TimeoutAfter] {
        faults.plan("DELETE /apis/batch/v1/namespaces/shop/jobs/smoke", trouble);
    }
    let _process = platform.start(&faults);
    platform.deployed().await;
    platform.verify(Commit::First).await;
    assert_eq!(faults.troubles().values().sum::<u32>(), 2);
}
