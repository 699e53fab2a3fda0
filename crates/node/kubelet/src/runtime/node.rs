//! The real machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use containers::{
    Attachment, ContainerError, ContainerSpec, Containers, ExecError, ExecOutput, ExecRequest, Exit, Session,
    SessionRequest, StartError, Status,
};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use images::{Image, ImageError, ImageStore, PullPolicy};
use network::{NodeNetwork, ServiceTable, Zone};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use registry::{Keyring, Reference};

use super::{PodNetwork, Runtime, RuntimeError};

/// [`Runtime`] on the adapters of this machine.
#[derive(Clone)]
pub struct NodeRuntime {
    containers: Containers,
    images: ImageStore,
    network: Arc<NodeNetwork>,
}

impl std::fmt::Debug for NodeRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRuntime").field("network", self.network.config()).finish_non_exhaustive()
    }
}

impl NodeRuntime {
    /// The adapters stay the caller's: it opened them and closes them.
    pub fn new(containers: Containers, images: ImageStore, network: Arc<NodeNetwork>) -> NodeRuntime {
        NodeRuntime { containers, images, network }
    }
}

#[async_trait]
impl Runtime for NodeRuntime {
    async fn attach(&self, pod: &str) -> Result<PodNetwork, RuntimeError> {
        let attached = self.network.attach(pod).await;
        let attached = attached.map_err(|error| RuntimeError::new("attach the pod to the network", error))?;
        Ok(PodNetwork { namespace: attached.netns, ip: attached.address })
    }

    async fn detach(&self, pod: &str) -> Result<(), RuntimeError> {
        let detached = self.network.detach(pod).await;
        detached.map_err(|error| RuntimeError::new("detach the pod from the network", error))
    }

    async fn attached(&self) -> Vec<String> {
        self.network.attached().into_keys().collect()
    }

    async fn set_services(&self, table: ServiceTable) -> Result<(), RuntimeError> {
        self.network
            .set_services(table)
            .await
            .map_err(|error| RuntimeError::new("set the Service rules", error))
    }

    fn set_dns(&self, zone: Zone) {
        self.network.set_dns(zone);
    }

    async fn image(&self, name: &Reference) -> Option<Image> {
        self.images.get(name).await
    }

    async fn ensure_image(
        &self,
        name: &Reference,
        policy: PullPolicy,
        keyring: &Keyring,
    ) -> Result<Image, ImageError> {
        self.images.ensure(name, policy, keyring).await
    }

    async fn image_size(&self, name: &Reference) -> Option<u64> {
        self.images.list().await.ok()?.into_iter().find(|image| image.name == *name).map(|image| image.size)
    }

    async fn start(&self, mut spec: ContainerSpec) -> Result<(), StartError> {
        let score = &mut spec.resources.oom_score_adj;
        *score = score.map(|score| score.max(lowest_oom_score()));
        self.containers.start(spec).await
    }

    fn list(&self) -> Vec<(String, Status)> {
        self.containers.list()
    }

    fn status(&self, id: &str) -> Result<Status, ContainerError> {
        self.containers.status(id)
    }

    fn events(&self) -> BoxStream<'static, containers::Event> {
        stream::unfold(self.containers.events(), |mut events| async move {
            let event = events.next().await?;
            Some((event, events))
        })
        .boxed()
    }

    async fn wait(&self, id: &str) -> Result<Exit, ContainerError> {
        self.containers.wait(id).await
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        self.containers.signal(id, signal).await
    }

    async fn kill(&self, id: &str) -> Result<Exit, ContainerError> {
        self.containers.kill(id).await
    }

    async fn delete(&self, id: &str) -> Result<(), ContainerError> {
        self.containers.delete(id).await
    }

    async fn exec(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
        output_limit: usize,
    ) -> Result<ExecOutput, ExecError> {
        self.containers.exec(id, ExecRequest { args: command, timeout, output_limit }).await
    }

    async fn session(&self, id: &str, request: SessionRequest) -> Result<Session, ExecError> {
        self.containers.session(id, request).await
    }

    async fn attach_to(&self, id: &str) -> Result<Attachment, ContainerError> {
        self.containers.attach(id).await
    }

    async fn mount_memory(&self, path: &Path, size: Option<u64>) -> Result<(), RuntimeError> {
        let path = path.to_owned();
        blocking("mount a memory file system", move || {
            if is_mount_point(&path)? {
                return Ok(());
            }
            let options =
                size.map_or_else(|| "mode=0777".to_owned(), |size| format!("mode=0777,size={size}"));
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("mainstay"), &path, Some("tmpfs"), flags, Some(options.as_str())).map_err(Into::into)
        })
        .await
    }

    async fn unmount(&self, path: &Path) -> Result<(), RuntimeError> {
        let path = path.to_owned();
        blocking("unmount a memory file system", move || {
            if !is_mount_point(&path)? {
                return Ok(());
            }
            // Detached, so that a process that still looks at it does not hold it.
            umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(Into::into)
        })
        .await
    }
}

/// The lowest `oom_score_adj` this process may give. Root inside a container of its own often lacks the capability to go
/// below what it has itself; the Pod then runs with that instead of not at all.
fn lowest_oom_score() -> i32 {
    static LOWEST: std::sync::LazyLock<i32> = std::sync::LazyLock::new(|| {
        const SYS_RESOURCE: u32 = 24;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        if effective & (1 << SYS_RESOURCE) != 0 {
            return -1000;
        }
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
        own.and_then(|own| own.trim().parse().ok()).unwrap_or(0)
    });
    *LOWEST
}

async fn blocking(
    action: &'static str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<(), RuntimeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| RuntimeError::new(action, error)),
        Err(panic) => Err(RuntimeError::new(action, panic)),
    }
}

fn is_mount_point(path: &Path) -> std::io::Result<bool> {
    let Ok(path) = path.canonicalize() else { return Ok(false) };
    Ok(mount_points()?.contains(&path))
}

/// The mount points of this process's mount namespace.
pub(crate) fn mount_points() -> std::io::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect())
}

/// The kernel writes blanks and backslashes of a path as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match value.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_back() {
        assert_eq!(unescape(r"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert!(mount_points().unwrap().contains(&PathBuf::from("/")));
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/self/fd")).unwrap());
    }
}
