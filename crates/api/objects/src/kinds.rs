//! The kinds that Kubernetes 1.34 has built in: names, scope, verbs and subresources, as its discovery lists them.
//!
//! Alpha and beta versions, `resource.k8s.io` and `storagemigration.k8s.io` are left out on purpose: nothing here
//! implements them. The fields of each kind are in [`crate::typing`].

mod table;
#[cfg(test)]
mod tests;

pub use table::builtin;

use crate::gvk::GroupVersionKind;

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// One built-in kind at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    /// The resource's name in paths: `deployments`.
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub scope: Scope,
    /// Names such as `all` under which `kubectl get` finds it.
    pub categories: &'static [&'static str],
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// Whether objects are stored; reviews and bindings are answered and forgotten.
    pub stored: bool,
}

/// A path below an object: `status`, `scale`, `log` …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    pub name: &'static str,
    /// The type it speaks, if that is not the parent's: `("autoscaling", "v1", "Scale")`.
    pub speaks: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

impl Kind {
    #[must_use]
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        crate::gvk::api_version(self.group, self.version)
    }

    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group, self.version, self.kind)
    }

    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

/// The built-in kind of that group, version and kind.
#[must_use]
pub fn by_gvk(gvk: &GroupVersionKind) -> Option<&'static Kind> {
    find(&gvk.group, &gvk.version, &gvk.kind)
}

/// As [`by_gvk`], from borrowed parts.
#[must_use]
pub fn find(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    builtin().iter().find(|known| known.group == group && known.version == version && known.kind == kind)
}

/// The built-in kind that serves that resource: (`apps`, `v1`, `deployments`).
#[must_use]
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    builtin().iter().find(|known| known.group == group && known.version == version && known.plural == plural)
}

/// Whether the type is built in (rather than defined by a CRD).
#[must_use]
pub fn is_builtin(gvk: &GroupVersionKind) -> bool {
    by_gvk(gvk).is_some()
}
