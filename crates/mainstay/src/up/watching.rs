//! Following Applications and Pods, and telling the person about them.

use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use client::watch::{Event, WatchOptions, watch};
use client::{Client, resource};
use futures::{Stream, StreamExt as _};
use objects::meta;
use tokio::time::Instant;

use crate::up::progress::Progress;

/// How long nothing may move before it counts as standing: controllers answer each other within this time.
const STILL: Duration = Duration::from_millis(300);

/// Prints a line for each thing that changes, and once, when everything stands for the first time, what `summary` says.
/// Runs until it is dropped.
pub(crate) async fn follow(client: &Client, start: Instant, summary: impl FnOnce(&Progress) -> String) {
    let applications = watch(client, &resource::APPLICATIONS, WatchOptions::default())
        .map(|event| (Kind::Application, event));
    let pods = watch(client, &resource::PODS, WatchOptions::default()).map(|event| (Kind::Pod, event));
    let mut events = pin!(futures::stream::select(applications, pods));
    let mut progress = Progress::default();
    let mut summary = Some(summary);
    loop {
        let event = if summary.is_some() && progress.settled() {
            match tokio::time::timeout(STILL, events.next()).await {
                Ok(event) => event,
                Err(_) => {
                    if let Some(summary) = summary.take() {
                        say(&summary(&progress));
                    }
                    continue;
                }
            }
        } else {
            next(&mut events).await
        };
        let Some((kind, event)) = event else { return };
        if let Some(line) = line(&mut progress, kind, event) {
            say(&format!("{:>7.1}s  {line}", start.elapsed().as_secs_f64()));
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Application,
    Pod,
}

async fn next<S: Stream + Unpin>(events: &mut S) -> Option<S::Item> {
    events.next().await
}

fn line(progress: &mut Progress, kind: Kind, event: Event) -> Option<String> {
    match (kind, event) {
        (Kind::Application, Event::Applied(object)) => progress.application(&object),
        (Kind::Application, Event::Deleted(object)) => progress.application_gone(meta::name(&object)),
        (Kind::Pod, Event::Applied(object)) => progress.pod(&object),
        (Kind::Pod, Event::Deleted(object)) => {
            progress.pod_gone(meta::namespace(&object).unwrap_or_default(), meta::name(&object))
        }
        (_, Event::Resynced(_)) => None,
    }
}

/// A terminal that is gone is no reason to stop the platform.
pub(crate) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{text}");
    let _ = output.flush();
}
