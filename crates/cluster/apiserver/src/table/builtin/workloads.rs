//! What runs Pods.

use jiff::Timestamp;
use objects::meta;
use serde_json::Value;

use super::{
    AGE, NAME, Printer, at, containers, created, integer, items, name, number, pairs, selector, string, text,
    wide,
};
use crate::table::{age, human_duration};

const TEMPLATE: &str = "/spec/template/spec/containers";

pub(super) fn core(plural: &str) -> Option<Printer> {
    (plural == "replicationcontrollers")
        .then_some(Printer { columns: REPLICA_SET, cells: replication_controller })
}

pub(super) fn printer(group: &str, plural: &str) -> Option<Printer> {
    Some(match (group, plural) {
        ("apps", "replicasets") => Printer { columns: REPLICA_SET, cells: replica_set },
        ("apps", "deployments") => Printer {
            columns: const {
                &[
                    NAME,
                    text("Ready"),
                    text("Up-to-date"),
                    text("Available"),
                    AGE,
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: deployment,
        },
        ("apps", "statefulsets") => Printer {
            columns: const { &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")] },
            cells: stateful_set,
        },
        ("apps", "daemonsets") => Printer {
            columns: const {
                &[
                    NAME,
                    number("Desired"),
                    number("Current"),
                    number("Ready"),
                    number("Up-to-date"),
                    number("Available"),
                    text("Node Selector"),
                    AGE,
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: daemon_set,
        },
        ("apps", "controllerrevisions") => Printer {
            columns: const { &[NAME, text("Controller"), number("Revision"), AGE] },
            cells: |object, now| {
                let controller = meta::controller_of(object).map_or_else(
                    || "<none>".to_owned(),
                    |owner| format!("{}/{}", group_kind(&owner.api_version, &owner.kind), owner.name),
                );
                vec![
                    name(object),
                    controller.into(),
                    integer(object, "/revision").into(),
                    created(object, now),
                ]
            },
        },
        ("batch", "jobs") => Printer {
            columns: const {
                &[
                    NAME,
                    text("Status"),
                    text("Completions"),
                    text("Duration"),
                    AGE,
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: job,
        },
        ("batch", "cronjobs") => Printer {
            columns: const {
                &[
                    NAME,
                    text("Schedule"),
                    text("Timezone"),
                    text("Suspend"),
                    number("Active"),
                    text("Last Schedule"),
                    AGE,
                    wide("Containers"),
                    wide("Images"),
                    wide("Selector"),
                ]
            },
            cells: cron_job,
        },
        ("autoscaling", "horizontalpodautoscalers") => Printer {
            columns: const {
                &[
                    NAME,
                    text("Reference"),
                    text("Targets"),
                    text("MinPods"),
                    text("MaxPods"),
                    text("Replicas"),
                    AGE,
                ]
            },
            cells: autoscaler,
        },
        ("policy", "poddisruptionbudgets") => Printer {
            columns: const {
                &[NAME, text("Min Available"), text("Max Unavailable"), number("Allowed Disruptions"), AGE]
            },
            cells: budget,
        },
        _ => return None,
    })
}

/// `deployment.apps`, as controllers are named.
fn group_kind(api_version: &str, kind: &str) -> String {
    let kind = kind.to_lowercase();
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind,
    }
}

const REPLICA_SET: &[super::Column] = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

fn replicas(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    vec![
        name(object),
        integer(object, "/spec/replicas").into(),
        integer(object, "/status/replicas").into(),
        integer(object, "/status/readyReplicas").into(),
        created(object, now),
        names,
        images,
    ]
}

fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = replicas(object, now);
    cells.push(selector(at(object, "/spec/selector")));
    cells
}

fn replication_controller(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = replicas(object, now);
    cells.push(pairs(at(object, "/spec/selector")));
    cells
}

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    let ready = format!("{}/{}", integer(object, "/status/readyReplicas"), integer(object, "/spec/replicas"));
    vec![
        name(object),
        ready.into(),
        integer(object, "/status/updatedReplicas").into(),
        integer(object, "/status/availableReplicas").into(),
        created(object, now),
        names,
        images,
        selector(at(object, "/spec/selector")),
    ]
}

fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    let ready = format!("{}/{}", integer(object, "/status/readyReplicas"), integer(object, "/spec/replicas"));
    vec![name(object), ready.into(), created(object, now), names, images]
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    let status = |field: &str| Value::from(integer(object, &format!("/status/{field}")));
    vec![
        name(object),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        pairs(at(object, "/spec/template/spec/nodeSelector")),
        created(object, now),
        names,
        images,
        selector(at(object, "/spec/selector")),
    ]
}

fn has_condition(object: &Value, kind: &str) -> bool {
    items(object, "/status/conditions")
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    let succeeded = integer(object, "/status/succeeded");
    let completions = match (at(object, "/spec/completions").as_i64(), integer(object, "/spec/parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let status = if has_condition(object, "Complete") {
        "Complete"
    } else if has_condition(object, "Failed") {
        "Failed"
    } else if meta::is_deleting(object) {
        "Terminating"
    } else if has_condition(object, "Suspended") {
        "Suspended"
    } else if has_condition(object, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(object, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    vec![
        name(object),
        status.into(),
        completions.into(),
        duration(object, now).into(),
        created(object, now),
        names,
        images,
        selector(at(object, "/spec/selector")),
    ]
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |pointer: &str| string(job, pointer).parse::<Timestamp>().ok();
    let Some(start) = time("/status/startTime") else { return String::new() };
    let end = time("/status/completionTime").unwrap_or(now);
    human_duration(end.as_second() - start.as_second())
}

fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, "/spec/jobTemplate/spec/template/spec/containers");
    let zone = string(object, "/spec/timeZone");
    let last = string(object, "/status/lastScheduleTime");
    vec![
        name(object),
        string(object, "/spec/schedule").into(),
        super::or_none(zone),
        if at(object, "/spec/suspend") == true { "True" } else { "False" }.into(),
        items(object, "/status/active").len().into(),
        if last.is_empty() { "<none>".into() } else { age(last, now).into() },
        created(object, now),
        names,
        images,
        selector(at(object, "/spec/jobTemplate/spec/selector")),
    ]
}

fn budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let bound = |pointer: &str| match at(object, pointer) {
        Value::Null => Value::from("N/A"),
        Value::String(text) => text.clone().into(),
        other => other.to_string().into(),
    };
    vec![
        name(object),
        bound("/spec/minAvailable"),
        bound("/spec/maxUnavailable"),
        integer(object, "/status/disruptionsAllowed").into(),
        created(object, now),
    ]
}

fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        string(object, "/spec/scaleTargetRef/kind"),
        string(object, "/spec/scaleTargetRef/name")
    );
    let min = at(object, "/spec/minReplicas").as_i64().map_or("<unset>".to_owned(), |min| min.to_string());
    vec![
        name(object),
        reference.into(),
        targets(object).into(),
        min.into(),
        integer(object, "/spec/maxReplicas").into(),
        integer(object, "/status/currentReplicas").into(),
        created(object, now),
    ]
}

/// `cpu: 12%/80%` for each metric, at most two.
fn targets(object: &Value) -> String {
    const SHOWN: usize = 2;
    let specs = items(object, "/spec/metrics");
    if specs.is_empty() {
        // Version 1 knows the CPU only.
        return match at(object, "/spec/targetCPUUtilizationPercentage").as_i64() {
            Some(target) => {
                let current = at(object, "/status/currentCPUUtilizationPercentage").as_i64();
                let current = current.map_or("<unknown>".to_owned(), |current| format!("{current}%"));
                format!("{current}/{target}%")
            }
            None => "<none>".to_owned(),
        };
    }
    let current = items(object, "/status/currentMetrics");
    let mut list: Vec<String> =
        specs.iter().take(SHOWN).enumerate().map(|(index, spec)| target(spec, current.get(index))).collect();
    if specs.len() > SHOWN {
        list.push(format!("{} more...", specs.len() - SHOWN));
        return format!("{} + {}", list[..SHOWN].join(", "), list[SHOWN]);
    }
    list.join(", ")
}

fn target(spec: &Value, current: Option<&Value>) -> String {
    let kind = spec["type"].as_str().unwrap_or_default();
    let field = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = &spec[field]["target"];
    let now = current.map_or(&Value::Null, |current| &current[field]["current"]);
    let shown = |value: &Value, suffix: &str| match value {
        Value::Null => "<unknown>".to_owned(),
        Value::String(text) => format!("{text}{suffix}"),
        other => format!("{other}{suffix}"),
    };
    let pair = if wanted["averageUtilization"].is_number() {
        format!("{}/{}", shown(&now["averageUtilization"], "%"), shown(&wanted["averageUtilization"], "%"))
    } else if wanted["averageValue"].is_null() {
        format!("{}/{}", shown(&now["value"], ""), shown(&wanted["value"], ""))
    } else {
        let average = if kind == "External" { " (avg)" } else { "" };
        format!("{}/{}", shown(&now["averageValue"], ""), shown(&wanted["averageValue"], average))
    };
    match spec[field]["name"].as_str() {
        Some(name) => format!("{name}: {pair}"),
        None => pair,
    }
}
