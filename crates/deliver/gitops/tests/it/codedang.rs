//! Codedang from its root, unchanged: Argo CD's own Application, eight others and 26 ApplicationSets, on two clusters.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use client::dynamic::ListOptions;
use client::resource::{APPLICATION_SETS, APPLICATIONS, JOBS};
use client::{Api, Client, Key};
use gitops::{HealthGates, Settings};
use serde_json::{Value, json};
use test_kit::{Cluster, FileServer, Listening, Repository, eventually_async, find_program, shared};

use super::clusters::{registered, secret};
use super::place;
use super::world::World;

const URL: &str = "https://github.com/skkuding/codedang";
/// Path of the repository, chart, and the version that Codedang asks for.
const CHARTS: [(&str, &str, &str); 2] = [("argo-helm", "argo-cd", "9.4.2"), ("", "cert-manager", "v1.18.2")];
/// Every application is rendered in a debug build here.
const LATE: std::time::Duration = std::time::Duration::from_secs(180);

/// The branches main and release.
fn branches() -> Repository {
    let repository = Repository::of(&shared("repos/codedang"));
    repository.git(&["checkout", "--quiet", "-b", "release"]);
    repository.git(&["rm", "--quiet", "-r", "."]);
    copy(&shared("repos/codedang-release"), repository.path());
    repository.commit("release");
    repository.git(&["checkout", "--quiet", "main"]);
    repository
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Helm repositories with the charts that are here, each under the version that Codedang asks for.
fn mirror() -> (tempfile::TempDir, FileServer) {
    let directory = tempfile::tempdir().unwrap();
    for (repository, chart, version) in CHARTS {
        let served = directory.path().join(repository);
        std::fs::create_dir_all(&served).unwrap();
        let source = shared(&format!("charts/charts/{chart}"));
        helm(&served, &["package", &source.display().to_string(), "--version", version]);
        helm(&served, &["repo", "index", "."]);
    }
    let server = FileServer::start(directory.path());
    (directory, server)
}

fn helm(directory: &Path, arguments: &[&str]) {
    let output = Command::new(find_program("helm"))
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The second cluster.
struct Stage {
    client: Client,
    /// What registers it.
    secret: Value,
    _listening: Option<Listening>,
}

impl Stage {
    async fn find() -> Stage {
        let Some(kubeconfig) = std::env::var_os(place::SECOND) else {
            let cluster = Cluster::start().await;
            let listening = cluster.listen().await;
            let secret = secret("stage", &listening);
            return Stage { client: cluster.admin(), secret, _listening: Some(listening) };
        };
        let client = place::reach(kubeconfig.clone().into()).await;
        place::define_minimal(&client).await;
        let config: Value = yaml::from_str(&std::fs::read_to_string(kubeconfig).unwrap()).unwrap();
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let file = |path: &Value| {
            let content = std::fs::read(path.as_str().unwrap()).unwrap();
            base64::engine::general_purpose::STANDARD.encode(content)
        };
        let tls = json!({"insecure": false, "caData": file(&cluster["certificate-authority"]),
            "certData": file(&user["client-certificate"]), "keyData": file(&user["client-key"])});
        let server = cluster["server"].as_str().unwrap();
        let secret = registered("stage", server, &json!({"tlsClientConfig": tls}));
        Stage { client, secret, _listening: None }
    }
}

/// Ends the Jobs of hooks, as a node would.
async fn end_jobs(client: &Client) {
    let api = Api::new(client, &JOBS);
    let jobs = api.list(None, &ListOptions::all()).await.unwrap().items;
    for job in jobs.iter().filter(|job| job["status"]["succeeded"].is_null()) {
        let conditions = json!([{"type": "Complete", "status": "True"}]);
        let done = json!({"succeeded": 1, "conditions": conditions});
        // The sync may have deleted it meanwhile.
        let _ = api.patch_status(&Key::of(job), done).await;
    }
}

/// The host that an Application needs and that is not here.
fn missing(application: &Value) -> Option<String> {
    let spec = &application["spec"];
    let single = std::slice::from_ref(&spec["source"]);
    let sources = spec["sources"].as_array().map_or(single, Vec::as_slice);
    let absent = |source: &&Value| {
        source["repoURL"] != URL && !CHARTS.iter().any(|(_, chart, _)| source["chart"] == *chart)
    };
    let url = sources.iter().find(absent)?["repoURL"].as_str().unwrap();
    let url = url.trim_start_matches("https://");
    Some(url.split('/').next().unwrap().to_owned())
}

/// Whether an Application is Synced, or says which host it lacks.
fn is_settled(application: &Value) -> bool {
    let status = &application["status"];
    let Some(host) = missing(application) else {
        return status["sync"]["status"] == "Synced" && status["operationState"]["phase"] == "Succeeded";
    };
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    status["sync"]["status"] == "Unknown"
        && conditions.any(|condition| {
            condition["type"] == "ComparisonError" && condition["message"].as_str().unwrap().contains(&host)
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn codedang_comes_up_from_its_root_on_two_clusters() {
    let repository = branches();
    let (_directory, server) = mirror();
    let world = World::mirroring(&["argoproj.github.io", "charts.jetstack.io"], &server.url()).await;
    world.repositories.map(git::Mapping::new(URL, repository.path())).unwrap();
    let stage = Stage::find().await;
    // What bootstrapping makes: the chart has both Secrets, one of them sealed.
    world.create(registered("production", "https://kubernetes.default.svc", &json!({}))).await;
    world.create(stage.secret.clone()).await;
    let root =
        std::fs::read_to_string(shared("repos/codedang/infra/k8s/argocd/applications/argocd.yaml")).unwrap();
    let root: Value = yaml::from_str(&root).unwrap();
    world.create(root).await;
    let running = world.start(Settings { health_gates: HealthGates::Ignore, ..Settings::default() });

    let applications =
        eventually_async("every application is Synced or names what it lacks", LATE, || async {
            end_jobs(&world.client).await;
            end_jobs(&stage.client).await;
            let all = world.api(&APPLICATIONS).list(Some("argocd"), &ListOptions::all()).await.unwrap().items;
            match all.iter().find(|application| !is_settled(application)) {
                None if all.len() == 8 + 52 => Ok(all),
                None => Err(format!("{} applications", all.len())),
                Some(application) => {
                    Err(format!("{} {}", application["metadata"]["name"], application["status"]))
                }
            }
        })
        .await;
    let synced = applications.iter().filter(|application| missing(application).is_none()).count();
    assert_eq!(synced, 28);

    let sets = world.api(&APPLICATION_SETS).list(Some("argocd"), &ListOptions::all()).await.unwrap().items;
    assert_eq!(sets.len(), 27);
    for set in &sets {
        // One asks GitHub for pull requests.
        let mut conditions = set["status"]["conditions"].as_array().into_iter().flatten();
        let wrong =
            conditions.any(|condition| condition["type"] == "ErrorOccurred" && condition["status"] == "True");
        assert_eq!(wrong, set["metadata"]["name"] == "frontend-preview", "{}", set["status"]);
    }
    running.stop().await;
}
