//! The names of resources within an application.

use std::fmt;

use objects::{Value, gvk, meta};

/// What identifies an object in Argo CD: its version is left out, because one object is served in several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    pub group: String,
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
}

impl ResourceKey {
    #[must_use]
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of an object as it stands: namespace as in its metadata.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let group = group(object);
        Self::new(group, meta::kind(object), meta::namespace(object).unwrap_or_default(), meta::name(object))
    }
}

/// The API group of an object; empty for the core group.
pub(crate) fn group(object: &Value) -> &str {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    gvk::parse_api_version(api_version).map_or("", |(group, _)| group)
}

/// `apps/Deployment/shop/web`, as in Argo CD's messages.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.group, &self.kind, &self.namespace] {
            if !part.is_empty() {
                write!(f, "{part}/")?;
            }
        }
        f.write_str(&self.name)
    }
}
