//! The loop that keeps tables and certificates current.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use client::watch::{Event, WatchOptions, watch};
use client::{Key, ResourceType, resource};
use futures::stream::{SelectAll, select_all};
use futures::{FutureExt, Stream, StreamExt};
use routing::Table;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Change, Cluster, Source};
use crate::plan::{self, Plan};
use crate::{Certificate, Config};

/// What a table is made of: none is published before all of these were listed.
const TABLE_SOURCES: [Source; 4] = [Source::Ingresses, Source::Classes, Source::Services, Source::Slices];
/// As many events are taken in before a table is made, so that a burst costs one table and not one for each event.
const BATCH: usize = 4096;

type Events = SelectAll<Pin<Box<dyn Stream<Item = (Source, Event)> + Send>>>;

pub(crate) async fn run(config: &Config, shutdown: &CancellationToken) {
    let mut events = events(config);
    let mut publisher = Publisher::new(config);
    loop {
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        let Some((source, event)) = first else { return };
        publisher.take(source, event);
        for _ in 0..BATCH {
            match events.next().now_or_never() {
                Some(Some((source, event))) => publisher.take(source, event),
                _ => break,
            }
        }
        publisher.publish();
    }
}

fn events(config: &Config) -> Events {
    let follow = |source: Source, resource: &ResourceType, options: WatchOptions| {
        watch(&config.client, resource, options).map(move |event| (source, event)).boxed()
    };
    let tls = WatchOptions { fields: Some("type=kubernetes.io/tls".to_owned()), ..WatchOptions::default() };
    select_all([
        follow(Source::Ingresses, &resource::INGRESSES, WatchOptions::default()),
        follow(Source::Classes, &resource::INGRESS_CLASSES, WatchOptions::default()),
        follow(Source::Services, &resource::SERVICES, WatchOptions::default()),
        follow(Source::Slices, &resource::ENDPOINT_SLICES, WatchOptions::default()),
        follow(Source::Secrets, &resource::SECRETS, tls),
    ])
}

/// What was taken in and not yet published.
struct Publisher<'a> {
    config: &'a Config,
    cluster: Cluster,
    listed: HashSet<Source>,
    /// The Services that routes lead to; changes of others make no table.
    services: BTreeSet<Key>,
    problems: BTreeMap<Key, Vec<String>>,
    certificates: Option<Vec<Certificate>>,
    routes_differ: bool,
    certificates_differ: bool,
    published: bool,
}

impl<'a> Publisher<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            cluster: Cluster::default(),
            listed: HashSet::new(),
            services: BTreeSet::new(),
            problems: BTreeMap::new(),
            certificates: None,
            routes_differ: true,
            certificates_differ: true,
            published: false,
        }
    }

    fn take(&mut self, source: Source, event: Event) {
        if matches!(event, Event::Resynced(_)) {
            self.listed.insert(source);
        }
        for change in self.cluster.take(source, event) {
            match change {
                Change::Nothing => {}
                Change::Routes => {
                    self.routes_differ = true;
                    self.certificates_differ = true;
                }
                Change::Service(key) => self.routes_differ |= !self.published || self.services.contains(&key),
                Change::Certificates => self.certificates_differ = true,
            }
        }
    }

    fn publish(&mut self) {
        let ready = TABLE_SOURCES.iter().all(|source| self.listed.contains(source));
        if !ready {
            return;
        }
        if std::mem::take(&mut self.routes_differ) {
            self.publish_table();
        }
        if self.listed.contains(&Source::Secrets) && std::mem::take(&mut self.certificates_differ) {
            self.publish_certificates();
        }
    }

    fn publish_table(&mut self) {
        let Plan { routes, services, problems } = plan::routes(&self.cluster, &self.config.class);
        let table = Table::new(routes, Some(&self.config.table.load()));
        let count = table.routes().count();
        self.config.table.store(Arc::new(table));
        if !std::mem::replace(&mut self.published, true) {
            tracing::info!(routes = count, "serving the first route table");
        } else {
            tracing::debug!(routes = count, "serving a new route table");
        }
        for (ingress, found) in &problems {
            let known = self.problems.get(ingress);
            for problem in found.iter().filter(|problem| !known.is_some_and(|known| known.contains(problem)))
            {
                tracing::warn!(%ingress, problem, "a route has no backend");
            }
        }
        self.services = services;
        self.problems = problems;
    }

    fn publish_certificates(&mut self) {
        let certificates = plan::certificates(&self.cluster, &self.config.class);
        if self.certificates.as_ref() != Some(&certificates) {
            (self.config.certificates)(certificates.clone());
            self.certificates = Some(certificates);
        }
    }
}
