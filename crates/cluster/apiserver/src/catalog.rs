//! What is served: the built-in kinds, stored CustomResourceDefinitions, and our minimal definitions for kinds that
//! nobody has defined.
//!
//! The catalog is an immutable snapshot. It is made anew when a definition changed, before the request that comes
//! next is looked at, so that a created definition is served at once.

mod builtin;
pub(crate) mod custom;
mod definitions;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use objects::typing::Model;
use store::{Revision, Scope, Store};

pub(crate) use custom::{Column, Custom, Scale};

/// The resource that stores CustomResourceDefinitions.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// One resource at one version.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<&'static str>,
    pub(crate) subresources: Vec<Subresource>,
    /// `apps/deployments`, `pods`: the same for all versions.
    pub(crate) storage: Arc<str>,
    /// The `apiVersion` that stored objects have.
    pub(crate) storage_version: String,
    pub(crate) api_version: String,
    pub(crate) origin: Origin,
    pub(crate) model: Model,
    /// Warning sent with every answer, if the version is deprecated.
    pub(crate) deprecation: Option<String>,
    /// How stored bytes start; see [`crate::object::type_prefix`].
    pub(crate) type_prefix: String,
}

#[derive(Debug)]
pub(crate) enum Origin {
    Builtin(&'static objects::kinds::Kind),
    Custom(Custom),
}

#[derive(Debug, Clone)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    /// Group, version and kind it speaks, if not the parent's.
    pub(crate) speaks: Option<(String, String, String)>,
    pub(crate) verbs: Vec<&'static str>,
}

impl Resource {
    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|subresource| subresource.name == name)
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    pub(crate) fn custom(&self) -> Option<&Custom> {
        match &self.origin {
            Origin::Custom(custom) => Some(custom),
            Origin::Builtin(_) => None,
        }
    }

    /// Whether reviews and bindings: answered, never stored.
    pub(crate) fn stored(&self) -> bool {
        match &self.origin {
            Origin::Builtin(kind) => kind.stored,
            Origin::Custom(_) => true,
        }
    }

    pub(crate) fn gvk(&self) -> objects::GroupVersionKind {
        objects::GroupVersionKind::new(&self.group, &self.version, &self.kind)
    }

    pub(crate) fn key(&self, namespace: &str, name: &str) -> store::Key {
        store::Key::new(self.storage.clone(), self.namespaced.then_some(namespace), name)
    }

    pub(crate) fn scope(&self, namespace: &str) -> Scope {
        Scope::new(self.storage.clone(), self.namespaced.then_some(namespace))
    }
}

/// One API group in discovery order, its versions by preference.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<Version>,
}

impl Group {
    pub(crate) fn serves(&self, version: &str) -> bool {
        self.versions.iter().any(|served| served.name == version)
    }

    /// Whether all of it is custom resources.
    pub(crate) fn is_custom(&self) -> bool {
        let mut resources = self.versions.iter().flat_map(|version| &version.resources);
        resources.all(|resource| resource.custom().is_some())
    }
}

#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) resources: Vec<Arc<Resource>>,
}

/// Everything served at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Of the newest definition considered.
    revision: Revision,
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    /// The core group first, then the others: built-in ones in upstream's order, custom ones by name.
    pub(crate) groups: Vec<Group>,
}

impl Snapshot {
    pub(crate) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The resource at whichever version is preferred.
    pub(crate) fn preferred(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let versions = &self.group(group)?.versions;
        versions
            .iter()
            .find_map(|version| version.resources.iter().find(|resource| resource.plural == plural))
    }

    /// A number that changes when what is served does.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    fn build(revision: Revision, resources: Vec<Resource>) -> Snapshot {
        let mut snapshot = Snapshot { revision, ..Snapshot::default() };
        let mut order: BTreeMap<String, usize> = BTreeMap::new();
        for resource in resources {
            let resource = Arc::new(resource);
            let path = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
            if snapshot.by_path.insert(path, resource.clone()).is_some() {
                continue;
            }
            let at = *order.entry(resource.group.clone()).or_insert_with(|| {
                snapshot.groups.push(Group { name: resource.group.clone(), versions: Vec::new() });
                snapshot.groups.len() - 1
            });
            let versions = &mut snapshot.groups[at].versions;
            match versions.iter_mut().find(|version| version.name == resource.version) {
                Some(version) => version.resources.push(resource),
                None => versions.push(Version { name: resource.version.clone(), resources: vec![resource] }),
            }
        }
        for group in &mut snapshot.groups {
            group.versions.sort_by_key(|version| Reverse(custom::version_priority(&version.name)));
            for version in &mut group.versions {
                version.resources.sort_by(|a, b| a.plural.cmp(&b.plural));
            }
        }
        snapshot
    }
}

/// A stored definition as last read: its revision and the versions it serves.
type Known = (Revision, Arc<Vec<custom::Definition>>);

/// The current snapshot, kept up to date with the store.
#[derive(Debug)]
pub(crate) struct Catalog {
    store: Store,
    current: ArcSwap<Snapshot>,
    /// Definitions by name as last read, with their revision.
    known: Mutex<BTreeMap<Arc<str>, Known>>,
}

impl Catalog {
    pub(crate) fn new(store: Store) -> Catalog {
        let catalog = Catalog { store, current: ArcSwap::default(), known: Mutex::new(BTreeMap::new()) };
        catalog.rebuild();
        catalog
    }

    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        let current = self.current.load();
        if current.revision == self.store.changed_at(DEFINITIONS) {
            return Arc::clone(&current);
        }
        drop(current);
        self.rebuild()
    }

    fn rebuild(&self) -> Arc<Snapshot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = self.store.changed_at(DEFINITIONS);
        let stored = self.store.list(&Scope::new(DEFINITIONS, None), &store::ListOptions::default());
        let stored = stored.map(|page| page.items).unwrap_or_default();
        let mut fresh = BTreeMap::new();
        for (name, object) in stored {
            let parsed = match known.get(&name) {
                Some((revision, parsed)) if *revision == object.revision => parsed.clone(),
                _ => Arc::new(custom::Definition::of_stored(&object.bytes)),
            };
            fresh.insert(name, (object.revision, parsed));
        }
        *known = fresh;
        let mut resources = builtin::resources();
        let mut claimed: Vec<(String, String)> = Vec::new();
        for (_, definitions) in known.values() {
            for definition in definitions.iter() {
                if objects::kinds::builtin()
                    .iter()
                    .any(|kind| kind.group == definition.group && kind.plural == definition.plural)
                {
                    continue;
                }
                claimed.push((definition.group.clone(), definition.plural.clone()));
                claimed.push((definition.group.clone(), definition.kind.clone()));
                resources.push(definition.resource());
            }
        }
        for definition in definitions::all() {
            let is_claimed = claimed.iter().any(|(group, name)| {
                *group == definition.group && (*name == definition.plural || *name == definition.kind)
            });
            if !is_claimed {
                resources.push(definition.resource());
            }
        }
        let snapshot = Arc::new(Snapshot::build(revision, resources));
        self.current.store(snapshot.clone());
        snapshot
    }
}
