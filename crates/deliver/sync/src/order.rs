//! The order in which a sync creates things: waves, then kinds, then names.

use objects::{Value, meta};

use crate::annotations::{HELM_HOOK_WEIGHT, SYNC_WAVE};

/// Kinds in the order they are created; kinds not listed come after all of these. Groups do not matter.
const KINDS: [&str; 35] = [
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

/// The place of a kind in the order.
#[must_use]
pub fn kind_rank(kind: &str) -> usize {
    KINDS.iter().position(|listed| *listed == kind).unwrap_or(KINDS.len())
}

/// The wave of an object: its sync-wave annotation if that is an integer, else Helm's hook weight (on any object),
/// else 0.
#[must_use]
pub fn wave(object: &Value) -> i64 {
    let integer = |annotation| meta::annotation(object, annotation)?.parse().ok();
    integer(SYNC_WAVE).or_else(|| integer(HELM_HOOK_WEIGHT)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn waves_come_from_either_annotation() {
        let wave_of = |annotations: Value| wave(&json!({"metadata": {"annotations": annotations}}));
        assert_eq!(wave_of(json!({SYNC_WAVE: "20"})), 20);
        assert_eq!(wave_of(json!({SYNC_WAVE: "-3", HELM_HOOK_WEIGHT: "5"})), -3);
        assert_eq!(wave_of(json!({SYNC_WAVE: "first", HELM_HOOK_WEIGHT: "5"})), 5);
        assert_eq!(wave_of(json!({})), 0);
    }

    #[test]
    fn unlisted_kinds_come_last() {
        assert!(kind_rank("Namespace") < kind_rank("CustomResourceDefinition"));
        assert!(kind_rank("Ingress") < kind_rank("Rollout"));
    }
}
