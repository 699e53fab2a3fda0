//! Group, version, kind and resource names.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a string is no `apiVersion`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unexpected GroupVersion string: {0}")]
pub struct ParseError(pub String);

/// What a manifest names its type by. The core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// What a request path names its type by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GroupVersionResource {
    pub group: String,
    pub version: String,
    /// Plural, lower case: `deployments`.
    pub resource: String,
}

/// A resource of any version; displays as `deployments.apps`, as errors and CRD names spell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GroupResource {
    pub group: String,
    pub resource: String,
}

/// A kind of any version; displays as `Deployment.apps`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GroupKind {
    pub group: String,
    pub kind: String,
}

/// Splits an `apiVersion` into group and version: `v1` is (`""`, `v1`), `apps/v1` is (`apps`, `v1`).
///
/// # Errors
/// If it is empty, has an empty part or more than one slash.
pub fn parse_api_version(api_version: &str) -> Result<(&str, &str), ParseError> {
    let refuse = || ParseError(api_version.to_owned());
    match api_version.split_once('/') {
        None if api_version.is_empty() => Err(refuse()),
        None => Ok(("", api_version)),
        Some((group, version)) if group.is_empty() || version.is_empty() || version.contains('/') => {
            Err(refuse())
        }
        Some(parts) => Ok(parts),
    }
}

/// Joins group and version as `apiVersion` spells them.
#[must_use]
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

impl GroupVersionKind {
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// Parses an `apiVersion` such as `apps/v1` or `v1` together with a kind.
    ///
    /// # Errors
    /// As [`parse_api_version`].
    pub fn parse(api_version: &str, kind: &str) -> Result<Self, ParseError> {
        let (group, version) = parse_api_version(api_version)?;
        Ok(Self::new(group, version, kind))
    }

    /// The type an object names in `apiVersion` and `kind`; `None` if either is absent or malformed.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let kind = object.get("kind")?.as_str().filter(|kind| !kind.is_empty())?;
        Self::parse(object.get("apiVersion")?.as_str()?, kind).ok()
    }

    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    #[must_use]
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }
}

impl GroupVersionResource {
    #[must_use]
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), resource: resource.to_owned() }
    }

    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.resource.clone() }
    }
}

impl GroupResource {
    #[must_use]
    pub fn new(group: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }
}

impl GroupKind {
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }
}

/// As upstream prints it: `apps/v1, Kind=Deployment`.
impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// As upstream prints it: `apps/v1, Resource=deployments`.
impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_split_and_join() {
        assert_eq!(parse_api_version("v1"), Ok(("", "v1")));
        assert_eq!(parse_api_version("apps/v1"), Ok(("apps", "v1")));
        for bad in ["", "/v1", "apps/", "a/b/c"] {
            assert!(parse_api_version(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(GroupVersionKind::new("", "v1", "Pod").api_version(), "v1");
        assert_eq!(GroupVersionKind::new("apps", "v1", "Deployment").api_version(), "apps/v1");
    }

    #[test]
    fn names_display_as_errors_spell_them() {
        assert_eq!(GroupResource::new("apps", "deployments").to_string(), "deployments.apps");
        assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
        assert_eq!(GroupVersionKind::new("", "v1", "Pod").to_string(), "/v1, Kind=Pod");
    }

    #[test]
    fn an_object_without_kind_has_no_type() {
        assert_eq!(GroupVersionKind::of(&serde_json::json!({"apiVersion": "v1"})), None);
        assert_eq!(
            GroupVersionKind::of(&serde_json::json!({"apiVersion": "batch/v1", "kind": "Job"})),
            Some(GroupVersionKind::new("batch", "v1", "Job"))
        );
    }
}
