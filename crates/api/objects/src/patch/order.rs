//! The order of a merged list: what the patch names stays in the patch's order, what only the server has keeps its
//! place relative to its neighbours.

use serde_json::Value;

/// What tells an item of a merging list apart: its merge key's value, or the item itself for scalars.
pub(super) fn identity<'a>(item: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    let wanted = identity(item, key)?;
    list.iter().position(|other| identity(other, key) == Some(wanted))
}

/// Orders `merged`: items named in `order` in that order, the others in `server`'s, interleaved by `server`.
pub(super) fn normalize(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (mut named, mut server_only): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(order, item, key).is_some());
    named.sort_by_key(|item| position(order, item, key));
    server_only.sort_by_key(|item| position(server, item, key).unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(named.len() + server_only.len());
    let (mut left, mut right) = (server_only.into_iter().peekable(), named.into_iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (None, _) => return finish(sorted, right),
            (_, None) => return finish(sorted, left),
            (Some(a), Some(b)) => {
                let before = match (position(server, a, key), position(server, b, key)) {
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
