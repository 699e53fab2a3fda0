//! The reconcile loop.
//!
//! A [`Controller`] turns events into keys and calls `reconcile` with a key and nothing else. It guarantees:
//! - one key is never reconciled twice at the same time, and an event during a pass causes another pass after it;
//! - events that arrive faster than passes are merged; at most `concurrency` passes run;
//! - a failed pass (an error or a panic) is repeated after an exponential wait per key (5 ms, doubled, at most 30 s unless
//!   set otherwise); a success ends that;
//! - the primary objects are enqueued again after every gap in any watch, and slowly all the time, so that an event lost anywhere is repaired;
//! - on shutdown no new pass starts, running ones get 10 s to end, and every task is joined before `run` returns.
//!
//! It keeps keys, never objects: mapping functions see an object once. Reads inside `reconcile` go to the API and see every
//! earlier write, so a pass needs no expectations about writes it has not yet observed.

mod queue;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kube::Client;
use objects::meta::Key;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use queue::Queue;

use crate::dynamic::ListOptions;
use crate::watch::{Event, WatchOptions, watch};
use crate::{Api, Error, ResourceType, chain};

/// What a successful pass asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the next event.
    Done,
    /// Another pass after this time, or at the next event if that comes first.
    RequeueAfter(Duration),
}

/// A boxed error of a pass.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Map = Arc<dyn Fn(&Value) -> Vec<Key> + Send + Sync>;

struct Source {
    resource: ResourceType,
    options: WatchOptions,
    map: Map,
    primary: bool,
    when: When,
}

/// Which events of a source enqueue keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Deleted,
}

/// A reconcile loop being put together.
pub struct Controller {
    name: &'static str,
    client: Client,
    sources: Vec<Source>,
    external: Vec<mpsc::Receiver<Key>>,
    resync: Duration,
    concurrency: usize,
    backoff: (Duration, Duration),
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The owner whose key a mapping yields: the controller reference of `object`, if it is of this group and kind.
pub fn controller_owner(object: &Value, owner: &ResourceType) -> Vec<Key> {
    objects::meta::controller_of(object)
        .filter(|reference| {
            let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
            reference.kind == owner.kind && group == owner.group
        })
        .map(|reference| Key::new(objects::meta::namespace(object), &reference.name))
        .into_iter()
        .collect()
}

impl Controller {
    /// `name` appears in logs. Without further calls: one pass at a time, a full resync every 10 minutes.
    pub fn new(name: &'static str, client: Client) -> Controller {
        Controller {
            name,
            client,
            sources: Vec::new(),
            external: Vec::new(),
            resync: Duration::from_secs(600),
            concurrency: 1,
            backoff: (Duration::from_millis(5), Duration::from_secs(30)),
        }
    }

    /// The objects that are reconciled: each event enqueues the object's own key, and resyncs list this type.
    pub fn primary(self, resource: ResourceType) -> Controller {
        self.primary_with(resource, WatchOptions::metadata(), |object| vec![Key::of(object)])
    }

    /// [`Controller::primary`] with a selection, or with keys that are not the object's own.
    pub fn primary_with(
        mut self,
        resource: ResourceType,
        options: WatchOptions,
        map: impl Fn(&Value) -> Vec<Key> + Send + Sync + 'static,
    ) -> Controller {
        self.push(resource, options, map, true, When::Always);
        self
    }

    /// Primary objects of which only deletions matter; resyncs still enqueue the keys of those that exist.
    pub fn primary_deletions(
        mut self,
        resource: ResourceType,
        map: impl Fn(&Value) -> Vec<Key> + Send + Sync + 'static,
    ) -> Controller {
        self.push(resource, WatchOptions::metadata(), map, true, When::Deleted);
        self
    }

    /// Objects controlled by a primary object of type `owner`: their events enqueue the owner.
    pub fn owned(self, resource: ResourceType, owner: ResourceType) -> Controller {
        self.watches(resource, WatchOptions::metadata(), move |object| controller_owner(object, &owner))
    }

    /// Any other objects; `map` names the keys that an event concerns. It also sees the last state of deleted objects.
    pub fn watches(
        mut self,
        resource: ResourceType,
        options: WatchOptions,
        map: impl Fn(&Value) -> Vec<Key> + Send + Sync + 'static,
    ) -> Controller {
        self.push(resource, options, map, false, When::Always);
        self
    }

    /// Other objects of which only deletions matter; `map` sees their last metadata.
    pub fn deletions(
        mut self,
        resource: ResourceType,
        map: impl Fn(&Value) -> Vec<Key> + Send + Sync + 'static,
    ) -> Controller {
        self.push(resource, WatchOptions::metadata(), map, false, When::Deleted);
        self
    }

    fn push(
        &mut self,
        resource: ResourceType,
        options: WatchOptions,
        map: impl Fn(&Value) -> Vec<Key> + Send + Sync + 'static,
        primary: bool,
        when: When,
    ) {
        self.sources.push(Source { resource, options, map: Arc::new(map), primary, when });
    }

    /// Keys that come from elsewhere than a watch.
    pub fn triggers(mut self, keys: mpsc::Receiver<Key>) -> Controller {
        self.external.push(keys);
        self
    }

    /// How often all primary objects are enqueued although nothing was seen to change. 10 minutes unless set.
    pub fn resync(mut self, every: Duration) -> Controller {
        self.resync = every;
        self
    }

    /// How many keys are reconciled at the same time. 1 unless set.
    pub fn concurrency(mut self, passes: usize) -> Controller {
        self.concurrency = passes.max(1);
        self
    }

    /// The wait after a key's first failure and the longest one.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Controller {
        self.backoff = (first, longest);
        self
    }

    /// Runs until shutdown.
    pub async fn run<F, Fut, E>(self, reconcile: F, shutdown: CancellationToken)
    where
        F: Fn(Key) -> Fut,
        Fut: Future<Output = Result<Action, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let queue = Arc::new(Queue::new(self.backoff.0, self.backoff.1));
        let stop = shutdown.child_token();
        let mut feeders = JoinSet::new();
        let sources: Arc<[Source]> = self.sources.into();
        for index in 0..sources.len() {
            feeders.spawn(follow(self.client.clone(), sources.clone(), index, queue.clone(), stop.clone()));
        }
        for keys in self.external {
            feeders.spawn(forward(keys, queue.clone(), stop.clone()));
        }
        feeders.spawn(resync(self.client, sources, self.resync, queue.clone(), stop.clone()));
        work(self.name, self.concurrency, &queue, reconcile, &stop).await;
        stop.cancel();
        while feeders.join_next().await.is_some() {}
    }
}

/// How long running passes may take after shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(10);

async fn work<F, Fut, E>(
    name: &'static str,
    concurrency: usize,
    queue: &Arc<Queue>,
    reconcile: F,
    stop: &CancellationToken,
) where
    F: Fn(Key) -> Fut,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let mut passes = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = passes.join_next(), if !passes.is_empty() => {}
            key = queue.next(), if passes.len() < concurrency => {
                let pass = AssertUnwindSafe(reconcile(key.clone()));
                let queue = queue.clone();
                passes.spawn(async move {
                    let outcome = match pass.catch_unwind().await {
                        Ok(Ok(action)) => Ok(action),
                        Ok(Err(error)) => Err(error.into()),
                        Err(panic) => Err(panic_text(panic.as_ref()).into()),
                    };
                    settle(name, &queue, &key, outcome);
                });
            }
        }
    }
    let drained = async { while passes.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(controller = name, "passes did not end in time and were cut off");
        passes.shutdown().await;
    }
}

fn settle(name: &str, queue: &Queue, key: &Key, outcome: Result<Action, BoxError>) {
    match outcome {
        Ok(action) => {
            queue.succeeded(key);
            if let Action::RequeueAfter(wait) = action {
                queue.add_after(key, wait);
            }
        }
        Err(error) => {
            let wait = queue.failed(key);
            let expected = error.downcast_ref::<Error>().is_some_and(Error::is_conflict);
            if expected {
                tracing::debug!(controller = name, %key, ?wait, error = chain(error.as_ref()), "reconcile again");
            } else {
                tracing::warn!(controller = name, %key, ?wait, error = chain(error.as_ref()), "reconcile failed");
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the pass panicked: {}", text.unwrap_or("without a text"))
}

async fn follow(
    client: Client,
    sources: Arc<[Source]>,
    index: usize,
    queue: Arc<Queue>,
    stop: CancellationToken,
) {
    let source = &sources[index];
    let mut events = std::pin::pin!(watch(&client, &source.resource, source.options.clone()));
    let mut listed = false;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Event::Applied(_)) if source.when == When::Deleted => {}
            Some(Event::Applied(object) | Event::Deleted(object)) => {
                for key in (source.map)(&object) {
                    queue.add(&key);
                }
            }
            // Deletions inside a gap were not seen, so their owners must look again. The first list closes no gap.
            Some(Event::Resynced(_)) => {
                if std::mem::replace(&mut listed, true) {
                    enqueue_all(&client, &sources, &queue).await;
                }
            }
        }
    }
}

async fn forward(mut keys: mpsc::Receiver<Key>, queue: Arc<Queue>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            key = keys.recv() => match key {
                Some(key) => queue.add(&key),
                None => return,
            },
        }
    }
}

async fn resync(
    client: Client,
    sources: Arc<[Source]>,
    every: Duration,
    queue: Arc<Queue>,
    stop: CancellationToken,
) {
    loop {
        // Spread, so that controllers started together do not list together.
        let wait = every.mul_f64(0.9 + fastrand::f64() * 0.2);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = enqueue_all(&client, &sources, &queue) => {}
        }
    }
}

async fn enqueue_all(client: &Client, sources: &[Source], queue: &Queue) {
    for source in sources.iter().filter(|source| source.primary) {
        let options = ListOptions {
            labels: source.options.labels.clone(),
            fields: source.options.fields.clone(),
            metadata_only: source.options.metadata_only,
            ..ListOptions::default()
        };
        let api = Api::new(client, &source.resource);
        match api.list_all(source.options.namespace.as_deref(), &options).await {
            Ok(list) => {
                for key in list.items.iter().flat_map(|object| (source.map)(object)) {
                    queue.add(&key);
                }
            }
            // The watch of the same type reports a lasting failure; the next resync comes in any case.
            Err(error) => {
                tracing::debug!(resource = %source.resource, error = chain(&error), "resync skipped")
            }
        }
    }
}

#[cfg(test)]
mod tests;
