//! The Node object and its lease.

use std::path::Path;
use std::time::Duration;

use client::dynamic::{Patch, PatchOptions};
use client::resource::{NAMESPACES, NODES, ResourceType};
use client::{Api, Key, chain};
use jiff::Timestamp;
use objects::quantity::Quantity;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::resources::Capacity;
use crate::shared::Shared;

const LEASES: ResourceType = ResourceType::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// As the kubelet: a lease of 40 s renewed every 10, and the status at least every 5 minutes.
const LEASE_SECONDS: u64 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
const STATUS_EVERY: u32 = 30;
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What this machine has.
pub(crate) fn capacity(data_dir: &Path) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_total(&text)).unwrap_or(0);
    let storage =
        nix::sys::statvfs::statvfs(data_dir).map(|stat| stat.blocks() * stat.fragment_size()).unwrap_or(0);
    Capacity { cpu_millis: cpus as u64 * 1000, memory, storage }
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Registers the Node and keeps its lease until `shutdown`.
pub(crate) async fn run(shared: &Shared, shutdown: CancellationToken) {
    let work = async {
        while let Err(error) = register(shared, true).await {
            tracing::warn!(error = chain(&error), "the Node could not be registered; trying again");
            tokio::time::sleep(RETRY_EVERY).await;
        }
        let mut round = 0;
        loop {
            if let Err(error) = renew(shared).await {
                tracing::warn!(error = chain(&error), "the node's lease could not be renewed; trying again");
            }
            tokio::time::sleep(RENEW_EVERY).await;
            round += 1;
            if round % STATUS_EVERY == 0
                && let Err(error) = register(shared, true).await
            {
                tracing::warn!(error = chain(&error), "the Node's status could not be written; trying again");
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
}

/// Says that the node stops, so that nobody waits for its lease to run out.
pub(crate) async fn say_stopped(shared: &Shared) -> Result<(), client::Error> {
    register(shared, false).await
}

async fn register(shared: &Shared, ready: bool) -> Result<(), client::Error> {
    let api = shared.api(&NODES);
    let name = Key::cluster(&shared.config.node_name);
    let old = match api.find(&name).await? {
        Some(node) => node,
        None => api.create(&node(&shared.config)).await?,
    };
    let labels = json!({"metadata": {"labels": labels(&shared.config.node_name)}, "spec": {}});
    let wanted = labels.pointer("/metadata/labels").and_then(Value::as_object);
    let has = |(label, value): (&String, &Value)| {
        old.pointer("/metadata/labels").and_then(|labels| labels.get(label)) == Some(value)
    };
    if !wanted.is_some_and(|wanted| wanted.iter().all(has)) {
        api.patch(&name, &Patch::Merge(labels), &PatchOptions::default()).await?;
    }
    let status = status(shared, &old, ready);
    let patch = Patch::Strategic(json!({"status": status}));
    api.patch_subresource(&name, "status", &patch, &PatchOptions::default()).await?;
    Ok(())
}

fn node(config: &Config) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node_name,
            "labels": labels(&config.node_name),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
    })
}

fn labels(name: &str) -> Value {
    json!({
        "kubernetes.io/arch": arch(),
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "beta.kubernetes.io/arch": arch(),
        "beta.kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "mainstay",
    })
}

/// In Go's spelling.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(shared: &Shared, old: &Value, ready: bool) -> Value {
    let config = &shared.config;
    let Capacity { cpu_millis, memory, storage } = shared.capacity;
    let amounts = json!({
        "cpu": Quantity::from_units(i64::try_from(cpu_millis / 1000).unwrap_or(i64::MAX)).to_string(),
        "memory": format!("{}Ki", memory / 1024),
        "ephemeral-storage": format!("{}Ki", storage / 1024),
        "pods": config.max_pods.to_string(),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    });
    let now = shared.now();
    let fine = |kind, reason, message| condition(old, now, kind, false, reason, message);
    json!({
        "capacity": amounts,
        "allocatable": amounts,
        "addresses": [
            {"type": "InternalIP", "address": config.node_ip.to_string()},
            {"type": "Hostname", "address": config.node_name},
        ],
        "conditions": [
            fine("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            fine("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            fine("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            if ready {
                condition(old, now, "Ready", true, "KubeletReady", "kubelet is posting ready status")
            } else {
                condition(old, now, "Ready", false, "NodeShutdown", "node is shutting down")
            },
        ],
        "nodeInfo": node_info(),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
    })
}

fn condition(old: &Value, now: Timestamp, kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let now = objects::meta::format_time(now);
    let before = old.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let since = before
        .filter(|condition| condition["type"] == kind && condition["status"] == status)
        .find_map(|condition| condition["lastTransitionTime"].as_str())
        .unwrap_or(&now)
        .to_owned();
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    })
}

fn node_info() -> Value {
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    let machine_id = line("/etc/machine-id");
    json!({
        "architecture": arch(),
        "bootID": line("/proc/sys/kernel/random/boot_id"),
        "containerRuntimeVersion": concat!("mainstay://", env!("CARGO_PKG_VERSION")),
        "kernelVersion": line("/proc/sys/kernel/osrelease"),
        "kubeProxyVersion": "",
        "kubeletVersion": concat!("v1.34.0+mainstay.", env!("CARGO_PKG_VERSION")),
        "machineID": machine_id,
        "operatingSystem": "linux",
        "osImage": pretty.trim_matches('"'),
        "systemUUID": machine_id,
    })
}

async fn renew(shared: &Shared) -> Result<(), client::Error> {
    let api: Api = shared.api(&LEASES);
    let node = &shared.config.node_name;
    let name = Key::namespaced(LEASE_NAMESPACE, node);
    let spec = json!({
        "holderIdentity": node,
        "leaseDurationSeconds": LEASE_SECONDS,
        // A lease's time has microseconds.
        "renewTime": format!("{:.6}", shared.now()),
    });
    let renewed = api.patch(&name, &Patch::Merge(json!({"spec": spec})), &PatchOptions::default()).await;
    match renewed {
        Err(error) if error.is_not_found() => {}
        other => return other.map(|_| ()),
    }
    let lease = json!({
        "apiVersion": LEASES.api_version(),
        "kind": "Lease",
        "metadata": {"name": node, "namespace": LEASE_NAMESPACE},
        "spec": spec,
    });
    match api.create(&lease).await {
        Err(error) if error.is_not_found() => {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE_NAMESPACE}});
            shared.api(&NAMESPACES).create(&namespace).await?;
            api.create(&lease).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_something() {
        let capacity = capacity(Path::new("/"));
        assert!(capacity.cpu_millis >= 1000 && capacity.memory > 1 << 20 && capacity.storage > 0);
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
    }

    #[test]
    fn a_condition_keeps_the_time_it_changed() {
        let old = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}});
        let now = "2026-02-02T00:00:00Z".parse().unwrap();
        let same = condition(&old, now, "Ready", true, "KubeletReady", "");
        assert_eq!(same["lastTransitionTime"], "2026-01-01T00:00:00Z");
        let changed = condition(&old, now, "Ready", false, "NodeShutdown", "");
        assert_eq!(changed["lastTransitionTime"], "2026-02-02T00:00:00Z");
    }
}
