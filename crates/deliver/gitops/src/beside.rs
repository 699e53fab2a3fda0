//! What teams keep beside their Applications: projects, clusters and settings, as they are now.

mod registered;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::dynamic::ListOptions;
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Key, ResourceType, resource};
use futures::StreamExt as _;
use objects::{Value, meta};
use serde_json::json;
use sync::project::{self, Project};
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use registered::Registered;
pub(crate) use settings::{ArgoSettings, Kinds};

/// The project that everything is in that names none.
const DEFAULT_PROJECT: &str = "default";
/// Argo CD's settings.
const SETTINGS: &str = "argocd-cm";
/// Making the default project is tried again after this long, and ever longer.
const FIRST_ATTEMPT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// One moment of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Kinds whose first list is still awaited.
    awaited: BTreeSet<Kind>,
    objects: BTreeMap<String, Value>,
    projects: BTreeMap<String, Arc<Project>>,
    /// By the name of the Secret.
    clusters: BTreeMap<String, Arc<Registered>>,
    settings: Arc<ArgoSettings>,
    default_seen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Projects,
    Clusters,
    Settings,
}

/// What moved between two moments.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) projects: BTreeSet<String>,
    pub(crate) servers: BTreeSet<String>,
    pub(crate) settings: bool,
}

impl Snapshot {
    fn new() -> Self {
        let awaited = BTreeSet::from([Kind::Projects, Kind::Clusters, Kind::Settings]);
        Self { awaited, ..Self::default() }
    }

    /// A project; `default` is there and permits everything until somebody writes another one.
    pub(crate) fn project(&self, name: &str) -> Option<Arc<Project>> {
        let found = self.projects.get(name).cloned();
        let implicit = || {
            let unwritten = name == DEFAULT_PROJECT && !self.default_seen;
            unwritten.then(|| Arc::new(Project::unrestricted(name)))
        };
        found.or_else(implicit)
    }

    /// The registered clusters alone, read once.
    pub(crate) async fn of_clusters(client: &Client, namespace: &str) -> Result<Self, client::Error> {
        let selected = ListOptions { labels: Some(registered::SELECTOR.to_owned()), ..ListOptions::all() };
        let secrets = Api::new(client, &resource::SECRETS).list_all(Some(namespace), &selected).await?;
        let mut snapshot = Self::default();
        for secret in secrets.items {
            snapshot.put(Kind::Clusters, meta::name(&secret).to_owned(), Some(secret));
        }
        Ok(snapshot)
    }

    /// The settings alone, read once.
    pub(crate) async fn settings_of(client: &Client, namespace: &str) -> Result<ArgoSettings, client::Error> {
        let map =
            Api::new(client, &resource::CONFIG_MAPS).find(&Key::namespaced(namespace, SETTINGS)).await?;
        Ok(ArgoSettings::read(map.as_ref().unwrap_or(&Value::Null)))
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.clusters.values()
    }

    pub(crate) fn settings(&self) -> &Arc<ArgoSettings> {
        &self.settings
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.awaited.is_empty()
    }

    /// What moved since an earlier moment.
    pub(crate) fn since(&self, before: &Self) -> Changes {
        let mut changes = Changes::default();
        let names = self.objects.keys().chain(before.objects.keys());
        for name in names.filter(|name| self.objects.get(*name) != before.objects.get(*name)) {
            changes.projects.insert(name.clone());
        }
        for name in self.clusters.keys().chain(before.clusters.keys()) {
            let (now, then) = (self.clusters.get(name), before.clusters.get(name));
            if now != then {
                changes.servers.extend([now, then].into_iter().flatten().map(|one| one.server.clone()));
            }
        }
        changes.settings = self.settings != before.settings || self.awaited != before.awaited;
        changes
    }

    /// Takes an event in; whether anything moved.
    fn take(&mut self, kind: Kind, event: Event) -> bool {
        match event {
            Event::Applied(object) => self.put(kind, meta::name(&object).to_owned(), Some(object)),
            Event::Deleted(object) => self.put(kind, meta::name(&object).to_owned(), None),
            Event::Resynced(keys) => {
                let mut moved = self.awaited.remove(&kind);
                let present: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
                let known: Vec<String> = match kind {
                    Kind::Projects => self.objects.keys().cloned().collect(),
                    Kind::Clusters => self.clusters.keys().cloned().collect(),
                    Kind::Settings => vec![SETTINGS.to_owned()],
                };
                for name in known.into_iter().filter(|name| !present.contains(name.as_str())) {
                    moved |= self.put(kind, name, None);
                }
                moved
            }
        }
    }

    fn put(&mut self, kind: Kind, name: String, object: Option<Value>) -> bool {
        match kind {
            Kind::Projects => {
                self.default_seen |= name == DEFAULT_PROJECT && object.is_some();
                let moved = self.objects.get(&name).map(|object| &object["spec"])
                    != object.as_ref().map(|object| &object["spec"]);
                match object {
                    Some(object) => self.objects.insert(name, object),
                    None => self.objects.remove(&name),
                };
                self.settle_projects();
                moved
            }
            Kind::Clusters => {
                let registered = object.and_then(|secret| Registered::read(&secret)).map(Arc::new);
                let moved = self.clusters.get(&name) != registered.as_ref();
                match registered {
                    Some(registered) => self.clusters.insert(name, registered),
                    None => self.clusters.remove(&name),
                };
                moved
            }
            Kind::Settings => {
                let settings = ArgoSettings::read(object.as_ref().unwrap_or(&Value::Null));
                let moved = *self.settings != settings;
                self.settings = Arc::new(settings);
                self.settle_projects();
                moved
            }
        }
    }

    /// Each project with what the global ones add to it.
    fn settle_projects(&mut self) {
        let settled = |(name, object): (&String, &Value)| {
            let labels = meta::labels(object);
            let global = self
                .settings
                .global_projects
                .iter()
                .filter(|(global, selector)| global != name && selector.matches(labels));
            let global: Vec<&Value> = global.filter_map(|(global, _)| self.objects.get(global)).collect();
            let project = Project::read(&project::with_global(object.clone(), &global));
            let same = self.projects.get(name).filter(|before| ***before == project);
            (name.clone(), same.map_or_else(|| Arc::new(project), Arc::clone))
        };
        self.projects = self.objects.iter().map(settled).collect();
    }
}

/// It, followed.
#[derive(Debug)]
pub(crate) struct Beside(channel::Sender<Arc<Snapshot>>);

impl Beside {
    pub(crate) fn new() -> Self {
        Self(channel::Sender::new(Arc::new(Snapshot::new())))
    }

    /// As it is now; `None` before everything was listed once.
    pub(crate) fn now(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::clone(&self.0.borrow())).filter(|snapshot| snapshot.is_complete())
    }

    /// Moves whenever anything does.
    pub(crate) fn changes(&self) -> channel::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }

    /// Follows it until the end.
    pub(crate) async fn run(self: Arc<Self>, client: Client, namespace: String, stop: CancellationToken) {
        let mut watches = JoinSet::new();
        let watched = |labels: Option<&str>, fields: Option<String>| WatchOptions {
            namespace: Some(namespace.clone()),
            labels: labels.map(str::to_owned),
            fields,
            metadata_only: false,
        };
        let all: [(Kind, &ResourceType, WatchOptions); 3] = [
            (Kind::Projects, &resource::APP_PROJECTS, watched(None, None)),
            (Kind::Clusters, &resource::SECRETS, watched(Some(registered::SELECTOR), None)),
            (
                Kind::Settings,
                &resource::CONFIG_MAPS,
                watched(None, Some(format!("metadata.name={SETTINGS}"))),
            ),
        ];
        for (kind, resource, options) in all {
            let events = watch(&client, resource, options);
            watches.spawn(Arc::clone(&self).follow(kind, events, stop.clone()));
        }
        watches.spawn(make_default_project(client, namespace, stop));
        while watches.join_next().await.is_some() {}
    }

    async fn follow(
        self: Arc<Self>,
        kind: Kind,
        events: impl futures::Stream<Item = Event> + Send,
        stop: CancellationToken,
    ) {
        let mut events = std::pin::pin!(events);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            self.0.send_if_modified(|snapshot| Arc::make_mut(snapshot).take(kind, event));
        }
    }
}

/// The project that Argo CD makes on its first start; whoever changes it later is left alone.
async fn make_default_project(client: Client, namespace: String, stop: CancellationToken) {
    let projects = Api::new(&client, &resource::APP_PROJECTS);
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": DEFAULT_PROJECT, "namespace": namespace},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    });
    let mut wait = FIRST_ATTEMPT;
    loop {
        let there = projects.find(&Key::namespaced(&namespace, DEFAULT_PROJECT)).await;
        match there {
            Ok(Some(_)) => return,
            // Its namespace may come later.
            Ok(None) => match projects.create(&manifest).await {
                Ok(_) => return,
                Err(error) if error.is_already_exists() => return,
                Err(error) => tracing::debug!(error = client::chain(&error), "no default project yet"),
            },
            Err(error) => tracing::debug!(error = client::chain(&error), "no default project yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str, spec: Value) -> Event {
        Event::Applied(json!({"metadata": {"name": name, "labels": {"team": name}}, "spec": spec}))
    }

    #[test]
    fn the_default_project_is_there_until_somebody_takes_it() {
        let mut snapshot = Snapshot::new();
        assert!(snapshot.project("default").unwrap().permits_source("https://a"));
        assert!(snapshot.project("shop").is_none());
        let written = project("default", json!({"sourceRepos": ["https://b"]}));
        assert!(snapshot.take(Kind::Projects, written.clone()));
        assert!(!snapshot.take(Kind::Projects, written), "nothing new");
        assert!(!snapshot.project("default").unwrap().permits_source("https://a"));
        assert!(snapshot.take(Kind::Projects, Event::Resynced(Vec::new())));
        assert!(snapshot.project("default").is_none());
    }

    #[test]
    fn global_projects_add_to_those_that_they_select() {
        let mut snapshot = Snapshot::new();
        let settings = "- projectName: base\n  labelSelector: {matchLabels: {team: shop}}\n";
        let map = json!({"metadata": {"name": "argocd-cm"}, "data": {"globalProjects": settings}});
        snapshot.take(Kind::Settings, Event::Applied(map));
        snapshot.take(Kind::Projects, project("base", json!({"sourceRepos": ["https://base"]})));
        snapshot.take(Kind::Projects, project("shop", json!({})));
        let before = snapshot.clone();
        snapshot.take(Kind::Projects, project("other", json!({})));
        assert!(snapshot.project("shop").unwrap().permits_source("https://base"));
        assert!(!snapshot.project("other").unwrap().permits_source("https://base"));
        let changes = snapshot.since(&before);
        assert_eq!(changes.projects, BTreeSet::from(["other".to_owned()]));
        assert!(!changes.settings && changes.servers.is_empty());
    }
}
