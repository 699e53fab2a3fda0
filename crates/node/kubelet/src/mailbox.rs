//! What happened to a Pod since its worker last looked. Later news replaces earlier of the same sort, so nothing grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

use crate::env::Reference;
use crate::pod::version;
use crate::probe::Kind;

/// Filled by watches, the runtime and probes; emptied by the worker.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    /// The Pod as it was last seen, also by its own worker.
    latest: Mutex<Option<Arc<Pod>>>,
    notify: Notify,
}

/// The contents of a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// The newest version of the Pod.
    pub(crate) pod: Option<Arc<Pod>>,
    /// The Pod no longer exists in the API.
    pub(crate) gone: bool,
    /// Objects it reads that changed.
    pub(crate) dependencies: BTreeSet<Reference>,
    /// Outcomes of probes, by container, with the attempt they are about.
    pub(crate) probes: BTreeMap<(String, Kind), (u32, bool)>,
    /// The node stops: end the Pod within this time and keep it for the next start.
    pub(crate) shutdown: Option<Duration>,
}

impl Mailbox {
    fn put(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.lock());
        self.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new version from the API.
    pub(crate) fn pod(&self, pod: Arc<Pod>) {
        self.show(&pod);
        self.put(|mail| mail.pod = Some(pod));
    }

    /// Makes a version known to those who ask for the [latest](Mailbox::latest).
    pub(crate) fn show(&self, pod: &Arc<Pod>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_none_or(|latest| version(latest) <= version(pod)) {
            *latest = Some(Arc::clone(pod));
        }
    }

    /// The Pod as it was last seen.
    pub(crate) fn latest(&self) -> Option<Arc<Pod>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn gone(&self) {
        self.put(|mail| mail.gone = true);
    }

    pub(crate) fn dependency(&self, reference: Reference) {
        self.put(|mail| {
            mail.dependencies.insert(reference);
        });
    }

    /// One of its containers changed; the worker asks the runtime which.
    pub(crate) fn container(&self) {
        self.put(|_| ());
    }

    pub(crate) fn probe(&self, container: &str, kind: Kind, attempt: u32, outcome: bool) {
        self.put(|mail| {
            mail.probes.insert((container.to_owned(), kind), (attempt, outcome));
        });
    }

    pub(crate) fn shutdown(&self, grace: Duration) {
        self.put(|mail| mail.shutdown = Some(grace));
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> Mail {
        std::mem::take(&mut self.lock())
    }

    /// Waits until something was put in since the last [`Mailbox::take`]; may also wake without.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }
}
