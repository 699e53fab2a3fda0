//! The kinds that the controllers work on, as a cluster that is not ours needs them defined.

use objects::Value;
use serde_json::json;

/// The CustomResourceDefinitions of Application, ApplicationSet and AppProject.
///
/// They keep every field, so that what Argo CD's own definitions hold stays whole. As in Argo CD, only ApplicationSets
/// have a status subresource: an Application's status is written with the rest of it.
#[must_use]
pub fn definitions() -> Vec<Value> {
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let application = [
        column("Sync Status", ".status.sync.status"),
        column("Health Status", ".status.health.status"),
        json!({"name": "Revision", "type": "string", "jsonPath": ".status.sync.revision", "priority": 10}),
        json!({"name": "Project", "type": "string", "jsonPath": ".spec.project", "priority": 10}),
    ];
    vec![
        definition("Application", "applications", &["app", "apps"], &application, json!({})),
        definition("ApplicationSet", "applicationsets", &["appset", "appsets"], &[], json!({"status": {}})),
        definition("AppProject", "appprojects", &["appproj", "appprojs"], &[], json!({})),
    ]
}

fn definition(kind: &str, plural: &str, short: &[&str], columns: &[Value], subresources: Value) -> Value {
    let singular = kind.to_lowercase();
    let kept = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.argoproj.io"),
            "labels": {"app.kubernetes.io/name": format!("{plural}.argoproj.io"), "app.kubernetes.io/part-of": "argocd"},
        },
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular, "shortNames": short,
            },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": kept},
                "subresources": subresources,
                "additionalPrinterColumns": columns,
            }],
        },
    })
}
