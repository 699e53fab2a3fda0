//! Workload controllers and autoscalers.

use serde_json::{Value, json};

use super::{Fields, claim, default, default_text, each, inside, is_absent, made, template, text};
use crate::gvk::GroupVersionKind;

pub(super) fn apps(kind: &str, fields: &mut Fields) {
    inside(fields, &["spec"], |spec| {
        match kind {
            "Deployment" => deployment(spec),
            "ReplicaSet" => default(spec, "replicas", json!(1)),
            "StatefulSet" => stateful_set(spec),
            "DaemonSet" => daemon_set(spec),
            _ => return,
        }
        inside(spec, &["template", "spec"], template);
    });
}

fn deployment(spec: &mut Fields) {
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    default(spec, "progressDeadlineSeconds", json!(600));
    made(spec, "strategy", |strategy| {
        default_text(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            made(strategy, "rollingUpdate", |rolling| {
                default(rolling, "maxUnavailable", json!("25%"));
                default(rolling, "maxSurge", json!("25%"));
            });
        }
    });
}

fn stateful_set(spec: &mut Fields) {
    default_text(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    made(spec, "updateStrategy", |strategy| {
        default_text(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            made(strategy, "rollingUpdate", |rolling| default(rolling, "partition", json!(0)));
        }
    });
    made(spec, "persistentVolumeClaimRetentionPolicy", |policy| {
        default_text(policy, "whenDeleted", "Retain");
        default_text(policy, "whenScaled", "Retain");
    });
    each(spec, "volumeClaimTemplates", |it| {
        it.insert("apiVersion".to_owned(), json!("v1"));
        it.insert("kind".to_owned(), json!("PersistentVolumeClaim"));
        claim(it);
    });
}

fn daemon_set(spec: &mut Fields) {
    default(spec, "revisionHistoryLimit", json!(10));
    made(spec, "updateStrategy", |strategy| {
        default_text(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            made(strategy, "rollingUpdate", |rolling| {
                default(rolling, "maxUnavailable", json!(1));
                default(rolling, "maxSurge", json!(0));
            });
        }
    });
}

pub(super) fn replication_controller(fields: &mut Fields) {
    let labels = fields.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    inside(fields, &["spec"], |spec| {
        default(spec, "replicas", json!(1));
        if let Some(labels) = labels.clone().filter(|_| is_absent(spec, "selector")) {
            spec.insert("selector".to_owned(), labels);
        }
        inside(spec, &["template", "spec"], template);
    });
    if let Some(labels) = labels {
        inside(fields, &["metadata"], |metadata| default(metadata, "labels", labels));
    }
}

pub(super) fn batch(kind: &str, fields: &mut Fields) {
    match kind {
        "Job" => {
            let labels =
                fields.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
            if let Some(labels) =
                labels.filter(|labels| labels.as_object().is_some_and(|map| !map.is_empty()))
            {
                inside(fields, &["metadata"], |metadata| default(metadata, "labels", labels));
            }
            inside(fields, &["spec"], |spec| {
                default(spec, "manualSelector", json!(false));
                job(spec);
            });
        }
        "CronJob" => inside(fields, &["spec"], |spec| {
            default_text(spec, "concurrencyPolicy", "Allow");
            default(spec, "suspend", json!(false));
            default(spec, "successfulJobsHistoryLimit", json!(3));
            default(spec, "failedJobsHistoryLimit", json!(1));
            inside(spec, &["jobTemplate", "spec", "template", "spec"], template);
        }),
        _ => {}
    }
}

fn job(spec: &mut Fields) {
    // A Job with only a parallelism is a work queue, which has no number of completions.
    if is_absent(spec, "parallelism") {
        default(spec, "completions", json!(1));
    }
    default(spec, "parallelism", json!(1));
    let per_index = !is_absent(spec, "backoffLimitPerIndex");
    default(spec, "backoffLimit", json!(if per_index { i32::MAX } else { 6 }));
    default(spec, "completionMode", json!("NonIndexed"));
    default(spec, "suspend", json!(false));
    let policy = if is_absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    default(spec, "podReplacementPolicy", json!(policy));
    inside(spec, &["podFailurePolicy"], |policy| {
        each(policy, "rules", |rule| {
            each(rule, "onPodConditions", |condition| default_text(condition, "status", "True"));
        });
    });
    inside(spec, &["template", "spec"], template);
}

pub(super) fn autoscaling(gvk: &GroupVersionKind, fields: &mut Fields) {
    if gvk.kind != "HorizontalPodAutoscaler" {
        return;
    }
    inside(fields, &["spec"], |spec| {
        default(spec, "minReplicas", json!(1));
        if gvk.version != "v2" {
            return;
        }
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
            spec.insert("metrics".to_owned(), cpu);
        }
        inside(spec, &["behavior"], |behavior| {
            let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
            let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
            made(behavior, "scaleUp", |rules| {
                default(rules, "stabilizationWindowSeconds", json!(0));
                default(rules, "selectPolicy", json!("Max"));
                default(rules, "policies", json!([pods, percent.clone()]));
            });
            made(behavior, "scaleDown", |rules| {
                default(rules, "selectPolicy", json!("Max"));
                default(rules, "policies", json!([percent]));
            });
        });
    });
}
