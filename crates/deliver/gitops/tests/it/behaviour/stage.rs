//! The repository, the controller and the namespaces of one case, and what its steps do with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use client::dynamic::{DeleteOptions, Patch, PatchOptions};
use client::{Api, Client, Key, ResourceType, Resources};
use gitops::{GitOps, Settings, Webhooks};
use serde_json::{Value, json};
use test_kit::{GitManner, GitServer, Repository};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::place::Place;
use super::cases::{Case, Step};
use super::seen::differs;

/// How long what a case expects may take.
const SOON: Duration = Duration::from_secs(45);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Stage {
    client: Client,
    resources: Resources,
    repository: Repository,
    _server: Option<GitServer>,
    webhooks: Webhooks,
    names: Names,
    /// Versions by object, as of the last `remember`.
    remembered: Mutex<BTreeMap<String, Value>>,
    shutdown: CancellationToken,
    controller: Option<JoinHandle<()>>,
    _directories: [tempfile::TempDir; 3],
}

/// What stands for `$NS`, `$APP`, `$CD` and `$URL`.
struct Names {
    namespace: String,
    application: String,
    argo: String,
    url: String,
}

impl Names {
    fn of(number: usize) -> Names {
        let namespace = format!("case-{number}");
        let argo = format!("argocd-{number}");
        let url = format!("https://git.example.org/{namespace}/platform.git");
        Names { namespace, application: format!("shop-{number}"), argo, url }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("$NS", &self.namespace)
            .replace("$APP", &self.application)
            .replace("$CD", &self.argo)
            .replace("$URL", &self.url)
    }

    fn filled(&self, value: &Value) -> Value {
        serde_json::from_str(&self.fill(&value.to_string())).expect("names need no quoting")
    }
}

impl Stage {
    pub(super) async fn set(place: &Place, number: usize, case: &Case) -> Result<Stage, String> {
        let mut names = Names::of(number);
        let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let repository = Repository::of(directories[0].path());
        let mut config = git::Config::new(directories[1].path());
        config.plain_http = git::PlainHttp::Loopback;
        let repositories = git::Repositories::new(config).unwrap();
        let server = if case.served {
            let server = serve(&repository, directories[2].path());
            names.url = format!("{}/team/platform.git", server.url());
            Some(server)
        } else {
            let revision = Some("main".to_owned());
            let mapping = git::Mapping { revision, ..git::Mapping::new(&names.url, repository.path()) };
            repositories.map(mapping).unwrap();
            None
        };
        let charts = charts::Charts::new(charts::Config::new(directories[1].path().join("charts")));
        let (client, shutdown) = (place.admin(), CancellationToken::new());
        let settings = Settings { namespace: names.argo.clone(), ..Settings::default() };
        let config = gitops::Config { client: place.controller(), repositories, charts, settings };
        let controller = GitOps::new(config);
        let mut stage = Stage {
            resources: Resources::new(client.clone()),
            client,
            repository,
            _server: server,
            webhooks: controller.webhooks(),
            names,
            remembered: Mutex::default(),
            shutdown,
            controller: None,
            _directories: directories,
        };
        stage.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$CD"}})).await?;
        for object in &case.before {
            stage.apply(object).await?;
        }
        stage.commit(&Value::from_iter(case.files.clone()));
        stage.controller = Some(tokio::spawn(controller.run(stage.shutdown.clone())));
        Ok(stage)
    }

    /// Stops the controller, so that it does not work beside the cases that follow.
    pub(super) async fn end(mut self) {
        self.shutdown.cancel();
        let controller = self.controller.take().expect("it was started");
        controller.await.expect("the controller ends well");
    }

    pub(super) async fn step(&self, step: &Step) -> Result<(), String> {
        let value = self.names.filled(&step.value);
        match step.verb.as_str() {
            "application" => self.apply(&self.application(&value)).await,
            "apply" => self.apply(&value).await,
            "commit" => {
                self.commit(&step.value);
                Ok(())
            }
            "merge" => self.merge(&value).await,
            "status" => self.status(&value).await,
            "delete" => self.delete(&value).await,
            "refresh" => self.refresh(&value).await,
            "sync" => self.sync(&value).await,
            "until" => self.until(&value).await,
            "now" => self.now(&value).await,
            "remember" => self.remember(&value).await,
            "unchanged" => self.unchanged(&value).await,
            "webhook" => super::webhook::send(&self.webhooks, &value).await,
            other => Err(format!("no step is called {other:?}")),
        }
    }

    /// An Application from what a case says of it: over `path`, automated unless `policy` says otherwise.
    fn application(&self, short: &Value) -> Value {
        let options = json!(["CreateNamespace=true", "PrunePropagationPolicy=background"]);
        let policy = match &short["policy"] {
            Value::Null => json!({"automated": {"prune": true, "selfHeal": true}, "syncOptions": options}),
            Value::String(word) if word == "manual" => json!({"syncOptions": options}),
            policy => policy.clone(),
        };
        let mut application = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": short["name"], "namespace": self.names.argo},
            "spec": {
                "project": "default",
                "destination": {"server": "https://kubernetes.default.svc", "namespace": self.names.namespace},
                "syncPolicy": policy,
            },
        });
        if short["spec"]["sources"].is_null() && short["spec"]["source"]["repoURL"].is_null() {
            let path = short["path"].as_str().unwrap_or("app");
            application["spec"]["source"] =
                json!({"repoURL": self.names.url, "path": path, "targetRevision": "HEAD"});
        }
        let more = json!({"metadata": short["metadata"], "spec": short["spec"]});
        merge(&mut application, &more);
        application
    }

    /// Creates or changes an object as `kubectl apply --server-side` does.
    async fn apply(&self, object: &Value) -> Result<(), String> {
        let object = self.names.filled(object);
        let resource = self.resources.resolve_object(&object).await.map_err(|error| error.message())?;
        let applied = Api::new(&self.client, &resource).apply(&object, "kubectl", true).await;
        applied.map(drop).map_err(|error| format!("apply {}: {}", Key::of(&object), error.message()))
    }

    /// Writes files (`null` removes one) and commits them. A file is a text, an object, or a list of objects.
    fn commit(&self, files: &Value) {
        for (path, content) in files.as_object().expect("files are a map") {
            let text = match content {
                Value::Null => {
                    std::fs::remove_file(self.repository.path().join(path)).expect("the file is there");
                    continue;
                }
                Value::String(text) => text.clone(),
                Value::Array(objects) => {
                    objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n")
                }
                object => yaml::to_string(object),
            };
            self.repository.write(&self.names.fill(path), &self.names.fill(&text));
        }
        self.repository.commit("as the case says");
    }

    async fn merge(&self, changes: &Value) -> Result<(), String> {
        for (name, change) in entries(changes) {
            let (resource, key) = self.named(name).await?;
            let options = PatchOptions::manager("kubectl-edit");
            let patched =
                Api::new(&self.client, &resource).patch(&key, &Patch::Merge(change.clone()), &options).await;
            patched.map_err(|error| format!("change {name}: {}", error.message()))?;
        }
        Ok(())
    }

    /// What another controller would report of an object.
    async fn status(&self, reports: &Value) -> Result<(), String> {
        for (name, status) in entries(reports) {
            let (resource, key) = self.named(name).await?;
            let patched = Api::new(&self.client, &resource).patch_status(&key, status.clone()).await;
            patched.map_err(|error| format!("status of {name}: {}", error.message()))?;
        }
        Ok(())
    }

    async fn delete(&self, names: &Value) -> Result<(), String> {
        for name in words(names) {
            let (resource, key) = self.named(&name).await?;
            let deleted = Api::new(&self.client, &resource).delete(&key, &DeleteOptions::default()).await;
            deleted.map_err(|error| format!("delete {name}: {}", error.message()))?;
        }
        Ok(())
    }

    /// Asks for a refresh and waits until it is answered.
    async fn refresh(&self, application: &Value) -> Result<(), String> {
        for name in words(application) {
            let name = format!("Application {name}");
            let refresh = |value: Value| json!({&name: {"metadata": {"annotations": {"argocd.argoproj.io/refresh": value}}}});
            self.merge(&refresh("hard".into())).await?;
            self.until(&refresh(Value::Null)).await?;
        }
        Ok(())
    }

    /// Starts a sync as `argocd app sync` does: `app`, and what else `operation.sync` has.
    async fn sync(&self, asked: &Value) -> Result<(), String> {
        let application = asked["app"].as_str().ok_or("a sync names an app")?;
        let mut sync = asked.clone();
        sync.as_object_mut().expect("it has an app").remove("app");
        let operation = json!({"operation": {"initiatedBy": {"username": "tester"}, "sync": sync}});
        self.merge(&json!({format!("Application {application}"): operation})).await?;
        // It has begun when it is running, or was so short that it is over.
        let name = format!("Application {application}");
        let begun = Instant::now();
        let (over, running) =
            (json!({"operation": null}), json!({"status": {"operationState": {"phase": "Running"}}}));
        while self.is(&name, &over).await.is_err() {
            if self.is(&name, &running).await.is_ok() {
                break;
            }
            if begun.elapsed() > SOON {
                return Err(format!("the sync did not begin\n{}", self.told(&name).await));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn until(&self, wanted: &Value) -> Result<(), String> {
        let begun = Instant::now();
        for (name, wanted) in entries(wanted) {
            while let Err(problem) = self.is(name, wanted).await {
                if begun.elapsed() > SOON {
                    return Err(format!("{problem}\n{}", self.told(name).await));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn now(&self, wanted: &Value) -> Result<(), String> {
        for (name, wanted) in entries(wanted) {
            self.is(name, wanted).await?;
        }
        Ok(())
    }

    async fn is(&self, name: &str, wanted: &Value) -> Result<(), String> {
        let (resource, key) = self.named(name).await?;
        let found = Api::new(&self.client, &resource).find(&key).await.map_err(|error| error.message())?;
        differs(wanted, found.as_ref(), name).map_or(Ok(()), Err)
    }

    /// The state of the Applications, for a case that fails.
    async fn told(&self, about: &str) -> String {
        let list = client::dynamic::ListOptions::all();
        let applications = Api::new(&self.client, &client::resource::APPLICATIONS);
        let all = applications.list(Some(&self.names.argo), &list).await.map(|list| list.items);
        let mut told: Vec<String> = all
            .unwrap_or_default()
            .iter()
            .map(|one| format!("  {} {}", one["metadata"]["name"], one["status"]))
            .collect();
        if let Ok((resource, key)) = self.named(about).await
            && let Ok(Some(live)) = Api::new(&self.client, &resource).find(&key).await
        {
            told.push(format!("  {about}: {live}"));
        }
        told.join("\n")
    }

    async fn version(&self, name: &str) -> Result<Value, String> {
        let (resource, key) = self.named(name).await?;
        let live = Api::new(&self.client, &resource).get(&key).await.map_err(|error| error.message())?;
        Ok(json!([live["metadata"]["uid"], live["metadata"]["resourceVersion"]]))
    }

    async fn remember(&self, names: &Value) -> Result<(), String> {
        for name in words(names) {
            let version = self.version(&name).await?;
            self.remembered.lock().unwrap().insert(name, version);
        }
        Ok(())
    }

    /// The object is the same and nobody has written to it since `remember`.
    async fn unchanged(&self, names: &Value) -> Result<(), String> {
        for name in words(names) {
            let version = self.version(&name).await?;
            let before = self.remembered.lock().unwrap().get(&name).cloned();
            if before.ok_or(format!("{name} was not remembered"))? != version {
                return Err(format!("{name} was written to\n{}", self.told(&name).await));
            }
        }
        Ok(())
    }

    /// `Kind name`, `Kind namespace/name` or `Kind.group name`.
    async fn named(&self, text: &str) -> Result<(ResourceType, Key), String> {
        let (kind, name) = text.split_once(' ').ok_or(format!("{text:?} is not `Kind name`"))?;
        let (kind, group) = kind.split_once('.').unwrap_or_else(|| (kind, group_of(kind)));
        let served = self.resources.preferred(group, kind).await.map_err(|error| error.message())?;
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None if group == "argoproj.io" => (self.names.argo.as_str(), name),
            None => (self.names.namespace.as_str(), name),
        };
        let namespace = served.resource.namespaced.then_some(namespace);
        Ok((served.resource, Key::new(namespace, name)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Serves the repository as `/team/platform.git`.
fn serve(repository: &Repository, root: &Path) -> GitServer {
    std::fs::create_dir(root.join("team")).unwrap();
    std::os::unix::fs::symlink(repository.path().join(".git"), root.join("team/platform.git")).unwrap();
    GitServer::start(root, GitManner::default())
}

/// The group of a kind that is named without one.
fn group_of(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps",
        "Job" | "CronJob" => "batch",
        "Application" | "AppProject" | "ApplicationSet" => "argoproj.io",
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => "rbac.authorization.k8s.io",
        "Ingress" | "NetworkPolicy" => "networking.k8s.io",
        "CustomResourceDefinition" => "apiextensions.k8s.io",
        "HorizontalPodAutoscaler" => "autoscaling",
        _ => "",
    }
}

fn entries(map: &Value) -> impl Iterator<Item = (&str, &Value)> {
    map.as_object().expect("objects by name").iter().map(|(name, value)| (name.as_str(), value))
}

/// One text or a list of them.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().flat_map(words).collect(),
        Value::String(word) => vec![word.clone()],
        other => panic!("{other} is no name"),
    }
}

/// Puts what one value says into another; lists are replaced.
fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}
