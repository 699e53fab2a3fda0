//! The status of an ApplicationSet as Argo CD writes it.

use jiff::Timestamp;
use objects::{Value, meta};
use serde_json::{Map, json};

/// More Applications are counted but not listed.
const LISTED: usize = 5000;

/// How a pass went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Whether every generator gave its parameters.
    pub generated: bool,
    /// Reason and message of what went wrong.
    pub error: Option<(String, String)>,
    /// What the set asks for about its rollout and does not get.
    pub rollout: Option<String>,
}

/// The status after a pass; equal to the old one if there is nothing new to say. `applications` are those that the set
/// owns, `None` to leave the list as it is.
#[must_use]
pub fn build(old: &Value, report: &Report, applications: Option<&[Value]>, now: Timestamp) -> Value {
    let mut new = old.as_object().cloned().unwrap_or_default();
    new.insert("conditions".to_owned(), conditions(old, report, now));
    if let Some(applications) = applications {
        add_resources(&mut new, applications);
    }
    new.into()
}

fn conditions(old: &Value, report: &Report, now: Timestamp) -> Value {
    const FINE: (&str, &str) =
        ("ApplicationSetUpToDate", "All applications have been generated successfully");
    let mut said: Vec<(&str, bool, &str, &str)> = Vec::new();
    match &report.error {
        Some((reason, message)) => {
            said.push(("ErrorOccurred", true, reason, message));
            said.push(("ResourcesUpToDate", false, "ErrorOccurred", message));
        }
        None => {
            said.push(("ErrorOccurred", false, FINE.0, FINE.1));
            said.push(("ResourcesUpToDate", true, FINE.0, FINE.1));
        }
    }
    let failure = report.error.as_ref().map_or("", |(_, message)| message.as_str());
    said.push(if report.generated {
        let message = "Successfully generated parameters for all Applications";
        ("ParametersGenerated", true, "ParametersGenerated", message)
    } else {
        ("ParametersGenerated", false, "ErrorOccurred", failure)
    });
    if let Some(message) = &report.rollout {
        said.push(("InvalidRolloutConfig", true, "ApplicationSetInvalidRolloutConfig", message));
    }
    said.sort_unstable();
    let before = old["conditions"].as_array();
    let entries = said.into_iter().map(|(kind, status, reason, message)| {
        let status = if status { "True" } else { "False" };
        let same = |entry: &&Value| {
            entry["type"] == kind
                && entry["status"] == status
                && entry["reason"] == reason
                && entry["message"] == message
        };
        let since = before.into_iter().flatten().find(same).and_then(|entry| entry["lastTransitionTime"].as_str());
        let since = since.map_or_else(|| meta::format_time(now), str::to_owned);
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    });
    Value::Array(entries.collect())
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
