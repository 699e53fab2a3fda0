//! Sync options: of the application and of single objects.

use objects::{Value, meta};

use crate::annotations::{self, HELM_RESOURCE_POLICY, SYNC_OPTIONS};

/// How dependants of a deleted object are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    #[default]
    Foreground,
    Background,
    Orphan,
}

/// The application's `syncOptions`. Matching is exact and case-sensitive on the whole `Key=value`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncOptions(Vec<String>);

impl SyncOptions {
    /// From `spec.syncPolicy.syncOptions` or an operation's `syncOptions`.
    #[must_use]
    pub fn from_value(list: &Value) -> Self {
        let entries = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        Self(entries.map(str::to_owned).collect())
    }

    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.0.iter().any(|entry| entry == option)
    }

    #[must_use]
    pub fn create_namespace(&self) -> bool {
        self.has("CreateNamespace=true")
    }

    #[must_use]
    pub fn respect_ignore_differences(&self) -> bool {
        self.has("RespectIgnoreDifferences=true")
    }

    #[must_use]
    pub fn apply_out_of_sync_only(&self) -> bool {
        self.has("ApplyOutOfSyncOnly=true")
    }

    #[must_use]
    pub fn propagation(&self) -> Propagation {
        let policy = self.0.iter().find_map(|entry| entry.strip_prefix("PrunePropagationPolicy="));
        match policy {
            Some("background") => Propagation::Background,
            Some("orphan") => Propagation::Orphan,
            _ => Propagation::Foreground,
        }
    }

    /// Whether the object is written by server-side apply: what it says of itself beats the application.
    #[must_use]
    pub fn server_side_apply(&self, target: &Value) -> bool {
        match annotations::option(target, SYNC_OPTIONS, "ServerSideApply") {
            Some("true") => true,
            Some("false") => false,
            _ => self.has("ServerSideApply=true"),
        }
    }

    /// Whether the object is replaced instead of patched.
    #[must_use]
    pub fn replace(&self, target: &Value, live: Option<&Value>) -> bool {
        self.has("Replace=true")
            || says(target, "Replace=true")
            || live.is_some_and(|live| says(live, "Replace=true"))
    }

    /// Whether an object that cannot be changed is deleted and made again.
    #[must_use]
    pub fn force(target: &Value, live: Option<&Value>) -> bool {
        says(target, "Force=true") || live.is_some_and(|live| says(live, "Force=true"))
    }

    /// Whether schema validation is wanted.
    #[must_use]
    pub fn validate(&self, target: &Value) -> bool {
        !self.has("Validate=false") && !says(target, "Validate=false")
    }

    /// Whether a live object without a manifest is pruned after everything else was applied.
    #[must_use]
    pub fn prune_last(&self, live: &Value) -> bool {
        self.has("PruneLast=true") || says(live, "PruneLast=true")
    }

    /// Whether a sync may delete this object.
    #[must_use]
    pub fn pruning(&self, live: &Value) -> Deletion {
        self.deletion(live, "Prune")
    }

    /// Whether deleting the application deletes this object.
    #[must_use]
    pub fn deleting(&self, live: &Value) -> Deletion {
        if meta::annotation(live, HELM_RESOURCE_POLICY) == Some("keep") {
            return Deletion::No;
        }
        self.deletion(live, "Delete")
    }

    fn deletion(&self, live: &Value, key: &str) -> Deletion {
        let own = annotations::option(live, SYNC_OPTIONS, key);
        let all = || self.0.iter().find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='));
        match own.or_else(all) {
            Some("false") => Deletion::No,
            Some("confirm") => Deletion::Confirm,
            _ => Deletion::Yes,
        }
    }
}

/// What `Prune=` or `Delete=` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Yes,
    No,
    /// Only after a person set `argocd.argoproj.io/deletion-approved`.
    Confirm,
}

/// Whether an object's own annotation has this entry.
#[must_use]
pub fn says(object: &Value, option: &str) -> bool {
    annotations::entries(object, SYNC_OPTIONS).any(|entry| entry == option)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_object_beats_the_application() {
        let options =
            SyncOptions::from_value(&json!(["ServerSideApply=true", "Prune=false", "CreateNamespace=True"]));
        let object = |text: &str| json!({"metadata": {"annotations": {SYNC_OPTIONS: text}}});
        assert!(options.server_side_apply(&object("")));
        assert!(!options.server_side_apply(&object("Validate=false, ServerSideApply=false")));
        assert_eq!(options.pruning(&object("")), Deletion::No);
        assert_eq!(options.pruning(&object("Prune=confirm,Prune=false")), Deletion::Confirm);
        assert_eq!(options.deleting(&object("Delete=false")), Deletion::No);
        assert!(!options.create_namespace(), "values are case-sensitive");
        assert_eq!(options.propagation(), Propagation::Foreground);
    }
}
