//! Starting one attempt of a container: its image, its configuration, the container.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::chain;
use containers::StartError;
use images::Image;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio_util::sync::CancellationToken;

use super::image::waiting;
use crate::observed::{Exit, Waiting};
use crate::pod::PodId;
use crate::records::{self, Record};
use crate::shared::Shared;
use crate::spec::{Parts, Volumes, container_spec};
use crate::{env, volumes};

/// How an attempt to start ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Running(Record),
    /// The process could not be run: an instance that ended at once.
    Crashed(Record, Exit),
    /// Something is missing; no instance was made.
    Waiting(Waiting),
    Cancelled,
}

/// Everything one start needs, apart from the worker.
pub(super) struct StartJob {
    pub(super) shared: Arc<Shared>,
    pub(super) id: PodId,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    pub(super) attempt: u32,
    pub(super) network: Option<PathBuf>,
    pub(super) ip: String,
    pub(super) volumes: Volumes,
    pub(super) cancel: CancellationToken,
    pub(super) log: PathBuf,
}

/// How long the Services may take to be read for the first time.
const SERVICES_DEADLINE: Duration = Duration::from_secs(10);
/// The exit code of a process that could not be run, as container runtimes report it.
const START_ERROR: i32 = 128;

impl StartJob {
    pub(super) async fn run(self) -> Outcome {
        let prepared = async {
            let (image, image_id) = self.image().await?;
            let spec = self.configure(&image).await?;
            Ok((image, image_id, spec))
        };
        let prepared = tokio::select! {
            prepared = prepared => prepared,
            () = self.cancel.cancelled() => return Outcome::Cancelled,
        };
        match prepared {
            Ok((image, image_id, spec)) => self.create(&image, image_id, spec).await,
            Err(waiting) => Outcome::Waiting(waiting),
        }
    }

    async fn configure(&self, image: &Image) -> Result<containers::ContainerSpec, Waiting> {
        let mut services = self.shared.services.subscribe();
        let ready = tokio::time::timeout(SERVICES_DEADLINE, services.wait_for(Option::is_some)).await;
        let Ok(Ok(services)) = ready.map(|ready| ready.map(|list| list.clone().unwrap_or_default())) else {
            let text = "services have not yet been read at least once, cannot construct envvars";
            return Err(self.config_error(text.to_owned()));
        };
        let references = env::references(&self.container);
        let sources = volumes::sources(&self.shared, &self.id.namespace, references).await;
        let sources = sources.map_err(|error| self.config_error(chain(&error)))?;
        let id = records::container_id(&self.id.uid, &self.container.name, self.attempt);
        let etc = self.shared.pod_dir(&self.id.uid).join("etc");
        let parts = Parts {
            context: self.shared.context(&self.pod, &self.ip, &sources, &services),
            id: &self.id,
            container_id: &id,
            image,
            volumes: &self.volumes,
            network: self.network.as_deref(),
            etc: &etc,
            log: &self.log,
            cluster_domain: &self.shared.config.cluster_domain,
        };
        container_spec(&parts, &self.container).map_err(|error| self.config_error(error.to_string()))
    }

    fn config_error(&self, message: String) -> Waiting {
        self.failed("Failed", format!("Error: {message}"));
        waiting("CreateContainerConfigError", message)
    }

    async fn create(&self, image: &Image, image_id: String, spec: containers::ContainerSpec) -> Outcome {
        let mut record = Record {
            image: self.container.image.clone().unwrap_or_default(),
            image_id,
            stop_signal: self.stop_signal(image),
            interrupted: false,
            failed: None,
        };
        if let Err(message) = self.write(record.clone(), true).await {
            return self.create_error(message);
        }
        // A container of this id can only be left from a start that was cut short.
        if let Err(error) = self.shared.runtime().delete(&spec.id).await {
            return self.create_error(chain(&error));
        }
        let name = &self.container.name;
        match self.shared.runtime().start(spec).await {
            Ok(()) => {
                self.normal("Created", format!("Created container: {name}"));
                self.normal("Started", format!("Started container {name}"));
                Outcome::Running(record)
            }
            Err(error @ StartError::Process(_)) => {
                self.normal("Created", format!("Created container: {name}"));
                let message = chain(&error);
                self.failed("Failed", format!("Error: {message}"));
                let exit = Exit {
                    code: START_ERROR,
                    signal: None,
                    reason: "StartError".to_owned(),
                    message: Some(message),
                    started_at: None,
                    finished_at: self.shared.now(),
                };
                record.failed = Some(exit.clone());
                match self.write(record.clone(), false).await {
                    Ok(()) => Outcome::Crashed(record, exit),
                    Err(message) => self.create_error(message),
                }
            }
            Err(error) => self.create_error(chain(&error)),
        }
    }

    fn create_error(&self, message: String) -> Outcome {
        self.failed("Failed", format!("Error: {message}"));
        Outcome::Waiting(waiting("CreateContainerError", message))
    }

    /// Writes the record and, before the first start, makes the directory of the log.
    async fn write(&self, record: Record, first: bool) -> Result<(), String> {
        let dir = self.shared.pod_dir(&self.id.uid);
        let (name, attempt, log) = (self.container.name.clone(), self.attempt, self.log.clone());
        let written = tokio::task::spawn_blocking(move || {
            if let Some(parent) = log.parent().filter(|_| first) {
                std::fs::create_dir_all(parent)?;
            }
            records::write_instance(&dir, &name, attempt, &record)
        })
        .await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("cannot write the container's record: {error}")),
            Err(error) => Err(format!("cannot write the container's record: {error}")),
        }
    }

    fn stop_signal(&self, image: &Image) -> i32 {
        let own = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
        let name = own.or(image.config.stop_signal.as_deref()).unwrap_or("SIGTERM");
        signal_number(name).unwrap_or(nix::libc::SIGTERM)
    }

    pub(super) fn normal(&self, reason: &'static str, message: String) {
        self.shared.normal(&self.id, Some(&self.container.name), reason, message);
    }

    pub(super) fn failed(&self, reason: &'static str, message: String) {
        self.shared.warning(&self.id, Some(&self.container.name), reason, message);
    }
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset: i32 = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
        return (0..=30).contains(&offset).then(|| nix::libc::SIGRTMIN() + offset);
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_by_name_and_number() {
        for (name, number) in [("SIGTERM", 15), ("quit", 3), ("9", 9), ("SIGRTMIN+3", 37), ("RTMIN", 34)] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for name in ["", "SIGNOPE", "0", "99", "SIGRTMIN+99", "RTMIN-1"] {
            assert_eq!(signal_number(name), None, "{name}");
        }
    }
}
