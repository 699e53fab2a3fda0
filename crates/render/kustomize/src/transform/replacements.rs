//! `replacements`: fields copied from one object into others.

use regex::Regex;
use serde_json::Value;

use crate::Error;
use crate::decode::{Mode, decode};
use crate::fieldspec::split;
use crate::id::{Gvk, Id};
use crate::kustomization::{FieldOptions, Replacement, Selector, Source, Target};
use crate::loader::Loader;
use crate::node::{Kind, Node, Tag};
use crate::resource::Resource;
use crate::resources::{Expressions, Resources};
use crate::schema::Schema;

mod structured;

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
        let text = loader.load_text(&entry.path)?;
        let invalid = |message: String| Error::invalid(format!("error unmarshaling JSON: {message}"));
        let value = yaml::from_str(&text)
            .map_err(|error| Error::invalid(format!("error converting YAML to JSON: {error}")))?;
        match &value {
            Value::Array(_) => {
                all.extend(decode::<Vec<Replacement>>(&value, Mode::Lenient).map_err(invalid)?)
            }
            Value::Object(_) => all.push(decode(&value, Mode::Lenient).map_err(invalid)?),
            other => {
                let kind = match other {
                    Value::Null => "invalid",
                    Value::Bool(_) => "bool",
                    Value::Number(_) => "float64",
                    _ => "string",
                };
                return Err(Error::invalid(format!(
                    "unsupported replacement type encountered within replacement path: {kind}"
                )));
            }
        }
    }
    Ok(all)
}

pub(crate) fn apply(
    resources: &mut Resources,
    replacements: &[Replacement],
    schema: &Schema,
) -> Result<(), Error> {
    for replacement in replacements {
        let value = match (&replacement.source, &replacement.source_value) {
            _ if replacement.targets.is_empty() => None,
            (Some(_), Some(_)) => {
                return Err(Error::invalid("value and resource selectors are mutually exclusive"));
            }
            (None, Some(text)) => Some(Node::typed(text.as_str(), Tag::Empty)),
            (Some(source), None) => Some(source_value(resources, source, schema)?),
            (None, None) => None,
        };
        let value = value
            .ok_or_else(|| Error::invalid("replacements must specify a source and at least one target"))?;
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
        [] => return Err(Error::invalid(format!("nothing selected by {}", shown(source, &id)))),
        _ => return Err(Error::invalid(format!("multiple matches for selector {}", shown(source, &id)))),
    };
    let path = if field_path.is_empty() { NAME } else { field_path };
    let found = lookup(&resource.node, &split_path(path))
        .map_err(|error| error.within("error looking up replacement source"))?;
    let found = found.filter(|node| !node.is_empty());
    let found = found.ok_or_else(|| {
        Error::invalid(format!("fieldPath `{path}` is missing for replacement source {id}"))
    })?;
    let Some(options) = options.as_ref().filter(|options| !options.delimiter.is_empty()) else {
        return Ok(found.clone());
    };
    let Node::Scalar(scalar) = found else {
        return Err(Error::invalid("delimiter option can only be used with scalar nodes"));
    };
    let text = scalar.text.as_str();
    let parts: Vec<&str> = text.split(&options.delimiter).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let part = part.ok_or_else(|| {
        Error::invalid(format!("options.index {} is out of bounds for value {text}", options.index))
    })?;
    let mut scalar = scalar.clone();
    scalar.text = (*part).to_owned();
    Ok(Node::Scalar(scalar))
}

/// A source as errors show it.
fn shown(source: &Source, id: &Id) -> String {
    let mut text = id.to_string();
    if !source.field_path.is_empty() {
        text = format!("{text}:{}", source.field_path);
    }
    match &source.options {
        Some(options) if !options.delimiter.is_empty() || options.create => {
            let FieldOptions { delimiter, index, create, .. } = options;
            format!("{text}:{delimiter}({index}), create={create}")
        }
        _ => text,
    }
}

fn copy_to(resources: &mut Resources, value: &Node, target: &Target, schema: &Schema) -> Result<(), Error> {
    let Some(select) = &target.select else {
        return Err(Error::invalid("target must specify resources to select"));
    };
    let default = [NAME.to_owned()];
    let paths = if target.field_paths.is_empty() { &default[..] } else { &target.field_paths };
    let wanted = Expressions::new(select).map_err(|error| error.within("error creating target selector"))?;
    let rejected: Vec<(&Selector, Expressions)> = target
        .reject
        .iter()
        .map(|selector| Ok((selector, Expressions::new(selector)?)))
        .collect::<Result<_, Error>>()?;
    for resource in &mut resources.list {
        if !is_selected(resource, (select, &wanted), &rejected, schema)? {
            continue;
        }
        for path in paths {
            copy_to_path(resource, value, path, target.options.as_ref())?;
        }
    }
    Ok(())
}

fn copy_to_path(
    resource: &mut Resource,
    value: &Node,
    path: &str,
    options: Option<&FieldOptions>,
) -> Result<(), Error> {
    let parts = split_path(path);
    if structured::set(&mut resource.node, value, &parts, options) {
        return Ok(());
    }
    let creates = options.is_some_and(|options| options.create);
    let create = creates.then(|| value.kind());
    let verb = if creates { "find or create" } else { "find" };
    let missing = || format!("unable to {verb} field {path:?} in replacement target");
    let mut failure = None;
    let mut set = |node: &mut Node| {
        set_value(node, value, options).inspect_err(|error| failure = Some(error.to_string()))
    };
    let found = visit(&mut resource.node, &parts, create, &mut set);
    match (found, failure) {
        (_, Some(message)) => Err(Error::invalid(message)),
        (Err(error), None) => Err(error.within(missing())),
        (Ok(0), None) => Err(Error::invalid(missing())),
        (Ok(_), None) => Ok(()),
    }
}

fn is_selected(
    resource: &Resource,
    (select, wanted): (&Selector, &Expressions),
    reject: &[(&Selector, Expressions)],
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
    for (selector, expressions) in reject {
        let by_text = !selector.annotation_selector.is_empty() || !selector.label_selector.is_empty();
        let by_name = !selector.id().is_empty() && ids.iter().any(|id| expressions.fit(id));
        if by_name || (by_text && fits(selector)?) {
            return Ok(false);
        }
    }
    Ok(ids.iter().any(|id| wanted.fit(id)))
}

/// Writes the value; a scalar keeps its own type, and with a delimiter only one part of it changes.
fn set_value(node: &mut Node, value: &Node, options: Option<&FieldOptions>) -> Result<(), Error> {
    let mut value = value.clone();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let Node::Scalar(target) = &*node else {
            return Err(Error::invalid("delimiter option can only be used with scalar nodes"));
        };
        let new = value.text().to_owned();
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
        other => *other = value.unshared(),
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
    let wrong = |node: &Node, wanted: Kind| node.wrong_kind(wanted);
    // What a missing step is created as depends on the one after it.
    let kind = create.map(|kind| match rest.first() {
        None => kind,
        Some(next) if next.parse::<usize>().is_ok() || next.starts_with('[') && next.ends_with(']') => {
            Kind::List
        }
        Some(_) => Kind::Map,
    });
    if let Ok(index) = part.parse::<usize>() {
        let Node::List(items) = node else { return Err(wrong(node, Kind::List)) };
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
        let Node::List(items) = node else { return Err(wrong(node, Kind::List)) };
        return items.iter_mut().try_fold(0, |count, item| Ok(count + visit(item, rest, create, set)?));
    }
    if node.is_null() && create.is_none() {
        return Ok(0);
    }
    if !node.is_null() && node.fields().is_none() {
        return Err(wrong(node, Kind::Map));
    }
    let fields = node.expect_map()?;
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
    if node.kind() != Kind::List {
        return Err(node.wrong_kind(Kind::List));
    }
    let Node::List(items) = node else { return Ok(0) };
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
