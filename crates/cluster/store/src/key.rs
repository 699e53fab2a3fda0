//! Names of objects and of groups of objects.

use std::fmt;
use std::sync::Arc;

/// The name of one object: its resource (`"apps/deployments"`, `"pods"`), and its path inside the resource, which is
/// `namespace/name`, or `name` for a resource without namespaces. Paths order as etcd orders them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    resource: Arc<str>,
    path: Arc<str>,
}

impl Key {
    /// The key of `name` in `namespace` (`None` or empty for a resource without namespaces).
    #[must_use]
    pub fn new(resource: impl Into<Arc<str>>, namespace: Option<&str>, name: &str) -> Key {
        let path = match namespace {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}").into(),
            _ => name.into(),
        };
        Key { resource: resource.into(), path }
    }

    pub(crate) fn from_parts(resource: Arc<str>, path: Arc<str>) -> Key {
        Key { resource, path }
    }

    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// `namespace/name` or `name`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.path.split_once('/').map(|(namespace, _)| namespace)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.path.split_once('/').map_or(&*self.path, |(_, name)| name)
    }

    pub(crate) fn shared_path(&self) -> Arc<str> {
        self.path.clone()
    }

    pub(crate) fn shared_resource(&self) -> Arc<str> {
        self.resource.clone()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.path)
    }
}

/// A resource, or one namespace of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub(crate) resource: Arc<str>,
    /// Empty, or `namespace/`.
    pub(crate) prefix: Arc<str>,
}

impl Scope {
    /// All objects of `resource`, or those in `namespace`.
    #[must_use]
    pub fn new(resource: impl Into<Arc<str>>, namespace: Option<&str>) -> Scope {
        let prefix = match namespace {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/").into(),
            _ => "".into(),
        };
        Scope { resource: resource.into(), prefix }
    }

    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        *self.resource == *key.resource && key.path.starts_with(&*self.prefix)
    }
}
