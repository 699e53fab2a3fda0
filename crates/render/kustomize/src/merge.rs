//! Strategic merge as kustomize's library does it, which differs from the API server's in ways that show: new list
//! items come first, nulls written as nothing vanish, custom resources merge as plain maps.
//!
//! The walk visits every field of both sides, also those the patch does not touch, because that is what cleans
//! empty nulls and repeated list items away.

use std::collections::BTreeSet;

use crate::Error;
use crate::node::{Kind, Node};
use crate::schema::{Position, Schema};

const DIRECTIVE: &str = "$patch";

/// Merges the patch into `target`; `None` if the patch deletes it.
///
/// # Errors
/// If the two differ in kind somewhere, or a directive is unknown.
pub(crate) fn merge(mut target: Node, mut patch: Node, schema: &Schema) -> Result<Option<Node>, Error> {
    let walker = Walker { schema };
    Ok(match walker.walk(Some(&mut target), Some(&mut patch), None, Sides::Two)? {
        Merged::InPlace => Some(target),
        Merged::New(node) => Some(node),
        Merged::Gone => None,
    })
}

/// Where the result of one step is.
enum Merged {
    /// In the target, changed where it stood.
    InPlace,
    New(Node),
    Gone,
}

/// Whether target and patch are different nodes or one and the same (what a patch adds is merged with itself).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sides {
    Two,
    Same,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

struct Walker<'s> {
    schema: &'s Schema,
}

impl Walker<'_> {
    fn walk(
        &self,
        target: Option<&mut Node>,
        patch: Option<&mut Node>,
        at: Option<Position>,
        sides: Sides,
    ) -> Result<Merged, Error> {
        let at = at.or_else(|| {
            [target.as_deref(), patch.as_deref()].into_iter().flatten().find_map(|node| self.position(node))
        });
        let present =
            |node: &Option<&mut Node>| node.as_deref().filter(|node| !node.is_null()).map(Node::kind);
        let (left, right) = (present(&target), present(&patch));
        if let (Some(left), Some(right)) = (left, right)
            && left != right
        {
            let other = patch.as_deref().map(|patch| patch.wrong_kind(left));
            return Err(other.unwrap_or_else(|| Error::invalid(format!("wrong node kind: {}", right.name()))));
        }
        match left.or(right) {
            None | Some(Kind::Map) => self.map(target, patch, at, sides),
            Some(Kind::Scalar) => Ok(replaced(patch)),
            Some(Kind::List) => match at.and_then(|at| Some((at, self.schema.merge_keys(at)?))) {
                Some((at, keys)) => self.list(target, patch, at, keys, sides),
                None => Ok(replaced(patch)),
            },
        }
    }

    /// The type of an object that says what it is.
    fn position(&self, node: &Node) -> Option<Position> {
        let (version, kind) = (node.get("apiVersion")?, node.get("kind")?);
        self.schema.of_kind(version.text(), kind.text())
    }

    fn map(
        &self,
        target: Option<&mut Node>,
        patch: Option<&mut Node>,
        at: Option<Position>,
        sides: Sides,
    ) -> Result<Merged, Error> {
        let Some(target) =
            target.filter(|target| !target.is_null() || (patch.is_none() && !target.text().is_empty()))
        else {
            let Some(patch) = patch.filter(|patch| !patch.is_null()) else { return Ok(Merged::Gone) };
            if map_directive(patch)? == Directive::Delete {
                return Ok(Merged::Gone);
            }
            return self.alone(patch, at);
        };
        let Some(fields) = target.fields_mut() else { return Ok(Merged::InPlace) };
        let mut nothing = Node::map();
        let patch = patch.unwrap_or(&mut nothing);
        if patch.is_null() {
            return Ok(Merged::Gone);
        }
        match map_directive(patch)? {
            Directive::Delete => return Ok(Merged::Gone),
            Directive::Replace => return self.alone(patch, at),
            Directive::Merge => {}
        }
        if sides == Sides::Same {
            fields.remove(DIRECTIVE);
        }
        let Some(changes) = patch.fields_mut() else { return Ok(Merged::InPlace) };
        let names: BTreeSet<String> = fields.keys().chain(changes.keys()).cloned().collect();
        for name in names {
            let at = at.and_then(|at| self.schema.field(at, &name));
            match self
                .walk(fields.get_mut(&name), changes.get_mut(&name), at, sides)
                .map_err(|error| error.within(format!("field {name}")))?
            {
                Merged::InPlace => settle(fields.get_mut(&name)),
                Merged::New(node) if !node.is_null() => {
                    put(fields, name.clone(), node);
                    settle(fields.get_mut(&name));
                }
                Merged::New(_) | Merged::Gone => {
                    fields.remove(&name);
                }
            }
        }
        Ok(Merged::InPlace)
    }

    /// What a patch brings where the target has nothing: itself, without directives and nulls.
    fn alone(&self, patch: &Node, at: Option<Position>) -> Result<Merged, Error> {
        let (mut node, mut same) = (patch.clone(), patch.clone());
        Ok(match self.walk(Some(&mut node), Some(&mut same), at, Sides::Same)? {
            Merged::InPlace => Merged::New(node),
            other => other,
        })
    }

    fn list(
        &self,
        target: Option<&mut Node>,
        patch: Option<&mut Node>,
        at: Position,
        keys: &[String],
        sides: Sides,
    ) -> Result<Merged, Error> {
        let Some(Node::List(items)) = target else {
            return match patch {
                Some(patch @ Node::List(_)) => self.alone(patch, Some(at)),
                _ => Ok(Merged::Gone),
            };
        };
        let mut nothing = Vec::new();
        let changes = match patch {
            None => &mut nothing,
            Some(Node::List(changes)) => changes,
            Some(_) => return Ok(Merged::Gone),
        };
        match list_directive(changes)? {
            Directive::Delete => return Ok(Merged::Gone),
            Directive::Replace => return self.alone(&Node::List(changes.clone()), Some(at)),
            Directive::Merge => {}
        }
        if sides == Sides::Same {
            list_directive(items)?;
        }
        let primitive = [String::new()];
        let keys = if keys.is_empty() { &primitive } else { keys };
        *items = self.items(std::mem::take(items), changes, self.schema.items(at), keys, sides)?;
        Ok(Merged::InPlace)
    }

    /// The items the patch names, merged, in its order; then those of the target it does not name.
    fn items(
        &self,
        mut items: Vec<Node>,
        changes: &mut [Node],
        at: Option<Position>,
        keys: &[String],
        sides: Sides,
    ) -> Result<Vec<Node>, Error> {
        let mut identities: Vec<Vec<String>> = Vec::new();
        for item in changes.iter().chain(&items) {
            let identity = identity(item, keys);
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        if keys.len() > 1 {
            unify(&mut identities);
        }
        let used = used_keys(&identities, keys);
        let mut merged: Vec<Node> = Vec::new();
        for identity in &identities {
            let values = values_of(identity, keys, &used);
            let (own_keys, own_values) = narrow(&used, &values);
            let place = find(&items, &own_keys, &own_values);
            let change = find(changes, &own_keys, &own_values);
            let target = place.map(|place| &mut items[place]);
            let result = match self.walk(target, change.map(|change| &mut changes[change]), at, sides)? {
                Merged::InPlace => place.map(|place| items[place].clone()),
                Merged::New(node) => Some(node),
                Merged::Gone => None,
            };
            match result.filter(|node| !node.is_null() && !is_empty_map(node)) {
                None => set_item(&mut items, None, &used, &values)?,
                Some(node) => set_item(&mut merged, Some(&node), &used, &values)?,
            }
        }
        if identities.is_empty() {
            return Ok(items);
        }
        for item in items {
            append(&mut merged, item, &used)?;
        }
        Ok(merged)
    }
}

/// A scalar or a list without merge keys: the patch's, if it says anything.
fn replaced(patch: Option<&mut Node>) -> Merged {
    patch.map_or(Merged::InPlace, |patch| Merged::New(patch.clone()))
}

/// Quotes a text that has no type yet and would be read as something else: every field a merge passes is written
/// again.
fn settle(node: Option<&mut Node>) {
    if let Some(Node::Scalar(scalar)) = node {
        scalar.quote_odd_text();
    }
}

fn put(fields: &mut crate::node::Fields, name: String, mut node: Node) {
    if let (Node::Scalar(new), Some(Node::Scalar(old))) = (&mut node, fields.get(&name)) {
        new.style = old.style;
        new.shared = old.shared;
    }
    fields.insert(name, node);
}

fn is_empty_map(node: &Node) -> bool {
    node.fields().is_some_and(std::collections::BTreeMap::is_empty)
}

fn directive(text: &str) -> Result<Directive, Error> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(Error::invalid(format!("unknown patch strategy '{other}'"))),
    }
}

/// Takes the directive out of a map.
fn map_directive(patch: &mut Node) -> Result<Directive, Error> {
    match patch.fields_mut().and_then(|fields| fields.remove(DIRECTIVE)) {
        Some(found) => directive(found.text()),
        None => Ok(Directive::Merge),
    }
}

/// Takes the directive out of a list: an item that is nothing but the directive.
fn list_directive(items: &mut Vec<Node>) -> Result<Directive, Error> {
    let Some(item) = items.iter().find(|item| item.get(DIRECTIVE).is_some()) else {
        return Ok(Directive::Merge);
    };
    if item.fields().is_some_and(|fields| fields.len() > 1) {
        return Ok(Directive::Merge);
    }
    let text = item.get(DIRECTIVE).map(Node::text).unwrap_or_default().to_owned();
    let found = directive(&text)?;
    items.retain(|item| item.get(DIRECTIVE).is_none_or(|value| value.text() != text));
    Ok(found)
}

/// The texts of an item's key fields; for a list of scalars (one empty key) its own text.
fn identity(item: &Node, keys: &[String]) -> Vec<String> {
    if let [key] = keys
        && key.is_empty()
    {
        return vec![item.text().to_owned()];
    }
    keys.iter()
        .map(|key| {
            item.get(key).filter(|value| !value.is_empty()).map(Node::text).unwrap_or_default().to_owned()
        })
        .collect()
}

/// Makes identities equal that agree in one key and of which one lacks the other.
fn unify(identities: &mut [Vec<String>]) {
    for i in 0..identities.len() {
        for j in 0..identities.len() {
            let (a, b) = (&identities[i], &identities[j]);
            let common = a.iter().zip(b).any(|(a, b)| a == b);
            let conflict = a.iter().zip(b).any(|(a, b)| a != b && !a.is_empty() && !b.is_empty());
            if common && !conflict {
                let both: Vec<String> =
                    a.iter().zip(b).map(|(a, b)| if a.is_empty() { b.clone() } else { a.clone() }).collect();
                identities[i].clone_from(&both);
                identities[j] = both;
            }
        }
    }
}

/// The keys that any item has a value for; all, if none has.
fn used_keys(identities: &[Vec<String>], keys: &[String]) -> Vec<String> {
    let used: Vec<String> = keys
        .iter()
        .enumerate()
        .filter(|(index, _)| identities.iter().any(|identity| !identity[*index].is_empty()))
        .map(|(_, key)| key.clone())
        .collect();
    if used.is_empty() { keys.to_vec() } else { used }
}

fn values_of(identity: &[String], keys: &[String], used: &[String]) -> Vec<String> {
    keys.iter().zip(identity).filter(|(key, _)| used.contains(key)).map(|(_, value)| value.clone()).collect()
}

/// Only the keys this item has a value for; all, if it has none.
fn narrow(keys: &[String], values: &[String]) -> (Vec<String>, Vec<String>) {
    if values.iter().all(String::is_empty) {
        return (keys.to_vec(), values.to_vec());
    }
    keys.iter()
        .zip(values)
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.clone(), value.clone()))
        .unzip()
}

fn find(items: &[Node], keys: &[String], values: &[String]) -> Option<usize> {
    items.iter().position(|item| match (keys, values) {
        ([key], [value]) if key.is_empty() => item.text() == value,
        _ => keys
            .iter()
            .zip(values)
            .all(|(key, value)| item.get(key).is_some_and(|found| found.text() == value)),
    })
}

/// Puts an item in the place of those that match, or at the end; without an item, removes those that match.
fn set_item(
    items: &mut Vec<Node>,
    item: Option<&Node>,
    keys: &[String],
    values: &[String],
) -> Result<(), Error> {
    let names_fields = keys.first().is_some_and(|key| !key.is_empty())
        && values.first().is_some_and(|value| !value.is_empty());
    let (mut kept, mut found) = (Vec::with_capacity(items.len() + 1), false);
    for present in std::mem::take(items) {
        if present.is_null() || is_empty_map(&present) {
            continue;
        }
        if present.fields().is_none() && names_fields {
            kept.push(present);
        } else if matches(&present, keys, values)? {
            found = true;
            kept.extend(item.cloned());
        } else if !values.is_empty() {
            kept.push(present);
        }
    }
    *items = kept;
    if !found {
        items.extend(item.filter(|item| !item.is_null()).cloned());
    }
    Ok(())
}

fn matches(item: &Node, keys: &[String], values: &[String]) -> Result<bool, Error> {
    if values.is_empty() {
        return Ok(false);
    }
    for (key, value) in keys.iter().zip(values) {
        let fits = match item {
            Node::Scalar(scalar) if key.is_empty() => scalar.text == *value,
            Node::Map(fields) if !key.is_empty() => {
                fields.get(key).is_some_and(|found| value.is_empty() || found.text() == value)
            }
            _ => return Err(Error::invalid(format!("list items with merge key {key:?} differ in kind"))),
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn append(items: &mut Vec<Node>, item: Node, keys: &[String]) -> Result<(), Error> {
    if keys.first().is_some_and(String::is_empty) {
        let text = item.text().to_owned();
        return set_item(items, Some(&item), keys, &[text]);
    }
    let mut values = Vec::new();
    for key in keys {
        match item.fields() {
            None => return Err(Error::invalid(format!("list item has no field {key:?} to merge by"))),
            Some(fields) => match fields.get(key) {
                Some(value) => values.push(value.text().to_owned()),
                None => items.push(item.clone()),
            },
        }
    }
    if keys.len() > 1 {
        set_item(items, None, keys, &values)?;
    }
    set_item(items, Some(&item), keys, &values)
}
