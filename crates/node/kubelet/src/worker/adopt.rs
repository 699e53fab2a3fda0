//! Finding again what an earlier process started, and seeing what became of it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use containers::{ContainerError, Status};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus};

use super::Worker;
use crate::observed::{Exit, Health, Instance, InstanceState, Observed};
use crate::pod::{self, RestartPolicy, Role};
use crate::probe::Kind;
use crate::records;

/// Bytes of the log's end that become the message of a failed container with `FallbackToLogsOnError`.
const FALLBACK_BYTES: u64 = 2048;
/// The reason of an end nobody saw.
const UNKNOWN: &str = "ContainerStatusUnknown";

impl Worker {
    /// Takes over what is on disk and in the runtime: of each container the newest attempt and the one before.
    pub(super) fn adopt(&mut self, found: Vec<(String, u32, Status)>) {
        let dir = self.shared.pod_dir(&self.id.uid);
        for (name, attempt, record) in records::instances(&dir) {
            let status =
                found.iter().find(|(n, a, _)| *n == name && *a == attempt).map(|(_, _, status)| status);
            let state = match (status, &record.failed) {
                (Some(status), _) => state(status, self.shared.now()),
                (None, Some(exit)) => InstanceState::Exited(exit.clone()),
                // The process ended between writing the record and starting the container.
                (None, None) => continue,
            };
            let id = records::container_id(&self.id.uid, &name, attempt);
            let running = !matches!(state, InstanceState::Exited(_));
            let instance = Instance {
                attempt,
                id: id.clone(),
                image: record.image.clone(),
                image_id: record.image_id.clone(),
                // What still runs was not interrupted after all.
                interrupted: record.interrupted && !running,
                replaced: false,
                state,
            };
            self.quiet |= running;
            self.records.insert(id, record);
            let observed = self.containers.entry(name.clone()).or_default();
            let newest = observed.current.as_ref().is_none_or(|current| current.attempt < attempt);
            if newest {
                observed.previous = observed.current.replace(instance);
            } else if observed.previous.as_ref().is_none_or(|previous| previous.attempt < attempt) {
                observed.previous = Some(instance);
            }
        }
        if !self.quiet && self.lost() && RestartPolicy::of(pod::spec(&self.pod)) != RestartPolicy::Never {
            self.interrupt();
        }
        let names: Vec<String> = self.containers.keys().cloned().collect();
        for name in names {
            self.restore_health(&name);
        }
        if self.quiet {
            self.pod_ip =
                self.pod.status.as_ref().and_then(|s| s.pod_ip.as_ref()).and_then(|ip| ip.parse().ok());
        }
    }

    /// Probes of an adopted container go on from what the API says of it, so that a restart of the node is not seen by clients.
    fn restore_health(&mut self, name: &str) {
        let health = self.fresh_health(name);
        let Some(observed) = self.containers.get_mut(name) else { return };
        let status = self.pod.status.as_ref().and_then(|status| {
            let main = status.container_statuses.iter().flatten();
            main.chain(status.init_container_statuses.iter().flatten()).find(|status| status.name == name)
        });
        let same = |status: &&ContainerStatus| {
            let id = status.container_id.as_deref().and_then(|id| id.strip_prefix("mainstay://"));
            id.is_some() && id == observed.current.as_ref().map(|instance| instance.id.as_str())
        };
        observed.health = match status.filter(same) {
            Some(status) => Health {
                started: health.started || status.started == Some(true),
                ready: health.ready || status.ready,
                failed: None,
            },
            None => health,
        };
    }

    /// What is known of a container that has just started: without a probe it is what the probe would find.
    pub(super) fn fresh_health(&self, name: &str) -> Health {
        let container = pod::container(&self.pod, name).map(|(_, container)| container);
        let has = |kind: Kind| container.is_some_and(|container| kind.of(container).is_some());
        Health { started: !has(Kind::Startup), ready: !has(Kind::Readiness), failed: None }
    }

    /// Asks the runtime what became of the containers.
    pub(super) async fn refresh(&mut self) {
        let mut logs = Vec::new();
        for (name, observed) in &mut self.containers {
            let Some(instance) = &mut observed.current else { continue };
            if instance.exit().is_some() {
                continue;
            }
            let now = self.shared.now();
            instance.state = match self.shared.runtime().status(&instance.id) {
                Ok(status) => state(&status, now),
                Err(ContainerError::NotFound(_)) => InstanceState::Exited(lost(now)),
                Err(error) => {
                    tracing::warn!(
                        container = instance.id,
                        error = client::chain(&error),
                        "no container status"
                    );
                    continue;
                }
            };
            if instance
                .exit()
                .is_some_and(|exit| exit.code != 0 && exit.message.as_deref().unwrap_or("").is_empty())
            {
                logs.push((name.clone(), instance.attempt));
            }
        }
        for (name, attempt) in logs {
            let Some(path) = self.fallback_log(&name, attempt) else { continue };
            let message = tokio::task::spawn_blocking(move || tail(&path)).await.ok().flatten();
            if let Some(exit) =
                self.containers.get_mut(&name).and_then(|o| o.current.as_mut()).and_then(exit_mut)
            {
                exit.message = message;
            }
        }
    }

    /// The log of a container that wants the end of it as its message.
    fn fallback_log(&self, name: &str, attempt: u32) -> Option<PathBuf> {
        let (_, container) = pod::container(&self.pod, name)?;
        let wanted = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        wanted.then(|| self.log_path(name, attempt))
    }

    pub(super) fn log_path(&self, container: &str, attempt: u32) -> PathBuf {
        self.shared.log_dir(&self.id).join(container).join(format!("{attempt}.log"))
    }

    /// The machine ended under the Pod's containers: nobody saw how.
    fn lost(&self) -> bool {
        let mut exits = self.containers.values().filter_map(Observed::exit);
        exits.any(|exit| exit.reason == UNKNOWN)
    }

    /// Marks what the stop of the node, or of its machine, cuts short. Init containers that are done count among it if every
    /// container they prepared for does: what they prepared may be gone with the node.
    pub(super) fn interrupt(&mut self) {
        if self.terminal {
            return;
        }
        let current = |container: &Container| self.containers.get(&container.name)?.current.as_ref();
        let cut_short = |instance: &Instance| {
            instance.interrupted || instance.exit().is_none_or(|exit| exit.reason == UNKNOWN)
        };
        let anew = pod::spec(&self.pod).containers.iter().filter_map(current).all(cut_short);
        let concerned = |(role, container): &(Role, &Container)| {
            current(container).is_some_and(|instance| {
                let done = *role == Role::Init && instance.exit().is_some_and(|exit| exit.code == 0);
                cut_short(instance) || done && anew
            })
        };
        let cut_short: Vec<String> = pod::containers(&self.pod)
            .filter(concerned)
            .map(|(_, container)| container.name.clone())
            .collect();
        let dir = self.shared.pod_dir(&self.id.uid);
        for name in cut_short {
            let Some(instance) = self.containers.get_mut(&name).and_then(|o| o.current.as_mut()) else {
                continue;
            };
            instance.interrupted = true;
            if let Some(record) = self.records.get_mut(&instance.id) {
                record.interrupted = true;
                if let Err(error) = records::write_instance(&dir, &name, instance.attempt, record) {
                    tracing::warn!(pod = %self.id, %error, "an interruption could not be noted");
                }
            }
        }
    }
}

fn exit_mut(instance: &mut Instance) -> Option<&mut Exit> {
    match &mut instance.state {
        InstanceState::Exited(exit) => Some(exit),
        _ => None,
    }
}

/// The runtime's status in the terms of the API.
fn state(status: &Status, now: Timestamp) -> InstanceState {
    match status {
        Status::Created => InstanceState::Created,
        Status::Running(running) => InstanceState::Running { started_at: running.started_at },
        Status::Exited(exit) if exit.lost => InstanceState::Exited(Exit {
            started_at: exit.started_at,
            finished_at: exit.finished_at,
            ..lost(now)
        }),
        Status::Exited(exit) => InstanceState::Exited(Exit {
            code: exit.code,
            signal: exit.signal,
            reason: match (exit.oom_killed, exit.code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, _) => "Error",
            }
            .to_owned(),
            message: exit.message.clone(),
            started_at: exit.started_at,
            finished_at: exit.finished_at,
        }),
    }
}

/// The end of a container nobody saw.
fn lost(now: Timestamp) -> Exit {
    Exit {
        code: 137,
        signal: None,
        reason: UNKNOWN.to_owned(),
        message: Some("The container could not be located".to_owned()),
        started_at: None,
        finished_at: now,
    }
}

/// The text of the log's last bytes, without the log format's own fields.
fn tail(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    // Each line begins with a time and a stream of some forty bytes; twice the text leaves room for them.
    file.seek(SeekFrom::Start(length.saturating_sub(FALLBACK_BYTES * 2))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let mut out = lines.join("\n");
    let limit = usize::try_from(FALLBACK_BYTES).unwrap_or(usize::MAX);
    if out.len() > limit {
        let mut from = out.len() - limit;
        while !out.is_char_boundary(from) {
            from += 1;
        }
        out.drain(..from);
    }
    (!out.is_empty()).then_some(out)
}
