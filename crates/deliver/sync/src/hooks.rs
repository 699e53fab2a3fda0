//! Hooks: Argo CD's own and Helm's, their phases and when they are deleted.

use objects::{Value, meta};

use crate::annotations::{HELM_HOOK, HELM_HOOK_DELETE_POLICY, HOOK, HOOK_DELETE_POLICY, entries};

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
