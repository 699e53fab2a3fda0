//! One suite of what a GitOps controller does, on the embedded API and on the real kube-apiserver.
//!
//! The cases are text: each has a repository, a few steps, and what is expected after each. They run against the API
//! server in this process; with `MAINSTAY_REFERENCE` set to a kubeconfig (`cargo xtask conformance gitops` does) against
//! the cluster it leads to instead, where the same is expected to the letter. Every case has a controller, a
//! namespace for its Applications and a namespace for their objects to itself, so that many run at once and nothing
//! needs to be cleaned between them.

mod cases;
pub(crate) mod seen;
mod stage;
mod webhook;

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};

use cases::Case;
use stage::Stage;

use super::place::Place;

/// Cases at the same time: most of them wait for the controller most of the time.
const AT_ONCE: usize = 8;
/// No case may take longer, whatever it waits for.
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn behaves_as_described() {
    let wanted = std::env::var_os("MAINSTAY_CASES").unwrap_or_default().into_string().unwrap();
    let cases: Vec<Case> =
        cases::read().into_iter().filter(|case| case.title().contains(wanted.as_str())).collect();
    assert!(!cases.is_empty(), "no case has {wanted:?} in its name");
    let place = Place::find().await;
    let begun = Instant::now();
    let failures: Vec<String> = stream::iter(cases.iter().enumerate())
        .map(|(number, case)| one(&place, number, case))
        .buffer_unordered(AT_ONCE)
        .filter_map(|failure| async { failure })
        .collect()
        .await;
    let passed = cases.len() - failures.len();
    println!("{passed} of {} cases behave as described on {place} ({:?})", cases.len(), begun.elapsed());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Runs a case; what went wrong, if anything did.
async fn one(place: &Place, number: usize, case: &Case) -> Option<String> {
    let run = async {
        let stage = Stage::set(place, number, case).await?;
        for (index, step) in case.steps.iter().enumerate() {
            stage.step(step).await.map_err(|problem| format!("step {}: {problem}", index + 1))?;
        }
        stage.end().await;
        Ok::<(), String>(())
    };
    let outcome = tokio::time::timeout(DEADLINE, run).await;
    let problem = outcome.unwrap_or_else(|_| Err(format!("not done after {DEADLINE:?}"))).err()?;
    Some(format!("{}\n  {problem}", case.title()))
}
