//! A machine for one test, with one node on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::network::{NodeNetwork, Ranges};
use apiserver::{ApiServer, User, pki::Pki};
use client::resource::{NAMESPACES, PODS, ResourceType};
use client::{Api, Client, Key};
use containers::{Containers, ContainersConfig, MonitorCommand};
use futures::TryStreamExt as _;
use images::{ImageStore, PackFile, PackRequest};
use kubelet::{Addresses, Config, Kubelet, NodeRuntime};
use link::{LogRequest, Node as _};
use nlink::{Connection, Route};
use registry::{Reference, Registry, RegistryConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const HELPER: &str = env!("CARGO_BIN_EXE_kubelet-test-helper");
/// A shell, `sleep`, `cat`, and the helper under `/usr/local/bin/kubelet-test-helper`.
pub(crate) const IMAGE: &str = "localhost/tools:1";
pub(crate) const SERVER: &str = "/usr/local/bin/kubelet-test-helper";

pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    server: ApiServer,
    cgroups: String,
}

/// A process that runs the node.
pub(crate) struct Running {
    pub(crate) kubelet: Kubelet,
    pub(crate) containers: Containers,
    network: Arc<NodeNetwork>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Runs a test on a machine of its own.
pub(crate) fn on_a_machine<F: Future<Output = ()>>(test: impl FnOnce(Machine) -> F + Send + 'static) {
    assert!(nix::unistd::geteuid().is_root(), "this test runs real Pods and needs root");
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let test = async { test(Machine::new().await).await };
            tokio::time::timeout(DEADLINE * 4, test).await.expect("the test takes too long");
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Machine {
    async fn new() -> Machine {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cgroups = format!("kubelet-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Connection::<Route>::new().unwrap().set_link_up("lo").await.unwrap();
        let pki = Pki::ephemeral().unwrap();
        let store = store::Store::in_memory(&store::Config::default()).unwrap();
        let server = ApiServer::start(apiserver::Config::new(store, &pki)).await.unwrap();
        let machine = Machine { dir: tempfile::tempdir().unwrap(), server, cgroups };
        machine.pack().await;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        machine.api(&NAMESPACES).create(&namespace).await.unwrap();
        machine
    }

    async fn images(&self) -> ImageStore {
        let registry = Registry::new(RegistryConfig::default()).unwrap();
        ImageStore::open(self.dir.path().join("images"), registry).await.unwrap()
    }

    async fn pack(&self) {
        let mut request = PackRequest::program(Reference::parse(IMAGE).unwrap(), PathBuf::from(HELPER));
        request.extra = ["sh", "sleep", "cat"]
            .map(|name| PackFile {
                source: test_kit::find_program(name).canonicalize().unwrap(),
                target: Path::new("/bin").join(name),
                with_libraries: true,
            })
            .into();
        self.images().await.pack(request).await.unwrap();
    }

    /// Starts the node; what an earlier process left is adopted.
    pub(crate) async fn up(&self) -> Running {
        let range = |text: &str| text.parse().unwrap();
        let ranges = Ranges { pods: range("10.42.0.0/16"), services: range("10.96.0.0/16") };
        let resolv_conf = self.dir.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "").unwrap();
        let config = ::network::Config::new(self.dir.path(), "kubelet", ranges);
        let network = NodeNetwork::ensure(::network::Config { resolv_conf, ..config }).await.unwrap();
        let addresses =
            Addresses { node: network.config().host_address(), dns: network.config().dns_address() };
        let network = Arc::new(network);
        let containers = Containers::open(ContainersConfig {
            root: self.dir.path().join("containers"),
            monitor: MonitorCommand { exe: HELPER.into(), args_prefix: Vec::new() },
            cgroup_parent: self.cgroups.clone(),
        })
        .await
        .unwrap();
        let runtime = NodeRuntime::new(containers.clone(), self.images().await, Arc::clone(&network));
        let config = Config::new(
            "node-1",
            self.client(),
            Arc::new(runtime),
            self.dir.path().join("kubelet"),
            addresses,
        );
        let kubelet = Kubelet::new(config).await.unwrap();
        let stop = CancellationToken::new();
        let (running, token) = (kubelet.clone(), stop.clone());
        let task = tokio::spawn(async move { running.run(token).await });
        Running { kubelet, containers, network, stop, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.server.service(User::admin()), "default")
    }

    pub(crate) fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&self.client(), resource)
    }

    pub(crate) async fn create(&self, resource: &ResourceType, name: &str, fields: Value) {
        let mut object = fields;
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("shop");
        self.api(resource).create(&object).await.unwrap();
    }

    /// Creates a Pod, bound to the node, whose containers use [`IMAGE`].
    pub(crate) async fn run(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!("node-1");
        for container in spec["containers"].as_array_mut().unwrap() {
            container["image"] = json!(IMAGE);
        }
        self.create(&PODS, name, json!({"metadata": {"labels": {"app": name}}, "spec": spec})).await;
    }

    pub(crate) async fn pod(&self, name: &str) -> Option<Value> {
        self.api(&PODS).find(&Key::namespaced("shop", name)).await.unwrap()
    }

    pub(crate) async fn until(&self, what: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        test_kit::eventually_async(what, DEADLINE, async || match self.pod(name).await {
            Some(pod) if wanted(&pod) => Ok(pod),
            other => {
                let events = self
                    .api(&client::resource::EVENTS)
                    .list(Some("shop"), &Default::default())
                    .await
                    .unwrap();
                let events: Vec<String> =
                    events.items.iter().map(|event| event["message"].to_string()).collect();
                Err((other.map(|pod| pod["status"]["containerStatuses"].to_string()), events))
            }
        })
        .await
    }

    pub(crate) async fn until_ready(&self, name: &str) -> Value {
        self.until("the Pod is ready", name, |pod| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
        .await
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.api(&PODS).delete(&Key::namespaced("shop", name), &Default::default()).await.unwrap();
        test_kit::eventually_async("the Pod is gone", DEADLINE, async || match self.pod(name).await {
            None => Ok(()),
            Some(pod) => Err(pod["status"].to_string()),
        })
        .await;
    }

    fn mounts(&self) -> Vec<String> {
        let dir = self.dir.path().to_str().unwrap().to_owned();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().filter(|line| line.contains(&dir)).map(str::to_owned).collect()
    }

    /// Takes everything away, as `mainstay down` does, and checks that nothing is left.
    pub(crate) async fn down(&self, running: Running) {
        let Running { kubelet, containers, network, stop, task } = running;
        stop.cancel();
        tokio::time::timeout(DEADLINE, task).await.expect("the kubelet ends").unwrap();
        drop(kubelet);
        containers.destroy().await.unwrap();
        Arc::into_inner(network).expect("nobody else uses the network").remove().await.unwrap();
        kubelet::unmount_all(self.dir.path()).unwrap();
        assert_eq!(self.mounts(), Vec::<String>::new(), "mounts are left");
    }
}

impl Drop for Machine {
    /// A test that failed leaves its mounts, and then the directory could not be deleted.
    fn drop(&mut self) {
        let _ = kubelet::unmount_all(self.dir.path());
    }
}

impl Running {
    /// Ends the process as SIGTERM does: containers run on.
    pub(crate) async fn end(self) {
        let Running { kubelet, containers, network, stop, task } = self;
        stop.cancel();
        tokio::time::timeout(DEADLINE, task).await.expect("the kubelet ends").unwrap();
        drop((kubelet, containers));
        Arc::into_inner(network).expect("nobody else uses the network").close().await;
    }

    pub(crate) async fn log(&self, pod: &str, container: &str) -> String {
        match self.kubelet.logs(LogRequest::new("shop", pod, container)).await {
            Ok(stream) => {
                let chunks: Vec<_> = stream.try_collect().await.unwrap();
                String::from_utf8(chunks.concat()).unwrap()
            }
            Err(refusal) => refusal.to_string(),
        }
    }

    /// Waits until a container has written something.
    pub(crate) async fn until_logged(&self, pod: &str, container: &str, wanted: &str) {
        test_kit::eventually_async("a line of the log", DEADLINE, async || {
            let log = self.log(pod, container).await;
            if log.contains(wanted) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}
