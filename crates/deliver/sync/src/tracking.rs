//! Whose a live object is: the annotation `argocd.argoproj.io/tracking-id`.

use std::fmt;

use objects::{Value, meta};

use crate::annotations::TRACKING_ID;
use crate::key::{ResourceKey, group};

/// `<app>:<group>/<kind>:<namespace>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackingId {
    /// The Application's name; `<namespace>_<name>` outside the controller's namespace.
    pub application: String,
    /// For cluster-scoped objects the namespace is the application's destination.
    pub key: ResourceKey,
}

impl TrackingId {
    /// `None` if the text does not have exactly the right parts: then nobody tracks the object.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (application, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let (group, kind) = kind.split_once('/')?;
        let (namespace, name) = name.split_once('/')?;
        if kind.contains('/') || name.contains('/') {
            return None;
        }
        Some(Self {
            application: application.to_owned(),
            key: ResourceKey::new(group, kind, namespace, name),
        })
    }

    /// What an object's annotation says.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        Self::parse(meta::annotation(object, TRACKING_ID)?)
    }

    /// Whether the id names this very object, and was not copied from another. The namespace says nothing about
    /// cluster-scoped objects.
    #[must_use]
    pub fn names(&self, key: &ResourceKey) -> bool {
        let same_namespace = key.namespace.is_empty() || key.namespace == self.key.namespace;
        same_namespace
            && (&self.key.group, &self.key.kind, &self.key.name) == (&key.group, &key.kind, &key.name)
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResourceKey { group, kind, namespace, name } = &self.key;
        write!(f, "{}:{group}/{kind}:{namespace}/{name}", self.application)
    }
}

/// Marks a manifest as an application's. Definitions of custom resources receive no mark: several applications may
/// bring the same one.
pub fn mark(manifest: &mut Value, application: &str, destination_namespace: &str) {
    if group(manifest) == "apiextensions.k8s.io" && meta::kind(manifest) == "CustomResourceDefinition" {
        return;
    }
    let mut key = ResourceKey::of(manifest);
    if key.namespace.is_empty() {
        destination_namespace.clone_into(&mut key.namespace);
    }
    let id = TrackingId { application: application.to_owned(), key };
    meta::set_annotation(manifest, TRACKING_ID, Some(&id.to_string()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_written_and_read_as_argo_does() {
        let mut service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "prod"}});
        mark(&mut service, "shop", "other");
        assert_eq!(meta::annotation(&service, TRACKING_ID), Some("shop:/Service:prod/web"));
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r:x"}});
        mark(&mut role, "shop", "prod");
        assert_eq!(
            meta::annotation(&role, TRACKING_ID),
            Some("shop:rbac.authorization.k8s.io/ClusterRole:prod/r:x")
        );
        assert_eq!(TrackingId::of(&role), None, "a colon in the name makes it unreadable, as upstream");
        for text in ["", "a:b:c", "a:/b:c/d:e", "a:x/y/z:c/d", "a:x/y:c/d/e"] {
            assert_eq!(TrackingId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_copied_id_names_another_object() {
        let id = TrackingId::parse("shop:apps/Deployment:prod/web").unwrap();
        assert!(id.names(&ResourceKey::new("apps", "Deployment", "prod", "web")));
        assert!(!id.names(&ResourceKey::new("apps", "ReplicaSet", "prod", "web-1")));
        assert!(!id.names(&ResourceKey::new("apps", "Deployment", "stage", "web")));
        assert!(id.names(&ResourceKey::new("apps", "Deployment", "", "web")));
    }
}
