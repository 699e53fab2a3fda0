//! Events are news: they go after an hour, and the oldest earlier if there are very many.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use store::{Expected, Key, ListOptions, Scope};

use crate::core::Core;
use crate::object;

const RESOURCE: &str = "events";
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// Events kept at most.
const MOST: usize = 10_000;
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Removes old events from time to time, until the server stops.
pub(crate) fn begin(core: &Arc<Core>) {
    // The task does not keep the store open: dropping the server frees its file at once.
    let (held, shutdown) = (Arc::downgrade(core), core.shutdown.clone());
    core.tasks.spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let Some(core) = held.upgrade() else { return };
            sweep(&core, Timestamp::now()).await;
        }
    });
}

async fn sweep(core: &Core, now: Timestamp) {
    let Ok(page) = core.store.list(&Scope::new(RESOURCE, None), &ListOptions::default()) else { return };
    let mut events = Vec::with_capacity(page.items.len());
    for (path, stored) in page.items {
        let Ok(event) = object::decode(&stored.bytes) else { continue };
        events.push((last_seen(&event).unwrap_or(Timestamp::UNIX_EPOCH), path, stored.revision, event));
    }
    events.sort_by_key(|(seen, ..)| *seen);
    let surplus = events.len().saturating_sub(MOST);
    let horizon = now.saturating_sub(LIFETIME).unwrap_or(Timestamp::MIN);
    for (index, (seen, path, revision, event)) in events.into_iter().enumerate() {
        if index >= surplus && seen >= horizon {
            return;
        }
        let (namespace, name) = path.split_once('/').unwrap_or(("", &path));
        let key = Key::new(RESOURCE, Some(namespace), name);
        // One that was counted up in the meantime is news again.
        if let Err(error) = core.store.delete(key, Expected::At(revision), object::draft(&event)).await {
            tracing::debug!(error = %error, "an old event stays");
        }
    }
}

/// When an event was last counted.
fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().filter_map(|time| time.as_str()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_an_events_times_counts() {
        let event = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "lastTimestamp": null,
            "eventTime": "2026-01-01T00:00:01.000000Z", "series": {"lastObservedTime": "2026-01-01T00:10:00.000000Z"}});
        assert_eq!(last_seen(&event), "2026-01-01T00:10:00Z".parse().ok());
        assert_eq!(last_seen(&json!({})), None);
    }
}
