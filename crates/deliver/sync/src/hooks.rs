//! Hooks: Argo CD's own and Helm's, their phases and when they are deleted.

use objects::{Value, meta};

use crate::annotations::{HELM_HOOK, HELM_HOOK_DELETE_POLICY, HOOK, HOOK_DELETE_POLICY, entries};

/// On an Application with hooks before its deletion; with `/cleanup`, until those that ran are deleted.
pub const PRE_DELETE_FINALIZER: &str = "pre-delete-finalizer.argocd.argoproj.io";
/// As [`PRE_DELETE_FINALIZER`], for hooks after it.
pub const POST_DELETE_FINALIZER: &str = "post-delete-finalizer.argocd.argoproj.io";

/// Whether a finalizer of an Application is the controller's, for its hooks: whoever else writes the Application leaves
/// it as it is.
#[must_use]
pub fn is_finalizer(name: &str) -> bool {
    [PRE_DELETE_FINALIZER, POST_DELETE_FINALIZER].iter().any(|own| name.starts_with(own))
}

/// The finalizers of hooks that a live Application has and its manifest does not; none if it is no Application.
pub fn finalizers_beside<'l>(manifest: &Value, live: &'l Value) -> Vec<&'l str> {
    if meta::kind(live) != "Application" || crate::key::group(live) != "argoproj.io" {
        return Vec::new();
    }
    let written: Vec<&str> = meta::finalizers(manifest).collect();
    meta::finalizers(live).filter(|name| is_finalizer(name) && !written.contains(name)).collect()
}

/// When a hook runs. The names are those of the annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookType {
    PreSync,
    Sync,
    PostSync,
    SyncFail,
    PreDelete,
    PostDelete,
    Skip,
}

impl HookType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreSync => "PreSync",
            Self::Sync => "Sync",
            Self::PostSync => "PostSync",
            Self::SyncFail => "SyncFail",
            Self::PreDelete => "PreDelete",
            Self::PostDelete => "PostDelete",
            Self::Skip => "Skip",
        }
    }

    /// From the annotation's word, which is also how states of operations name it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::PreSync,
            Self::Sync,
            Self::PostSync,
            Self::SyncFail,
            Self::PreDelete,
            Self::PostDelete,
            Self::Skip,
        ];
        all.into_iter().find(|hook| hook.as_str() == word)
    }

    /// Tests and rollback hooks have no counterpart and never run.
    fn helm(word: &str) -> Option<Self> {
        match word {
            "pre-install" | "pre-upgrade" => Some(Self::PreSync),
            "post-install" | "post-upgrade" => Some(Self::PostSync),
            "pre-delete" => Some(Self::PreDelete),
            "post-delete" => Some(Self::PostDelete),
            _ => None,
        }
    }
}

/// What an object is to a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Applied in the Sync phase, compared and pruned.
    Resource,
    /// Runs in these phases; empty for Helm's tests and rollback hooks, which are dropped.
    Hook(Vec<HookType>),
    /// `argocd.argoproj.io/hook: Skip`: never applied, has no status, is not pruned.
    Skipped,
}

/// What a manifest or live object is to a sync.
#[must_use]
pub fn role(object: &Value) -> Role {
    let mut argo: Vec<HookType> = entries(object, HOOK).filter_map(HookType::parse).collect();
    argo.sort_unstable();
    argo.dedup();
    if argo == [HookType::Skip] {
        return Role::Skipped;
    }
    argo.retain(|hook| *hook != HookType::Skip);
    if !argo.is_empty() {
        return Role::Hook(argo);
    }
    if meta::annotation(object, HOOK).is_some_and(|text| !text.trim().is_empty()) {
        return Role::Hook(Vec::new());
    }
    match meta::annotation(object, HELM_HOOK) {
        None => Role::Resource,
        Some(text) if text.trim() == "crd-install" => Role::Resource,
        Some(_) => {
            let mut helm: Vec<HookType> = entries(object, HELM_HOOK).filter_map(HookType::helm).collect();
            helm.sort_unstable();
            helm.dedup();
            Role::Hook(helm)
        }
    }
}

/// When hooks that ran are deleted; all that apply are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeletePolicy {
    HookSucceeded,
    HookFailed,
    BeforeHookCreation,
}

/// The union of Argo CD's and Helm's annotation; [`DeletePolicy::BeforeHookCreation`] where neither says anything.
#[must_use]
pub fn delete_policies(hook: &Value) -> Vec<DeletePolicy> {
    let argo = entries(hook, HOOK_DELETE_POLICY).filter_map(|word| match word {
        "HookSucceeded" => Some(DeletePolicy::HookSucceeded),
        "HookFailed" => Some(DeletePolicy::HookFailed),
        "BeforeHookCreation" => Some(DeletePolicy::BeforeHookCreation),
        _ => None,
    });
    let helm = entries(hook, HELM_HOOK_DELETE_POLICY).filter_map(|word| match word {
        "hook-succeeded" => Some(DeletePolicy::HookSucceeded),
        "hook-failed" => Some(DeletePolicy::HookFailed),
        "before-hook-creation" => Some(DeletePolicy::BeforeHookCreation),
        _ => None,
    });
    let mut policies: Vec<_> = argo.chain(helm).collect();
    policies.sort_unstable();
    policies.dedup();
    if policies.is_empty() {
        policies.push(DeletePolicy::BeforeHookCreation);
    }
    policies
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn roles_follow_both_annotations() {
        use HookType::{PostSync, PreSync, SyncFail};
        let check = |annotations: Value, expected: Role| {
            let object = json!({"metadata": {"annotations": annotations}});
            assert_eq!(role(&object), expected, "{object}");
        };
        check(json!({}), Role::Resource);
        check(json!({HOOK: "Skip"}), Role::Skipped);
        check(json!({HOOK: "PostSync, PreSync,Nonsense"}), Role::Hook(vec![PreSync, PostSync]));
        check(json!({HOOK: "SyncFail", HELM_HOOK: "pre-install"}), Role::Hook(vec![SyncFail]));
        check(json!({HELM_HOOK: "pre-install,pre-upgrade"}), Role::Hook(vec![PreSync]));
        check(json!({HELM_HOOK: "post-upgrade"}), Role::Hook(vec![PostSync]));
        check(json!({HELM_HOOK: "crd-install"}), Role::Resource);
        check(json!({HELM_HOOK: "test"}), Role::Hook(vec![]));
        check(json!({HELM_HOOK: "pre-rollback"}), Role::Hook(vec![]));
    }

    #[test]
    fn finalizers_of_hooks_are_the_controllers() {
        let application = |finalizers: Value| json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"finalizers": finalizers}});
        let cleanup = format!("{PRE_DELETE_FINALIZER}/cleanup");
        let live = application(json!(["mine", PRE_DELETE_FINALIZER, cleanup]));
        assert_eq!(
            finalizers_beside(&application(json!(["mine"])), &live),
            [PRE_DELETE_FINALIZER, cleanup.as_str()]
        );
        assert!(finalizers_beside(&live, &live).is_empty());
        let other = json!({"kind": "ConfigMap", "metadata": {"finalizers": [PRE_DELETE_FINALIZER]}});
        assert!(finalizers_beside(&json!({}), &other).is_empty());
    }

    #[test]
    fn delete_policies_are_united() {
        use DeletePolicy::{BeforeHookCreation, HookFailed, HookSucceeded};
        let policies =
            |annotations: Value| delete_policies(&json!({"metadata": {"annotations": annotations}}));
        assert_eq!(policies(json!({})), [BeforeHookCreation]);
        assert_eq!(
            policies(json!({HOOK_DELETE_POLICY: "HookFailed", HELM_HOOK_DELETE_POLICY: "hook-succeeded"})),
            [HookSucceeded, HookFailed]
        );
    }
}
