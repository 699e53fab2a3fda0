//! The status of an ApplicationSet as Argo CD writes it.

use jiff::Timestamp;
use objects::{Value, meta};
use serde_json::{Map, json};

use crate::rolling::Rollout;

/// More Applications are counted but not listed.
const LISTED: usize = 5000;

/// How a pass went.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Whether every generator gave its parameters.
    pub generated: bool,
    /// Reason and message of what went wrong.
    pub error: Option<(String, String)>,
    /// How far the rollout of a rolling set is; `None` leaves what was said of it.
    pub rollout: Option<Rollout>,
    /// Whether the set rolls out at all; otherwise nothing of a rollout is said.
    pub rolling: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    kind: &'static str,
    holds: bool,
    reason: String,
    message: String,
}

impl Said {
    pub(crate) fn new(kind: &'static str, holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, holds, reason: reason.to_owned(), message: message.into() }
    }
}

/// The conditions of rollouts.
const OF_ROLLOUTS: [&str; 2] = ["InvalidRolloutConfig", "RolloutProgressing"];

/// The status after a pass; equal to the old one if there is nothing new to say. `applications` are those that the set
/// owns, `None` to leave the list as it is.
#[must_use]
pub fn build(old: &Value, report: &Report, applications: Option<&[Value]>, now: Timestamp) -> Value {
    let mut new = old.as_object().cloned().unwrap_or_default();
    new.insert("conditions".to_owned(), conditions(old, report, now));
    add_rollout(&mut new, report);
    if let Some(applications) = applications {
        add_resources(&mut new, applications);
    }
    new.into()
}

fn conditions(old: &Value, report: &Report, now: Timestamp) -> Value {
    const FINE: (&str, &str) =
        ("ApplicationSetUpToDate", "All applications have been generated successfully");
    let mut said: Vec<Said> = Vec::new();
    match &report.error {
        Some((reason, message)) => {
            said.push(Said::new("ErrorOccurred", true, reason, message));
            said.push(Said::new("ResourcesUpToDate", false, "ErrorOccurred", message));
        }
        None => {
            said.push(Said::new("ErrorOccurred", false, FINE.0, FINE.1));
            said.push(Said::new("ResourcesUpToDate", true, FINE.0, FINE.1));
        }
    }
    let failure = report.error.as_ref().map_or("", |(_, message)| message.as_str());
    said.push(if report.generated {
        let message = "Successfully generated parameters for all Applications";
        Said::new("ParametersGenerated", true, "ParametersGenerated", message)
    } else {
        Said::new("ParametersGenerated", false, "ErrorOccurred", failure)
    });
    let before = old["conditions"].as_array();
    let mut kept = Vec::new();
    match &report.rollout {
        Some(rollout) => said.extend(rollout.said.iter().cloned()),
        None if report.rolling => {
            let of_rollout = |entry: &&Value| OF_ROLLOUTS.iter().any(|kind| entry["type"] == *kind);
            kept.extend(before.into_iter().flatten().filter(of_rollout).cloned());
        }
        None => {}
    }
    let entries = said.into_iter().map(|said| {
        let Said { kind, holds, reason, message } = said;
        let status = if holds { "True" } else { "False" };
        let same = |entry: &&Value| {
            entry["type"] == kind
                && entry["status"] == status
                && entry["reason"] == reason.as_str()
                && entry["message"] == message.as_str()
        };
        let since = before.into_iter().flatten().find(same).and_then(|entry| entry["lastTransitionTime"].as_str());
        let since = since.map_or_else(|| meta::format_time(now), str::to_owned);
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    });
    let mut entries: Vec<Value> = entries.chain(kept).collect();
    entries.sort_by(|left, right| left["type"].as_str().cmp(&right["type"].as_str()));
    Value::Array(entries)
}

fn add_rollout(status: &mut Map<String, Value>, report: &Report) {
    match &report.rollout {
        Some(rollout) if !rollout.statuses.is_empty() => {
            status.insert("applicationStatus".to_owned(), rollout.statuses.clone().into());
        }
        None if report.rolling => {}
        _ => {
            status.remove("applicationStatus");
        }
    }
}

fn add_resources(status: &mut Map<String, Value>, applications: &[Value]) {
    let mut sorted: Vec<&Value> = applications.iter().collect();
    sorted.sort_by_key(|application| meta::name(application));
    let listed = sorted.iter().take(LISTED).map(|application| {
        let text = |pointer: &str| application.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let mut entry = json!({
            "group": "argoproj.io",
            "version": "v1alpha1",
            "kind": "Application",
            "name": meta::name(application),
            "namespace": meta::namespace(application),
            "health": {},
        });
        for (field, text) in
            [("status", text("/status/sync/status")), ("health", text("/status/health/status"))]
        {
            match field {
                _ if text.is_empty() => {}
                "health" => entry["health"]["status"] = text.into(),
                field => entry[field] = text.into(),
            }
        }
        entry
    });
    let listed: Vec<Value> = listed.collect();
    if listed.is_empty() {
        status.remove("resources");
    } else {
        status.insert("resources".to_owned(), listed.into());
    }
    status.insert("resourcesCount".to_owned(), applications.len().into());
}
