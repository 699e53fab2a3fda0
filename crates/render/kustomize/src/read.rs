//! YAML streams to nodes, as kustomize's library reads resources and patches.
//!
//! Documents are split at separator lines first, aliases are expanded and merge keys applied at once.

use std::collections::btree_map::Entry;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Error;
use crate::node::{Fields, Node, Scalar, Style, Tag};
use crate::resolve;

/// Aliases may multiply a file this much: memory stays proportional to what the repository holds.
const NODES_PER_BYTE: usize = 16;
const FREE_NODES: usize = 10_000;

/// How the types a document can name begin.
const CORE: &str = "tag:yaml.org,2002:";

/// Every non-empty document of the text. `origin` names the file in errors.
pub(crate) fn documents(origin: &str, text: &str) -> Result<Vec<Node>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let limit = FREE_NODES + text.len() * NODES_PER_BYTE;
    let (mut found, mut size) = (Vec::new(), 0);
    for chunk in split(origin, &text)? {
        let malformed = |message: String| Error::Malformed { path: origin.to_owned(), message };
        let nodes = yaml::nodes(chunk).map_err(|error| malformed(error.v3_message()))?;
        if let Some(first) = nodes.into_iter().next() {
            keys_are_text(&first).map_err(malformed)?;
            let node = convert(first).map_err(malformed)?;
            size += count(&node);
            if size > limit {
                return Err(Error::Limit { what: "what the aliases of a YAML file stand for", limit });
            }
            found.push(node);
        }
    }
    found.retain(|node| !node.is_null());
    Ok(found)
}

/// Cuts at lines that begin with `---`; what follows on such a line must be a comment.
fn split<'a>(origin: &str, text: &'a str) -> Result<Vec<&'a str>, Error> {
    let (mut chunks, mut start, mut position) = (Vec::new(), 0, 0);
    while let Some(found) = text[position..].find("\n---") {
        let separator = position + found;
        let Some(end) = text[separator + 4..].find('\n').map(|length| separator + 4 + length) else { break };
        let rest = text[separator + 4..end].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            let message = format!("invalid document separator: ---{}", &text[separator + 4..end]);
            return Err(Error::Malformed { path: origin.to_owned(), message });
        }
        chunks.push(&text[start..=separator]);
        start = end + 1;
        position = end;
    }
    chunks.push(&text[start.min(text.len())..]);
    Ok(chunks)
}

/// Kustomize writes objects by way of JSON, which has no keys that are numbers or the like.
fn keys_are_text(node: &yaml::Node<'_>) -> Result<(), String> {
    match node {
        yaml::Node::Scalar { .. } => Ok(()),
        yaml::Node::Sequence(items) => items.iter().try_for_each(keys_are_text),
        yaml::Node::Mapping(entries) => entries.iter().try_for_each(|(key, value)| match key {
            yaml::Node::Scalar { text, tag: None, plain: true } if resolve::tag(text) != Tag::Str => Err(format!(
                "json: unsupported type: map[interface {{}}]interface {{}}: the key {text} is no text; put it in quotes"
            )),
            _ => keys_are_text(value),
        }),
    }
}

fn count(node: &Node) -> usize {
    match node {
        Node::Scalar(_) => 1,
        Node::Map(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Node::List(items) => 1 + items.iter().map(count).sum::<usize>(),
    }
}

/// A node with its merge keys applied.
pub(crate) fn convert(node: yaml::Node<'_>) -> Result<Node, String> {
    match node {
        yaml::Node::Scalar { text, tag, plain } => scalar(text.into_owned(), tag.as_deref(), plain),
        yaml::Node::Sequence(items) => {
            items.into_iter().map(convert).collect::<Result<_, _>>().map(Node::List)
        }
        yaml::Node::Mapping(entries) => mapping(entries),
    }
}

fn mapping(entries: Vec<(yaml::Node<'_>, yaml::Node<'_>)>) -> Result<Node, String> {
    let (mut fields, mut merged) = (Fields::new(), None);
    for (key, value) in entries {
        let value = convert(value)?;
        let yaml::Node::Scalar { text, plain, .. } = key else {
            return Err("a mapping key must be a scalar".to_owned());
        };
        if text == "<<" && plain {
            if merged.replace(value).is_some() {
                return Err("duplicate merge key".to_owned());
            }
            continue;
        }
        match fields.entry(text.into_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(entry) => return Err(format!("mapping key {:?} already defined", entry.key())),
        }
    }
    if let Some(merged) = merged {
        merge(&mut fields, merged)?;
    }
    Ok(Node::Map(fields))
}

/// Adds what a merge key names, under what the mapping says itself.
fn merge(fields: &mut Fields, source: Node) -> Result<(), String> {
    match source {
        Node::Map(more) => {
            for (name, value) in more {
                fields.entry(name).or_insert(value);
            }
            Ok(())
        }
        Node::List(sources) if sources.iter().all(|source| source.fields().is_some()) => {
            sources.into_iter().try_for_each(|source| merge(fields, source))
        }
        _ => Err("map merge requires map or sequence of maps as the value".to_owned()),
    }
}

fn scalar(mut text: String, tag: Option<&str>, plain: bool) -> Result<Node, String> {
    let tag = match tag.map(|tag| tag.strip_prefix(CORE).unwrap_or_default()) {
        None if plain => resolve::tag(&text),
        Some("int") => Tag::Int,
        Some("float") => Tag::Float,
        Some("bool") => Tag::Bool,
        Some("null") => Tag::Null,
        Some("timestamp") => Tag::Timestamp,
        Some("binary") => {
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(compact);
            let bytes = bytes.map_err(|_error| "!!binary value contains invalid base64 data".to_owned())?;
            text = String::from_utf8_lossy(&bytes).into_owned();
            Tag::Str
        }
        _ => Tag::Str,
    };
    // A type that is written out holds whatever the quotes.
    let typed = !matches!(tag, Tag::Str | Tag::Empty);
    let style = if plain || typed { Style::Plain } else { Style::Quoted };
    Ok(Node::Scalar(Scalar { text, tag, style, shared: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<serde_json::Value> {
        documents("x.yaml", text).unwrap().iter().map(|node| node.to_value().unwrap()).collect()
    }

    #[test]
    fn splits_documents_and_expands_anchors_and_merge_keys() {
        let text =
            "---\na: &x {b: 1, c: '2'}\nd: {<<: *x, b: yes}\n--- # next\n\n---\n# nothing\n---\ne: [*x]\n";
        assert!(documents("x.yaml", text).is_err(), "anchors do not reach the next document");
        let text = text.replace("e: [*x]", "e: 0.10");
        assert_eq!(
            values(&text),
            [
                serde_json::json!({"a": {"b": 1, "c": "2"}, "d": {"b": "yes", "c": "2"}}),
                serde_json::json!({"e": 0.1})
            ]
        );
    }

    #[test]
    fn refuses_what_grows_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..5 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(matches!(documents("x.yaml", &text), Err(Error::Limit { .. })));
        let first = format!("[{}]", vec!["*a4"; 100].join(", "));
        assert!(documents("x.yaml", &format!("{text}b: {first}\n")).is_err());
        assert!(documents("x.yaml", &"[".repeat(100_000)).is_err());
        assert!(documents("x.yaml", "a: &a [*a]\n").is_err());
    }

    #[test]
    fn refuses_duplicate_keys_and_text_after_a_separator() {
        assert!(documents("x.yaml", "a: 1\na: 2\n").is_err());
        assert!(documents("x.yaml", "a: 1\n--- b\nc: 1\n").is_err());
    }
}
