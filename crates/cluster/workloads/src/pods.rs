//! What controllers need to know about Pods, and how a Pod is made of a template.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use client::Api;
use client::dynamic::DeleteOptions;
use jiff::Timestamp;
use objects::meta::{self, Key, OwnerReference};
use serde_json::{Map, Value, json};

pub(crate) fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or("Pending")
}

/// Neither finished nor being deleted.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !meta::is_deleting(pod)
}

/// Its containers ended for good.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Since when the pod is ready, if it is.
pub(crate) fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = client::conditions::find(&pod["status"], "Ready")?;
    if ready["status"] != "True" {
        return None;
    }
    // A condition without a time counts as ready since ever.
    Some(ready["lastTransitionTime"].as_str().and_then(|t| t.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH))
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    ready_since(pod).is_some()
}

/// Ready for at least this long.
pub(crate) fn is_available(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> bool {
    match ready_since(pod) {
        None => false,
        Some(_) if min_ready_seconds <= 0 => true,
        Some(since) => until_available(since, min_ready_seconds, now).is_zero(),
    }
}

fn until_available(since: Timestamp, min_ready_seconds: i64, now: Timestamp) -> Duration {
    let left = i128::from(min_ready_seconds) * 1_000_000_000 - (now.as_nanosecond() - since.as_nanosecond());
    Duration::from_nanos(u64::try_from(left.max(0)).unwrap_or(u64::MAX))
}

/// When the next of these pods becomes available by time alone.
pub(crate) fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Value>,
    min_ready_seconds: i64,
    now: Timestamp,
) -> Option<Duration> {
    pods.into_iter()
        .filter_map(ready_since)
        .map(|since| until_available(since, min_ready_seconds, now))
        .filter(|wait| !wait.is_zero())
        .min()
}

/// The pod a template describes, controlled by `owner`, without a name.
pub(crate) fn from_template(template: &Value, owner: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field).filter(|value| !value.is_null()) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("namespace".to_owned(), json!(meta::namespace(owner)));
    metadata.insert("ownerReferences".to_owned(), json!([OwnerReference::controller(owner).to_value()]));
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] })
}

/// Sorts pods so that those to be deleted first come first, by the criteria of upstream's `ActivePodsWithRanks`.
pub(crate) fn sort_for_deletion(pods: &mut [Value]) {
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        *on_node.entry(node(pod).to_owned()).or_default() += 1;
    }
    let rank = |pod: &Value| on_node.get(node(pod)).copied().unwrap_or(0);
    pods.sort_by(|a, b| deletion_order(a, b, rank(a), rank(b)));
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or("")
}

fn deletion_order(a: &Value, b: &Value, rank_a: usize, rank_b: usize) -> Ordering {
    let assigned = |pod: &Value| !node(pod).is_empty();
    let phase_rank = |pod: &Value| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &Value| -> i64 {
        let text = meta::annotation(pod, "controller.kubernetes.io/pod-deletion-cost");
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let time = |at: Option<Timestamp>| at.unwrap_or(Timestamp::UNIX_EPOCH);
    // The younger goes first; equal ones are then told apart by name, so that plans do not flicker.
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| time(ready_since(b)).cmp(&time(ready_since(a))))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| time(meta::created_at(b)).cmp(&time(meta::created_at(a))))
        .then_with(|| meta::name(b).cmp(meta::name(a)))
}

fn restarts(pod: &Value) -> i64 {
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses.into_iter().flatten().filter_map(|status| status["restartCount"].as_i64()).max().unwrap_or(0)
}

/// Deletes exactly this pod; one that is already gone is as good.
pub(crate) async fn delete(api: &Api, pod: &Value) -> Result<(), client::Error> {
    let options = DeleteOptions::default().only(meta::uid(pod));
    api.delete_if_exists(&Key::of(pod), &options).await
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A running pod on a node, ready since this long before `2026-01-01T01:00:00Z`.
    pub(crate) fn pod(name: &str, ready_for: Option<i64>) -> Value {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "a", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "nodeName": name },
            "status": { "phase": "Running" },
        });
        if let Some(seconds) = ready_for {
            let since = now - jiff::SignedDuration::from_secs(seconds);
            pod["status"]["conditions"] =
                json!([{ "type": "Ready", "status": "True", "lastTransitionTime": since.to_string() }]);
        }
        pod
    }

    #[test]
    fn the_least_useful_pod_is_deleted_first() {
        let mut unassigned = pod("unassigned", None);
        unassigned["spec"] = json!({});
        let mut pending = pod("pending", None);
        pending["status"]["phase"] = json!("Pending");
        let mut cheap = pod("cheap", Some(500));
        cheap["metadata"]["annotations"] = json!({ "controller.kubernetes.io/pod-deletion-cost": "-5" });
        let mut restarted = pod("restarted", Some(400));
        restarted["status"]["containerStatuses"] = json!([{ "restartCount": 7 }]);
        let mut crowded = pod("crowded-1", Some(3000));
        crowded["spec"]["nodeName"] = json!("full");
        let mut crowded2 = pod("crowded-2", Some(3100));
        crowded2["spec"]["nodeName"] = json!("full");
        let mut pods = vec![
            pod("old", Some(3000)),
            restarted,
            pod("young", Some(10)),
            crowded2,
            crowded,
            pod("unready", None),
            cheap,
            pod("same", Some(400)),
            pending,
            unassigned,
        ];
        sort_for_deletion(&mut pods);
        let names: Vec<&str> = pods.iter().map(meta::name).collect();
        assert_eq!(
            names,
            [
                "unassigned",
                "pending",
                "unready",
                "cheap",
                "crowded-1",
                "crowded-2",
                "young",
                "restarted",
                "same",
                "old"
            ]
        );
    }

    #[test]
    fn availability_needs_time() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        assert!(is_available(&pod("p", Some(0)), 0, now));
        assert!(!is_available(&pod("p", Some(5)), 10, now));
        assert!(is_available(&pod("p", Some(10)), 10, now));
        assert!(!is_available(&pod("p", None), 0, now));
        let pods = [pod("p", Some(4)), pod("q", Some(7)), pod("r", None), pod("s", Some(20))];
        assert_eq!(next_available(&pods, 10, now), Some(Duration::from_secs(3)));
    }
}
