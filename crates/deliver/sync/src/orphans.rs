//! Orphans: what is in a namespace and no application manages.

use std::collections::{BTreeMap, BTreeSet};

use objects::{Value, meta};

use crate::{ResourceKey, Tracking};

/// As much of an object as tells whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    uid: String,
    /// The uids of its owners.
    owners: Vec<String>,
    /// An owner that no reference names.
    inferred: Option<ResourceKey>,
    /// The application that its mark names.
    application: Option<String>,
}

impl Node {
    /// From an object, or from its metadata with apiVersion and kind.
    #[must_use]
    pub fn of(object: &Value, tracking: &Tracking) -> Self {
        let key = ResourceKey::of(object);
        let owners = meta::owner_references(object).into_iter().map(|owner| owner.uid).collect();
        Self {
            uid: meta::uid(object).to_owned(),
            owners,
            inferred: inferred(&key, object),
            application: tracking.owner(object).map(|owner| owner.application),
        }
    }
}

/// Owners that Kubernetes itself does not write down.
fn inferred(key: &ResourceKey, object: &Value) -> Option<ResourceKey> {
    match (key.group.as_str(), key.kind.as_str()) {
        ("", "Endpoints") => Some(ResourceKey::new("", "Service", &key.namespace, &key.name)),
        ("", "Secret") => {
            let account = meta::annotation(object, "kubernetes.io/service-account.name")?;
            Some(ResourceKey::new("", "ServiceAccount", &key.namespace, account))
        }
        _ => None,
    }
}

/// What is in one namespace.
pub type Nodes = BTreeMap<ResourceKey, Node>;

/// Whether a kind is none that anybody manages: upstream never looks at it.
#[must_use]
pub fn is_ignored(group: &str, kind: &str) -> bool {
    matches!(group, "events.k8s.io" | "metrics.k8s.io")
        || (group.is_empty() && kind == "Event")
        || (group == "coordination.k8s.io" && kind == "Lease")
}

/// What orphans are told by.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    pub nodes: &'a Nodes,
    /// What the application manages.
    pub managed: &'a BTreeSet<&'a ResourceKey>,
    /// Which objects without an owner are looked at: [`crate::project::Project::may_be_orphan`].
    pub may: &'a dyn Fn(&ResourceKey) -> bool,
    /// Which of what they own counts.
    pub permits: &'a dyn Fn(&ResourceKey) -> bool,
    /// Whether there is such an application: what belongs to another one is none's orphan.
    pub exists: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Of<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Of").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// The orphans among the objects of one namespace, with everything that they own.
#[must_use]
pub fn orphans(of: &Of<'_>) -> Vec<ResourceKey> {
    let Of { nodes, managed, may, permits, exists } = *of;
    let by_uid: BTreeMap<&str, &ResourceKey> =
        nodes.iter().map(|(key, node)| (node.uid.as_str(), key)).collect();
    let mut children: BTreeMap<&ResourceKey, Vec<&ResourceKey>> = BTreeMap::new();
    for (key, node) in nodes {
        let named = node.owners.iter().filter_map(|uid| by_uid.get(uid.as_str()).copied());
        let inferred =
            node.inferred.as_ref().and_then(|owner| nodes.get_key_value(owner)).map(|(key, _)| key);
        for owner in named.chain(inferred) {
            children.entry(owner).or_default().push(key);
        }
    }
    let is_top = |key: &ResourceKey, node: &Node| {
        node.owners.is_empty()
            && !node.inferred.as_ref().is_some_and(|owner| nodes.contains_key(owner))
            && !managed.contains(key)
            && may(key)
    };
    let mut pending: Vec<&ResourceKey> =
        nodes.iter().filter(|(key, node)| is_top(key, node)).map(|(key, _)| key).collect();
    let mut found = BTreeSet::new();
    while let Some(key) = pending.pop() {
        let another = nodes.get(key).and_then(|node| node.application.as_deref()).is_some_and(exists);
        if another || !permits(key) || !found.insert(key) {
            continue;
        }
        pending.extend(children.get(key).into_iter().flatten());
    }
    found.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::annotations::TRACKING_ID;

    fn object(api_version: &str, kind: &str, name: &str, owner: &str, application: &str) -> Value {
        let mut object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": format!("{kind}-{name}")}});
        if !owner.is_empty() {
            let (kind, name) = owner.split_once('/').unwrap();
            object["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": format!("{kind}-{name}")}]);
        }
        if !application.is_empty() {
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let id = format!("{application}:{group}/{kind}:shop/{name}");
            meta::set_annotation(&mut object, TRACKING_ID, Some(&id));
        }
        object
    }

    #[test]
    fn orphans_come_with_what_they_own() {
        let all = [
            object("apps/v1", "Deployment", "web", "", ""),
            object("apps/v1", "ReplicaSet", "web-1", "Deployment/web", ""),
            object("v1", "Pod", "web-1-a", "ReplicaSet/web-1", ""),
            object("v1", "Pod", "lost", "ReplicaSet/gone", ""),
            object("v1", "ConfigMap", "mine", "", "this"),
            object("v1", "ConfigMap", "other", "", "other"),
            object("v1", "ConfigMap", "deserted", "", "gone"),
            object("v1", "Service", "api", "", ""),
            object("v1", "Endpoints", "api", "", ""),
            object("v1", "Secret", "skipped", "", ""),
        ];
        let nodes: Nodes = all
            .iter()
            .map(|object| (ResourceKey::of(object), Node::of(object, &Tracking::default())))
            .collect();
        let mine = ResourceKey::new("", "ConfigMap", "shop", "mine");
        let managed = BTreeSet::from([&mine]);
        let names = |permits: &dyn Fn(&ResourceKey) -> bool| -> Vec<String> {
            let found = orphans(&Of {
                nodes: &nodes,
                managed: &managed,
                may: &|key| key.name != "skipped",
                permits,
                exists: &|name| name == "other" || name == "this",
            });
            found.into_iter().map(|key| format!("{}/{}", key.kind, key.name)).collect()
        };
        let mut all = names(&|_| true);
        all.sort();
        assert_eq!(
            all,
            [
                "ConfigMap/deserted",
                "Deployment/web",
                "Endpoints/api",
                "Pod/web-1-a",
                "ReplicaSet/web-1",
                "Service/api"
            ]
        );
        // What may not be looked at hides what it owns.
        assert!(!names(&|key| key.kind != "ReplicaSet").iter().any(|name| name.starts_with("Pod")));
    }
}
