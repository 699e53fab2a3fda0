//! What this node does not run, each with the words a user reads in the container's waiting message.
//!
//! Two kinds: what could reach out of the container and needs the permission of whoever starts Mainstay, and what is not
//! supported yet. A refused Pod stays `Pending` with the message: failing it would make its controller replace it forever.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, Probe, Volume};
use serde_json::Value;

use crate::pod::{self, Role};

/// Capabilities with which root inside a container could take over the machine.
const DANGEROUS_CAPABILITIES: [&str; 14] = [
    "ALL",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_TIME",
];

/// Kernel parameters that a Pod may set because they end at its own namespaces.
const SAFE_SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
    "net.core.somaxconn",
    "net.ipv4.tcp_notsent_lowat",
];

/// Which namespaces may run privileged Pods, share the host's namespaces and mount its paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PrivilegedNamespaces {
    /// None may.
    #[default]
    None,
    /// These may.
    Only(BTreeSet<String>),
    /// All may.
    All,
}

impl PrivilegedNamespaces {
    /// Whether Pods of `namespace` may do what could reach out of their containers.
    pub fn allow(&self, namespace: &str) -> bool {
        match self {
            PrivilegedNamespaces::None => false,
            PrivilegedNamespaces::Only(names) => names.contains(namespace),
            PrivilegedNamespaces::All => true,
        }
    }
}

/// Why a Pod is not run. Empty for one that is.
pub(crate) fn refusals(pod: &Pod, privileged: &PrivilegedNamespaces) -> Vec<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut refusals = Refusals { namespace, allowed: privileged.allow(namespace), list: Vec::new() };
    refusals.pod(pod);
    for volume in pod::spec(pod).volumes.iter().flatten() {
        refusals.volume(volume);
    }
    for (role, container) in pod::containers(pod) {
        refusals.container(pod, role, container);
    }
    refusals.list
}

/// What a Pod asks for that it runs without: told once, as an event.
pub(crate) fn notices(pod: &Pod) -> Vec<String> {
    let mut notices = Vec::new();
    for volume in pod::spec(pod).volumes.iter().flatten() {
        // In memory the file system keeps to it.
        let kept = |medium: &Option<String>| medium.as_deref() == Some("Memory");
        if volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_some() && !kept(&dir.medium)) {
            notices.push(format!("the sizeLimit of emptyDir volume \"{}\" is not enforced yet", volume.name));
        }
    }
    for (_, container) in pod::containers(pod) {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        if limits.is_some_and(|limits| limits.contains_key("ephemeral-storage")) {
            notices.push(format!(
                "the ephemeral-storage limit of container \"{}\" is not enforced yet",
                container.name
            ));
        }
    }
    if pod::spec(pod).ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        notices.push("ephemeral containers are not supported yet; they do not run".to_owned());
    }
    notices
}

struct Refusals<'a> {
    namespace: &'a str,
    allowed: bool,
    list: Vec<String>,
}

impl Refusals<'_> {
    fn needs_permission(&mut self, asked: bool, what: &str) {
        if asked && !self.allowed {
            let namespace = self.namespace;
            self.list.push(format!(
                "{what} is refused in namespace \"{namespace}\": allow it with --allow-privileged {namespace}"
            ));
        }
    }

    fn unsupported(&mut self, asked: bool, what: &str) {
        if asked {
            self.list.push(format!("{what} is not supported yet"));
        }
    }

    fn pod(&mut self, pod: &Pod) {
        let spec = pod::spec(pod);
        self.needs_permission(spec.host_network == Some(true), "hostNetwork");
        self.needs_permission(spec.host_pid == Some(true), "hostPID");
        self.needs_permission(spec.host_ipc == Some(true), "hostIPC");
        self.unsupported(spec.host_users == Some(false), "hostUsers: false");
        self.unsupported(spec.share_process_namespace == Some(true), "shareProcessNamespace");
        self.unsupported(
            spec.runtime_class_name.as_ref().is_some_and(|name| !name.is_empty()),
            "runtimeClassName",
        );
        self.unsupported(
            spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()),
            "resourceClaims",
        );
        self.unsupported(spec.resources.is_some(), "spec.resources of a Pod");
        self.unsupported(
            spec.os.as_ref().is_some_and(|os| os.name != "linux"),
            "an operating system other than linux",
        );
        let Some(security) = &spec.security_context else { return };
        self.unsupported(security.windows_options.is_some(), "securityContext.windowsOptions");
        self.seccomp(security.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()));
        self.app_armor(security.app_armor_profile.as_ref().map(|profile| profile.type_.as_str()));
        for sysctl in security.sysctls.iter().flatten() {
            let safe = SAFE_SYSCTLS.contains(&sysctl.name.as_str());
            self.needs_permission(!safe, &format!("sysctl \"{}\"", sysctl.name));
        }
    }

    fn seccomp(&mut self, kind: Option<&str>) {
        self.needs_permission(kind == Some("Unconfined"), "seccompProfile Unconfined");
        self.unsupported(kind == Some("Localhost"), "seccompProfile Localhost");
    }

    fn app_armor(&mut self, kind: Option<&str>) {
        self.unsupported(kind == Some("Localhost"), "appArmorProfile Localhost");
    }

    fn volume(&mut self, volume: &Volume) {
        if volume.host_path.is_some() {
            self.needs_permission(true, &format!("volume \"{}\" of type hostPath", volume.name));
            return;
        }
        let supported = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.empty_dir.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some()
            || volume.persistent_volume_claim.is_some();
        if !supported {
            let what = match source(volume) {
                Some(kind) => format!("volume \"{}\" of type {kind}", volume.name),
                None => format!("volume \"{}\" without a source", volume.name),
            };
            self.unsupported(true, &what);
        }
        for projection in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            self.unsupported(projection.cluster_trust_bundle.is_some(), "a projected clusterTrustBundle");
            self.unsupported(projection.pod_certificate.is_some(), "a projected podCertificate");
        }
    }

    fn container(&mut self, pod: &Pod, role: Role, container: &Container) {
        let name = &container.name;
        let of = |what: &str| format!("{what} of container \"{name}\"");
        self.unsupported(
            container.volume_devices.as_ref().is_some_and(|list| !list.is_empty()),
            &of("volumeDevices"),
        );
        self.unsupported(container.restart_policy_rules.is_some(), &of("restartPolicyRules"));
        self.unsupported(role == Role::Main && container.restart_policy.is_some(), &of("restartPolicy"));
        let host_port =
            container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port != 0));
        self.unsupported(host_port && pod::spec(pod).host_network != Some(true), &of("hostPort"));
        for probe in [&container.liveness_probe, &container.readiness_probe, &container.startup_probe] {
            self.unsupported(probe.as_ref().is_some_and(is_grpc), &of("a grpc probe"));
        }
        let bidirectional = container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.mount_propagation.as_deref() == Some("Bidirectional"));
        self.needs_permission(bidirectional, &of("mountPropagation Bidirectional"));
        let Some(security) = &container.security_context else { return };
        self.needs_permission(security.privileged == Some(true), &of("privileged mode"));
        self.needs_permission(security.proc_mount.as_deref() == Some("Unmasked"), &of("procMount Unmasked"));
        self.unsupported(security.windows_options.is_some(), &of("windowsOptions"));
        self.seccomp(security.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()));
        self.app_armor(security.app_armor_profile.as_ref().map(|profile| profile.type_.as_str()));
        for capability in
            security.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten())
        {
            let plain = capability.strip_prefix("CAP_").unwrap_or(capability);
            let dangerous = DANGEROUS_CAPABILITIES.contains(&plain);
            self.needs_permission(dangerous, &of(&format!("capability {plain}")));
        }
    }
}

fn is_grpc(probe: &Probe) -> bool {
    probe.grpc.is_some()
}

/// The field that says what a volume is.
fn source(volume: &Volume) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(volume) else { return None };
    fields.into_iter().map(|(field, _)| field).find(|field| field != "name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: Value, privileged: &PrivilegedNamespaces) -> Vec<String> {
        let pod = json!({"metadata": {"name": "p", "namespace": "hodu"}, "spec": spec});
        refusals(&serde_json::from_value(pod).unwrap(), privileged)
    }

    #[test]
    fn privileged_names_the_flag_and_is_allowed_by_it() {
        let spec = json!({"containers": [{"name": "judge", "securityContext": {"privileged": true}}]});
        assert_eq!(
            check(spec.clone(), &PrivilegedNamespaces::None),
            ["privileged mode of container \"judge\" is refused in namespace \"hodu\": \
              allow it with --allow-privileged hodu"]
        );
        let only = PrivilegedNamespaces::Only(["hodu".to_owned()].into());
        assert_eq!(check(spec.clone(), &only), [""; 0]);
        assert_eq!(check(spec, &PrivilegedNamespaces::All), [""; 0]);
    }

    #[test]
    fn host_paths_and_namespaces_are_refused() {
        let refusals = check(
            json!({
                "hostNetwork": true, "hostPID": true, "hostIPC": true,
                "volumes": [{"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup"}}],
                "containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["CAP_SYS_ADMIN", "NET_RAW"]}}}],
            }),
            &PrivilegedNamespaces::None,
        );
        assert_eq!(refusals.len(), 5, "{refusals:?}");
        assert!(refusals.iter().all(|text| text.contains("--allow-privileged hodu")));
    }

    #[test]
    fn what_is_missing_says_so() {
        let refusals = check(
            json!({
                "volumes": [{"name": "share", "nfs": {"server": "s", "path": "/"}}, {"name": "ok", "emptyDir": {}}],
                "containers": [{"name": "c", "volumeDevices": [{"name": "x", "devicePath": "/dev/x"}]}],
            }),
            &PrivilegedNamespaces::All,
        );
        assert_eq!(
            refusals,
            [
                "volume \"share\" of type nfs is not supported yet",
                "volumeDevices of container \"c\" is not supported yet"
            ]
        );
    }

    #[test]
    fn what_is_not_enforced_is_told() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "memory", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}},
            ],
            "containers": [{"name": "c", "resources": {"limits": {"ephemeral-storage": "1Gi", "memory": "1Gi"}}}],
        }});
        assert_eq!(
            notices(&serde_json::from_value(pod).unwrap()),
            [
                "the sizeLimit of emptyDir volume \"scratch\" is not enforced yet",
                "the ephemeral-storage limit of container \"c\" is not enforced yet"
            ]
        );
    }
}
