//! What `status.operationState` says of a sync, and what a later process takes from it.

use objects::{Value, meta};
use serde_json::json;
use sync::ResourceKey;

use super::{Deferred, Operation};
use crate::apply::{Absent, Missing};
use crate::secrets;

impl Operation {
    /// `status.operationState`.
    pub(crate) fn state(&self) -> Value {
        let mut result = json!({"resources": self.results.to_value(&self.deployment.targets)});
        self.deployment.name_in(&mut result);
        // The schema of Argo CD's own definition requires it of several sources too.
        if result["revision"].is_null() {
            result["revision"] = "".into();
        }
        if !self.managed_metadata.is_null() {
            result["managedNamespaceMetadata"] = self.managed_metadata.clone();
        }
        let mut state = json!({
            "operation": secrets::shown(&self.request),
            "phase": self.phase.as_str(),
            "message": self.message,
            "startedAt": meta::format_time(self.started),
            "syncResult": result,
        });
        if self.retries > 0 {
            state["retryCount"] = self.retries.into();
        }
        if let Some(finished) = self.finished {
            state["finishedAt"] = meta::format_time(finished).into();
        }
        state
    }

    /// Goes on where an earlier process was cut off at the same revision: the hooks that its state tells of ran, or
    /// run still, and are not created anew.
    pub(crate) fn resume(&mut self, state: &Value) {
        let mut now = json!({});
        self.deployment.name_in(&mut now);
        let result = &state["syncResult"];
        let same = |field: &str| {
            let given = |value: &Value| Some(value.clone()).filter(|value| *value != "" && !value.is_null());
            given(&now[field]) == given(&result[field])
        };
        if !["revision", "revisions", "source", "sources"].into_iter().all(same) {
            return;
        }
        let started = state["startedAt"].as_str().and_then(|time| time.parse().ok());
        self.started = started.unwrap_or(self.started);
        let retries = state["retryCount"].as_u64().and_then(|count| u32::try_from(count).ok());
        self.retries = retries.unwrap_or(0);
        // One that waits for its next attempt begins that anew.
        if state["finishedAt"].is_null() {
            self.results.resume(&result["resources"]);
        }
    }
}

/// What `operationState` of an earlier process says was deferred.
pub(crate) fn deferred_before(state: &Value) -> Vec<Deferred> {
    if state["phase"] != "Failed" {
        return Vec::new();
    }
    let results = state["syncResult"]["resources"].as_array().into_iter().flatten();
    let failed = results.filter(|result| result["status"] == "SyncFailed");
    failed.filter_map(deferred_result).collect()
}

fn deferred_result(result: &Value) -> Option<Deferred> {
    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let key = ResourceKey::new(text("group"), text("kind"), text("namespace"), text("name"));
    let message = text("message");
    let what = if let Some(rest) = message.strip_prefix("namespaces \"") {
        Absent::Namespace(rest.strip_suffix("\" not found")?.to_owned())
    } else if message.starts_with("The Kubernetes API could not find ") {
        Absent::Kind(objects::GroupVersionKind::new(&key.group, text("version"), &key.kind))
    } else {
        return None;
    };
    Some(Deferred { key, missing: Missing { message: message.to_owned(), what } })
}
