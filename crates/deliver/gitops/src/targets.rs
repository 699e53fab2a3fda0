//! Manifests made ready to be compared and applied: namespaced, marked, unique.

use std::collections::{BTreeMap, BTreeSet};

use client::ResourceType;
use client::discovery::Catalog;
use objects::{GroupVersionKind, Value, meta};
use sha2::{Digest, Sha256};
use sync::hooks::{HookType, Role, role};
use sync::{ResourceKey, Tracking};

use crate::application::Application;
use crate::beside::Kinds;

/// One manifest. It is kept as text, which is a third of the size of its tree.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) key: ResourceKey,
    pub(crate) gvk: GroupVersionKind,
    pub(crate) hash: [u8; 32],
    /// `None` while the server does not serve the kind.
    pub(crate) resource: Option<ResourceType>,
    manifest: Box<str>,
}

impl Target {
    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_str(&self.manifest).unwrap_or(Value::Null)
    }
}

/// All manifests of an application.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) list: Vec<Target>,
    /// Hooks around the deletion of the application. Those that run in a sync too are in both lists.
    pub(crate) hooks: Vec<Target>,
    /// Condition type and message.
    pub(crate) warnings: Vec<(&'static str, String)>,
    /// Changes when any manifest does.
    pub(crate) hash: [u8; 32],
}

impl Targets {
    pub(crate) fn keys(&self) -> BTreeSet<ResourceKey> {
        self.list.iter().map(|target| target.key.clone()).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<ResourceType> {
        let mut kinds: BTreeMap<(&str, &str), &ResourceType> = BTreeMap::new();
        for resource in self.list.iter().filter_map(|target| target.resource.as_ref()) {
            kinds.entry((&*resource.group, &*resource.kind)).or_insert(resource);
        }
        kinds.into_values().cloned().collect()
    }

    /// Whether some kind was not served when these were made ready.
    pub(crate) fn has_unknown_kinds(&self) -> bool {
        self.list.iter().any(|target| target.resource.is_none())
    }

    /// The manifests, for making them ready again when more kinds are served.
    pub(crate) fn manifests(&self) -> Vec<Value> {
        let only = self.hooks.iter().filter(|hook| !self.list.iter().any(|target| target.key == hook.key));
        self.list.iter().chain(only).map(Target::manifest).collect()
    }
}

/// Which kinds are managed on a cluster, and how objects are marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Managed<'a> {
    pub(crate) tracking: &'a Tracking,
    pub(crate) kinds: &'a Kinds,
    pub(crate) server: &'a str,
}

/// Makes manifests ready. A later manifest of the same key replaces an earlier one.
pub(crate) fn prepare(
    manifests: Vec<Value>,
    application: &Application,
    catalog: &Catalog,
    managed: &Managed<'_>,
) -> Targets {
    let brought = scopes(&manifests);
    let mut targets: BTreeMap<ResourceKey, (usize, Target)> = BTreeMap::new();
    let mut seen: BTreeMap<ResourceKey, usize> = BTreeMap::new();
    let mut excluded: BTreeSet<String> = BTreeSet::new();
    let mut hooks: BTreeMap<ResourceKey, Target> = BTreeMap::new();
    for (position, mut manifest) in manifests.into_iter().enumerate() {
        let Some(gvk) = GroupVersionKind::of(&manifest) else { continue };
        if managed.kinds.exclude_of(&gvk, managed.server) {
            excluded.insert(format!("{}/{}", gvk.group, gvk.kind));
            continue;
        }
        let role = role(&manifest);
        if role == Role::Hook(Vec::new()) {
            // Helm's tests and rollback hooks run in no phase of a sync.
            continue;
        }
        let resource = catalog.get(&gvk).map(|served| served.resource.clone());
        let brought = brought.get(&(gvk.group.clone(), gvk.kind.clone())).copied();
        let namespaced = resource.as_ref().map(|resource| resource.namespaced).or(brought).unwrap_or(true);
        settle_namespace(&mut manifest, namespaced, &application.destination_namespace);
        managed.tracking.mark(&mut manifest, &application.instance, &application.destination_namespace);
        let mut key = ResourceKey::of(&manifest);
        if key.name.is_empty()
            && let Some(prefix) = meta::generate_name(&manifest)
        {
            // Hooks are named when they run; until then their prefix tells them apart.
            prefix.clone_into(&mut key.name);
        }
        let text = manifest.to_string();
        let hash = Sha256::digest(&text).into();
        let target = Target { key: key.clone(), gvk, hash, resource, manifest: text.into() };
        let (around, synced) = parts(&role);
        if around {
            hooks.insert(key.clone(), target.clone());
        }
        if synced {
            *seen.entry(key.clone()).or_default() += 1;
            targets.insert(key, (position, target));
        }
    }
    Targets { hooks: hooks.into_values().collect(), ..finished(targets, &seen, excluded) }
}

/// Whether a manifest runs around the deletion of its application, and whether it has a part in syncs.
fn parts(role: &Role) -> (bool, bool) {
    let Role::Hook(types) = role else { return (false, true) };
    let around = |hook: &HookType| matches!(hook, HookType::PreDelete | HookType::PostDelete);
    (types.iter().any(around), !types.iter().all(around))
}

fn finished(
    targets: BTreeMap<ResourceKey, (usize, Target)>,
    seen: &BTreeMap<ResourceKey, usize>,
    excluded: BTreeSet<String>,
) -> Targets {
    let mut warnings = Vec::new();
    for (key, count) in seen.iter().filter(|(_, count)| **count > 1) {
        let ResourceKey { group, kind, namespace, name } = key;
        let message = format!(
            "Resource {group}/{kind}/{namespace}/{name} appeared {count} times among application resources."
        );
        warnings.push(("RepeatedResourceWarning", message));
    }
    for kind in excluded {
        warnings.push(("ExcludedResourceWarning", format!("Resource {kind} is excluded in the settings")));
    }
    let mut list: Vec<(usize, Target)> = targets.into_values().collect();
    list.sort_by_key(|(position, _)| *position);
    let list: Vec<Target> = list.into_iter().map(|(_, target)| target).collect();
    let mut hash = Sha256::new();
    for target in &list {
        hash.update(target.hash);
    }
    Targets { list, hooks: Vec::new(), warnings, hash: hash.finalize().into() }
}

fn settle_namespace(manifest: &mut Value, namespaced: bool, default: &str) {
    let metadata = meta::metadata_mut(manifest);
    if !namespaced {
        metadata.remove("namespace");
    } else if metadata.get("namespace").and_then(Value::as_str).is_none_or(str::is_empty)
        && !default.is_empty()
    {
        metadata.insert("namespace".to_owned(), default.into());
    }
}

/// Whether kinds that the manifests themselves define are namespaced.
fn scopes(manifests: &[Value]) -> BTreeMap<(String, String), bool> {
    let definitions = manifests.iter().filter(|manifest| meta::kind(manifest) == "CustomResourceDefinition");
    let scopes = definitions.filter_map(|definition| {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
        let key = (text("/spec/group")?.to_owned(), text("/spec/names/kind")?.to_owned());
        Some((key, text("/spec/scope")? != "Cluster"))
    });
    scopes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hooks_around_a_deletion_have_no_part_in_syncs() {
        let of = |hook: &str| {
            parts(&role(
                &json!({"metadata": {"name": "a", "annotations": {"argocd.argoproj.io/hook": hook}}}),
            ))
        };
        assert_eq!(of("PreDelete"), (true, false));
        assert_eq!(of("PreSync,PostDelete"), (true, true));
        assert_eq!(of("PreSync"), (false, true));
        assert_eq!(parts(&Role::Resource), (false, true));
    }
}
