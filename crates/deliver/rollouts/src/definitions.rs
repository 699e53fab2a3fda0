//! The kind that the controller works on, as a cluster that is not ours needs it defined.

use serde_json::{Value, json};

/// The CustomResourceDefinition of Rollout.
///
/// It keeps every field, and has the status and scale subresources of Argo Rollouts' own.
#[must_use]
pub fn definitions() -> Vec<Value> {
    let column = |name: &str, path: &str| json!({"name": name, "type": "integer", "jsonPath": path});
    let columns = [
        column("Desired", ".spec.replicas"),
        column("Current", ".status.replicas"),
        column("Up-to-date", ".status.updatedReplicas"),
        column("Available", ".status.availableReplicas"),
    ];
    vec![json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {
                "kind": "Rollout", "listKind": "RolloutList", "plural": "rollouts", "singular": "rollout",
                "shortNames": ["ro"],
            },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.HPAReplicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "additionalPrinterColumns": columns,
            }],
        },
    })]
}
