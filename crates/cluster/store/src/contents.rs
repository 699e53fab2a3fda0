//! All current objects, as they are read from files and written to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::frame::Record;
use crate::{Object, Revision};

/// The objects of a resource by path.
pub(crate) type Objects = BTreeMap<Arc<str>, Object>;

/// What a store holds at one revision.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) revision: Revision,
    pub(crate) resources: BTreeMap<Arc<str>, Objects>,
}

impl Contents {
    /// Does what a record says.
    pub(crate) fn apply(&mut self, record: &Record<'_>) {
        if !self.resources.contains_key(record.resource) {
            self.resources.insert(record.resource.into(), Objects::new());
        }
        let Some(objects) = self.resources.get_mut(record.resource) else { return };
        match record.object() {
            Some((path, object)) => {
                objects.insert(path, object);
            }
            None => {
                objects.remove(record.path);
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.resources.values().map(|objects| objects.len() as u64).sum()
    }
}
