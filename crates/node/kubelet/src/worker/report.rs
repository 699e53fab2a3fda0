//! Writing the status, and the last steps of a Pod that is deleted.

use std::sync::Arc;
use std::time::Duration;

use client::dynamic::{DeleteOptions, Patch, PatchOptions};
use client::resource::PODS;
use client::{Key, chain};

use super::Worker;
use crate::plan::Plan;
use crate::status::{self, Facts};
use crate::volumes::{blocking, remove_dir};

const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Worker {
    /// Writes the status if it is not what the API shows. False when that has to be tried again.
    pub(super) async fn report(&mut self, plan: &Plan) -> bool {
        let waits = self.retry_report.is_some_and(|at| at > self.shared.now());
        if waits {
            return false;
        }
        self.retry_report = None;
        // A finished Pod whose containers are unknown here keeps the status it has.
        if self.gone || self.quiet || (self.terminal && self.containers.is_empty()) {
            return true;
        }
        let ip = self.pod_ip.map(|ip| ip.to_string());
        let new = status::build(&Facts {
            pod: &self.pod,
            containers: &self.containers,
            plan,
            pod_ip: ip.as_deref(),
            host_ip: &self.shared.host_ip,
            start_time: self.start_time,
            now: self.shared.now(),
        });
        self.terminal |= new.phase.as_deref().is_some_and(status::is_terminal);
        if status::same(self.pod.status.as_ref(), &new) {
            return true;
        }
        let patch = Patch::Strategic(status::patch(&self.id.uid, &new));
        let name = Key::namespaced(&self.id.namespace, &self.id.name);
        let written =
            self.shared.api(&PODS).patch_subresource(&name, "status", &patch, &PatchOptions::default()).await;
        match written {
            Ok(object) => {
                self.report_failures = 0;
                match serde_json::from_value(object) {
                    Ok(pod) => {
                        self.pod = Arc::new(pod);
                        self.mailbox.show(&self.pod);
                    }
                    Err(error) => {
                        tracing::error!(pod = %self.id, %error, "the API answered with something else than a Pod")
                    }
                }
                true
            }
            // Deleted meanwhile, or replaced by a Pod of the same name: the watch will say so.
            Err(error) if error.is_not_found() || error.is_conflict() => true,
            Err(error) => {
                self.later(&error);
                false
            }
        }
    }

    fn later(&mut self, error: &client::Error) {
        let wait =
            (Duration::from_millis(200) * 2_u32.saturating_pow(self.report_failures)).min(LONGEST_RETRY);
        self.report_failures = (self.report_failures + 1).min(16);
        self.retry_report = Some(self.shared.now() + wait);
        if error.is_invalid() {
            tracing::error!(pod = %self.id, error = chain(error), "the API refuses what a Pod's state is said to be");
            return;
        }
        tracing::warn!(pod = %self.id, error = chain(error), "a Pod's state could not be written; trying again");
    }

    /// Removes what is left of the Pod here and then in the API. False when that has to be tried again.
    pub(super) async fn remove(&mut self) -> bool {
        let instances = self.containers.values().flat_map(|observed| [&observed.current, &observed.previous]);
        let ids: Vec<String> = instances.flatten().map(|instance| instance.id.clone()).collect();
        for id in ids {
            if let Err(error) = self.shared.runtime().delete(&id).await {
                tracing::warn!(pod = %self.id, error = chain(&error), "a container could not be removed");
            }
        }
        let (dir, log_dir) = (self.shared.pod_dir(&self.id.uid), self.shared.log_dir(&self.id));
        let removed = blocking(move || {
            remove_dir(&log_dir)?;
            remove_dir(&dir)
        })
        .await;
        if let Err(error) = removed {
            tracing::warn!(pod = %self.id, error = chain(&error), "a Pod's directory could not be removed");
        }
        if self.gone {
            return true;
        }
        let options =
            DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() }.only(&self.id.uid);
        let name = Key::namespaced(&self.id.namespace, &self.id.name);
        match self.shared.api(&PODS).delete_if_exists(&name, &options).await {
            Ok(()) => true,
            Err(error) => {
                self.later(&error);
                false
            }
        }
    }
}
