//! What every Pod worker uses: configuration, the API, the Services of the cluster, and who depends on which object.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::events::{EventType, Recorder};
use client::resource::{CONFIG_MAPS, ResourceType, SECRETS, SERVICE_ACCOUNTS};
use client::{Api, Key};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::env::{Contents, Context, Reference, ReferenceKind, ServiceAddress, Sources};
use crate::mailbox::Mailbox;
use crate::pod::PodId;
use crate::refusals::PrivilegedNamespaces;
use crate::resources::Capacity;
use crate::runtime::Runtime;
use crate::volumes::Token;

/// One per kubelet.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) capacity: Capacity,
    /// The node's address as text.
    pub(crate) host_ip: String,
    events: mpsc::Sender<PodEvent>,
    /// `None` until the Services have been read once.
    pub(crate) services: watch::Sender<Option<Arc<Vec<ServiceAddress>>>>,
    dependents: Mutex<Dependents>,
    /// The probes of all Pods; the kubelet ends only when they have.
    pub(crate) probers: TaskTracker,
}

/// An Event to be written.
#[derive(Debug)]
pub(crate) struct PodEvent {
    id: PodId,
    container: Option<String>,
    kind: EventType,
    reason: &'static str,
    message: String,
}

/// Events that may wait to be written; beyond that they are dropped.
const EVENT_BUFFER: usize = 1024;

/// Who reads what.
#[derive(Default)]
struct Dependents {
    /// Pods, by uid, that read an object of a namespace.
    pods: BTreeMap<(String, Reference), BTreeMap<String, Arc<Mailbox>>>,
    /// What a Pod reads, by its uid.
    objects: BTreeMap<String, BTreeSet<Reference>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    /// The receiver is for [`Shared::write_events`].
    pub(crate) fn new(config: Config, capacity: Capacity) -> (Shared, mpsc::Receiver<PodEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_BUFFER);
        let host_ip = config.node_ip.to_string();
        let services = watch::Sender::new(None);
        (
            Shared {
                config,
                capacity,
                host_ip,
                events,
                services,
                dependents: Mutex::default(),
                probers: TaskTracker::new(),
            },
            receiver,
        )
    }

    pub(crate) fn recorder(&self) -> Recorder {
        Recorder::new(&self.config.client, "kubelet").on_host(&self.config.node_name)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.config.runtime
    }

    pub(crate) fn local_volumes(&self) -> &Path {
        &self.config.local_volumes
    }

    pub(crate) fn privileged(&self) -> &PrivilegedNamespaces {
        &self.config.privileged
    }

    pub(crate) fn api(&self, resource: &ResourceType) -> Api {
        Api::new(&self.config.client, resource)
    }

    /// The directory with everything of one Pod but its logs.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.data_dir.join("pods").join(uid)
    }

    /// The memory file system with secret volumes.
    pub(crate) fn memory_dir(&self) -> PathBuf {
        self.config.data_dir.join("memory")
    }

    /// `logs/<namespace>_<name>_<uid>`, the layout log collectors know.
    pub(crate) fn log_dir(&self, id: &PodId) -> PathBuf {
        self.config.data_dir.join("logs").join(format!("{}_{}_{}", id.namespace, id.name, id.uid))
    }

    /// What the environment and the downward API of a Pod are made of.
    pub(crate) fn context<'a>(
        &'a self,
        pod: &'a Pod,
        pod_ip: &'a str,
        sources: &'a Sources,
        services: &'a [ServiceAddress],
    ) -> Context<'a> {
        Context { pod, pod_ip, host_ip: &self.host_ip, capacity: &self.capacity, sources, services }
    }

    /// Reads a ConfigMap or Secret; `None` when it does not exist.
    pub(crate) async fn contents(
        &self,
        namespace: &str,
        reference: &Reference,
    ) -> Result<Option<Contents>, client::Error> {
        let resource = match reference.kind {
            ReferenceKind::ConfigMap => CONFIG_MAPS,
            ReferenceKind::Secret => SECRETS,
            // Claims have no contents; the volume code reads them itself.
            ReferenceKind::PersistentVolumeClaim => return Ok(None),
        };
        let object = self.api(&resource).find(&Key::namespaced(namespace, &reference.name)).await?;
        Ok(object.map(|object| match reference.kind {
            ReferenceKind::Secret => Contents { data: decoded(object.get("data")), binary: BTreeMap::new() },
            _ => Contents { data: plain(object.get("data")), binary: decoded(object.get("binaryData")) },
        }))
    }

    /// Asks for a token of the Pod's service account, bound to the Pod.
    pub(crate) async fn token(
        &self,
        id: &PodId,
        pod: &Pod,
        audience: &str,
        seconds: i64,
    ) -> Result<Token, client::Error> {
        let account = crate::pod::spec(pod).service_account_name.as_deref().unwrap_or("default");
        let audiences: Vec<&str> =
            Some(audience).filter(|audience| !audience.is_empty()).into_iter().collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": id.name, "uid": id.uid},
            },
        });
        let now = self.now();
        let answer = self
            .api(&SERVICE_ACCOUNTS)
            .create_subresource(&Key::namespaced(&id.namespace, account), "token", &request)
            .await?;
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let expires: Timestamp =
            text("/status/expirationTimestamp").parse().unwrap_or(now + SignedDuration::from_secs(seconds));
        Ok(Token { value: text("/status/token").to_owned(), refresh_at: refresh_time(now, expires) })
    }

    /// Records a normal Event about a Pod, or about one of its containers, without waiting for it to be written.
    pub(crate) fn normal(&self, id: &PodId, container: Option<&str>, reason: &'static str, message: String) {
        self.event(id, container, EventType::Normal, reason, message);
    }

    /// The same for a warning.
    pub(crate) fn warning(&self, id: &PodId, container: Option<&str>, reason: &'static str, message: String) {
        self.event(id, container, EventType::Warning, reason, message);
    }

    fn event(
        &self,
        id: &PodId,
        container: Option<&str>,
        kind: EventType,
        reason: &'static str,
        message: String,
    ) {
        let event =
            PodEvent { id: id.clone(), container: container.map(str::to_owned), kind, reason, message };
        if self.events.try_send(event).is_err() {
            tracing::debug!(reason, "more events than can be written: one is dropped");
        }
    }

    /// Writes events in their order until the last sender is gone.
    pub(crate) async fn write_events(recorder: Recorder, mut events: mpsc::Receiver<PodEvent>) {
        while let Some(event) = events.recv().await {
            let PodEvent { id, container, kind, reason, message } = event;
            let object = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": id.namespace, "name": id.name, "uid": id.uid},
            });
            let path = container.map(|name| format!("spec.containers{{{name}}}"));
            recorder.record_at(&object, path.as_deref(), kind, reason, &message).await;
        }
    }

    /// Declares what a Pod reads, so that changes wake its worker. Replaces what it declared before.
    pub(crate) fn depend(&self, id: &PodId, mailbox: &Arc<Mailbox>, references: &BTreeSet<Reference>) {
        let mut dependents = lock(&self.dependents);
        dependents.forget(id);
        for reference in references {
            let key = (id.namespace.clone(), reference.clone());
            dependents.pods.entry(key).or_default().insert(id.uid.clone(), Arc::clone(mailbox));
        }
        dependents.objects.insert(id.uid.clone(), references.clone());
    }

    /// Ends what [`Shared::depend`] began.
    pub(crate) fn independent(&self, id: &PodId) {
        lock(&self.dependents).forget(id);
    }

    /// Wakes the Pods that read this object.
    pub(crate) fn changed(&self, namespace: &str, reference: Reference) {
        let key = (namespace.to_owned(), reference);
        let waiting: Vec<Arc<Mailbox>> = lock(&self.dependents)
            .pods
            .get(&key)
            .map(|pods| pods.values().cloned().collect())
            .unwrap_or_default();
        for mailbox in waiting {
            mailbox.dependency(key.1.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dependents {
    fn forget(&mut self, id: &PodId) {
        for reference in self.objects.remove(&id.uid).unwrap_or_default() {
            let key = (id.namespace.clone(), reference);
            if let Some(pods) = self.pods.get_mut(&key) {
                pods.remove(&id.uid);
                if pods.is_empty() {
                    self.pods.remove(&key);
                }
            }
        }
    }
}

fn decoded(data: Option<&Value>) -> BTreeMap<String, Vec<u8>> {
    let entries = data.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?))).collect()
}

fn plain(data: Option<&Value>) -> BTreeMap<String, Vec<u8>> {
    let entries = data.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.as_bytes().to_vec()))).collect()
}

/// As the kubelet does: after four fifths of the lifetime, and after a day at the latest.
fn refresh_time(now: Timestamp, expires: Timestamp) -> Timestamp {
    let lifetime = expires.duration_since(now).max(SignedDuration::ZERO);
    now + (lifetime * 4 / 5).min(SignedDuration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced_before_they_expire() {
        let now = Timestamp::from_second(1000).unwrap();
        let after =
            |seconds: i64| refresh_time(now, now + SignedDuration::from_secs(seconds)).as_second() - 1000;
        assert_eq!(after(3600), 2880);
        assert_eq!(after(60 * 60 * 24 * 365), 86_400);
        assert_eq!(after(-5), 0);
    }
}
