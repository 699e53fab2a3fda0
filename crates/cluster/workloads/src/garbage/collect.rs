//! What is done about one object, decided from the server's state.

use std::sync::{Arc, Mutex};

use client::dynamic::{DeleteOptions, Patch, PatchOptions, Propagation};
use client::{Api, Client, Error, Key, Resources};
use objects::gvk::GroupVersionKind;
use objects::meta::{self, OwnerReference};
use serde_json::{Value, json};

use super::graph::{FOREGROUND, Graph, ORPHAN, Place, Task, Uid};

#[derive(Clone)]
pub(super) struct Collector {
    client: Client,
    resources: Resources,
    graph: Arc<Mutex<Graph>>,
}

/// What became of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Exists,
    /// Being deleted in the foreground: it waits for its dependents.
    Waits,
    Gone,
}

impl Collector {
    pub(super) fn new(client: Client, resources: Resources, graph: Arc<Mutex<Graph>>) -> Collector {
        Collector { client, resources, graph }
    }

    /// Does what a task asks for and returns what has to be looked at next.
    pub(super) async fn perform(&self, task: &Task) -> Result<Vec<Task>, Error> {
        match task {
            Task::Dependent(uid) => self.dependent(*uid).await,
            Task::Owner(uid) => self.owner(*uid).await,
        }
    }

    fn graph<T>(&self, read: impl FnOnce(&Graph) -> T) -> T {
        read(&self.graph.lock().expect("no panic while held"))
    }

    /// Reads an object if it is still the one with this uid.
    async fn read(&self, place: &Place, uid: Uid) -> Result<Option<Value>, Error> {
        let api = Api::new(&self.client, &place.resource);
        let object = api.find(&place.key).await?;
        Ok(object.filter(|object| Uid::of(object) == Some(uid)))
    }

    async fn dependent(&self, uid: Uid) -> Result<Vec<Task>, Error> {
        let Some(place) = self.graph(|graph| graph.dependent(uid)) else { return Ok(Vec::new()) };
        let Some(object) = self.read(&place, uid).await? else { return Ok(Vec::new()) };
        // What is being deleted already takes its course, unless it waits for its own dependents.
        if meta::is_deleting(&object) {
            return Ok(vec![Task::Owner(uid)]);
        }
        let owners = meta::owner_references(&object);
        let mut kept = Vec::new();
        let mut waits = false;
        let mut dropped = 0;
        for owner in &owners {
            match self.look_at(owner, &object).await? {
                Owner::Exists => kept.push(owner),
                Owner::Waits => {
                    waits = true;
                    dropped += 1;
                }
                Owner::Gone => dropped += 1,
            }
        }
        if dropped == 0 {
            return Ok(Vec::new());
        }
        if !kept.is_empty() {
            let kept = kept.into_iter().map(OwnerReference::to_value).collect();
            self.set_owners(&place, &object, kept).await?;
            return Ok(Vec::new());
        }
        self.delete(&place, &object, waits).await?;
        Ok(Vec::new())
    }

    async fn look_at(&self, owner: &OwnerReference, dependent: &Value) -> Result<Owner, Error> {
        let (group, version) = super::reference_type(&owner.api_version);
        let gvk = GroupVersionKind::new(group, version, &owner.kind);
        let resource = match self.resources.resolve(&gvk).await {
            // The version may have gone while the kind is still served.
            Err(error) if error.is_unknown_kind() => {
                self.resources.preferred(group, &owner.kind).await?.resource
            }
            resolved => resolved?,
        };
        let key = match (resource.namespaced, meta::namespace(dependent)) {
            (true, Some(namespace)) => Key::namespaced(namespace, &owner.name),
            // A cluster-scoped object cannot belong to a namespaced one; upstream leaves it alone as well.
            (true, None) => return Ok(Owner::Exists),
            (false, _) => Key::cluster(&owner.name),
        };
        let found = Api::new(&self.client, &resource).find(&key).await?;
        Ok(match found.filter(|found| meta::uid(found) == owner.uid) {
            None => Owner::Gone,
            Some(found) if meta::is_deleting(&found) && has_finalizer(&found, FOREGROUND) => Owner::Waits,
            Some(_) => Owner::Exists,
        })
    }

    /// Deletes a dependent without owners, in the way its own finalizers or its owner's way of going ask for.
    async fn delete(&self, place: &Place, object: &Value, owner_waits: bool) -> Result<(), Error> {
        let has_dependents =
            Uid::of(object).is_some_and(|uid| !self.graph(|graph| graph.dependents_of(uid)).is_empty());
        let propagation = if has_finalizer(object, ORPHAN) {
            Propagation::Orphan
        } else if has_finalizer(object, FOREGROUND) || owner_waits && has_dependents {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        let options = DeleteOptions {
            propagation: Some(propagation),
            // An owner that was added since would be overlooked without this.
            resource_version: Some(meta::resource_version(object).to_owned()),
            ..DeleteOptions::default().only(meta::uid(object))
        };
        match Api::new(&self.client, &place.resource).delete(&place.key, &options).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn owner(&self, uid: Uid) -> Result<Vec<Task>, Error> {
        let Some(place) = self.graph(|graph| graph.waiting(uid)) else { return Ok(Vec::new()) };
        let Some(object) = self.read(&place, uid).await? else { return Ok(Vec::new()) };
        if !meta::is_deleting(&object) {
            return Ok(Vec::new());
        }
        let dependents = self.graph(|graph| graph.dependents_of(uid));
        if has_finalizer(&object, ORPHAN) {
            for (dependent, place, _) in &dependents {
                self.orphan(&object, *dependent, place).await?;
            }
            self.drop_finalizer(&place, &object, ORPHAN).await?;
        } else if has_finalizer(&object, FOREGROUND) {
            if dependents.iter().any(|(_, _, blocks)| *blocks) {
                return Ok(dependents.into_iter().map(|(uid, _, _)| Task::Dependent(uid)).collect());
            }
            self.drop_finalizer(&place, &object, FOREGROUND).await?;
            return Ok(dependents.into_iter().map(|(uid, _, _)| Task::Dependent(uid)).collect());
        }
        Ok(Vec::new())
    }

    async fn orphan(&self, owner: &Value, uid: Uid, place: &Place) -> Result<(), Error> {
        let Some(object) = self.read(place, uid).await? else { return Ok(()) };
        let references = meta::owner_references(&object);
        let kept: Vec<Value> = references
            .iter()
            .filter(|reference| reference.uid != meta::uid(owner))
            .map(OwnerReference::to_value)
            .collect();
        if kept.len() == references.len() {
            return Ok(());
        }
        self.set_owners(place, &object, kept).await
    }

    async fn set_owners(&self, place: &Place, object: &Value, owners: Vec<Value>) -> Result<(), Error> {
        let owners = if owners.is_empty() { Value::Null } else { Value::Array(owners) };
        self.patch(place, object, json!({ "ownerReferences": owners })).await
    }

    async fn drop_finalizer(&self, place: &Place, object: &Value, finalizer: &str) -> Result<(), Error> {
        let kept: Vec<&str> = meta::finalizers(object).filter(|other| *other != finalizer).collect();
        let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
        self.patch(place, object, json!({ "finalizers": kept })).await
    }

    async fn patch(&self, place: &Place, object: &Value, mut metadata: Value) -> Result<(), Error> {
        metadata["uid"] = json!(meta::uid(object));
        metadata["resourceVersion"] = json!(meta::resource_version(object));
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let api = Api::new(&self.client, &place.resource);
        match api.patch(&place.key, &patch, &PatchOptions::default()).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    meta::finalizers(object).any(|present| present == finalizer)
}
