//! How a build runs: what the flags of `kustomize build` say.

use crate::remote::Remote;

/// The order of the objects where the kustomization has no `sortOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reorder {
    /// By kind, namespaces first: `--reorder legacy`, and what `kustomize build` does.
    #[default]
    Legacy,
    /// As read: `--reorder none`.
    None,
}

/// Which files a kustomization may name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadRestrictor {
    /// Those in or below its own directory.
    #[default]
    RootOnly,
    /// Every file of the tree: `--load-restrictor LoadRestrictionsNone`. What was fetched stays in its repository
    /// all the same.
    None,
}

/// The flags, and who fetches what lies outside the tree.
#[derive(Clone, Default)]
pub struct Settings<'s> {
    pub reorder: Reorder,
    pub load_restrictor: LoadRestrictor,
    /// `--enable-managedby-label`.
    pub managed_by_label: bool,
    /// `--enable-helm`: what charts are rendered with where the kustomization says nothing else (Kubernetes version
    /// and API versions above all). Without it a kustomization with `helmCharts` is an error.
    pub helm: Option<helm::Options>,
    pub remote: Option<&'s dyn Remote>,
}

impl std::fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("reorder", &self.reorder)
            .field("load_restrictor", &self.load_restrictor)
            .field("managed_by_label", &self.managed_by_label)
            .field("helm", &self.helm)
            .field("remote", &self.remote.is_some())
            .finish()
    }
}
