//! The annotations that Argo CD and Helm read, in their exact spelling.

use objects::{Value, meta};

pub const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
pub const INSTALLATION_ID: &str = "argocd.argoproj.io/installation-id";
pub const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
pub const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
pub const COMPARE_OPTIONS: &str = "argocd.argoproj.io/compare-options";
pub const HOOK: &str = "argocd.argoproj.io/hook";
pub const HOOK_DELETE_POLICY: &str = "argocd.argoproj.io/hook-delete-policy";
pub const HOOK_FINALIZER: &str = "argocd.argoproj.io/hook-finalizer";
pub const IGNORE_HEALTHCHECK: &str = "argocd.argoproj.io/ignore-healthcheck";
pub const IGNORE_RESTART_POLICY: &str = "argocd.argoproj.io/ignore-restart-policy";
pub const REFRESH: &str = "argocd.argoproj.io/refresh";
pub const MANIFEST_GENERATE_PATHS: &str = "argocd.argoproj.io/manifest-generate-paths";
pub const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
pub const DELETION_APPROVED: &str = "argocd.argoproj.io/deletion-approved";
pub const HELM_HOOK: &str = "helm.sh/hook";
pub const HELM_HOOK_WEIGHT: &str = "helm.sh/hook-weight";
pub const HELM_HOOK_DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
pub const HELM_RESOURCE_POLICY: &str = "helm.sh/resource-policy";
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The entries of a comma-separated annotation, trimmed, without empty ones.
pub fn entries<'a>(object: &'a Value, annotation: &str) -> impl Iterator<Item = &'a str> {
    let text = meta::annotation(object, annotation).unwrap_or_default();
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// The value of the first `key=value` entry of a comma-separated annotation.
#[must_use]
pub fn option<'a>(object: &'a Value, annotation: &str, key: &str) -> Option<&'a str> {
    entries(object, annotation).find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))
}
