//! What else a Pod gets on its way in: its priority, the tolerations every Pod has, its quality of service.

use objects::meta;
use serde_json::{Value, json};
use store::{ListOptions, Scope};

use crate::core::Call;
use crate::error::ApiError;
use crate::object;

const CLASSES: &str = "scheduling.k8s.io/priorityclasses";
/// Seconds that a Pod stays on a node that has trouble.
const TOLERATED: i64 = 300;

/// Resolves the priority class to its number.
pub(super) fn priority(call: &Call, pod: &mut Value) -> Result<(), ApiError> {
    let name = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = if name.is_empty() { default_class(call) } else { named_class(call, &name, pod)? };
    let spec = &mut pod["spec"];
    let (value, policy) = match &class {
        Some(class) => {
            spec["priorityClassName"] = meta::name(class).into();
            (class["value"].as_i64().unwrap_or(0), class["preemptionPolicy"].as_str())
        }
        None => (0, None),
    };
    spec["priority"] = value.into();
    spec["preemptionPolicy"] = policy.unwrap_or("PreemptLowerPriority").into();
    Ok(())
}

fn named_class(call: &Call, name: &str, pod: &Value) -> Result<Option<Value>, ApiError> {
    let key = store::Key::new(CLASSES, None, name);
    match call.core.store.get(&key) {
        Some(stored) => object::decode(&stored.bytes).map(Some),
        None => {
            let because = format!("no PriorityClass with name {name} was found");
            Err(ApiError::forbidden("", "pods", meta::name(pod), &because))
        }
    }
}

fn default_class(call: &Call) -> Option<Value> {
    let page = call.core.store.list(&Scope::new(CLASSES, None), &ListOptions::default()).ok()?;
    let classes = page.items.iter().filter_map(|(_, stored)| object::decode(&stored.bytes).ok());
    classes.filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}

/// Every Pod stays for a while on a node that is not ready or not reachable, unless it says how long itself.
pub(super) fn tolerations(pod: &mut Value) {
    let spec = &mut pod["spec"];
    let mut list = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = list.iter().any(|toleration| {
            let key = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (key == taint || key.is_empty()) && matches!(effect, "NoExecute" | "")
        });
        if !covered {
            list.push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED}));
        }
    }
    spec["tolerations"] = list.into();
}

/// `Guaranteed` where all limits are set and equal the requests, `BestEffort` where nothing is, else `Burstable`.
pub(crate) fn quality(pod: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let resources = &container["resources"];
            for resource in ["cpu", "memory"] {
                let (limit, request) = (&resources["limits"][resource], &resources["requests"][resource]);
                any |= !limit.is_null() || !request.is_null();
                guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"resources": resources}]}})
    }

    #[test]
    fn quality_follows_requests_and_limits() {
        assert_eq!(quality(&pod(json!({}))), "BestEffort");
        assert_eq!(quality(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(quality(&pod(json!({"requests": both, "limits": both}))), "Guaranteed");
        assert_eq!(quality(&pod(json!({"requests": {"cpu": "500m"}, "limits": both}))), "Burstable");
    }

    #[test]
    fn own_tolerations_are_kept() {
        let mut own = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        tolerations(&mut own);
        assert_eq!(own["spec"]["tolerations"].as_array().unwrap().len(), 1);
        let mut none = json!({"spec": {}});
        tolerations(&mut none);
        assert_eq!(none["spec"]["tolerations"].as_array().unwrap().len(), 2);
    }
}
