//! What an Application may do and where: its project, its cluster, its windows.

use std::sync::Arc;

use jiff::Timestamp;
use sync::ResourceKey;
use sync::project::Project;
use sync::windows::{Initiator, Subject, Windows};

use super::Shared;
use crate::application::Application;
use crate::beside::ArgoSettings;
use crate::clusters::Place;
use crate::status::Condition;

/// An Application's surroundings, found to permit it.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) project: Arc<Project>,
    pub(crate) place: Place,
    pub(crate) settings: Arc<ArgoSettings>,
    windows: Windows,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum NoSite {
    /// What stands beside the Applications is being listed.
    NotYet,
    Invalid(Vec<Condition>),
}

/// Whether a sync may go on now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Open,
    /// What a running operation says about it.
    Closed(String),
}

impl Shared {
    /// Finds an Application's project and cluster and asks whether they permit it.
    pub(crate) async fn site(self: &Arc<Self>, application: &Application) -> Result<Site, NoSite> {
        let Some(beside) = self.beside.now() else { return Err(NoSite::NotYet) };
        let refused = |kind, message: String| NoSite::Invalid(vec![Condition::new(kind, message)]);
        let name = &application.project;
        let Some(project) = beside.project(name) else {
            let message = format!("Application referencing project {name} which does not exist");
            return Err(refused("InvalidSpecError", message));
        };
        if !project.permits_application_in(&application.namespace, &self.settings.namespace) {
            let (own, namespace) = (&application.name, &application.namespace);
            let message = format!(
                "application '{own}' in namespace '{namespace}' is not allowed to use project {name}"
            );
            return Err(refused("UnknownError", message));
        }
        if let Some(field) = project.unsupported() {
            let message = format!(
                "application project {name}: {field} is not supported: signatures of commits cannot be checked"
            );
            return Err(refused("InvalidSpecError", message));
        }
        if beside.settings().impersonation {
            let message = "argocd-cm: application.sync.impersonation.enabled is not supported: syncs act as the controller";
            return Err(refused("InvalidSpecError", message.to_owned()));
        }
        let mut conditions = Vec::new();
        for source in &application.sources {
            let url = source.repo_url();
            if !project.permits_source(url) {
                let message = format!("application repo {url} is not permitted in project '{name}'");
                conditions.push(Condition::new("InvalidSpecError", message));
            }
        }
        let (place, new) = match self.clusters.resolve(&beside, &application.destination).await {
            Ok(found) => found,
            Err(message) => {
                conditions.push(Condition::new("InvalidSpecError", message));
                return Err(NoSite::Invalid(conditions));
            }
        };
        if new {
            self.tend(&place.cluster);
        }
        let namespace = &application.destination_namespace;
        if !project.permits_destination(place.as_name(), namespace) {
            let by_name = application.destination["name"].as_str().is_some_and(|name| !name.is_empty());
            let server = if by_name { place.name.as_str() } else { place.cluster.server() };
            let message = format!(
                "application destination server '{server}' and namespace '{namespace}' do not match any of the allowed destinations in project '{name}'"
            );
            conditions.push(Condition::new("InvalidSpecError", message));
        }
        if !conditions.is_empty() {
            return Err(NoSite::Invalid(conditions));
        }
        let written = |field: &str| application.destination[field].as_str().unwrap_or_default();
        let windows = project.windows().of(Subject {
            application: &application.name,
            cluster_name: written("name"),
            server: written("server"),
            namespace,
        });
        Ok(Site { project, place, settings: Arc::clone(beside.settings()), windows })
    }
}

impl Site {
    /// Why an object may not be synced here; `None` if it may.
    pub(crate) fn refuses(&self, key: &ResourceKey, namespaced: bool) -> Option<String> {
        let by_cluster = || self.place.refuses(&key.kind, &key.namespace, &key.name);
        self.project.refuses(self.place.as_name(), key, namespaced).or_else(by_cluster)
    }

    /// Whether a live object may be seen as this application's; namespaced is what has a namespace, as upstream.
    pub(crate) fn permits_live(&self, key: &ResourceKey) -> bool {
        self.refuses(key, !key.namespace.is_empty()).is_none()
            && !self.settings.kinds.exclude(&key.group, &key.kind, self.place.cluster.server())
    }

    /// Whether a sync may start, or, with `started`, go on.
    pub(crate) fn window(&self, by: Initiator, started: Option<Timestamp>, now: Timestamp) -> Window {
        const BLOCKED: &str = "Sync operation blocked by sync window";
        match self.windows.can_sync(by, started, now) {
            Ok(true) => Window::Open,
            Ok(false) => Window::Closed(BLOCKED.to_owned()),
            Err(error) => Window::Closed(format!("{BLOCKED}: {error}")),
        }
    }

    /// How long until a window opens or closes.
    pub(crate) fn next_window(&self, now: Timestamp) -> std::time::Duration {
        self.windows.next_change(now).unwrap_or(std::time::Duration::MAX)
    }
}
