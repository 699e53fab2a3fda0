//! Codedang from its root, unchanged: Argo CD's own Application, eight others and 26 ApplicationSets, on two clusters.

use std::path::Path;

use base64::Engine as _;
use client::dynamic::ListOptions;
use client::resource::{APPLICATION_SETS, APPLICATIONS, JOBS};
use client::{Api, Client, Key};
use gitops::{HealthGates, Settings};
use serde_json::{Value, json};
use test_kit::codedang::{self, Codedang};
use test_kit::{Cluster, Listening, eventually_async, shared};

use super::clusters::{registered, secret};
use super::place;
use super::world::World;

/// Every application is rendered in a debug build here.
const LATE: std::time::Duration = std::time::Duration::from_secs(180);

/// The second cluster.
struct Stage {
    client: Client,
    /// What registers it.
    secret: Value,
    _listening: Option<Listening>,
}

impl Stage {
    async fn find(own: &[&Path]) -> Stage {
        let Some(kubeconfig) = std::env::var_os(place::SECOND) else {
            let cluster = Cluster::start().await;
            let listening = cluster.listen().await;
            let secret = secret("stage", &listening);
            return Stage { client: cluster.admin(), secret, _listening: Some(listening) };
        };
        let client = place::reach(kubeconfig.clone().into()).await;
        place::define_minimal(&client, own).await;
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
        // As much as a real server wants to see of one that ended.
        let time = objects::meta::format_time(jiff::Timestamp::now());
        let done = json!({"startTime": time, "completionTime": time, "succeeded": 1, "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": time},
            {"type": "Complete", "status": "True", "lastTransitionTime": time},
        ]});
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
        let chart = source["chart"].as_str().unwrap_or_default();
        source["repoURL"] != codedang::URL && !codedang::has_chart(chart)
    };
    let url = sources.iter().find(absent)?["repoURL"].as_str().unwrap();
    let url = url.trim_start_matches("https://");
    Some(url.split('/').next().unwrap().to_owned())
}

/// Whether an Application is Synced, or says which host it lacks.
fn is_settled(application: &Value) -> bool {
    let status = &application["status"];
    let Some(host) = missing(application) else {
        // A real server asks the webhooks that cert-manager brings, and nothing runs them there.
        let message = status["operationState"]["message"].as_str().unwrap_or_default();
        let unanswered = message.contains("failed calling webhook");
        return unanswered
            || status["sync"]["status"] == "Synced" && status["operationState"]["phase"] == "Succeeded";
    };
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    status["sync"]["status"] == "Unknown"
        && conditions.any(|condition| {
            condition["type"] == "ComparisonError" && condition["message"].as_str().unwrap().contains(&host)
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn codedang_comes_up_from_its_root_on_two_clusters() {
    let codedang = Codedang::new();
    let world = World::mirroring(&codedang::HOSTS, &codedang.charts.url()).await;
    world.repositories.map(git::Mapping::new(codedang::URL, codedang.repository.path())).unwrap();
    let (release, charts) = (shared("repos/codedang-release"), shared("charts/charts"));
    let own = [codedang.repository.path(), &release, &charts.join("argo-cd"), &charts.join("cert-manager")];
    world.place.serve_kinds(&own).await;
    let stage = Stage::find(&own).await;
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
