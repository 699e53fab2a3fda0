//! The long-running parts of the process: who they are, and what happens when one ends.

use std::future::Future;
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long the parts may take to end once they were told to.
const STOP: Duration = Duration::from_secs(30);

/// The parts of the process. They run until they are stopped; one that ends before is a failure of the whole, since
/// nobody would notice what it no longer does.
#[derive(Debug)]
pub(crate) struct Tasks {
    set: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { set: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// The token by which every part is told to stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a part that cannot fail.
    pub(crate) fn run(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            part.await;
            name
        });
    }

    /// Waits until a part ends of itself, which it should not.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        match self.set.join_next().await {
            Some(Ok(name)) => anyhow!("{name} ended unexpectedly"),
            Some(Err(error)) => anyhow!(error).context("a part of the process broke down"),
            None => std::future::pending().await,
        }
    }

    /// Tells every part to stop and waits for them; what takes too long is cut off.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP, all).await.is_err() {
            tracing::warn!(seconds = STOP.as_secs(), "parts of the process did not stop in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_a_failure() {
        let mut tasks = Tasks::new();
        tasks.run("idle", std::future::pending());
        tasks.run("gitops", async {});
        assert_eq!(tasks.failure().await.to_string(), "gitops ended unexpectedly");
    }

    #[tokio::test]
    async fn parts_stop_when_told_to() {
        let mut tasks = Tasks::new();
        let token = tasks.token();
        tasks.run("server", async move { token.cancelled().await });
        tasks.stop().await;
    }
}
