//! Pods.

use objects::{Value, meta};

use super::{Health, HealthStatus, degraded, progressing, text, unknown};
use crate::annotations::IGNORE_RESTART_POLICY;
use crate::hooks::{Role, role};

pub(super) fn pod(object: &Value) -> Health {
    let long_running = is_long_running(object);
    if long_running {
        let waiting: Vec<_> = statuses(object, "containerStatuses")
            .filter_map(|status| status.pointer("/state/waiting"))
            .filter(|waiting| fails(text(waiting, "/reason")))
            .map(|waiting| text(waiting, "/message"))
            .collect();
        if !waiting.is_empty() {
            return degraded(waiting.join(", "));
        }
    }
    let message = text(object, "/status/message");
    match text(object, "/status/phase") {
        "Pending" => progressing(message),
        "Succeeded" => Health::new(HealthStatus::Healthy, message),
        "Failed" => degraded(failure(object)),
        "Running" if long_running => {
            let conditions = object["status"]["conditions"].as_array();
            let ready =
                conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let restarted =
                |status: &Value| status.pointer("/lastState/terminated").is_some_and(|t| !t.is_null());
            if ready {
                Health::new(HealthStatus::Healthy, message)
            } else if statuses(object, "containerStatuses").any(restarted) {
                degraded(message)
            } else {
                progressing(message)
            }
        }
        "Running" => progressing(message),
        _ => unknown(message),
    }
}

fn is_long_running(object: &Value) -> bool {
    let ignored = meta::annotation(object, IGNORE_RESTART_POLICY) == Some("true");
    let always = matches!(text(object, "/spec/restartPolicy"), "Always" | "");
    always || (ignored && !matches!(role(object), Role::Hook(_)))
}

fn fails(reason: &str) -> bool {
    reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff")
}

fn statuses<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object["status"][field].as_array().into_iter().flatten()
}

fn failure(object: &Value) -> String {
    let message = text(object, "/status/message");
    if !message.is_empty() {
        return message.to_owned();
    }
    for status in statuses(object, "initContainerStatuses").chain(statuses(object, "containerStatuses")) {
        let Some(terminated) = status.pointer("/state/terminated").filter(|terminated| !terminated.is_null())
        else {
            continue;
        };
        let message = text(terminated, "/message");
        if !message.is_empty() {
            return message.to_owned();
        }
        if text(terminated, "/reason") == "OOMKilled" {
            return "OOMKilled".to_owned();
        }
        let code = terminated["exitCode"].as_i64().unwrap_or(0);
        if code != 0 {
            return format!("container {:?} failed with exit code {code}", text(status, "/name"));
        }
    }
    String::new()
}
