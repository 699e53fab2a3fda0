//! The status of an Application as Argo CD writes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use objects::{Value, meta, patch};
use serde_json::{Map, json};
use sync::{HealthStatus, ResourceKey, SyncStatus, health, status};

use crate::application::{Application, map};
use crate::comparison::Resource;
use crate::generate::SourceType;

/// A condition that this pass raised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Condition {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

impl Condition {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What a pass found out.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) conditions: Vec<Condition>,
    /// `None`: nothing could be compared.
    pub(crate) compared: Option<Compared>,
    /// `None`: as before.
    pub(crate) operation: Option<Value>,
    /// Entries for `history`.
    pub(crate) deployed: Vec<Value>,
    /// As many of them, from the first, were told before to a server whose answer was lost.
    pub(crate) told_before: usize,
    /// Whether somebody asked for this look.
    pub(crate) refreshed: bool,
}

#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) resources: Vec<Arc<Resource>>,
    pub(crate) revisions: Vec<String>,
    pub(crate) types: Vec<SourceType>,
    /// There are no manifests to compare with: what is known of the live objects is all there is.
    pub(crate) failed: Option<String>,
    /// Whether every kind was listed: otherwise there may be objects to prune that nobody has seen yet.
    pub(crate) complete: bool,
    /// The managed metadata of the namespace differs from what was applied.
    pub(crate) namespace_drifted: bool,
}

impl Compared {
    pub(crate) fn sync_status(&self) -> SyncStatus {
        if self.failed.is_some() {
            return SyncStatus::Unknown;
        }
        if self.namespace_drifted {
            return SyncStatus::OutOfSync;
        }
        status::of_application(self.resources.iter().map(|resource| &resource.status))
    }
}

/// The new status; equal to the old one if there is nothing new to say. `reconciledAt` stays as it is.
pub(crate) fn build(
    old: &Value,
    application: Option<&Application>,
    findings: Findings,
    controller_namespace: &str,
    now: Timestamp,
) -> Value {
    let mut new = map(old);
    let time = meta::format_time(now);
    new.insert("controllerNamespace".to_owned(), controller_namespace.into());
    set_list(&mut new, "conditions", conditions(old, findings.conditions, &time));
    match (&findings.compared, application) {
        (Some(compared), Some(application)) => add_comparison(&mut new, old, application, compared, &time),
        _ => add_unknown(&mut new, old, application, &time),
    }
    if let Some(operation) = findings.operation {
        new.insert("operationState".to_owned(), operation);
    }
    if let Some(application) = application {
        for (index, entry) in findings.deployed.into_iter().enumerate() {
            let told = index < findings.told_before;
            add_history(&mut new, entry, application.history_limit, told);
        }
    }
    Value::Object(new)
}

/// What a status says that the one before did not, as a merge patch; `{}` if nothing, whenever either was looked at.
pub(crate) fn news(old: &Value, new: &Value) -> Value {
    let mut news = if old.is_object() { patch::merge_diff(old, new) } else { new.clone() };
    if let Some(fields) = news.as_object_mut() {
        fields.remove("reconciledAt");
    }
    news
}

fn set_list(status: &mut Map<String, Value>, field: &str, list: Vec<Value>) {
    if list.is_empty() {
        status.remove(field);
    } else {
        status.insert(field.to_owned(), Value::Array(list));
    }
}

/// Sorted, each with the time since when it says the same.
fn conditions(old: &Value, mut raised: Vec<Condition>, time: &str) -> Vec<Value> {
    raised.sort();
    raised.dedup();
    let before = old["conditions"].as_array();
    let since = |condition: &Condition| {
        let same = |entry: &&Value| entry["type"] == condition.kind && entry["message"] == condition.message;
        let entry = before.into_iter().flatten().find(same)?;
        entry["lastTransitionTime"].as_str().map(str::to_owned)
    };
    let entries = raised.iter().map(|condition| {
        let since = since(condition).unwrap_or_else(|| time.to_owned());
        json!({"type": condition.kind, "message": condition.message, "lastTransitionTime": since})
    });
    entries.collect()
}

fn compared_to(application: &Application) -> Value {
    let mut compared_to = json!({"destination": application.destination});
    application.sources_into(&mut compared_to);
    if application.ignore_differences.as_array().is_some_and(|list| !list.is_empty()) {
        compared_to["ignoreDifferences"] = application.ignore_differences.clone();
    }
    compared_to
}

fn add_unknown(new: &mut Map<String, Value>, old: &Value, application: Option<&Application>, time: &str) {
    let mut sync = json!({"status": SyncStatus::Unknown.as_str()});
    if let Some(application) = application {
        sync["comparedTo"] = compared_to(application);
    }
    for field in ["revision", "revisions"] {
        if !old["sync"][field].is_null() {
            sync[field] = old["sync"][field].clone();
        }
    }
    new.insert("sync".to_owned(), sync);
    new.insert("health".to_owned(), health_value(old, HealthStatus::Unknown, "", time));
}

fn health_value(old: &Value, status: HealthStatus, message: &str, time: &str) -> Value {
    let before = &old["health"];
    let since = before["lastTransitionTime"].as_str().filter(|_| before["status"] == status.as_str());
    let mut health = json!({"status": status.as_str(), "lastTransitionTime": since.unwrap_or(time)});
    if !message.is_empty() {
        health["message"] = message.into();
    }
    health
}

fn add_comparison(
    new: &mut Map<String, Value>,
    old: &Value,
    application: &Application,
    compared: &Compared,
    time: &str,
) {
    let mut sync = json!({"status": compared.sync_status().as_str(), "comparedTo": compared_to(application)});
    if compared.failed.is_none() || !compared.revisions.is_empty() {
        application.revisions_into(&compared.revisions, &mut sync);
    }
    new.insert("sync".to_owned(), sync);
    let contributions = compared.resources.iter().map(|resource| (&resource.key, &resource.contribution));
    let health = health::aggregate(contributions);
    new.insert("health".to_owned(), health_value(old, health.status, &health.message, time));
    // A hook is listed while it is there.
    let listed = compared.resources.iter().filter(|resource| resource.live || !resource.status.hook);
    let mut listed: Vec<Value> =
        listed.map(|resource| resource_value(resource, compared.failed.is_some())).collect();
    if !compared.complete {
        listed.extend(unseen(old, &listed));
    }
    set_list(new, "resources", listed);
    new.insert("resourceHealthSource".to_owned(), "appTree".into());
    new.insert("summary".to_owned(), summary(&compared.resources));
    if compared.types.is_empty() {
        return;
    }
    let types: Vec<&str> = compared.types.iter().map(|kind| kind.as_str()).collect();
    if application.multi_source {
        new.insert("sourceTypes".to_owned(), json!(types));
        new.remove("sourceType");
    } else {
        new.insert("sourceType".to_owned(), json!(types.first()));
        new.remove("sourceTypes");
    }
}

fn resource_value(resource: &Resource, failed: bool) -> Value {
    let ResourceKey { group, kind, namespace, name } = &resource.key;
    let mut entry = json!({"version": resource.version, "kind": kind, "name": name});
    if !group.is_empty() {
        entry["group"] = group.as_str().into();
    }
    if !namespace.is_empty() {
        entry["namespace"] = namespace.as_str().into();
    }
    if let Some(status) = resource.status.status {
        entry["status"] = if failed { SyncStatus::Unknown } else { status }.as_str().into();
    }
    if let Some(wave) = resource.wave {
        entry["syncWave"] = wave.into();
    }
    let flags = [
        ("hook", resource.status.hook),
        ("requiresPruning", resource.status.requires_pruning && !failed),
        ("requiresDeletionConfirmation", resource.needs_confirmation && !failed),
    ];
    for (field, set) in flags {
        if set {
            entry[field] = true.into();
        }
    }
    entry
}

/// What the status before named and a comparison that did not see everything does not: were it forgotten now, nobody
/// would look for it after a restart.
fn unseen(old: &Value, listed: &[Value]) -> Vec<Value> {
    let same = |left: &Value, right: &Value| {
        ["group", "kind", "namespace", "name"].iter().all(|field| left[*field] == right[*field])
    };
    let before = old["resources"].as_array().into_iter().flatten();
    before.filter(|entry| !listed.iter().any(|one| same(one, entry))).cloned().collect()
}

fn summary(resources: &[Arc<Resource>]) -> Value {
    let images: BTreeSet<&String> = resources.iter().flat_map(|resource| &resource.images).collect();
    let urls: BTreeSet<&String> = resources.iter().flat_map(|resource| &resource.urls).collect();
    let mut summary = json!({});
    if !urls.is_empty() {
        summary["externalURLs"] = json!(urls);
    }
    if !images.is_empty() {
        summary["images"] = json!(images);
    }
    let has_children =
        resources.iter().any(|r| r.live && r.key.group == "argoproj.io" && r.key.kind == "Application");
    if has_children {
        summary["isAppOfApps"] = true.into();
    }
    summary
}

/// An entry that was `told` before may be there already.
fn add_history(new: &mut Map<String, Value>, mut entry: Value, limit: usize, told: bool) {
    let mut history = new.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let same = |last: &Value| {
        let mut last = map(last);
        last.remove("id");
        Value::Object(last) == entry
    };
    if told && history.last().is_some_and(same) {
        return;
    }
    let next = history.last().and_then(|last| last["id"].as_i64()).map_or(0, |id| id + 1);
    entry["id"] = next.into();
    history.push(entry);
    let excess = history.len().saturating_sub(limit);
    history.drain(..excess);
    set_list(new, "history", history);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_unchanged_condition_keeps_its_time_and_changes_nothing() {
        let findings = |message: &str| Findings {
            conditions: vec![
                Condition::new("SyncError", "later by name"),
                Condition::new("ComparisonError", message),
            ],
            ..Findings::default()
        };
        let first = build(&Value::Null, None, findings("no"), "argocd", at(100));
        assert_eq!(first["conditions"][0]["type"], "ComparisonError");
        assert_eq!(first["sync"]["status"], "Unknown");
        let second = build(&first, None, findings("no"), "argocd", at(200));
        assert_eq!(first, second);
        assert_eq!(news(&first, &second), json!({}));
        let third = build(&second, None, findings("other"), "argocd", at(300));
        assert_eq!(third["conditions"][0]["lastTransitionTime"], "1970-01-01T00:05:00Z");
        assert_eq!(third["conditions"][1]["lastTransitionTime"], "1970-01-01T00:01:40Z");
        assert_eq!(third["health"]["lastTransitionTime"], "1970-01-01T00:01:40Z");
        assert_eq!(news(&second, &third)["conditions"], third["conditions"]);
        assert_eq!(third["reconciledAt"], Value::Null);
    }

    #[test]
    fn history_is_numbered_and_trimmed() {
        let mut status = Map::new();
        for revision in 0..5 {
            add_history(&mut status, json!({"revision": revision}), 3, false);
        }
        let ids: Vec<_> =
            status["history"].as_array().unwrap().iter().map(|entry| entry["id"].as_i64()).collect();
        assert_eq!(ids, [Some(2), Some(3), Some(4)]);
    }
}
