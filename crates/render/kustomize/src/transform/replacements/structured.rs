//! Replacements inside a text that is itself YAML or JSON, such as a file in a ConfigMap.

use serde_json::Value;

use super::{lookup, set_value, visit};
use crate::generate::html_safe;
use crate::kustomization::FieldOptions;
use crate::node::Node;
use crate::read;

/// Sets the value behind a path whose first parts lead to such a text and whose others lead on inside it. False if
/// there is no such text, or nothing to set in it.
pub(super) fn set(node: &mut Node, value: &Node, parts: &[String], options: Option<&FieldOptions>) -> bool {
    for length in 1..parts.len() {
        let (outer, inner) = parts.split_at(length);
        let Ok(Some(Node::Scalar(scalar))) = lookup(node, outer) else { continue };
        let Some(text) = rewritten(&scalar.text, value, inner, options) else { return false };
        let mut write = |field: &mut Node| {
            if let Node::Scalar(scalar) = field {
                scalar.text.clone_from(&text);
            }
            Ok(())
        };
        return visit(node, outer, None, &mut write).is_ok_and(|count| count == 1);
    }
    false
}

fn rewritten(text: &str, value: &Node, path: &[String], options: Option<&FieldOptions>) -> Option<String> {
    let original = yaml::nodes(text).ok()?.into_iter().next()?;
    let mut node = read::convert(original.clone()).ok()?;
    if matches!(node, Node::Scalar(_)) {
        return None;
    }
    let create = options.is_some_and(|options| options.create).then(|| value.kind());
    let found = visit(&mut node, path, create, &mut |field| set_value(field, value, options)).ok()?;
    if found == 0 {
        return None;
    }
    if !text.trim_start().starts_with(['{', '[']) {
        let mut emitter = yaml::Emitter::new(yaml::Dialect::V2);
        write(&mut emitter, &node, Some(&original))?;
        return Some(emitter.finish().trim().to_owned());
    }
    let value = node.to_value().ok()?;
    let pretty = text.contains('\n') && text.contains("  ");
    let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    json.ok().map(|json| html_safe(&json))
}

/// Writes a node with its fields in the order they were written, new ones last.
fn write(emitter: &mut yaml::Emitter, node: &Node, original: Option<&yaml::Node<'_>>) -> Option<()> {
    match node {
        Node::Scalar(_) => match node.to_value().ok()? {
            Value::Null => emitter.null(),
            Value::Bool(value) => emitter.bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => emitter.int(value),
                (None, Some(value)) => emitter.uint(value),
                (None, None) => emitter.float(number.as_f64()?),
            },
            Value::String(text) => emitter.string(&text),
            Value::Array(_) | Value::Object(_) => return None,
        },
        Node::List(items) => {
            let before = match original {
                Some(yaml::Node::Sequence(before)) => before.as_slice(),
                _ => &[],
            };
            let mut whole = Some(());
            emitter.sequence(items.len(), |emitter| {
                for (index, item) in items.iter().enumerate() {
                    emitter.item();
                    whole = whole.and_then(|()| write(emitter, item, before.get(index)));
                }
            });
            return whole;
        }
        Node::Map(fields) => {
            let before = match original {
                Some(yaml::Node::Mapping(before)) => before.as_slice(),
                _ => &[],
            };
            let written = before.iter().filter_map(|(key, value)| match key {
                yaml::Node::Scalar { text, .. } => Some((text.as_ref(), value)),
                _ => None,
            });
            let mut order: Vec<(&str, Option<&yaml::Node<'_>>)> = written
                .filter(|(name, _)| fields.contains_key(*name))
                .map(|(name, value)| (name, Some(value)))
                .collect();
            let new: Vec<&str> = fields
                .keys()
                .map(String::as_str)
                .filter(|name| !order.iter().any(|(known, _)| known == name))
                .collect();
            order.extend(new.into_iter().map(|name| (name, None)));
            let mut whole = Some(());
            emitter.mapping(order.len(), |emitter| {
                for (name, original) in &order {
                    emitter.key(name);
                    whole = whole.and_then(|()| write(emitter, fields.get(*name)?, *original));
                }
            });
            return whole;
        }
    }
    Some(())
}
