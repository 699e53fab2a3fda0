//! An API server, a repository and the controller, for one test.

use std::sync::Arc;
use std::time::Duration;

use client::{Api, Client, Key, ResourceType, resource};
use gitops::{GitOps, Metrics, Settings};
use serde_json::{Value, json};
use test_kit::{Faults, Repository, eventually_async};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::place::Place;

/// Long enough for a machine that runs other tests too.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const URL: &str = "https://git.example.org/team/platform.git";

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) repositories: git::Repositories,
    pub(crate) charts: charts::Charts,
    pub(crate) place: Place,
    _cache: tempfile::TempDir,
}

/// The running controller; it stops when this is dropped or stopped.
pub(crate) struct Running {
    pub(crate) metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    fn of(controller: GitOps) -> Running {
        let (metrics, shutdown) = (controller.metrics(), CancellationToken::new());
        let task = tokio::spawn(controller.run(shutdown.clone()));
        Running { metrics, shutdown, task: Some(task) }
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.task.take().unwrap().await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    pub(crate) async fn new() -> World {
        World::mirroring(&[], "").await
    }

    /// A world in which one place has the charts of these hosts.
    pub(crate) async fn mirroring(hosts: &[&str], url: &str) -> World {
        let place = Place::bare().await;
        let client = place.admin();
        let cache = tempfile::tempdir().unwrap();
        let mut config = git::Config::new(cache.path());
        config.stall_deadline = Duration::from_secs(2);
        let repositories = git::Repositories::new(config).unwrap();
        let mut config = charts::Config::new(cache.path().join("charts"));
        config.deadlines.connect = Duration::from_secs(2);
        // A test does not wait for an index to grow old.
        config.index_age = Duration::ZERO;
        for host in hosts {
            config.registry.mirrors.insert((*host).to_owned(), vec![url.to_owned()]);
        }
        let charts = charts::Charts::new(config);
        let world = World { client, repositories, charts, place, _cache: cache };
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}})).await;
        world
    }

    /// A world whose [`URL`] is answered from a repository with these files.
    pub(crate) async fn with_files(files: &[(&str, &str)]) -> (World, Repository) {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::of(directory.path());
        for (path, content) in files {
            repository.write(path, content);
        }
        repository.commit("files");
        let world = World::new().await;
        // Only commits count: what lies between a saved file and its commit is no state to wait for.
        let revision = Some("main".to_owned());
        let mapping = git::Mapping { revision, ..git::Mapping::new(URL, repository.path()) };
        world.repositories.map(mapping).unwrap();
        (world, repository)
    }

    /// The client that the controller works with.
    pub(crate) fn account(&self) -> Client {
        self.place.controller()
    }

    pub(crate) fn controller(&self, settings: Settings) -> GitOps {
        self.controller_through(self.account(), settings)
    }

    fn controller_through(&self, client: Client, settings: Settings) -> GitOps {
        let config = gitops::Config {
            client,
            repositories: self.repositories.clone(),
            charts: self.charts.clone(),
            settings,
        };
        GitOps::new(config)
    }

    pub(crate) fn start(&self, settings: Settings) -> Running {
        Running::of(self.controller(settings))
    }

    /// Starts a controller whose calls may fail.
    pub(crate) fn start_with(&self, faults: &Faults) -> Running {
        Running::of(self.controller_through(faults.client(&self.account()), Settings::default()))
    }

    pub(crate) async fn create(&self, object: Value) -> Value {
        let resources = client::Resources::new(self.client.clone());
        let resource = resources.resolve_object(&object).await.unwrap();
        Api::new(&self.client, &resource).create(&object).await.unwrap()
    }

    /// An Application over a path of [`URL`], with its sync policy.
    pub(crate) async fn application(&self, name: &str, path: &str, policy: Value) {
        self.create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd"},
            "spec": {
                "project": "default",
                "source": {"repoURL": URL, "path": path, "targetRevision": "HEAD"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                "syncPolicy": policy,
            },
        }))
        .await;
    }

    /// An AppProject.
    pub(crate) async fn project(&self, name: &str, spec: Value) {
        self.create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
            "metadata": {"name": name, "namespace": "argocd"}, "spec": spec,
        }))
        .await;
    }

    /// An Application with this spec.
    pub(crate) async fn application_of(&self, name: &str, spec: Value) {
        self.create(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd"}, "spec": spec,
        }))
        .await;
    }

    /// Waits until a condition of an Application says this.
    pub(crate) async fn condition(&self, name: &str, kind: &str, message: &str) -> Value {
        self.until(name, &format!("{kind}: {message}"), |application| {
            let conditions = application["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|condition| {
                let said = condition["message"].as_str().unwrap_or_default();
                condition["type"] == kind && said.contains(message)
            })
        })
        .await
    }

    pub(crate) fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&self.client, resource)
    }

    pub(crate) async fn find(&self, resource: &ResourceType, namespace: &str, name: &str) -> Option<Value> {
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        self.api(resource).find(&Key::new(namespace, name)).await.unwrap()
    }

    pub(crate) async fn app(&self, name: &str) -> Value {
        self.find(&resource::APPLICATIONS, "argocd", name).await.unwrap_or(Value::Null)
    }

    /// Waits until an Application is as expected, and returns it.
    pub(crate) async fn until(&self, name: &str, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        eventually_async(&format!("application {name}: {what}"), SOON, || async {
            let application = self.app(name).await;
            if reached(&application) { Ok(application) } else { Err(application["status"].to_string()) }
        })
        .await
    }

    pub(crate) async fn synced(&self, name: &str) -> Value {
        self.until(name, "Synced", |application| application["status"]["sync"]["status"] == "Synced").await
    }

    /// Waits until an object is as expected (`None`: gone).
    pub(crate) async fn object(
        &self,
        resource: &ResourceType,
        namespace: &str,
        name: &str,
        reached: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        eventually_async(&format!("{resource} {namespace}/{name}"), SOON, || async {
            let object = self.find(resource, namespace, name).await;
            if reached(object.as_ref()) { Ok(object) } else { Err(format!("{object:?}")) }
        })
        .await
    }

    /// Merges a change into an object, as a person or another controller would.
    pub(crate) async fn change(&self, resource: &ResourceType, namespace: &str, name: &str, change: Value) {
        let key = Key::new(Some(namespace).filter(|namespace| !namespace.is_empty()), name);
        let patch = client::dynamic::Patch::Merge(change);
        self.api(resource)
            .patch(&key, &patch, &client::dynamic::PatchOptions::manager("kubectl-edit"))
            .await
            .unwrap();
    }
}

pub(crate) fn automated() -> Value {
    json!({"automated": {"prune": true, "selfHeal": true}, "syncOptions": ["CreateNamespace=true"]})
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: \"{value}\"\n")
}
