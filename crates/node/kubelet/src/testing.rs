//! A machine that exists only in memory, for tests of what is above it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use containers::{
    Attachment, ContainerError, ContainerSpec, Event, ExecError, ExecOutput, Exit, Running, Session,
    SessionRequest, StartError, Status,
};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use images::{Image, ImageConfig, ImageError, PullPolicy};
use jiff::Timestamp;
use network::{ServiceTable, Zone};
use registry::{Digest, Keyring, Reference};
use tokio::sync::{broadcast, watch};

use crate::runtime::{PodNetwork, Runtime, RuntimeError};

/// What a test can look at and set.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) containers: BTreeMap<String, Status>,
    pub(crate) specs: BTreeMap<String, ContainerSpec>,
    pub(crate) signals: Vec<(String, i32)>,
    pub(crate) attached: BTreeSet<String>,
    pub(crate) services: Option<ServiceTable>,
    /// Images that cannot be pulled.
    pub(crate) missing_images: BTreeSet<String>,
    /// Starts fail with this.
    pub(crate) start_error: Option<fn() -> StartError>,
    /// Containers do not end when they are asked to.
    pub(crate) stubborn: bool,
    /// Containers end well when they are asked to.
    pub(crate) obliging: bool,
    /// Exit code of every exec.
    pub(crate) exec_code: i32,
    /// Attaching fails.
    pub(crate) no_network: bool,
}

pub(crate) struct FakeRuntime {
    machine: Mutex<Machine>,
    events: broadcast::Sender<Event>,
    changed: watch::Sender<()>,
}

impl FakeRuntime {
    pub(crate) fn new() -> Arc<FakeRuntime> {
        Arc::new(FakeRuntime {
            machine: Mutex::default(),
            events: broadcast::Sender::new(64),
            changed: watch::Sender::new(()),
        })
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap()
    }

    fn set(&self, id: &str, status: Status) {
        self.machine().containers.insert(id.to_owned(), status.clone());
        let _ = self.events.send(Event::Changed { id: id.to_owned(), status });
        self.changed.send_replace(());
    }

    pub(crate) fn set_running(&self, id: &str) {
        self.set(id, Status::Running(Running { pid: 1, started_at: Timestamp::now() }));
    }

    pub(crate) fn set_exited(&self, id: &str, code: i32) {
        let exit = Exit {
            code,
            signal: None,
            oom_killed: false,
            lost: false,
            started_at: Some(Timestamp::now()),
            finished_at: Timestamp::now(),
            message: None,
        };
        self.set(id, Status::Exited(exit));
    }

    /// The machine ends under everything that runs on it.
    pub(crate) fn lose_all(&self) {
        let mut machine = self.machine();
        machine.attached.clear();
        for status in machine.containers.values_mut().filter(|status| status.is_running()) {
            let exit = Exit {
                code: 137,
                signal: None,
                oom_killed: false,
                lost: true,
                started_at: None,
                finished_at: Timestamp::now(),
                message: None,
            };
            *status = Status::Exited(exit);
        }
    }

    /// The one container of this name that runs.
    pub(crate) fn running(&self, name: &str) -> Option<String> {
        let machine = self.machine();
        let mut ids =
            machine.containers.iter().filter(|(_, status)| status.is_running()).map(|(id, _)| id.clone());
        ids.find(|id| id.split('.').nth(1) == Some(name))
    }

    fn not_found(id: &str) -> ContainerError {
        ContainerError::NotFound(id.to_owned())
    }
}

/// An image whose process is `sleep`.
pub(crate) fn image() -> Image {
    Image {
        id: Digest::of(b"config"),
        manifest: Digest::of(b"manifest"),
        config: ImageConfig {
            env: vec!["PATH=/bin".to_owned(), "LANG=C".to_owned()],
            entrypoint: vec!["/bin/sleep".to_owned()],
            cmd: vec!["inf".to_owned()],
            ..ImageConfig::default()
        },
        layers: vec![PathBuf::from("/layer")],
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn attach(&self, pod: &str) -> Result<PodNetwork, RuntimeError> {
        let mut machine = self.machine();
        if machine.no_network {
            return Err(RuntimeError::new("attach the pod", std::io::Error::other("no address left")));
        }
        machine.attached.insert(pod.to_owned());
        Ok(PodNetwork { namespace: PathBuf::from("/run/netns/pod"), ip: Ipv4Addr::LOCALHOST })
    }

    async fn detach(&self, pod: &str) -> Result<(), RuntimeError> {
        self.machine().attached.remove(pod);
        Ok(())
    }

    async fn attached(&self) -> Vec<String> {
        self.machine().attached.iter().cloned().collect()
    }

    async fn set_services(&self, table: ServiceTable) -> Result<(), RuntimeError> {
        self.machine().services = Some(table);
        Ok(())
    }

    fn set_dns(&self, _: Zone) {}

    async fn image(&self, name: &Reference) -> Option<Image> {
        (!self.machine().missing_images.contains(name.repository())).then(image)
    }

    async fn ensure_image(&self, name: &Reference, _: PullPolicy, _: &Keyring) -> Result<Image, ImageError> {
        match self.machine().missing_images.contains(name.repository()) {
            true => Err(ImageError::NotFound(name.to_string())),
            false => Ok(image()),
        }
    }

    async fn image_size(&self, _: &Reference) -> Option<u64> {
        Some(42)
    }

    async fn start(&self, spec: ContainerSpec) -> Result<(), StartError> {
        if let Some(error) = self.machine().start_error {
            return Err(error());
        }
        let id = spec.id.clone();
        self.machine().specs.insert(id.clone(), spec);
        self.set_running(&id);
        Ok(())
    }

    fn list(&self) -> Vec<(String, Status)> {
        self.machine().containers.clone().into_iter().collect()
    }

    fn status(&self, id: &str) -> Result<Status, ContainerError> {
        self.machine().containers.get(id).cloned().ok_or_else(|| Self::not_found(id))
    }

    fn events(&self) -> BoxStream<'static, Event> {
        stream::unfold(self.events.subscribe(), |mut events| async move {
            match events.recv().await {
                Ok(event) => Some((event, events)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((Event::Missed, events)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
        .boxed()
    }

    async fn wait(&self, id: &str) -> Result<Exit, ContainerError> {
        let mut changed = self.changed.subscribe();
        loop {
            match self.status(id)? {
                Status::Exited(exit) => return Ok(exit),
                _ => changed.changed().await.map_err(|_| Self::not_found(id))?,
            }
        }
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        if !self.status(id)?.is_running() {
            return Err(ContainerError::NotRunning(id.to_owned()));
        }
        let (stubborn, obliging) = {
            let mut machine = self.machine();
            machine.signals.push((id.to_owned(), signal));
            (machine.stubborn, machine.obliging)
        };
        if !stubborn {
            self.set_exited(id, if obliging { 0 } else { 128 + signal });
        }
        Ok(())
    }

    async fn kill(&self, id: &str) -> Result<Exit, ContainerError> {
        if self.status(id)?.is_running() {
            self.set_exited(id, 137);
        }
        self.wait(id).await
    }

    async fn delete(&self, id: &str) -> Result<(), ContainerError> {
        self.machine().containers.remove(id);
        Ok(())
    }

    async fn exec(&self, _: &str, _: Vec<String>, _: Duration, _: usize) -> Result<ExecOutput, ExecError> {
        let code = self.machine().exec_code;
        Ok(ExecOutput { code, stdout: b"out".to_vec(), stderr: Vec::new() })
    }

    async fn session(&self, id: &str, _: SessionRequest) -> Result<Session, ExecError> {
        Err(ContainerError::NotRunning(id.to_owned()).into())
    }

    async fn attach_to(&self, id: &str) -> Result<Attachment, ContainerError> {
        Err(ContainerError::NotRunning(id.to_owned()))
    }

    async fn mount_memory(&self, _: &Path, _: Option<u64>) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn unmount(&self, _: &Path) -> Result<(), RuntimeError> {
        Ok(())
    }
}
