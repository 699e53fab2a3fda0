//! `replacements`: fields copied from one object into others.

use regex::Regex;

use crate::Error;
use crate::fieldspec::split;
use crate::id::{Gvk, Id};
use crate::kustomization::{FieldOptions, Replacement, Selector, Source, Target, without_nulls};
use crate::loader::Loader;
use crate::node::{Kind, Node, Tag};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::schema::Schema;

const NAME: &str = "metadata.name";

/// Reads replacements that stand in files.
pub(crate) fn load(entries: &[Replacement], loader: &Loader<'_>) -> Result<Vec<Replacement>, Error> {
    let mut all = Vec::new();
    for entry in entries {
        if entry.path.is_empty() {
            all.push(entry.clone());
            continue;
        }
        if entry.source.is_some() || !entry.targets.is_empty() {
            return Err(Error::invalid("cannot specify both path and inline replacement"));
        }
        let path = loader.display(&entry.path);
        let malformed = |message: String| Error::Malformed { path: path.clone(), message };
        let text = loader.load_text(&entry.path)?;
        let value = without_nulls(yaml::from_str(&text).map_err(|error| malformed(error.to_string()))?);
        let value = if value.is_object() { serde_json::Value::Array(vec![value]) } else { value };
        let found: Vec<Replacement> =
            serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?;
        all.extend(found);
    }
    Ok(all)
}

pub(crate) fn apply(
    resources: &mut Resources,
    replacements: &[Replacement],
    schema: &Schema,
) -> Result<(), Error> {
    for replacement in replacements {
        let Some(source) = replacement.source.as_ref().filter(|_| !replacement.targets.is_empty()) else {
            return Err(Error::invalid("replacements must specify a source and at least one target"));
        };
        let value = source_value(resources, source, schema)?;
        for target in &replacement.targets {
            copy_to(resources, &value, target, schema)?;
        }
    }
    Ok(())
}

fn source_value(resources: &Resources, source: &Source, schema: &Schema) -> Result<Node, Error> {
    let Source { group, version, kind, name, namespace, field_path, options } = source;
    let gvk = Gvk { group: group.clone(), version: version.clone(), kind: kind.clone() };
    let id = Id { gvk, name: name.clone(), namespace: namespace.clone(), cluster_scoped: false };
    let resource = match resources.with_any_id(|found| found.is_selected_by(&id), schema).as_slice() {
        [index] => &resources.list[*index],
        [] => return Err(Error::invalid(format!("replacements: nothing selected by {id}"))),
        _ => return Err(Error::invalid(format!("replacements: multiple matches for selector {id}"))),
    };
    let path = if field_path.is_empty() { NAME } else { field_path };
    let found = lookup(&resource.node, &split_path(path))?.filter(|node| !node.is_empty());
    let found = found.ok_or_else(|| {
        Error::invalid(format!("fieldPath `{path}` is missing for replacement source {id}"))
    })?;
    let Some(options) = options.as_ref().filter(|options| !options.delimiter.is_empty()) else {
        return Ok(found.clone());
    };
    let Node::Scalar(scalar) = found else {
        return Err(Error::invalid("delimiter option can only be used with scalar nodes"));
    };
    let parts: Vec<&str> = scalar.text.trim_end_matches('\n').split(&options.delimiter).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let part = part.ok_or_else(|| {
        Error::invalid(format!("options.index {} is out of bounds for the value of {path}", options.index))
    })?;
    let mut scalar = scalar.clone();
    scalar.text = (*part).to_owned();
    Ok(Node::Scalar(scalar))
}

fn copy_to(resources: &mut Resources, value: &Node, target: &Target, schema: &Schema) -> Result<(), Error> {
    let Some(select) = &target.select else {
        return Err(Error::invalid("replacements: target must specify resources to select"));
    };
    let default = [NAME.to_owned()];
    let paths = if target.field_paths.is_empty() { &default[..] } else { &target.field_paths };
    for resource in &mut resources.list {
        if !is_selected(resource, select, &target.reject, schema)? {
            continue;
        }
        for path in paths {
            let creates = target.options.as_ref().is_some_and(|options| options.create);
            let create = creates.then(|| value.kind());
            let mut set = |node: &mut Node| set_value(node, value, target.options.as_ref());
            let found = visit(&mut resource.node, &split_path(path), create, &mut set).map_err(|error| {
                error.within(format!("unable to find field {path:?} in replacement target"))
            })?;
            if found == 0 {
                let verb = if creates { "find or create" } else { "find" };
                return Err(Error::invalid(format!("unable to {verb} field {path:?} in replacement target")));
            }
        }
    }
    Ok(())
}

fn is_selected(
    resource: &Resource,
    select: &Selector,
    reject: &[Selector],
    schema: &Schema,
) -> Result<bool, Error> {
    let fits = |selector: &Selector| -> Result<bool, Error> {
        Ok(Resource::matches(resource.annotations(), &selector.annotation_selector)?
            && Resource::matches(resource.labels(), &selector.label_selector)?)
    };
    if !fits(select)? {
        return Ok(false);
    }
    let ids = resource.all_ids(schema);
    let named = |selector: &Selector| ids.iter().any(|id| id.is_selected_by(&selector.id()));
    for rejected in reject {
        let by_text = !rejected.annotation_selector.is_empty() || !rejected.label_selector.is_empty();
        if (by_text && fits(rejected)?) || (!rejected.id().is_empty() && named(rejected)) {
            return Ok(false);
        }
    }
    Ok(named(select))
}

/// Writes the value; a scalar keeps its own type, and with a delimiter only one part of it changes.
fn set_value(node: &mut Node, value: &Node, options: Option<&FieldOptions>) -> Result<(), Error> {
    let mut value = value.clone();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let Node::Scalar(target) = &*node else {
            return Err(Error::invalid("delimiter option can only be used with scalar nodes"));
        };
        let new = value.text().trim_end_matches('\n').to_owned();
        let mut parts: Vec<&str> = target.text.split(&options.delimiter).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &new),
            Ok(index) if index >= parts.len() => parts.push(&new),
            Ok(index) => parts[index] = &new,
        }
        let text = parts.join(&options.delimiter);
        if let Node::Scalar(scalar) = &mut value {
            scalar.text = text;
        }
    }
    match node {
        Node::Scalar(scalar) => value.text().clone_into(&mut scalar.text),
        other => *other = value,
    }
    Ok(())
}

/// Splits a field path at dots; `[name=x]` stays whole, `[a.b]` names one field.
pub(crate) fn split_path(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut pieces = split(path, '.').into_iter();
    while let Some(piece) = pieces.next() {
        if !piece.starts_with('[') || piece.ends_with(']') {
            parts.push(piece);
            continue;
        }
        let mut whole = piece;
        for piece in pieces.by_ref() {
            whole = format!("{whole}.{piece}");
            if whole.ends_with(']') {
                break;
            }
        }
        parts.push(if whole.contains('=') { whole } else { whole.trim_matches(['[', ']']).to_owned() });
    }
    parts
}

/// `[field=value]` taken apart; for lists of scalars the field is empty.
fn list_selector(part: &str) -> Result<Option<(&str, &str)>, Error> {
    let Some(inner) = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) else { return Ok(None) };
    inner.split_once('=').map(Some).ok_or_else(|| {
        Error::invalid("list path element must contain fieldName=fieldValue for element to match")
    })
}

/// The node at a path that names exactly one.
pub(crate) fn lookup<'n>(node: &'n Node, path: &[String]) -> Result<Option<&'n Node>, Error> {
    let mut at = node;
    for part in path.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let selector = list_selector(part)?;
        let next = match at {
            Node::List(items) if part == "-" => items.last(),
            Node::List(items) => match (part.parse::<usize>(), selector) {
                (Ok(index), _) => items.get(index),
                (Err(_), Some(("", value))) => items.iter().find(|item| item.text() == value),
                (Err(_), Some((field, value))) => {
                    items.iter().find(|item| item.get(field).is_some_and(|found| found.text() == value))
                }
                (Err(_), None) => {
                    return Err(Error::invalid(format!("wrong node kind: field {part:?} of a list")));
                }
            },
            Node::Map(fields) if selector.is_none() && part != "*" => fields.get(part),
            node if node.is_null() => None,
            _ => return Err(Error::invalid(format!("wrong node kind at {part:?}"))),
        };
        let Some(next) = next else { return Ok(None) };
        at = next;
    }
    Ok(Some(at))
}

/// Calls `set` for every node the path fits and counts them; missing ones are created if `create` says as what.
fn visit(
    node: &mut Node,
    path: &[String],
    create: Option<Kind>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Error>,
) -> Result<usize, Error> {
    let [part, rest @ ..] = path else { return set(node).map(|()| 1) };
    let wrong = || Error::invalid(format!("wrong node kind at {part:?}"));
    // What a missing step is created as depends on the one after it.
    let kind = create.map(|kind| match rest.first() {
        None => kind,
        Some(next) if next.parse::<usize>().is_ok() || next.starts_with('[') && next.ends_with(']') => {
            Kind::List
        }
        Some(_) => Kind::Map,
    });
    if let Ok(index) = part.parse::<usize>() {
        let Node::List(items) = node else { return Err(wrong()) };
        if index == items.len()
            && let Some(kind) = kind
        {
            items.push(Node::empty(kind));
        }
        let count = items.len();
        let item = items.get_mut(index).ok_or_else(|| {
            Error::invalid(format!("index {index} specified but only {count} elements found"))
        })?;
        return visit(item, rest, create, set);
    }
    if let Some((field, pattern)) = list_selector(part)? {
        return visit_matching(node, (field, pattern), rest, create, set);
    }
    if part == "*" {
        let Node::List(items) = node else { return Err(wrong()) };
        return items.iter_mut().try_fold(0, |count, item| Ok(count + visit(item, rest, create, set)?));
    }
    if node.is_null() && create.is_none() {
        return Ok(0);
    }
    let Ok(fields) = node.expect_map() else { return Err(wrong()) };
    match (fields.get_mut(part), kind) {
        (Some(field), _) => visit(field, rest, create, set),
        (None, Some(kind)) => {
            let field = fields.entry(part.clone()).or_insert_with(|| Node::empty(kind));
            visit(field, rest, create, set)
        }
        (None, None) => Ok(0),
    }
}

/// Visits the items whose field (or own text) contains a match of the pattern; creates one if there is none.
fn visit_matching(
    node: &mut Node,
    (field, pattern): (&str, &str),
    rest: &[String],
    create: Option<Kind>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Error>,
) -> Result<usize, Error> {
    let Node::List(items) = node else {
        return Err(Error::invalid(format!(
            "wrong node kind: [{field}={pattern}] of something that is no list"
        )));
    };
    let expression = Regex::new(pattern)
        .map_err(|_error| Error::invalid(format!("{pattern:?} is not a regular expression")))?;
    let fits = |node: Option<&Node>| match node {
        Some(Node::Scalar(scalar)) => expression.is_match(scalar.written().trim()),
        _ => false,
    };
    let mut count = 0;
    for item in items.iter_mut() {
        if field.is_empty() && fits(Some(item)) {
            set(item)?;
            count += 1;
        } else if !field.is_empty() && fits(item.get(field)) {
            count += visit(item, rest, create, set)?;
        }
    }
    if count > 0 || create.is_none() {
        return Ok(count);
    }
    let value = Node::typed(pattern, Tag::Empty);
    let mut item = if field.is_empty() { value } else { Node::Map([(field.to_owned(), value)].into()) };
    let count =
        if field.is_empty() { set(&mut item).map(|()| 1) } else { visit(&mut item, rest, create, set) }?;
    items.push(item);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Style;

    #[test]
    fn splits_paths_with_brackets_and_escapes() {
        let check = |path: &str, wanted: &[&str]| assert_eq!(split_path(path), wanted, "{path}");
        check("spec.containers.[name=a.b].image", &["spec", "containers", "[name=a.b]", "image"]);
        check("metadata.annotations.[a.b/c]", &["metadata", "annotations", "a.b/c"]);
        check(r"metadata.labels.a\.b", &["metadata", "labels", "a.b"]);
    }

    #[test]
    fn a_written_scalar_shows_its_quotes() {
        let Node::Scalar(mut scalar) = Node::string("a") else { panic!() };
        scalar.style = Style::Quoted;
        assert_eq!(scalar.written(), "\"a\"");
    }
}
