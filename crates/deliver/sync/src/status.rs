//! The sync status of resources and of their application.

use std::fmt;

use objects::Value;

use crate::annotations::{COMPARE_OPTIONS, entries};
use crate::hooks::{Role, role};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncStatus {
    Synced,
    OutOfSync,
    Unknown,
}

impl SyncStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::OutOfSync => "OutOfSync",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is said of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceStatus {
    /// `None` for hooks, skipped objects and objects with somebody else's tracking id.
    pub status: Option<SyncStatus>,
    pub requires_pruning: bool,
    pub hook: bool,
    /// Whether it can make the application OutOfSync.
    pub counts: bool,
}

/// The status of a resource that has a manifest. `modified` is the comparison's result, `None` if there is no live
/// object to compare with.
#[must_use]
pub fn with_target(target: &Value, modified: Option<bool>) -> ResourceStatus {
    let (status, hook) = match role(target) {
        Role::Hook(_) => (None, true),
        Role::Skipped => (None, false),
        Role::Resource if modified == Some(false) => (Some(SyncStatus::Synced), false),
        Role::Resource => (Some(SyncStatus::OutOfSync), false),
    };
    ResourceStatus { status, requires_pruning: false, hook, counts: !ignores_extraneous(target) }
}

/// The status of a live object without a manifest, tracked by the application. `named` is whether its mark is its own
/// ([`crate::tracking::Owner::named`]), and was not copied from another object.
#[must_use]
pub fn without_target(live: &Value, named: bool) -> ResourceStatus {
    match role(live) {
        Role::Hook(_) => ResourceStatus { status: None, requires_pruning: false, hook: true, counts: false },
        Role::Resource if named => ResourceStatus {
            status: Some(SyncStatus::OutOfSync),
            requires_pruning: true,
            hook: false,
            counts: !ignores_extraneous(live),
        },
        Role::Resource | Role::Skipped => {
            ResourceStatus { status: None, requires_pruning: false, hook: false, counts: false }
        }
    }
}

fn ignores_extraneous(object: &Value) -> bool {
    entries(object, COMPARE_OPTIONS).any(|entry| entry == "IgnoreExtraneous")
}

/// The status of the application.
#[must_use]
pub fn of_application<'a>(resources: impl IntoIterator<Item = &'a ResourceStatus>) -> SyncStatus {
    let out_of_sync =
        |resource: &ResourceStatus| resource.counts && resource.status == Some(SyncStatus::OutOfSync);
    if resources.into_iter().any(out_of_sync) { SyncStatus::OutOfSync } else { SyncStatus::Synced }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::annotations::{HOOK, TRACKING_ID};
    use crate::{ResourceKey, Tracking};

    #[test]
    fn live_objects_without_manifest() {
        let object = |annotations: Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                   "metadata": {"name": "a", "namespace": "shop", "annotations": annotations}})
        };
        let of = |annotations: Value| {
            let live = object(annotations);
            let owner = Tracking::default().owner(&live);
            without_target(&live, owner.is_some_and(|owner| owner.named(&ResourceKey::of(&live))))
        };
        let own = of(json!({TRACKING_ID: "app:/ConfigMap:shop/a"}));
        assert_eq!((own.status, own.requires_pruning), (Some(SyncStatus::OutOfSync), true));
        let copied = of(json!({TRACKING_ID: "app:/ConfigMap:shop/original"}));
        assert_eq!((copied.status, copied.requires_pruning), (None, false));
        let extra = of(json!({TRACKING_ID: "app:/ConfigMap:shop/a", COMPARE_OPTIONS: "IgnoreExtraneous"}));
        assert!(extra.requires_pruning && !extra.counts);
        assert_eq!(of_application([&extra, &copied]), SyncStatus::Synced);
        assert_eq!(of_application([&extra, &own]), SyncStatus::OutOfSync);
        let hook = of(json!({TRACKING_ID: "app:/ConfigMap:shop/a", HOOK: "PreSync"}));
        assert!(hook.hook && hook.status.is_none() && !hook.requires_pruning);
    }
}
