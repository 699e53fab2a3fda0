//! What an earlier process left of Pods that the API no longer knows.

use std::collections::BTreeMap;
use std::time::Duration;

use client::chain;

use super::{Kubelet, lock};
use crate::pod::{PodId, is_uid};
use crate::records::{known_pods, parse_container_id};
use crate::volumes::{blocking, remove_dir};

/// Between SIGTERM and SIGKILL, for containers whose Pod's own grace period is not known any more.
const GRACE: Duration = Duration::from_secs(10);

impl Kubelet {
    /// Ends and removes them. Called once, when all Pods of the node are known.
    pub(super) async fn clean_orphans(&self) {
        let shared = &self.inner.shared;
        let mut orphans: BTreeMap<String, PodId> = BTreeMap::new();
        for id in known_pods(&shared.config.data_dir.join("pods")) {
            orphans.insert(id.uid.clone(), id);
        }
        let listed = shared.runtime().list();
        let owners =
            listed.iter().filter_map(|(id, _)| parse_container_id(id)).map(|(uid, _, _)| uid.to_owned());
        let attached = shared.runtime().attached().await;
        for uid in owners.chain(attached).filter(|uid| is_uid(uid)) {
            let unknown =
                PodId { namespace: "unknown".to_owned(), name: "unknown".to_owned(), uid: uid.clone() };
            orphans.entry(uid).or_insert(unknown);
        }
        {
            let pods = lock(&self.inner.pods);
            orphans.retain(|uid, _| !pods.handles.contains_key(uid));
        }
        for id in orphans.into_values() {
            let kubelet = self.clone();
            self.inner.workers.spawn(async move { kubelet.remove_orphan(id).await });
        }
    }

    async fn remove_orphan(&self, id: PodId) {
        let shared = &self.inner.shared;
        let runtime = shared.runtime();
        tracing::info!(pod = %id, "removing what is left of a Pod that was deleted");
        let containers: Vec<String> = runtime
            .list()
            .into_iter()
            .filter(|(container, _)| parse_container_id(container).is_some_and(|(uid, _, _)| uid == id.uid))
            .map(|(container, _)| container)
            .collect();
        for container in &containers {
            let _ = runtime.signal(container, nix::libc::SIGTERM).await;
        }
        for container in &containers {
            let _ = tokio::time::timeout(GRACE, runtime.wait(container)).await;
            if let Err(error) = runtime.delete(container).await {
                tracing::warn!(container, error = chain(&error), "a container could not be removed");
            }
        }
        if let Err(error) = runtime.detach(&id.uid).await {
            tracing::warn!(pod = %id, error = chain(&error), "the network could not be given back");
        }
        let volumes = shared.pod_dir(&id.uid).join("volumes");
        let dirs: Vec<_> = std::fs::read_dir(&volumes).into_iter().flatten().flatten().collect();
        for dir in dirs {
            if let Err(error) = runtime.unmount(&dir.path()).await {
                tracing::warn!(pod = %id, error = chain(&error), "a volume could not be unmounted");
            }
        }
        let dirs = [shared.pod_dir(&id.uid), shared.memory_dir().join(&id.uid), shared.log_dir(&id)];
        if let Err(error) = blocking(move || dirs.iter().try_for_each(|dir| remove_dir(dir))).await {
            tracing::warn!(pod = %id, error = chain(&error), "a Pod's directory could not be removed");
        }
    }
}
