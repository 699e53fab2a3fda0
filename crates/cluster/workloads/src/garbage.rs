//! The garbage collector: what happens to objects when their owners go.
//!
//! Watches the metadata of every type the server serves, custom ones included. It remembers only objects that have owners, and
//! owners that are being deleted and wait for it; whether an owner exists it asks the server before anything is deleted, so a
//! late or lost event can delay a deletion and never cause a wrong one.
//!
//! - Background: a dependent none of whose owners exists any more is deleted.
//! - Foreground: an owner with the finalizer `foregroundDeletion` stays until the dependents that block it are gone.
//! - Orphan: an owner with the finalizer `orphan` goes once its dependents no longer refer to it.

mod collect;
mod graph;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::ResourceType;
use client::controller::Queue;
use client::discovery::Catalog;
use client::watch::{Event, WatchOptions, watch};
use client::{Client, Resources, chain};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use collect::Collector;
use graph::{Graph, Task};

pub(crate) const ACCOUNT: &str = "generic-garbage-collector";

pub(crate) fn rules() -> Value {
    json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["delete", "get", "list", "patch", "update", "watch"] }])
}

/// How many objects are worked on at the same time.
const CONCURRENCY: usize = 4;
/// After discovery failed.
const RETRY: Duration = Duration::from_secs(1);

type Message = (Arc<ResourceType>, Event);
type Tasks = Arc<Queue<Task>>;

pub(crate) async fn run(client: Client, resources: Resources, shutdown: CancellationToken) {
    let graph = Arc::new(Mutex::new(Graph::default()));
    let queue: Tasks = Arc::new(Queue::new(Duration::from_millis(20), Duration::from_secs(30)));
    let collector = Collector::new(client.clone(), resources.clone(), graph.clone());
    let (sender, mut events) = mpsc::channel::<Message>(256);
    let mut watches = Watches { client, sender, running: HashMap::new(), tasks: JoinSet::new(), shutdown };
    let mut workers = JoinSet::new();
    let mut changes = resources.changes();
    let mut refresh = Some(Instant::now());
    loop {
        if refresh.is_some_and(|due| due <= Instant::now()) {
            refresh = match resources.catalog().await {
                Ok(catalog) => {
                    watches.follow(&catalog, &graph);
                    None
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the garbage collector cannot see what is served");
                    Some(Instant::now() + RETRY)
                }
            };
        }
        let synced = {
            let mut graph = graph.lock().expect("no panic while held");
            graph.give_up_on_unlisted().iter().for_each(|task| queue.add(task));
            graph.is_synced()
        };
        tokio::select! {
            biased;
            () = watches.shutdown.cancelled() => break,
            Some(_) = workers.join_next(), if !workers.is_empty() => {}
            Some((resource, event)) = events.recv() => observe(&graph, &queue, &resource, event),
            Ok(()) = changes.changed() => refresh = Some(Instant::now()),
            () = tokio::time::sleep_until(refresh.unwrap_or_else(Instant::now)), if refresh.is_some() => {}
            // Looks at what is still unlisted.
            () = tokio::time::sleep(RETRY), if !synced => {}
            task = queue.next(), if synced && workers.len() < CONCURRENCY => {
                let (collector, queue) = (collector.clone(), queue.clone());
                workers.spawn(async move { work(&collector, &queue, task).await });
            }
        }
    }
    while workers.join_next().await.is_some() {}
    watches.tasks.shutdown().await;
}

async fn work(collector: &Collector, queue: &Tasks, task: Task) {
    match collector.perform(&task).await {
        Ok(more) => {
            queue.succeeded(&task);
            more.iter().for_each(|task| queue.add(task));
        }
        Err(error) => {
            let wait = queue.failed(&task);
            if error.is_conflict() {
                tracing::debug!(?task, "collect again");
            } else {
                tracing::warn!(?task, ?wait, error = chain(&error), "cannot collect");
            }
        }
    }
}

fn observe(graph: &Mutex<Graph>, queue: &Tasks, resource: &Arc<ResourceType>, event: Event) {
    let mut graph = graph.lock().expect("no panic while held");
    let tasks = match event {
        Event::Applied(object) => graph.applied(resource, &object),
        Event::Deleted(object) => graph.deleted(&object),
        Event::Resynced(keys) => graph.resynced(resource, keys),
    };
    drop(graph);
    tasks.iter().for_each(|task| queue.add(task));
}

/// One watch for each type that is served.
struct Watches {
    client: Client,
    sender: mpsc::Sender<Message>,
    running: HashMap<ResourceType, CancellationToken>,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Watches {
    /// Starts watches of new types and stops those of types that are served no more.
    fn follow(&mut self, catalog: &Catalog, graph: &Mutex<Graph>) {
        let wanted: Vec<ResourceType> = catalog
            .preferred_types()
            .into_iter()
            .filter(|served| ["list", "watch", "delete"].iter().all(|verb| served.can(verb)))
            .map(|served| served.resource.clone())
            // Events have no owners, nobody's owner is one, and they are many.
            .filter(|resource| resource.plural != "events")
            .collect();
        let mut gone: Vec<ResourceType> =
            self.running.keys().filter(|known| !wanted.contains(known)).cloned().collect();
        gone.sort();
        for resource in gone {
            if let Some(stop) = self.running.remove(&resource) {
                stop.cancel();
            }
            graph.lock().expect("no panic while held").forget(&resource);
        }
        for resource in wanted {
            if self.running.contains_key(&resource) {
                continue;
            }
            let stop = self.shutdown.child_token();
            graph.lock().expect("no panic while held").expect(&resource);
            self.tasks.spawn(forward(
                self.client.clone(),
                resource.clone(),
                self.sender.clone(),
                stop.clone(),
            ));
            self.running.insert(resource, stop);
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn forward(
    client: Client,
    resource: ResourceType,
    sender: mpsc::Sender<Message>,
    stop: CancellationToken,
) {
    let resource = Arc::new(resource);
    let mut events = std::pin::pin!(watch(&client, &resource, WatchOptions::metadata()));
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            sent = sender.send((resource.clone(), event)) => if sent.is_err() { return },
        }
    }
}

/// The parts of an owner reference's type.
fn reference_type(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}
