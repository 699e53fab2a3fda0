//! Whether an Application is to be warned of orphans: what is in its namespace and nobody manages.

use std::collections::BTreeSet;

use client::Key;
use sync::ResourceKey;
use sync::orphans::{Of, orphans};

use super::shared::lock;
use super::{Pass, Shared};
use crate::application::Application;
use crate::status::{Compared, Condition};

const KIND: &str = "OrphanedResourceWarning";

impl Shared {
    /// Whether there is an Application of this name.
    fn knows(&self, name: &str) -> bool {
        lock(&self.memories).contains_key(&Key::namespaced(&self.settings.namespace, name))
    }
}

impl Pass<'_> {
    /// The condition that tells of orphans, where the project asks for it.
    pub(super) fn orphaned(&self, application: &Application, compared: &Compared) -> Option<Condition> {
        let site = self.site();
        let (project, place) = (&site.project, &site.place);
        let neighbours = &place.cluster.neighbours;
        let namespace = &application.destination_namespace;
        if !project.warns_of_orphans() || namespace.is_empty() {
            neighbours.leave(self.key);
            return None;
        }
        if !neighbours.ask(self.key, namespace) {
            // As it was said before; when everything is listed, we are woken.
            return self.said_before();
        }
        let managed: BTreeSet<&ResourceKey> =
            compared.resources.iter().map(|resource| &resource.key).collect();
        let excluded =
            |key: &ResourceKey| site.settings.kinds.exclude(&key.group, &key.kind, place.cluster.server());
        let found = neighbours.within(namespace, |nodes| {
            orphans(&Of {
                nodes,
                managed: &managed,
                may: &|key| project.may_be_orphan(key) && !excluded(key),
                permits: &|key| site.permits_live(key),
                exists: &|name| self.shared.knows(name),
            })
        });
        let count = found.len();
        (count > 0).then(|| Condition::new(KIND, format!("Application has {count} orphaned resources")))
    }

    fn said_before(&self) -> Option<Condition> {
        let conditions = self.object["status"]["conditions"].as_array();
        let before = conditions.into_iter().flatten().find(|condition| condition["type"] == KIND)?;
        Some(Condition::new(KIND, before["message"].as_str().unwrap_or_default()))
    }
}
