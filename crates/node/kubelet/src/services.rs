//! The node's part of a Service: addresses that lead to ready Pods, and names that lead to addresses.
//!
//! Watches Services, EndpointSlices and Namespaces, keeps of each only what the rules are made of, and after every burst of
//! changes sets the whole state once. While one is being set, changes gather for the next, so the rate follows the machine.

mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use client::resource::{ENDPOINT_SLICES, NAMESPACES, SERVICES};
use client::watch::{Event, WatchOptions, watch};
use client::{ResourceType, chain};
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use table::State;

/// Waits before a failed setting of rules is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Services,
    Slices,
    Namespaces,
}

/// Follows the API until `shutdown`.
pub(crate) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    tokio::select! {
        () = follow(&shared) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn follow(shared: &Shared) {
    let open = |source: Source, resource: &ResourceType, options| {
        watch(&shared.config.client, resource, options).map(move |event| (source, event)).boxed()
    };
    let mut events = stream::select_all([
        open(Source::Services, &SERVICES, WatchOptions::default()),
        open(Source::Slices, &ENDPOINT_SLICES, WatchOptions::default()),
        open(Source::Namespaces, &NAMESPACES, WatchOptions::metadata()),
    ]);
    let mut state = State::default();
    let mut synced = [false; 3];
    let mut changed = false;
    let mut retry = false;
    loop {
        // Everything that is there already is taken in before anything is set.
        let event = if changed && synced.iter().all(|synced| *synced) {
            tokio::select! {
                biased;
                event = events.next() => event,
                () = std::future::ready(()), if !retry => None,
                () = tokio::time::sleep(RETRY), if retry => None,
            }
        } else {
            events.next().await
        };
        match event {
            Some((source, Event::Applied(object))) => changed |= take(&mut state, source, &object),
            Some((source, Event::Deleted(object))) => changed |= remove(&mut state, source, &object),
            Some((source, Event::Resynced(keys))) => {
                synced[source as usize] = true;
                changed |= match source {
                    Source::Services => state.retain_services(&keys),
                    Source::Slices => state.retain_slices(&keys),
                    Source::Namespaces => state.retain_namespaces(&keys),
                };
                // Even an empty cluster is a state to set.
                changed |= synced.iter().all(|synced| *synced);
            }
            None => {
                retry = !set(shared, &mut state).await;
                changed = retry;
            }
        }
    }
}

fn take(state: &mut State, source: Source, object: &serde_json::Value) -> bool {
    match source {
        Source::Services => state.set_service(object),
        Source::Slices => state.set_slice(object),
        Source::Namespaces => state.set_namespace(object),
    }
}

fn remove(state: &mut State, source: Source, object: &serde_json::Value) -> bool {
    match source {
        Source::Services => state.remove_service(object),
        Source::Slices => state.remove_slice(object),
        Source::Namespaces => state.remove_namespace(object),
    }
}

async fn set(shared: &Shared, state: &mut State) -> bool {
    shared.services.send_replace(Some(Arc::new(state.addresses())));
    shared.runtime().set_dns(state.zone());
    match shared.runtime().set_services(state.table()).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = chain(&error), "the Service rules could not be set; trying again");
            false
        }
    }
}
