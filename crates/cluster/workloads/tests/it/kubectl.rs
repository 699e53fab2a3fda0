//! The real kubectl, over TLS, against what the controllers write.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use apiserver::pki::{Pki, cluster_names};
use apiserver::{ApiServer, Config, User};
use client::Client;
use client::resource::PODS;
use store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::World;

struct Kubectl {
    world: World,
    kubeconfig: PathBuf,
    _serving: DropGuard,
}

impl Kubectl {
    async fn start() -> Kubectl {
        let pki = Pki::ephemeral().unwrap();
        let store = Store::in_memory(&store::Config::default()).unwrap();
        let api = Arc::new(ApiServer::start(Config::new(store, &pki)).await.unwrap());
        let admin = Client::new(api.service(User::admin()), "default");
        // Rights are tested elsewhere; here every controller may do anything.
        let server = api.clone();
        let clients: workloads::ClientFor =
            Arc::new(move |_| Client::new(server.service(User::admin()), "default"));
        let world = World::with(admin, clients).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let tls = pki.server_config(&cluster_names("cluster.local", "10.96.0.1".parse().unwrap())).unwrap();
        let kubeconfig = world.directory.path().join("kubeconfig");
        std::fs::write(&kubeconfig, pki.admin_kubeconfig(&url).unwrap()).unwrap();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        tokio::spawn(async move { api.serve(listener, tls, token).await });
        Kubectl { world, kubeconfig, _serving: shutdown.drop_guard() }
    }

    /// Runs kubectl in the namespace of the tests; it must succeed within its own time limits.
    async fn run(&self, arguments: &str) -> String {
        let mut command = Command::new(test_kit::find_program("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace=a", "--request-timeout=60s"])
            .args(arguments.split_whitespace())
            .env("HOME", self.world.directory.path())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let (text, problem) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments}: {text}{problem}");
        text.into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_of_a_deployment() {
    let kubectl = Kubectl::start().await;
    let status = || kubectl.run("rollout status deployment/web --timeout=60s");
    kubectl.run("create deployment web --image=example.com/image:1 --replicas=2").await;
    assert!(status().await.contains("deployment \"web\" successfully rolled out"));
    kubectl.run("annotate deployment/web kubernetes.io/change-cause=first").await;
    kubectl.run("set image deployment/web image=example.com/image:2").await;
    status().await;
    let history = kubectl.run("rollout history deployment/web").await;
    assert!(history.contains("1         ") && history.contains("2         "), "{history}");
    kubectl.run("rollout undo deployment/web").await;
    status().await;
    let image = "get deployment/web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(kubectl.run(image).await, "example.com/image:1");
    let history = kubectl.run("rollout history deployment/web").await;
    assert!(history.contains("3         ") && !history.contains("1         "), "{history}");
    kubectl.run("rollout restart deployment/web").await;
    status().await;
    kubectl.run("rollout pause deployment/web").await;
    kubectl.run("rollout resume deployment/web").await;
    kubectl.run("scale deployment/web --replicas=3").await;
    status().await;
    kubectl.run("wait --for=condition=Available deployment/web --timeout=60s").await;
    let table = kubectl.run("get deployments").await;
    assert!(table.contains("3/3"), "{table}");
    let described = kubectl.run("describe deployment/web").await;
    assert!(
        described.contains("ScalingReplicaSet") && described.contains("deployment-controller"),
        "{described}"
    );
    assert!(described.contains("NewReplicaSet:   web-"), "{described}");
    kubectl.run("expose deployment/web --port=80 --target-port=8080").await;
    kubectl
        .world
        .until(&client::resource::ENDPOINTS, "web", "three addresses", |endpoints| {
            endpoints["subsets"][0]["addresses"].as_array().is_some_and(|list| list.len() == 3)
        })
        .await;
    let described = kubectl.run("describe service/web").await;
    assert!(described.contains(":8080"), "{described}");
    kubectl.run("delete deployment/web --cascade=foreground --timeout=60s").await;
    assert!(kubectl.world.list(&PODS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_of_other_kinds_and_jobs() {
    let kubectl = Kubectl::start().await;
    let manifest = kubectl.world.directory.path().join("manifest.yaml");
    let pod =
        "template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: 'example.com/i:1'}]}}";
    let text = format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  replicas: 2\n  serviceName: db\n  \
         selector: {{matchLabels: {{app: x}}}}\n  {pod}\n---\n\
         apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{app: z}}}}\n  {}\n",
        pod.replace("app: x", "app: z")
    );
    std::fs::write(&manifest, text).unwrap();
    kubectl.run(&format!("apply -f {}", manifest.display())).await;
    for name in ["statefulset/db", "daemonset/agent"] {
        kubectl.run(&format!("rollout status {name} --timeout=60s")).await;
        kubectl.run(&format!("rollout restart {name}")).await;
        kubectl.run(&format!("rollout status {name} --timeout=60s")).await;
        let history = kubectl.run(&format!("rollout history {name}")).await;
        assert!(history.contains("1         ") && history.contains("2         "), "{history}");
        kubectl.run(&format!("rollout undo {name}")).await;
        kubectl.run(&format!("rollout status {name} --timeout=60s")).await;
    }
    kubectl.run("create cronjob night --image=example.com/i:1 --schedule=@yearly").await;
    kubectl.run("create job once --from=cronjob/night").await;
    let pods = kubectl
        .world
        .until_list(&PODS, "the job's pod", |pods| {
            pods.iter().any(|pod| {
                objects::meta::name(pod).starts_with("once-") && pod["status"]["phase"] == "Running"
            })
        })
        .await;
    let pod = pods.iter().find(|pod| objects::meta::name(pod).starts_with("once-")).unwrap();
    let done = serde_json::json!({ "phase": "Succeeded" });
    kubectl.world.api(&PODS).patch_status(&client::Key::of(pod), done).await.unwrap();
    kubectl.run("wait --for=condition=complete job/once --timeout=60s").await;
    kubectl.run("delete namespace a --timeout=60s").await;
}
