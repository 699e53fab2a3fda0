//! The current objects and the window of recent events, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::watch;

use crate::contents::Contents;
use crate::{Config, Error, Key, Object, Revision, Scope};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Updated,
    Deleted,
}

/// One write, as watches see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub key: Key,
    /// The state after the write; for a removal the last state, at the revision of the removal.
    pub object: Object,
    /// The state before the write.
    pub previous: Option<Object>,
}

/// Which part of a scope to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// At most this many objects.
    pub limit: Option<usize>,
    /// Only objects whose path comes after this one.
    pub after: Option<String>,
    /// As of this revision; the newest if absent.
    pub at: Option<Revision>,
}

/// One answer of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// Paths inside the resource and objects, in path order.
    pub items: Vec<(Arc<str>, Object)>,
    /// The revision all items are as of.
    pub revision: Revision,
    /// Objects of the scope that come after the last item.
    pub remaining: usize,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    resources: BTreeMap<Arc<str>, Resource>,
    /// Events up to here are not kept for a resource that has had none since the store was opened.
    opened_at: Revision,
    window_events: usize,
    window_bytes: usize,
    /// Told of every new revision, of whatever resource.
    pub(crate) revisions: watch::Sender<Revision>,
}

#[derive(Debug)]
pub(crate) struct Resource {
    objects: BTreeMap<Arc<str>, Object>,
    window: VecDeque<Arc<Event>>,
    /// All events after this revision are in the window.
    floor: Revision,
    /// Bytes of objects that only the window keeps alive.
    superseded: usize,
    changed: watch::Sender<Revision>,
}

impl State {
    pub(crate) fn new(contents: Contents, config: &Config) -> State {
        let Contents { revision, resources } = contents;
        let resource = |objects| Resource {
            objects,
            window: VecDeque::new(),
            floor: revision,
            superseded: 0,
            changed: watch::Sender::new(revision),
        };
        State {
            revision,
            resources: resources.into_iter().map(|(name, objects)| (name, resource(objects))).collect(),
            opened_at: revision,
            window_events: config.window_events,
            window_bytes: config.window_bytes,
            revisions: watch::Sender::new(revision),
        }
    }

    /// Up to `limit` objects in the order of their keys.
    pub(crate) fn objects_after(&self, after: Option<&Key>, limit: usize) -> Vec<(Key, Object)> {
        let (resource, path) = match after {
            Some(key) => (Bound::Included(key.resource()), Bound::Excluded(key.path())),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let mut found = Vec::with_capacity(limit);
        for (name, resource) in self.resources.range::<str, _>((resource, Bound::Unbounded)) {
            let path =
                if after.is_some_and(|after| *after.resource() == **name) { path } else { Bound::Unbounded };
            for (path, object) in resource.objects.range::<str, _>((path, Bound::Unbounded)) {
                if found.len() == limit {
                    return found;
                }
                found.push((Key::from_parts(name.clone(), path.clone()), object.clone()));
            }
        }
        found
    }

    fn resource(&mut self, name: &Arc<str>) -> &mut Resource {
        let floor = self.opened_at;
        self.resources.entry(name.clone()).or_insert_with(|| Resource {
            objects: BTreeMap::new(),
            window: VecDeque::new(),
            floor,
            superseded: 0,
            changed: watch::Sender::new(floor),
        })
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Object> {
        self.resources.get(key.resource())?.objects.get(key.path())
    }

    pub(crate) fn count(&self, resource: &str) -> usize {
        self.resources.get(resource).map_or(0, |resource| resource.objects.len())
    }

    pub(crate) fn changed_at(&self, resource: &str) -> Revision {
        let last = self.resources.get(resource).and_then(|resource| resource.window.back());
        last.map_or(self.opened_at, |event| event.object.revision)
    }

    /// Makes a write visible. Called in revision order, after the write is durable.
    pub(crate) fn apply(&mut self, event: Event) {
        self.revision = event.object.revision;
        let (window_events, window_bytes) = (self.window_events, self.window_bytes);
        let resource = self.resource(&event.key.shared_resource());
        match event.kind {
            EventKind::Created | EventKind::Updated => {
                resource.objects.insert(event.key.shared_path(), event.object.clone());
            }
            EventKind::Deleted => {
                resource.objects.remove(event.key.path());
            }
        }
        resource.superseded += weight(&event);
        resource.window.push_back(Arc::new(event));
        while resource.window.len() > window_events
            || (resource.superseded > window_bytes && resource.window.len() > MIN_WINDOW)
        {
            let Some(oldest) = resource.window.pop_front() else { break };
            resource.superseded -= weight(&oldest);
            resource.floor = oldest.object.revision;
        }
    }

    /// Wakes the watches of resources; once per group of writes.
    pub(crate) fn wake<'a>(&self, resources: impl Iterator<Item = &'a Arc<str>>) {
        for resource in resources.filter_map(|resource| self.resources.get(resource)) {
            resource.changed.send_replace(self.revision);
        }
        self.revisions.send_replace(self.revision);
    }

    /// Ends every watch: their owners may outlive the store.
    pub(crate) fn close(&mut self) {
        self.resources.clear();
    }

    pub(crate) fn list(&self, scope: &Scope, options: &ListOptions) -> Result<Page, Error> {
        let at = options.at.unwrap_or(self.revision);
        if at > self.revision {
            return Err(Error::Future { requested: at, current: self.revision });
        }
        let Some(resource) = self.resources.get(&scope.resource) else {
            return if at < self.opened_at {
                Err(Error::Compacted { requested: at, oldest: self.opened_at })
            } else {
                Ok(Page { items: Vec::new(), revision: at, remaining: 0 })
            };
        };
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut items;
        let mut remaining = 0;
        if at == self.revision || resource.window.back().is_none_or(|last| last.object.revision <= at) {
            if at < resource.floor {
                return Err(Error::Compacted { requested: at, oldest: resource.floor });
            }
            items = Vec::new();
            for (path, object) in resource.range(scope, options.after.as_deref()) {
                if items.len() < limit {
                    items.push((path.clone(), object.clone()));
                } else {
                    remaining += 1;
                }
            }
        } else {
            items = resource.as_of(scope, options.after.as_deref(), at)?;
            remaining = items.len().saturating_sub(limit);
            items.truncate(limit);
        }
        Ok(Page { items, revision: at, remaining })
    }

    /// The position from which a new watch of `resource` learns of changes.
    pub(crate) fn subscribe(
        &mut self,
        name: &Arc<str>,
        from: Revision,
    ) -> Result<watch::Receiver<Revision>, Error> {
        if from > self.revision {
            return Err(Error::Future { requested: from, current: self.revision });
        }
        let resource = self.resource(name);
        if from < resource.floor {
            return Err(Error::Compacted { requested: from, oldest: resource.floor });
        }
        Ok(resource.changed.subscribe())
    }

    /// Up to `limit` events of `scope` after `from`, and the revision up to which they are complete.
    pub(crate) fn events(
        &self,
        scope: &Scope,
        from: Revision,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, Revision), Error> {
        let Some(resource) = self.resources.get(&scope.resource) else { return Ok((Vec::new(), from)) };
        if from < resource.floor {
            return Err(Error::Compacted { requested: from, oldest: resource.floor });
        }
        let start = resource.window.partition_point(|event| event.object.revision <= from);
        let mut events = Vec::new();
        for event in resource.window.range(start..) {
            if !event.key.path().starts_with(&*scope.prefix) {
                continue;
            }
            if events.len() == limit {
                let seen = events.last().map_or(from, |event: &Arc<Event>| event.object.revision);
                return Ok((events, seen));
            }
            events.push(event.clone());
        }
        Ok((events, self.revision))
    }
}

/// Events kept however large they are, so that one huge object does not cut every watcher off.
const MIN_WINDOW: usize = 64;

/// What an event keeps in memory that nothing else does.
fn weight(event: &Event) -> usize {
    let last = if event.kind == EventKind::Deleted { event.object.bytes.len() } else { 0 };
    event.previous.as_ref().map_or(0, |previous| previous.bytes.len()) + last
}

impl Resource {
    fn range<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Object)> {
        let start = match after {
            Some(after) if after >= &*scope.prefix => Bound::Excluded(after),
            _ => Bound::Included(&*scope.prefix),
        };
        self.objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(&*scope.prefix))
    }

    /// The state at an older revision: the current one with the events since then undone.
    fn as_of(
        &self,
        scope: &Scope,
        after: Option<&str>,
        at: Revision,
    ) -> Result<Vec<(Arc<str>, Object)>, Error> {
        if at < self.floor {
            return Err(Error::Compacted { requested: at, oldest: self.floor });
        }
        let mut then: BTreeMap<Arc<str>, Object> =
            self.range(scope, after).map(|(path, object)| (path.clone(), object.clone())).collect();
        for event in self.window.iter().rev().take_while(|event| event.object.revision > at) {
            let path = event.key.path();
            if !path.starts_with(&*scope.prefix) || after.is_some_and(|after| path <= after) {
                continue;
            }
            match &event.previous {
                Some(previous) => then.insert(event.key.shared_path(), previous.clone()),
                None => then.remove(path),
            };
        }
        Ok(then.into_iter().collect())
    }
}
