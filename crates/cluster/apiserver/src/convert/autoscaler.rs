//! HorizontalPodAutoscalers are stored as `autoscaling/v2`. Version 1 knows one metric, the CPU utilization; the
//! others travel in its annotations, as upstream does it.

use objects::meta;
use serde_json::{Value, json};

use crate::error::ApiError;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn cpu_target(metric: &Value) -> Option<&Value> {
    let resource = &metric["resource"];
    (metric["type"] == "Resource" && resource["name"] == "cpu")
        .then(|| resource["target"].get("averageUtilization"))
        .flatten()
}

pub(super) fn to_v1(object: &mut Value) {
    let metrics = object["spec"].as_object_mut().and_then(|spec| spec.remove("metrics"));
    let mut others = Vec::new();
    for metric in metrics.as_ref().and_then(Value::as_array).into_iter().flatten() {
        match cpu_target(metric) {
            Some(target) => object["spec"]["targetCPUUtilizationPercentage"] = target.clone(),
            None => others.push(metric.clone()),
        }
    }
    note(object, METRICS, (!others.is_empty()).then(|| Value::from(others)));
    let behavior = object["spec"].as_object_mut().and_then(|spec| spec.remove("behavior"));
    note(object, BEHAVIOR, behavior);
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    let current = status.remove("currentMetrics");
    let conditions = status.remove("conditions");
    let utilization = current.as_ref().and_then(Value::as_array).into_iter().flatten().find_map(|metric| {
        let resource = &metric["resource"];
        (resource["name"] == "cpu").then(|| resource["current"].get("averageUtilization").cloned()).flatten()
    });
    if let Some(utilization) = utilization {
        status.insert("currentCPUUtilizationPercentage".to_owned(), utilization);
    }
    note(object, CURRENT, current);
    note(object, CONDITIONS, conditions);
}

fn note(object: &mut Value, annotation: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|value| !value.is_null()) {
        meta::set_annotation(object, annotation, Some(&value.to_string()));
    }
}

pub(super) fn from_v1(object: &mut Value) -> Result<(), ApiError> {
    let mut metrics =
        noted(object, METRICS)?.and_then(|metrics| metrics.as_array().cloned()).unwrap_or_default();
    let target =
        object["spec"].as_object_mut().and_then(|spec| spec.remove("targetCPUUtilizationPercentage"));
    if let Some(target) = target.filter(|target| !target.is_null()) {
        metrics.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": target}}}),
        );
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = metrics.into();
    }
    if let Some(behavior) = noted(object, BEHAVIOR)? {
        object["spec"]["behavior"] = behavior;
    }
    let current = noted(object, CURRENT)?;
    let conditions = noted(object, CONDITIONS)?;
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
        for (field, value) in [("currentMetrics", current), ("conditions", conditions)] {
            if let Some(value) = value {
                status.insert(field.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn noted(object: &mut Value, annotation: &str) -> Result<Option<Value>, ApiError> {
    let Some(text) = meta::annotation(object, annotation) else { return Ok(None) };
    let value = serde_json::from_str(text)
        .map_err(|_| ApiError::bad_request(format!("annotation {annotation} is not JSON")))?;
    meta::set_annotation(object, annotation, None);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_meet() {
        let v2 = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {}}, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
            {"type": "Pods", "pods": {"metric": {"name": "x"}}}]}});
        let mut v1 = v2.clone();
        to_v1(&mut v1);
        assert_eq!(v1["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}));
        from_v1(&mut v1).unwrap();
        assert_eq!(v1, v2);
    }
}
