//! `vars`: `$(NAME)` in the fields that `varReference` lists, replaced by a field of some object.

use std::collections::BTreeMap;

use crate::Error;
use crate::fieldspec::{self, FieldSpec};
use crate::id::Id;
use crate::kustomization::Variable;
use crate::node::{Node, Scalar, Style, Tag};
use crate::resources::Resources;
use crate::schema::Schema;
use crate::transform::replacements::{lookup, split_path};

/// The variables that the kustomizations read so far define, by name.
pub(crate) type Variables = BTreeMap<String, Variable>;

/// Adds a kustomization's variables and notes in the objects which of them reads from it.
pub(crate) fn define(
    variables: &mut Variables,
    new: &[Variable],
    resources: &mut Resources,
    schema: &Schema,
) -> Result<(), Error> {
    for variable in new {
        let gvk = variable.objref.gvk();
        let (name, namespace) = (variable.objref.name.clone(), variable.objref.namespace.clone());
        let target = Id { gvk, name, namespace, cluster_scoped: false };
        let exact = !target.namespace.is_empty();
        let fits = |id: &Id| if exact { id.same(&target) } else { id.same_name(&target) };
        match resources.with_any_id(fits, schema).as_slice() {
            [] => {}
            [index] => resources.list[*index].variables.push(variable.name.clone()),
            found => {
                let count = found.len();
                return Err(Error::invalid(format!(
                    "found {count} resId matches for var {} (unable to disambiguate)",
                    shown(variable)
                )));
            }
        }
    }
    merge(variables, new.iter().cloned())
}

/// The context of an error about these variables.
pub(crate) fn merging(variables: &[Variable]) -> String {
    let shown: Vec<String> = variables
        .iter()
        .map(|variable| {
            let mut variable = variable.clone();
            variable.objref = variable.objref.unversioned();
            shown(&variable)
        })
        .collect();
    format!("merging vars [{}]", shown.join(" "))
}

/// A variable as Go prints it.
fn shown(variable: &Variable) -> String {
    let Variable { name, objref, fieldref } = variable;
    let path = if fieldref.field_path.is_empty() { "metadata.name" } else { &fieldref.field_path };
    format!("{{{name} {} {{{path}}}}}", objref.gvk())
}

/// Adds variables of another kustomization.
pub(crate) fn merge(variables: &mut Variables, new: impl IntoIterator<Item = Variable>) -> Result<(), Error> {
    for variable in new {
        let name = variable.name.clone();
        if variables.insert(name.clone(), variable).is_some() {
            return Err(Error::invalid(format!("var '{name}' already encountered")));
        }
    }
    Ok(())
}

/// Replaces every variable in the fields of the specs.
pub(crate) fn resolve(
    resources: &mut Resources,
    variables: &Variables,
    specs: &[FieldSpec],
) -> Result<(), Error> {
    let mut values = BTreeMap::new();
    for (name, variable) in variables {
        values.insert(name.as_str(), value_of(resources, variable)?);
    }
    if values.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.list {
        for spec in specs {
            fieldspec::apply(resource, spec, None, &mut |node| expand_in(node, &values))?;
        }
    }
    Ok(())
}

fn value_of(resources: &Resources, variable: &Variable) -> Result<Node, Error> {
    let Variable { name, fieldref, .. } = variable;
    let path = if fieldref.field_path.is_empty() { "metadata.name" } else { &fieldref.field_path };
    let source =
        resources.list.iter().find(|resource| resource.variables.contains(name)).ok_or_else(|| {
            let variable = shown(variable);
            Error::invalid(format!(
                "var '{variable}' cannot be mapped to a field in the set of known resources"
            ))
        })?;
    let missing = || {
        let variable = shown(variable);
        Error::invalid(format!("field specified in var '{variable}' not found in corresponding resource"))
    };
    lookup(&source.node, &with_indices(path))?.cloned().ok_or_else(missing)
}

/// Splits a path; `ports[0]` becomes two parts.
fn with_indices(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for part in split_path(path) {
        let index = part.strip_suffix(']').and_then(|part| part.rsplit_once('['));
        match index {
            Some((field, index)) if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => {
                if !field.is_empty() {
                    parts.push(field.to_owned());
                }
                parts.push(index.to_owned());
            }
            _ => parts.push(part),
        }
    }
    parts
}

fn expand_in(node: &mut Node, values: &BTreeMap<&str, Node>) -> Result<(), Error> {
    if node.is_null() {
        return Ok(());
    }
    match node {
        Node::Scalar(scalar) => {
            if scalar.is_string() {
                scalar.write(expand(&scalar.text, values));
            }
        }
        Node::Map(fields) => {
            for value in fields.values_mut() {
                if let Node::Scalar(scalar) = value
                    && scalar.is_string()
                {
                    scalar.write(expand(&scalar.text, values));
                }
            }
        }
        Node::List(items) => {
            for item in items {
                match item {
                    Node::Scalar(scalar) if scalar.is_string() => scalar.write(expand(&scalar.text, values)),
                    _ => return Err(Error::invalid("invalid value type expect a string")),
                }
            }
        }
    }
    Ok(())
}

/// Replaces `$(NAME)`; a text that is nothing else takes the type of the value. `$$` stands for `$`.
fn expand(text: &str, values: &BTreeMap<&str, Node>) -> Scalar {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        let (before, after) = rest.split_at(place);
        output.push_str(before);
        let after = &after[1..];
        let name = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some((name, behind)) = name {
            match values.get(name) {
                Some(Node::Scalar(value)) if text.len() == name.len() + 3 => return typed(value),
                Some(Node::Scalar(value)) => output.push_str(&value.text),
                _ => output.push_str(&format!("$({name})")),
            }
            rest = behind;
            continue;
        }
        match after.chars().next() {
            None | Some('$') => output.push('$'),
            Some('(') => output.push_str("$("),
            Some(other) => {
                output.push('$');
                output.push(other);
            }
        }
        rest = after.get(after.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    output.push_str(rest);
    Scalar { text: output, tag: Tag::Str, style: Style::Plain, shared: None }
}

fn typed(value: &Scalar) -> Scalar {
    let tag = match value.tag {
        Tag::Int | Tag::Float | Tag::Bool => value.tag,
        Tag::Empty | Tag::Str | Tag::Null | Tag::Timestamp => Tag::Str,
    };
    Scalar { text: value.text.clone(), tag, style: Style::Plain, shared: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_known_names_and_leaves_the_rest() {
        let values = BTreeMap::from([("A", Node::string("x")), ("N", Node::typed("8", Tag::Int))]);
        let check = |text: &str, wanted: &str| assert_eq!(expand(text, &values).text, wanted, "{text}");
        check("$(A)/$(B)-$(A)", "x/$(B)-x");
        check("$$(A) $", "$(A) $");
        check("$(A", "$(A");
        check("$é$(N)!", "$é8!");
        assert_eq!(expand("$(N)", &values).tag, Tag::Int);
    }

    #[test]
    fn paths_take_indices_apart() {
        assert_eq!(with_indices("spec.ports[0].port"), ["spec", "ports", "0", "port"]);
        assert_eq!(with_indices("metadata.annotations.[a.b/c]"), ["metadata", "annotations", "a.b/c"]);
    }
}
