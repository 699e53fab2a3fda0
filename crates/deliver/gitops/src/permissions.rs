//! What the controllers may do, as rules of RBAC.

use objects::Value;
use serde_json::json;

use crate::SERVICE_ACCOUNT;

/// The permissions the controller needs on a cluster that is its own: it applies whatever repositories describe.
#[must_use]
pub fn rules() -> Vec<(&'static str, Value)> {
    vec![(SERVICE_ACCOUNT, permissions().deploy)]
}

/// The permissions by what they are for, so that whoever installs the controllers on somebody else's cluster can grant
/// each where it is needed and nowhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct Permissions {
    /// In the namespace of the Applications: these, what stands beside them, and Events about them.
    pub applications: Value,
    /// Of the cluster: which kinds it has.
    pub cluster: Value,
    /// Wherever an Argo CD is looked for: whether one is there.
    pub argo_cd: Value,
    /// Where repositories deploy to: whatever they describe. The first rule is for objects; the others exist only in
    /// ClusterRoles.
    pub deploy: Value,
    /// As [`Permissions::deploy`], for a Role.
    pub deploy_namespaced: Value,
}

#[must_use]
pub fn permissions() -> Permissions {
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    Permissions {
        applications: json!([
            {"apiGroups": ["argoproj.io"], "resources": ["applications", "applicationsets"],
             "verbs": ["get", "list", "watch", "patch"]},
            // Generated Applications come and go.
            {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["create", "delete"]},
            // The project `default` is made where there is none.
            {"apiGroups": ["argoproj.io"], "resources": ["appprojects"], "verbs": ["get", "list", "watch", "create"]},
            {"apiGroups": ["argoproj.io"], "resources": ["applicationsets/status"], "verbs": ["patch"]},
            // Generated Applications block the deletion of their set.
            {"apiGroups": ["argoproj.io"], "resources": ["applicationsets/finalizers"], "verbs": ["update"]},
            // Settings and certificate authorities, and the note that an Argo CD was seen.
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create"]},
            // Clusters, repositories, their credentials, and the seed of what charts make up.
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "create"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]),
        cluster: json!([
            {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
             "verbs": ["list", "watch"]},
        ]),
        argo_cd: json!([
            {"apiGroups": ["apps"], "resources": ["statefulsets", "deployments"], "verbs": ["list", "watch"]},
        ]),
        deploy: json!([everything, {"nonResourceURLs": ["*"], "verbs": ["get"]}]),
        deploy_namespaced: json!([everything]),
    }
}
