//! What a Pod's containers need around them: network, volumes, the files in `/etc`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::chain;

use super::{Done, Worker};
use crate::env::{self, Reference};
use crate::hostfiles::{self, Dns};
use crate::plan::Surroundings;
use crate::pod;
use crate::records;
use crate::runtime::PodNetwork;
use crate::volumes::{self, Job, Prepared, Tokens, VolumeFailure};

/// What was set up.
#[derive(Debug)]
pub(super) struct Surrounded {
    /// `None` on the host's network.
    network: Option<PodNetwork>,
    prepared: Prepared,
}

/// What could not be.
#[derive(Debug)]
pub(super) struct Failure {
    reason: &'static str,
    message: String,
    /// The network stands; the Pod has its address.
    network: Option<PodNetwork>,
}

/// Waits between attempts double from the first to the second.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

impl Worker {
    /// Every object whose change is of interest to the Pod.
    pub(super) fn references(&self) -> BTreeSet<Reference> {
        let mut references = volumes::all_references(&self.pod);
        references.extend(super::image::pull_secrets(&self.pod));
        references.extend(pod::containers(&self.pod).flat_map(|(_, container)| env::references(container)));
        references
    }

    pub(super) fn set_up(&mut self) {
        self.surroundings = Surroundings::Busy;
        self.stale = false;
        let job = SetUpJob {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
            pod: Arc::clone(&self.pod),
            paths: self.volume_paths(),
            tokens: self.tokens.clone(),
        };
        self.ops.push(Box::pin(async move { Done::SetUp(Box::new(job.run().await)) }));
    }

    pub(super) fn set_up_done(&mut self, result: Result<Surrounded, Failure>) {
        match result {
            Ok(Surrounded { network, prepared }) => {
                self.take_network(network);
                self.take_volumes(prepared);
                self.set_up_failures = 0;
                self.surroundings = Surroundings::Ready;
            }
            Err(Failure { reason, message, network }) => {
                self.shared.warning(&self.id, None, reason, message);
                if network.is_some() {
                    self.take_network(network);
                }
                let wait = (FIRST_RETRY * 2_u32.saturating_pow(self.set_up_failures)).min(LONGEST_RETRY);
                self.set_up_failures = (self.set_up_failures + 1).min(16);
                // Something it needs may have changed while it failed.
                let retry_at = if self.stale { None } else { Some(self.shared.now() + wait) };
                self.surroundings = Surroundings::Partial { retry_at };
            }
        }
        self.quiet = false;
    }

    fn take_network(&mut self, network: Option<PodNetwork>) {
        let address = network.as_ref().map_or(self.shared.config.node_ip, |network| network.ip);
        if self.pod_ip != Some(address) {
            // Probes ask the address they were started with.
            self.probers.clear();
        }
        self.pod_ip = Some(address);
        self.network = network;
    }

    fn take_volumes(&mut self, prepared: Prepared) {
        self.volumes = prepared.volumes;
        self.tokens = prepared.tokens;
        self.refresh_at = prepared.refresh_at;
    }

    /// Brings volumes that show objects up to date when those changed or a token is due.
    pub(super) fn refresh_volumes(&mut self) {
        let due = self.refresh_at.is_some_and(|at| at <= self.shared.now());
        if self.surroundings != Surroundings::Ready
            || !(self.stale || due)
            || self.leaving().is_some()
            || self.terminal
        {
            self.refresh_at = self.refresh_at.filter(|_| !due);
            return;
        }
        self.stale = false;
        self.refresh_at = None;
        let job = SetUpJob {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
            pod: Arc::clone(&self.pod),
            paths: self.volume_paths(),
            tokens: self.tokens.clone(),
        };
        let ip = self.pod_ip.map(|ip| ip.to_string()).unwrap_or_default();
        self.ops.push(Box::pin(async move { Done::Refreshed(job.volumes(&ip).await) }));
    }

    pub(super) fn refreshed(&mut self, result: Result<Prepared, VolumeFailure>) {
        match result {
            Ok(prepared) => self.take_volumes(prepared),
            Err(failure) => {
                self.shared.warning(&self.id, None, "FailedMount", failure.message());
                self.refresh_at = Some(self.shared.now() + LONGEST_RETRY);
                self.stale = self.stale || !self.tokens.is_empty();
            }
        }
    }
}

struct SetUpJob {
    shared: Arc<crate::shared::Shared>,
    id: pod::PodId,
    pod: Arc<k8s_openapi::api::core::v1::Pod>,
    paths: volumes::VolumePaths,
    tokens: Tokens,
}

impl SetUpJob {
    async fn run(self) -> Result<Surrounded, Failure> {
        let host_network = pod::spec(&self.pod).host_network == Some(true);
        let network = if host_network {
            None
        } else {
            let attached = self.shared.runtime().attach(&self.id.uid).await;
            Some(attached.map_err(|error| {
                let message = format!("Failed to create pod sandbox: {}", chain(&error));
                Failure { reason: "FailedCreatePodSandBox", message, network: None }
            })?)
        };
        let ip = network.as_ref().map_or(self.shared.config.node_ip, |network| network.ip).to_string();
        let failure = |reason, message| Failure { reason, message, network: network.clone() };
        self.write_etc(&ip).await.map_err(|message| failure("FailedCreatePodSandBox", message))?;
        match self.volumes(&ip).await {
            Ok(prepared) => Ok(Surrounded { network, prepared }),
            Err(failed) => Err(failure("FailedMount", failed.message())),
        }
    }

    async fn volumes(&self, ip: &str) -> Result<Prepared, VolumeFailure> {
        let references = volumes::all_references(&self.pod);
        let sources =
            volumes::sources(&self.shared, &self.id.namespace, references).await.map_err(|error| {
                let volume =
                    pod::spec(&self.pod).volumes.iter().flatten().map(|volume| volume.name.clone()).next();
                VolumeFailure { volume: volume.unwrap_or_default(), error: volumes::VolumeError::Read(error) }
            })?;
        let job = Job {
            shared: &self.shared,
            id: &self.id,
            pod: &self.pod,
            pod_ip: ip,
            paths: &self.paths,
            sources: &sources,
        };
        volumes::set_up(job, &self.tokens).await
    }

    async fn write_etc(&self, ip: &str) -> Result<(), String> {
        let config = &self.shared.config;
        let server = config.cluster_dns.to_string();
        let dns = Dns { server: &server, domain: &config.cluster_domain, host_search: &config.host_search };
        let files = [
            ("hosts", hostfiles::hosts(&self.pod, ip, &config.cluster_domain)),
            ("hostname", format!("{}\n", pod::hostname(&self.pod))),
            ("resolv.conf", hostfiles::resolv_conf(&self.pod, &dns)),
        ];
        let dir = self.shared.pod_dir(&self.id.uid);
        let id = self.id.clone();
        let written = tokio::task::spawn_blocking(move || {
            records::write_pod(&dir, &id)?;
            let etc = dir.join("etc");
            std::fs::create_dir_all(&etc)?;
            for (name, text) in files {
                let path = etc.join(name);
                // The same file stays: running containers have it mounted.
                if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                    std::fs::write(&path, text)?;
                }
            }
            Ok::<_, std::io::Error>(())
        })
        .await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("Failed to create pod sandbox: cannot write its files: {error}")),
            Err(error) => Err(format!("Failed to create pod sandbox: cannot write its files: {error}")),
        }
    }
}
