//! The door to the machine: everything a Pod worker does to it goes through [`Runtime`], so that tests can put faults there.

mod node;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use containers::{
    Attachment, ContainerError, ContainerSpec, ExecError, ExecOutput, Exit, Session, SessionRequest,
    StartError, Status,
};
use futures::stream::BoxStream;
use images::{Image, ImageError, PullPolicy};
use network::{ServiceTable, Zone};
use registry::{Keyring, Reference};

pub use node::NodeRuntime;
pub(crate) use node::mount_points;

/// What a Pod's containers share of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetwork {
    /// The network namespace.
    pub namespace: PathBuf,
    /// The Pod's address, reachable from the host.
    pub ip: Ipv4Addr,
}

/// Something the machine could not do for a Pod.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct RuntimeError {
    /// What was attempted.
    pub action: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl RuntimeError {
    /// An error that says what was attempted.
    pub fn new(
        action: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        RuntimeError { action: action.into(), source: source.into() }
    }
}

/// Containers, images, the pod network and memory file systems of one machine.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Gives the Pod a network namespace and an address; the same ones when it has them already.
    async fn attach(&self, pod: &str) -> Result<PodNetwork, RuntimeError>;
    /// Takes them away; succeeds when there are none.
    async fn detach(&self, pod: &str) -> Result<(), RuntimeError>;
    /// Pods that are attached.
    async fn attached(&self) -> Vec<String>;
    /// Replaces the whole of the Service rules.
    async fn set_services(&self, table: ServiceTable) -> Result<(), RuntimeError>;
    /// Replaces the whole of the cluster's names.
    fn set_dns(&self, zone: Zone);

    /// An image that is on the machine already.
    async fn image(&self, name: &Reference) -> Option<Image>;
    /// The image, pulled as the policy says.
    async fn ensure_image(
        &self,
        name: &Reference,
        policy: PullPolicy,
        keyring: &Keyring,
    ) -> Result<Image, ImageError>;
    /// Compressed bytes of an image on the machine.
    async fn image_size(&self, name: &Reference) -> Option<u64>;

    /// Creates and starts a container; returns once its process runs.
    async fn start(&self, spec: ContainerSpec) -> Result<(), StartError>;
    /// Every container of this node, ended or not.
    fn list(&self) -> Vec<(String, Status)>;
    /// The state of one container.
    fn status(&self, id: &str) -> Result<Status, ContainerError>;
    /// What happens from now on.
    fn events(&self) -> BoxStream<'static, containers::Event>;
    /// Waits for the end of a container.
    async fn wait(&self, id: &str) -> Result<Exit, ContainerError>;
    /// Signals the container's first process.
    async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError>;
    /// Kills every process of the container and waits for its end.
    async fn kill(&self, id: &str) -> Result<Exit, ContainerError>;
    /// Removes what is left of a container, but for its log.
    async fn delete(&self, id: &str) -> Result<(), ContainerError>;
    /// Runs a command in a container; at most `output_limit` bytes of its output are kept.
    async fn exec(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
        output_limit: usize,
    ) -> Result<ExecOutput, ExecError>;

    /// Runs a command in a container, connected with the caller.
    async fn session(&self, id: &str, request: SessionRequest) -> Result<Session, ExecError>;

    /// Connects with the standard descriptors of a container that has an input or a terminal.
    async fn attach_to(&self, id: &str) -> Result<Attachment, ContainerError>;

    /// Mounts a memory file system of at most `size` bytes on an existing directory; does nothing where one is mounted.
    async fn mount_memory(&self, path: &Path, size: Option<u64>) -> Result<(), RuntimeError>;
    /// Unmounts it; succeeds when nothing is mounted.
    async fn unmount(&self, path: &Path) -> Result<(), RuntimeError>;
}
