//! Paths such as `spec/template/spec/containers[]/image`: which fields of which kinds a transformer changes.

use serde::Deserialize;

use crate::Error;
use crate::id::Gvk;
use crate::node::{Kind, Node};
use crate::resource::Resource;

/// A field of the kinds that `gvk` selects. Lists on the way are entered without being named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, from = "Written")]
pub(crate) struct FieldSpec {
    pub(crate) gvk: Gvk,
    pub(crate) path: String,
    /// Whether what is missing on the way is created.
    pub(crate) create: bool,
}

/// A spec as it stands in a file.
#[derive(Default, Deserialize)]
#[serde(default, rename = "FieldSpec")]
struct Written {
    group: String,
    version: String,
    kind: String,
    path: String,
    create: bool,
}

impl From<Written> for FieldSpec {
    fn from(Written { group, version, kind, path, create }: Written) -> Self {
        Self { gvk: Gvk { group, version, kind }, path, create }
    }
}

impl FieldSpec {
    pub(crate) fn new(path: impl Into<String>, group: &str, version: &str, kind: &str, create: bool) -> Self {
        let gvk = Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() };
        Self { gvk, path: path.into(), create }
    }
}

/// Adds a spec unless one that says the same is there.
pub(crate) fn merge_one(specs: &mut Vec<FieldSpec>, new: FieldSpec) -> Result<(), Error> {
    match specs.iter().find(|old| old.gvk.is_selected(&new.gvk) && old.path == new.path) {
        Some(old) if old.create != new.create => Err(Error::invalid("conflicting fieldspecs")),
        Some(_) => Ok(()),
        None => {
            specs.push(new);
            Ok(())
        }
    }
}

pub(crate) fn merge_all(specs: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<(), Error> {
    more.iter().try_for_each(|spec| merge_one(specs, spec.clone()))
}

/// Splits a path at slashes that no backslash precedes.
pub(crate) fn split(path: &str, separator: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let pieces: Vec<&str> = path.split(separator).collect();
    let pieces = if pieces.len() > 1 && pieces[0].is_empty() { &pieces[1..] } else { &pieces[..] };
    for piece in pieces {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(separator);
                last.push_str(piece);
            }
            _ => parts.push((*piece).to_owned()),
        }
    }
    parts
}

/// Calls `set` with every field the spec names in the object; `kind` is what a missing last field is created as.
///
/// # Errors
/// If a scalar stands where a map or list must be, or `set` fails.
pub(crate) fn apply(
    resource: &mut Resource,
    spec: &FieldSpec,
    kind: Option<Kind>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Error>,
) -> Result<(), Error> {
    if !resource.gvk().is_selected(&spec.gvk) {
        return Ok(());
    }
    let path = split(&spec.path, '/');
    let create = kind.filter(|_| spec.create);
    visit(&mut resource.node, &path, create, set).map_err(|error| {
        let object = resource.named();
        error.within(format!("considering field '{}' of object {object}", spec.path))
    })
}

fn visit(
    node: &mut Node,
    path: &[String],
    create: Option<Kind>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Error>,
) -> Result<(), Error> {
    let [first, rest @ ..] = path else { return set(node) };
    if node.is_null() {
        return Ok(());
    }
    match node {
        Node::Scalar(_) => Err(Error::invalid("expected sequence or mapping node")),
        Node::List(items) => items.iter_mut().try_for_each(|item| visit(item, path, create, set)),
        Node::Map(fields) => {
            let (name, is_list) = match first.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (first.as_str(), false),
            };
            if name.is_empty() {
                return Err(Error::invalid("cannot set or create an empty field name"));
            }
            let kind = match create {
                _ if is_list => Some(Kind::List),
                Some(kind) if rest.is_empty() => Some(kind),
                Some(_) => Some(Kind::Map),
                None => None,
            };
            let Some(field) = fields.get_mut(name) else {
                let (Some(kind), false) = (kind, is_list) else { return Ok(()) };
                let mut field = Node::empty(kind);
                visit(&mut field, rest, create, set)?;
                fields.insert(name.to_owned(), field);
                return Ok(());
            };
            if let (true, Some(kind)) = (field.is_null(), kind) {
                *field = Node::empty(kind);
            }
            visit(field, rest, create, set)
        }
    }
}
