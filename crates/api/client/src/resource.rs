//! A resource type: what an address of the API is made of.

use std::borrow::Cow;
use std::fmt;

use objects::gvk::GroupVersionKind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// One kind as a server serves it: enough to form every address of its objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceType {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    /// The name in addresses, e.g. `deployments`.
    pub plural: Cow<'static, str>,
    pub namespaced: bool,
}

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) fn encode(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, SEGMENT)
}

impl ResourceType {
    /// A namespaced type known at compile time: `ResourceType::namespaced("apps", "v1", "Deployment", "deployments")`.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> ResourceType {
        ResourceType {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced: true,
        }
    }

    /// A cluster-scoped type known at compile time.
    pub const fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> ResourceType {
        let mut resource = ResourceType::namespaced(group, version, kind, plural);
        resource.namespaced = false;
        resource
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone().into_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The same type as group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.clone().into_owned(),
            version: self.version.clone().into_owned(),
            kind: self.kind.clone().into_owned(),
        }
    }

    /// The collection's path: of one namespace, or of all (and of cluster-scoped objects) when `namespace` is `None`.
    pub fn collection_path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", encode(&self.version))
        } else {
            format!("/apis/{}/{}", encode(&self.group), encode(&self.version))
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", encode(namespace), encode(&self.plural)),
            None => format!("{root}/{}", encode(&self.plural)),
        }
    }

    /// One object's path.
    pub fn object_path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.collection_path(namespace), encode(name))
    }
}

/// `deployments.apps`, as `kubectl` names a type.
impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.plural)
        } else {
            write!(f, "{}.{}", self.plural, self.group)
        }
    }
}

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $scope:ident($group:literal, $version:literal, $kind:literal, $plural:literal);)*) => {
        $(#[doc = concat!("`", $plural, "` (", $kind, ")")]
        pub const $name: ResourceType = ResourceType::$scope($group, $version, $kind, $plural);)*
    };
}

types! {
    NAMESPACES = cluster("", "v1", "Namespace", "namespaces");
    NODES = cluster("", "v1", "Node", "nodes");
    PERSISTENT_VOLUMES = cluster("", "v1", "PersistentVolume", "persistentvolumes");
    PERSISTENT_VOLUME_CLAIMS = namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    PODS = namespaced("", "v1", "Pod", "pods");
    SERVICES = namespaced("", "v1", "Service", "services");
    ENDPOINTS = namespaced("", "v1", "Endpoints", "endpoints");
    CONFIG_MAPS = namespaced("", "v1", "ConfigMap", "configmaps");
    SECRETS = namespaced("", "v1", "Secret", "secrets");
    SERVICE_ACCOUNTS = namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    EVENTS = namespaced("", "v1", "Event", "events");
    LIMIT_RANGES = namespaced("", "v1", "LimitRange", "limitranges");
    RESOURCE_QUOTAS = namespaced("", "v1", "ResourceQuota", "resourcequotas");
    DEPLOYMENTS = namespaced("apps", "v1", "Deployment", "deployments");
    REPLICA_SETS = namespaced("apps", "v1", "ReplicaSet", "replicasets");
    STATEFUL_SETS = namespaced("apps", "v1", "StatefulSet", "statefulsets");
    DAEMON_SETS = namespaced("apps", "v1", "DaemonSet", "daemonsets");
    CONTROLLER_REVISIONS = namespaced("apps", "v1", "ControllerRevision", "controllerrevisions");
    JOBS = namespaced("batch", "v1", "Job", "jobs");
    CRON_JOBS = namespaced("batch", "v1", "CronJob", "cronjobs");
    ENDPOINT_SLICES = namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
    INGRESSES = namespaced("networking.k8s.io", "v1", "Ingress", "ingresses");
    INGRESS_CLASSES = cluster("networking.k8s.io", "v1", "IngressClass", "ingressclasses");
    STORAGE_CLASSES = cluster("storage.k8s.io", "v1", "StorageClass", "storageclasses");
    CUSTOM_RESOURCE_DEFINITIONS =
        cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    ROLLOUTS = namespaced("argoproj.io", "v1alpha1", "Rollout", "rollouts");
    APPLICATIONS = namespaced("argoproj.io", "v1alpha1", "Application", "applications");
    APPLICATION_SETS = namespaced("argoproj.io", "v1alpha1", "ApplicationSet", "applicationsets");
    APP_PROJECTS = namespaced("argoproj.io", "v1alpha1", "AppProject", "appprojects");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(PODS.collection_path(Some("shop")), "/api/v1/namespaces/shop/pods");
        assert_eq!(PODS.collection_path(None), "/api/v1/pods");
        assert_eq!(NODES.object_path(Some("ignored"), "n1"), "/api/v1/nodes/n1");
        assert_eq!(
            DEPLOYMENTS.object_path(Some("shop"), "web"),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
        assert_eq!(DEPLOYMENTS.to_string(), "deployments.apps");
        assert_eq!(PODS.api_version(), "v1");
    }

    #[test]
    fn hostile_names_stay_one_segment() {
        assert_eq!(PODS.object_path(Some("a"), "../b?c#d"), "/api/v1/namespaces/a/pods/..%2Fb%3Fc%23d");
        assert_eq!(PODS.object_path(Some("a/b"), "p"), "/api/v1/namespaces/a%2Fb/pods/p");
    }
}
