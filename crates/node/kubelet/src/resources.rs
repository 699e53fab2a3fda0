//! Requests and limits: cgroup values, the quality-of-service class, and what `resourceFieldRef` reads.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use objects::quantity::Quantity;

use crate::pod;

/// What the machine has, for containers without limits of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpu_millis: u64,
    /// Bytes.
    pub(crate) memory: u64,
    /// Bytes of the file system with the data directory.
    pub(crate) storage: u64,
}

fn limit(resources: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    Quantity::parse(&resources?.limits.as_ref()?.get(name)?.0).ok()
}

fn request(resources: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    let explicit =
        resources.and_then(|r| r.requests.as_ref()?.get(name)).and_then(|q| Quantity::parse(&q.0).ok());
    // What the API server's defaulting does, for Pods that reached the store otherwise.
    explicit.or_else(|| limit(resources, name))
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The cgroup limits of one container, as the kubelet's `generateLinuxContainerResources` computes them.
pub(crate) fn limits(pod: &Pod, container: &Container, capacity: &Capacity) -> containers::Resources {
    let resources = container.resources.as_ref();
    let cpu_request = request(resources, "cpu").map_or(0, |q| unsigned(q.as_milli()));
    containers::Resources {
        // 2 is the kernel's minimum: no request means next to no share when others want the CPU.
        cpu_shares: Some((cpu_request * 1024 / 1000).clamp(2, 262_144)),
        // A millisecond per period of 100 ms is the smallest quota the kernel takes.
        cpu_quota_millis: limit(resources, "cpu")
            .map(|q| unsigned(q.as_milli()))
            .filter(|m| *m > 0)
            .map(|m| m.max(10)),
        memory_limit: limit(resources, "memory").map(|q| q.as_bytes()).filter(|bytes| *bytes > 0),
        pids_limit: None,
        oom_score_adj: Some(oom_score(pod, container, capacity)),
    }
}

/// Who dies first when memory runs out: `BestEffort` before `Burstable` by how little it asked for, `Guaranteed` last.
fn oom_score(pod: &Pod, container: &Container, capacity: &Capacity) -> i32 {
    match qos_class(pod) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let asked = request(container.resources.as_ref(), "memory").map_or(0, |q| q.as_bytes());
            let share = 1000 * u128::from(asked) / u128::from(capacity.memory.max(1));
            1000_i32.saturating_sub(i32::try_from(share).unwrap_or(i32::MAX)).clamp(3, 999)
        }
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let (mut any, mut all_guaranteed) = (false, true);
    for (_, container) in pod::containers(pod) {
        for name in ["cpu", "memory"] {
            let limit = limit(container.resources.as_ref(), name).filter(|q| !q.is_zero());
            let request = request(container.resources.as_ref(), name).filter(|q| !q.is_zero());
            any |= limit.is_some() || request.is_some();
            all_guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (any, all_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The value of a `resourceFieldRef` such as `limits.cpu`; a container without that limit has the machine's.
/// `None` when the resource is unknown.
pub(crate) fn field(
    container: &Container,
    resource: &str,
    divisor: Option<&str>,
    capacity: &Capacity,
) -> Option<String> {
    let (side, name) = resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let value = match side {
        "limits" => limit(resources, name),
        "requests" => request(resources, name),
        _ => return None,
    };
    let divisor = divisor.and_then(|text| Quantity::parse(text).ok()).filter(|divisor| !divisor.is_zero());
    let in_millis = match name {
        "cpu" => true,
        "memory" | "ephemeral-storage" => false,
        _ => return None,
    };
    let amount = match (value, side, name) {
        (Some(value), _, _) if in_millis => i128::from(value.as_milli()),
        (Some(value), _, _) => i128::from(value.as_bytes()),
        (None, "requests", _) => 0,
        (None, _, "cpu") => i128::from(capacity.cpu_millis),
        (None, _, "memory") => i128::from(capacity.memory),
        (None, _, _) => i128::from(capacity.storage),
    };
    let unit = match (divisor, in_millis) {
        (Some(divisor), true) => i128::from(divisor.as_milli()),
        (Some(divisor), false) => i128::from(divisor.as_bytes()),
        (None, true) => 1000,
        (None, false) => 1,
    };
    let unit = unit.max(1);
    Some(((amount + unit - 1) / unit).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CAPACITY: Capacity = Capacity { cpu_millis: 4000, memory: 8 << 30, storage: 100 << 30 };

    fn pod(resources: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": resources}]},
        }))
        .unwrap()
    }

    fn values(resources: &serde_json::Value) -> (&'static str, containers::Resources) {
        let pod = pod(resources);
        let limits = limits(&pod, &pod::spec(&pod).containers[0], &CAPACITY);
        (qos_class(&pod), limits)
    }

    #[test]
    fn classes_and_cgroup_values() {
        let (class, best_effort) = values(&json!({}));
        assert_eq!(
            (class, best_effort.cpu_shares, best_effort.oom_score_adj),
            ("BestEffort", Some(2), Some(1000))
        );
        assert_eq!((best_effort.cpu_quota_millis, best_effort.memory_limit), (None, None));

        let (class, burstable) = values(&json!({
            "requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": 0.5, "memory": "2Gi"},
        }));
        assert_eq!(
            (class, burstable.cpu_shares, burstable.cpu_quota_millis),
            ("Burstable", Some(102), Some(500))
        );
        assert_eq!((burstable.memory_limit, burstable.oom_score_adj), (Some(2 << 30), Some(875)));

        let (class, guaranteed) = values(&json!({"limits": {"cpu": "1", "memory": "1.5Gi"}}));
        assert_eq!(
            (class, guaranteed.cpu_shares, guaranteed.oom_score_adj),
            ("Guaranteed", Some(1024), Some(-997))
        );
        assert_eq!(guaranteed.memory_limit, Some(3 << 29));
    }

    #[test]
    fn a_limit_without_the_other_is_burstable_and_zero_is_none() {
        assert_eq!(values(&json!({"limits": {"memory": "1Gi"}})).0, "Burstable");
        let (class, zero) = values(&json!({"requests": {"cpu": 0}, "limits": {"cpu": 0}}));
        assert_eq!((class, zero.cpu_quota_millis, zero.cpu_shares), ("BestEffort", None, Some(2)));
    }

    #[test]
    fn resource_fields_divide_and_round_up() {
        let pod = pod(&json!({"requests": {"cpu": "250m"}, "limits": {"memory": "100Mi"}}));
        let container = &pod::spec(&pod).containers[0];
        let read = |resource, divisor| field(container, resource, divisor, &CAPACITY);
        assert_eq!(read("requests.cpu", None).as_deref(), Some("1"));
        assert_eq!(read("requests.cpu", Some("1m")).as_deref(), Some("250"));
        assert_eq!(read("requests.cpu", Some("0")).as_deref(), Some("1"), "a divisor of 0 means 1");
        assert_eq!(read("limits.memory", Some("1Mi")).as_deref(), Some("100"));
        assert_eq!(read("limits.cpu", None).as_deref(), Some("4"), "no limit: the machine's");
        assert_eq!(read("limits.gpu", None), None);
    }
}
