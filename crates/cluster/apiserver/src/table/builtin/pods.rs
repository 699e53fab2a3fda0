//! Pods: the status that people see is made of phase, reasons and containers.

use jiff::Timestamp;
use objects::meta;
use serde_json::Value;

use super::{AGE, NAME, Printer, at, created, integer, items, name, or_none, pairs, string, text, wide};
use crate::table::age;

pub(super) fn printer(plural: &str) -> Option<Printer> {
    match plural {
        "pods" => Some(Printer {
            columns: const {
                &[
                    NAME,
                    text("Ready"),
                    text("Status"),
                    text("Restarts"),
                    AGE,
                    wide("IP"),
                    wide("Node"),
                    wide("Nominated Node"),
                    wide("Readiness Gates"),
                ]
            },
            cells: pod,
        }),
        "podtemplates" => Some(Printer {
            columns: const { &[NAME, text("Containers"), text("Images"), text("Pod Labels")] },
            cells: |object, _| {
                let [names, images] = super::containers(object, "/template/spec/containers");
                vec![name(object), names, images, pairs(at(object, "/template/metadata/labels"))]
            },
        }),
        _ => None,
    }
}

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let seen = look(pod);
    let restarts = match seen.last_restart {
        Some(finished) if seen.restarts > 0 => format!("{} ({} ago)", seen.restarts, age(finished, now)),
        _ => seen.restarts.to_string(),
    };
    let ips = items(pod, "/status/podIPs").first().and_then(|first| first["ip"].as_str());
    vec![
        name(pod),
        format!("{}/{}", seen.ready, seen.total).into(),
        seen.reason.into(),
        restarts.into(),
        created(pod, now),
        or_none(ips.unwrap_or(string(pod, "/status/podIP"))),
        or_none(string(pod, "/spec/nodeName")),
        or_none(string(pod, "/status/nominatedNodeName")),
        readiness_gates(pod),
    ]
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let fulfilled = |gate: &&Value| {
        items(pod, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == gate["conditionType"] && condition["status"] == "True")
    };
    format!("{}/{}", gates.iter().filter(fulfilled).count(), gates.len()).into()
}

struct Seen<'a> {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<&'a str>,
    reason: String,
}

fn exit_reason(terminated: &Value) -> String {
    match terminated["reason"].as_str().filter(|reason| !reason.is_empty()) {
        Some(reason) => reason.to_owned(),
        None => match terminated["signal"].as_i64() {
            Some(signal) if signal != 0 => format!("Signal:{signal}"),
            _ => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        },
    }
}

fn restartable_init<'a>(pod: &'a Value, status: &Value) -> Option<&'a Value> {
    let found =
        items(pod, "/spec/initContainers").iter().find(|container| container["name"] == status["name"]);
    found.filter(|container| container["restartPolicy"] == "Always")
}

fn look(pod: &Value) -> Seen<'_> {
    let phase = string(pod, "/status/phase");
    let mut reason = string(pod, "/status/reason").to_owned();
    if reason.is_empty() {
        phase.clone_into(&mut reason);
    }
    for condition in items(pod, "/status/conditions") {
        if condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated" {
            "SchedulingGated".clone_into(&mut reason);
        }
    }
    let mut seen = Seen {
        ready: 0,
        total: items(pod, "/spec/containers").len(),
        restarts: 0,
        last_restart: None,
        reason,
    };
    let initializing = init(pod, &mut seen);
    if !initializing {
        main(pod, &mut seen);
    }
    if meta::is_deleting(pod) {
        if string(pod, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut seen.reason);
        } else if !matches!(phase, "Failed" | "Succeeded") {
            "Terminating".clone_into(&mut seen.reason);
        }
    }
    seen
}

fn later<'a>(known: Option<&'a str>, status: &'a Value) -> Option<&'a str> {
    // RFC 3339 in UTC compares as text.
    known.max(at(status, "/lastState/terminated/finishedAt").as_str())
}

/// Init containers; says whether they are what the Pod waits for.
fn init(pod: &Value, seen: &mut Seen<'_>) -> bool {
    let statuses = items(pod, "/status/initContainerStatuses");
    seen.total += items(pod, "/spec/initContainers")
        .iter()
        .filter(|container| container["restartPolicy"] == "Always")
        .count();
    let mut initializing = false;
    for (index, status) in statuses.iter().enumerate() {
        seen.restarts += status["restartCount"].as_i64().unwrap_or(0);
        let sidecar = restartable_init(pod, status).is_some();
        if sidecar && status["ready"] == true && status["started"] == true {
            seen.ready += 1;
        }
        if initializing {
            continue;
        }
        let state = &status["state"];
        let terminated = &state["terminated"];
        if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            continue;
        }
        initializing = true;
        let waiting = state["waiting"]["reason"].as_str().unwrap_or_default();
        seen.reason = if terminated.is_object() {
            format!("Init:{}", exit_reason(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", items(pod, "/spec/initContainers").len())
        };
    }
    let initialized = items(pod, "/status/conditions")
        .iter()
        .any(|condition| condition["type"] == "Initialized" && condition["status"] == "True");
    initializing && !initialized
}

fn main<'a>(pod: &'a Value, seen: &mut Seen<'a>) {
    let sidecars: i64 = items(pod, "/status/initContainerStatuses")
        .iter()
        .filter(|status| restartable_init(pod, status).is_some())
        .map(|status| integer(status, "/restartCount"))
        .sum();
    seen.restarts = sidecars;
    let mut running = false;
    for status in items(pod, "/status/containerStatuses").iter().rev() {
        seen.restarts += status["restartCount"].as_i64().unwrap_or(0);
        seen.last_restart = later(seen.last_restart, status);
        let state = &status["state"];
        let waiting = state["waiting"]["reason"].as_str().unwrap_or_default();
        if !waiting.is_empty() {
            waiting.clone_into(&mut seen.reason);
        } else if state["terminated"].is_object() {
            seen.reason = exit_reason(&state["terminated"]);
        } else if status["ready"] == true && state["running"].is_object() {
            running = true;
            seen.ready += 1;
        }
    }
    if seen.reason == "Completed" && running {
        let ready = items(pod, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        seen.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(object: Value) -> String {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let cells = pod(&object, now);
        cells[1..5].iter().map(|cell| cell.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_status_tells_what_a_pod_waits_for() {
        let base = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Pending"}});
        let with = |status: Value| {
            let mut object = base.clone();
            object["status"] = status;
            object
        };
        assert_eq!(row(base.clone()), "0/1 Pending 0 60m");
        let waiting = json!({"phase": "Pending", "containerStatuses": [{"name": "c", "restartCount": 0,
            "state": {"waiting": {"reason": "CreateContainerConfigError"}}}]});
        assert_eq!(row(with(waiting)), "0/1 CreateContainerConfigError 0 60m");
        let running = json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": true, "restartCount": 2,
            "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:50:00Z"}}}]});
        assert_eq!(row(with(running.clone())), "1/1 Running 2 (10m ago) 60m");
        let mut ending = with(running);
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:30Z".into();
        assert_eq!(row(ending), "1/1 Terminating 2 (10m ago) 60m");
        let mut init = with(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
        );
        init["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
        assert_eq!(row(init), "0/1 Init:0/2 0 60m");
        let done = json!({"phase": "Succeeded", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]});
        assert_eq!(row(with(done)), "0/1 Completed 0 60m");
    }
}
