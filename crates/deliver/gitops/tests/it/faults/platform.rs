//! A repository whose commits rename, drop and break things, the Application over it, and what must be true of the
//! cluster after each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::dynamic::ListOptions;
use client::resource::{CONFIG_MAPS, JOBS, NAMESPACES};
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Key, Resources, resource};
use futures::StreamExt as _;
use gitops::{GitOps, Settings};
use serde_json::{Value, json};
use test_kit::{Faults, Repository, eventually_async};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{URL, World, config_map};

/// Long enough for the waits between retries, on a machine that does other things too, and shorter than the time after
/// which a sync looks again at what it waits for: a move that nobody heard of is not made good by that here.
const LATE: Duration = Duration::from_secs(25);
const NAME: &str = "shop";

/// What Git says at one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    First,
    /// One object is called otherwise, one kind is no longer there, another one is new.
    Renamed,
    /// One file cannot be read.
    Broken,
    Mended,
}

impl Commit {
    /// Every file of `app/`.
    fn files(self) -> BTreeMap<&'static str, String> {
        let map = |name: &str, value: &str, wave: &str| {
            let annotations = format!("metadata:\n  annotations: {{argocd.argoproj.io/sync-wave: '{wave}'}}");
            config_map(name, value).replace("metadata:", &annotations)
        };
        let hook = |name: &str, phase: &str, policy: &str| {
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    argocd.argoproj.io/hook: {phase}\n    argocd.argoproj.io/hook-delete-policy: {policy}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{{name: a, image: a}}]\n"
            )
        };
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a: sesame}\n";
        let role =
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules: []\n";
        let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner}\n";
        let value = match self {
            Commit::First => "1",
            Commit::Renamed | Commit::Broken => "2",
            Commit::Mended => "3",
        };
        let mut files = BTreeMap::from([
            ("base.yaml", map("base", value, "-1")),
            ("late.yaml", map("late", value, "1")),
            ("one.yaml", map("one", value, "0")),
            ("keys.yaml", secret.to_owned()),
            ("migrate.yaml", hook("migrate", "PreSync", "BeforeHookCreation")),
            ("smoke.yaml", hook("smoke", "PostSync", "BeforeHookCreation,HookSucceeded")),
        ]);
        match self {
            Commit::First => {
                files.insert("two.yaml", map("two", value, "0"));
                files.insert("role.yaml", role.to_owned());
            }
            Commit::Renamed | Commit::Mended => {
                files.insert("two.yaml", map("two-renamed", value, "0"));
                files.insert("account.yaml", account.to_owned());
            }
            Commit::Broken => {
                files.insert("two.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n".to_owned());
            }
        }
        files
    }

    /// The objects that there must be: kind, name, and the value of those that have one.
    fn objects(self) -> BTreeSet<(String, String, String)> {
        let value = match self {
            Commit::First => "1",
            Commit::Renamed | Commit::Broken => "2",
            Commit::Mended => "3",
        };
        let first = self == Commit::First;
        let two = if first { "two" } else { "two-renamed" };
        let maps = ["base", "late", "one", two].map(|name| ("ConfigMap", name, value));
        let other = if first { ("Role", "reader", "") } else { ("ServiceAccount", "runner", "") };
        let rest = [("Secret", "keys", ""), ("Job", "migrate", ""), other];
        let all = maps.into_iter().chain(rest);
        all.map(|(kind, name, value)| (kind.to_owned(), name.to_owned(), value.to_owned())).collect()
    }
}

/// A controller that may be cut off at any moment, like a process that is killed.
pub(super) struct Process {
    runtime: Option<Runtime>,
    _cache: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) struct Platform {
    pub(super) world: World,
    repository: Repository,
    /// The runs of hooks, by their name.
    runs: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
    bystanders: Vec<Value>,
    node: JoinHandle<()>,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.node.abort();
    }
}

impl Platform {
    /// The Application and its first commit, and objects of others beside it.
    pub(super) async fn new() -> Platform {
        let (world, repository) = World::with_files(&[]).await;
        for name in [NAME, "elsewhere"] {
            world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
        }
        let mut bystanders = Vec::new();
        // One that nobody tracks, one that another Application does, one that was copied from ours.
        for (namespace, name, tracking) in [
            (NAME, "by-hand", None),
            (NAME, "of-another", Some("other:/ConfigMap:shop/of-another")),
            ("elsewhere", "copied", Some("shop:/ConfigMap:shop/one")),
        ] {
            let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace}, "data": {"key": "theirs"}});
            if let Some(tracking) = tracking {
                map["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": tracking});
            }
            bystanders.push(world.create(map).await);
        }
        let runs = Arc::default();
        let node = tokio::spawn(run_jobs(world.client.clone(), Arc::clone(&runs)));
        let platform = Platform { world, repository, runs, bystanders, node };
        platform.commit(Commit::First);
        let policy = json!({
            "automated": {"prune": true, "selfHeal": true},
            "syncOptions": ["PrunePropagationPolicy=background"],
            "retry": {"limit": -1, "backoff": {"duration": "20ms", "factor": 1, "maxDuration": "100ms"}},
        });
        platform.world.application(NAME, "app", policy).await;
        platform
    }

    pub(super) fn commit(&self, commit: Commit) {
        let app = self.repository.path().join("app");
        // Nothing is there before the first commit.
        let _ = std::fs::remove_dir_all(&app);
        for (path, text) in commit.files() {
            self.repository.write(&format!("app/{path}"), &text);
        }
        self.repository.commit(&format!("{commit:?}"));
    }

    /// Starts a controller in a runtime of its own, with a view of the repository of its own.
    pub(super) fn start(&self, faults: &Faults) -> Process {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let entered = runtime.enter();
        let repositories = git::Repositories::new(git::Config::new(cache.path())).unwrap();
        let revision = Some("main".to_owned());
        repositories
            .map(git::Mapping { revision, ..git::Mapping::new(URL, self.repository.path()) })
            .unwrap();
        let settings = Settings { generation_retry: Duration::from_millis(200), ..Settings::default() };
        let config = gitops::Config {
            client: faults.client(&self.world.account()),
            repositories,
            charts: charts::Charts::new(charts::Config::new(cache.path().join("charts"))),
            settings,
        };
        runtime.spawn(GitOps::new(config).run(CancellationToken::new()));
        drop(entered);
        Process { runtime: Some(runtime), _cache: cache }
    }

    /// The newest commit.
    pub(super) fn head(&self) -> String {
        self.repository.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub(super) async fn application(&self) -> Value {
        self.world.app(NAME).await
    }

    async fn until(&self, what: &str, late: Duration, reached: impl Fn(&Value) -> bool) -> Value {
        eventually_async(what, late, || async {
            let application = self.application().await;
            if reached(&application) {
                Ok(application)
            } else {
                Err(format!("{} HEAD {}: {}", jiff::Timestamp::now(), self.head(), application["status"]))
            }
        })
        .await
    }

    /// Waits until the newest commit is deployed.
    pub(super) async fn deployed(&self) -> Value {
        self.deployed_within(LATE).await
    }

    pub(super) async fn deployed_within(&self, late: Duration) -> Value {
        let head = self.head();
        self.until("the newest commit is deployed", late, |application| {
            let status = &application["status"];
            status["sync"]["status"] == "Synced"
                && status["sync"]["revision"] == head.as_str()
                && status["operationState"]["phase"] == "Succeeded"
                && status["operationState"]["syncResult"]["revision"] == head.as_str()
                && status["history"]
                    .as_array()
                    .and_then(|all| all.last())
                    .is_some_and(|last| last["revision"] == head.as_str())
                && status["conditions"].is_null()
        })
        .await
    }

    /// Waits until the cluster is known to be as the newest commit describes it, whichever commit was deployed for that.
    pub(super) async fn settled(&self) -> Value {
        let head = self.head();
        self.until("the cluster is as the newest commit describes it", LATE, |application| {
            let status = &application["status"];
            status["sync"]["status"] == "Synced"
                && status["sync"]["revision"] == head.as_str()
                && status["operationState"]["phase"] == "Succeeded"
                && status["conditions"].is_null()
        })
        .await
    }

    /// Waits until `operationState` tells of something.
    pub(super) async fn told(&self, what: &str, told: impl Fn(&Value) -> bool) {
        let what = format!("{what} is told of");
        self.until(&what, LATE, |application| told(&application["status"]["operationState"])).await;
    }

    /// Waits until the status says that the newest commit cannot be rendered.
    pub(super) async fn refused(&self) -> Value {
        self.until("the newest commit is found to be broken", LATE, |application| {
            let conditions = application["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == "ComparisonError"))
        })
        .await
    }

    /// Everything in the cluster that carries the Application's mark, by kind and name, with its version.
    pub(super) async fn marked(&self) -> BTreeMap<(String, String), Value> {
        let resources = Resources::new(self.world.client.clone());
        let catalog = resources.catalog().await.unwrap();
        let mut marked = BTreeMap::new();
        for served in catalog.preferred_types() {
            if !served.can("list") || served.resource.group == "metrics.k8s.io" {
                continue;
            }
            let list = self.world.api(&served.resource).list(None, &ListOptions::all()).await.unwrap();
            for object in list.items {
                let tracking = &object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"];
                let ours = tracking.as_str().is_some_and(|id| id.starts_with("shop:"));
                if ours && object["metadata"]["namespace"] == NAME {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let key = (text(&object["kind"]), text(&object["metadata"]["name"]));
                    marked.insert(key, object);
                }
            }
        }
        marked
    }

    /// The cluster is as a commit describes it, and what is others' was not touched.
    pub(super) async fn verify(&self, commit: Commit) {
        let wanted = commit.objects();
        eventually_async(&format!("the cluster is as {commit:?} describes it"), LATE, || async {
            let marked = self.marked().await;
            let found: BTreeSet<_> = marked
                .iter()
                .map(|((kind, name), object)| {
                    let value = if kind == "ConfigMap" { object["data"]["key"].as_str() } else { None };
                    (kind.clone(), name.clone(), value.unwrap_or_default().to_owned())
                })
                .collect();
            let differing: Vec<_> = found.symmetric_difference(&wanted).cloned().collect();
            if differing.is_empty() {
                Ok(())
            } else {
                Err((differing, self.application().await["status"].to_string()))
            }
        })
        .await;
        for before in &self.bystanders {
            let now = self.world.api(&CONFIG_MAPS).get(&Key::of(before)).await.unwrap();
            assert_eq!(now, *before, "it is another's");
        }
        let namespace = self.world.api(&NAMESPACES).get(&Key::cluster(NAME)).await.unwrap();
        assert!(namespace["metadata"]["deletionTimestamp"].is_null());
    }

    /// How often a hook ran.
    pub(super) fn runs(&self, hook: &str) -> usize {
        self.runs.lock().unwrap().get(hook).map_or(0, BTreeSet::len)
    }

    /// Somebody edits an object by hand.
    pub(super) async fn drift(&self) {
        self.world.change(&CONFIG_MAPS, NAME, "one", json!({"data": {"key": "edited"}})).await;
    }

    pub(super) async fn healed(&self, value: &str) {
        self.world
            .object(&CONFIG_MAPS, NAME, "one", |map| map.is_some_and(|map| map["data"]["key"] == value))
            .await;
    }
}

/// Ends every Job well, as a node would, and notes its run.
async fn run_jobs(client: Client, runs: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>) {
    let api = Api::new(&client, &JOBS);
    let mut events = std::pin::pin!(watch(&client, &resource::JOBS, WatchOptions::default()));
    while let Some(event) = events.next().await {
        let Event::Applied(job) = event else { continue };
        let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default().to_owned();
        runs.lock().unwrap().entry(text("name")).or_default().insert(text("uid"));
        if job["status"]["succeeded"].is_null() && job["metadata"]["deletionTimestamp"].is_null() {
            let time = objects::meta::format_time(jiff::Timestamp::now());
            let conditions =
                ["SuccessCriteriaMet", "Complete"].map(|kind| json!({"type": kind, "status": "True"}));
            let done =
                json!({"startTime": time, "completionTime": time, "succeeded": 1, "conditions": conditions});
            // The sync may have deleted it meanwhile.
            let _ = api.patch_status(&Key::of(&job), done).await;
        }
    }
}
