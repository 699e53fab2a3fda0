//! What the rest of the crate asks of a Pod's specification.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// Identity of one Pod; the uid tells it from a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PodId {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl PodId {
    /// `None` when a part is missing or could not be a part of a path: such an object did not come from an API server.
    pub(crate) fn of(pod: &Pod) -> Option<PodId> {
        let id = PodId {
            namespace: pod.metadata.namespace.clone()?,
            name: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone()?,
        };
        let safe = |part: &str| {
            !part.is_empty()
                && part.len() <= 253
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
                && !part.starts_with('.')
        };
        (safe(&id.namespace) && safe(&id.name) && is_uid(&id.uid)).then_some(id)
    }
}

/// As the kubelet formats Pods in events and log lines.
impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// Whether the text has the form of an object's uid, so that it can be a file name.
pub(crate) fn is_uid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// The part a container plays in its Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to completion before the ones after it start.
    Init,
    /// An init container with `restartPolicy: Always`: started in its turn, then kept running beside the main ones.
    Sidecar,
    /// An entry of `spec.containers`.
    Main,
}

/// When a Pod's containers are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub(crate) fn of(spec: &PodSpec) -> RestartPolicy {
        match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }
}

/// The specification of a Pod; the API server never stores one without.
pub(crate) fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// Init containers in their order, with the part each plays.
pub(crate) fn init_containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    spec(pod).init_containers.iter().flatten().map(|container| {
        let role = match container.restart_policy.as_deref() {
            Some("Always") => Role::Sidecar,
            _ => Role::Init,
        };
        (role, container)
    })
}

/// All containers, init ones first.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    init_containers(pod).chain(spec(pod).containers.iter().map(|container| (Role::Main, container)))
}

pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, &'a Container)> {
    containers(pod).find(|(_, container)| container.name == name)
}

/// How long the Pod's processes get between SIGTERM and SIGKILL. A deletion may name its own time.
pub(crate) fn grace(pod: &Pod) -> Duration {
    let seconds = pod
        .metadata
        .deletion_grace_period_seconds
        .filter(|_| pod.metadata.deletion_timestamp.is_some())
        .or(spec(pod).termination_grace_period_seconds)
        .unwrap_or(30);
    // The kubelet never kills without at least a second of warning.
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))
}

/// The host name inside the Pod: `spec.hostname`, else the Pod's name, cut to what the kernel accepts.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = spec(pod);
    let name = spec
        .hostname_override
        .as_deref()
        .or(spec.hostname.as_deref())
        .filter(|name| !name.is_empty())
        .or(pod.metadata.name.as_deref())
        .unwrap_or_default();
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// `hostname.subdomain.namespace.svc.domain` when the Pod has a subdomain.
pub(crate) fn domain_name(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = spec(pod).subdomain.as_deref().filter(|subdomain| !subdomain.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}

/// Resource versions of one API server are numbers that grow.
pub(crate) fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
