//! The order of a merged list: what the patch names stays in the patch's order, what only the server has keeps its
//! place relative to its neighbours.

use std::collections::HashMap;

use serde_json::Value;

/// What tells an item of a merging list apart: its merge key's value, or the item itself for scalars.
pub(super) fn identity<'a>(item: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// Where each item of a list stands, by what tells it apart. Of equal ones the first counts. Lists come from
/// requests, so that looking each item up by walking the list would make large ones expensive.
pub(super) struct Positions<'k> {
    key: Option<&'k str>,
    found: HashMap<String, usize>,
}

impl<'k> Positions<'k> {
    pub(super) fn of(list: &[Value], key: Option<&'k str>) -> Self {
        let mut found = HashMap::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            if let Some(identity) = identity(item, key) {
                found.entry(identity.to_string()).or_insert(index);
            }
        }
        Self { key, found }
    }

    pub(super) fn get(&self, item: &Value) -> Option<usize> {
        self.found.get(&identity(item, self.key)?.to_string()).copied()
    }

    pub(super) fn has(&self, item: &Value) -> bool {
        self.get(item).is_some()
    }

    /// Adds an item that was put at an index; says whether it is new.
    pub(super) fn insert(&mut self, item: &Value, index: usize) -> bool {
        let Some(identity) = identity(item, self.key) else { return true };
        match self.found.entry(identity.to_string()) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(index);
                true
            }
        }
    }

    /// How many different items there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }
}

/// Orders `merged`: items named in `order` in that order, the others in `server`'s, interleaved by `server`.
pub(super) fn normalize(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (order, server) = (Positions::of(order, key), Positions::of(server, key));
    let (mut named, mut server_only): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| order.has(item));
    named.sort_by_cached_key(|item| order.get(item));
    server_only.sort_by_cached_key(|item| server.get(item).unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(named.len() + server_only.len());
    let (mut left, mut right) = (server_only.into_iter().peekable(), named.into_iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (None, _) => return finish(sorted, right),
            (_, None) => return finish(sorted, left),
            (Some(a), Some(b)) => {
                let before = match (server.get(a), server.get(b)) {
                    (Some(a), Some(b)) => a < b,
                    _ => false,
                };
                sorted.extend(if before { left.next() } else { right.next() });
            }
        }
    }
}

fn finish(mut sorted: Vec<Value>, rest: impl Iterator<Item = Value>) -> Vec<Value> {
    sorted.extend(rest);
    sorted
}
