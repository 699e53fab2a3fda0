//! Nodes to values: types of scalars, aliases, merge keys.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::Error;
use crate::number::float_g32;
use crate::parse::{Content, Document, Node, NodeId};
use crate::resolve::{Scalar, resolve};

/// What to do when a key appears twice in one mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// The last one wins (`Unmarshal`).
    LastWins,
    /// An error (`UnmarshalStrict`).
    Refuse,
}

/// Builds values of some type from what is read.
pub trait Sink {
    type Value;
    type Map;

    fn null(&mut self) -> Self::Value;
    fn bool(&mut self, value: bool) -> Self::Value;
    fn int(&mut self, value: i64) -> Self::Value;
    /// An integer above [`i64::MAX`].
    fn uint(&mut self, value: u64) -> Self::Value;
    /// A finite number.
    fn float(&mut self, value: f64) -> Self::Value;
    fn string(&mut self, value: Cow<'_, str>) -> Self::Value;
    fn list(&mut self, items: Vec<Self::Value>) -> Self::Value;
    /// The key of the value that is built next; a sink that is looking for some keys need not build the others' values.
    fn key(&mut self, _key: &str) {}
    /// A new map that will get about so many entries.
    fn map(&mut self, entries: usize) -> Self::Map;
    /// Adds an entry, in place of one with the same key.
    fn insert(&mut self, map: &mut Self::Map, key: &str, value: Self::Value);
    fn contains(&self, map: &Self::Map, key: &str) -> bool;
    fn finish(&mut self, map: Self::Map) -> Self::Value;
}

pub(crate) fn decode<S: Sink>(
    document: &Document<'_>,
    sink: &mut S,
    duplicates: Duplicates,
) -> Result<S::Value, Error> {
    let mut decoder = Decoder {
        nodes: &document.nodes,
        sink,
        duplicates,
        open_aliases: HashSet::new(),
        decoded: 0,
        decoded_in_aliases: 0,
    };
    decoder.node(document.root)
}

struct Decoder<'d, 'a, S> {
    nodes: &'d [Node<'a>],
    sink: &'d mut S,
    duplicates: Duplicates,
    open_aliases: HashSet<NodeId>,
    decoded: u32,
    decoded_in_aliases: u32,
}

/// How much of a document may come from aliases: nearly all of a small one, a tenth of a huge one (go-yaml's
/// protection from documents that grow exponentially).
fn allowed_alias_ratio(decoded: u32) -> f64 {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let over = (f64::from(decoded) - LOW) / (HIGH - LOW);
    0.99 - 0.89 * over.clamp(0.0, 1.0)
}

impl<'d, S: Sink> Decoder<'d, '_, S> {
    fn count(&mut self, line: usize) -> Result<(), Error> {
        self.decoded += 1;
        if !self.open_aliases.is_empty() {
            self.decoded_in_aliases += 1;
        }
        let ratio = f64::from(self.decoded_in_aliases) / f64::from(self.decoded);
        if self.decoded_in_aliases > 100 && self.decoded > 1000 && ratio > allowed_alias_ratio(self.decoded) {
            return Err(Error::new("yaml: document contains excessive aliasing", line + 1, 1));
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<S::Value, Error> {
        let node = &self.nodes[id];
        self.count(node.line)?;
        match &node.content {
            Content::Scalar { value, implicit } => self.scalar(node, value, *implicit),
            Content::Sequence(items) => {
                let items = items.iter().map(|&item| self.node(item)).collect::<Result<_, _>>()?;
                Ok(self.sink.list(items))
            }
            Content::Mapping(entries) => {
                let mut map = self.sink.map(entries.len());
                self.mapping(entries, &mut map)?;
                Ok(self.sink.finish(map))
            }
            Content::Alias { name, target } => {
                let (name, target) = (*name, *target);
                self.open_alias(id, name, node.line)?;
                let value = self.node(target)?;
                self.open_aliases.remove(&id);
                Ok(value)
            }
        }
    }

    fn open_alias(&mut self, id: NodeId, name: &str, line: usize) -> Result<(), Error> {
        if self.open_aliases.len() > crate::scan::MAX_DEPTH {
            return Err(Error::new("yaml: document contains excessive aliasing", line + 1, 1));
        }
        if !self.open_aliases.insert(id) {
            return Err(Error::new(format!("yaml: anchor '{name}' value contains itself"), line + 1, 1));
        }
        Ok(())
    }

    fn mapping(&mut self, entries: &[(NodeId, NodeId)], map: &mut S::Map) -> Result<(), Error> {
        for &(key, value) in entries {
            if is_merge(&self.nodes[key]) {
                self.merge(value, map)?;
                continue;
            }
            let line = self.nodes[value].line;
            let key = self.key(key)?;
            self.sink.key(&key);
            let value = self.node(value)?;
            if self.duplicates == Duplicates::Refuse && self.sink.contains(map, &key) {
                let message =
                    format!("yaml: unmarshal errors:\n  line {}: key {key:?} already set in map", line + 1);
                return Err(Error::new(message, line + 1, 1));
            }
            self.sink.insert(map, &key, value);
        }
        Ok(())
    }

    fn merge(&mut self, id: NodeId, map: &mut S::Map) -> Result<(), Error> {
        let node = &self.nodes[id];
        let unfit =
            || Error::new("yaml: map merge requires map or sequence of maps as the value", node.line + 1, 1);
        match &node.content {
            Content::Mapping(entries) => {
                self.count(node.line)?;
                self.mapping(entries, map)
            }
            Content::Alias { name, target } => {
                let Content::Mapping(entries) = &self.nodes[*target].content else { return Err(unfit()) };
                self.count(node.line)?;
                self.open_alias(id, name, node.line)?;
                self.count(node.line)?;
                self.mapping(entries, map)?;
                self.open_aliases.remove(&id);
                Ok(())
            }
            // The first of several wins, so they are applied backwards.
            Content::Sequence(items) => {
                for &item in items.iter().rev() {
                    if matches!(self.nodes[item].content, Content::Scalar { .. } | Content::Sequence(_)) {
                        return Err(unfit());
                    }
                    self.merge(item, map)?;
                }
                Ok(())
            }
            Content::Scalar { .. } => Err(unfit()),
        }
    }

    /// A key as the string that JSON needs.
    fn key(&mut self, id: NodeId) -> Result<Cow<'d, str>, Error> {
        let mut node = &self.nodes[id];
        self.count(node.line)?;
        if let Content::Alias { target, .. } = node.content {
            node = &self.nodes[target];
            self.count(node.line)?;
        }
        let Content::Scalar { value, implicit } = &node.content else {
            let message = format!("yaml: invalid map key: {}", self.go_syntax(id, 0));
            return Err(Error::new(message, node.line + 1, 1));
        };
        let (scalar, text) = typed(node, value, *implicit)?;
        Ok(match scalar {
            Scalar::String | Scalar::Timestamp => text,
            Scalar::Int(value) => Cow::Owned(value.to_string()),
            Scalar::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Scalar::Float(value) => Cow::Owned(match float_g32(value).as_str() {
                "+Inf" => ".inf".to_owned(),
                "-Inf" => "-.inf".to_owned(),
                "NaN" => ".nan".to_owned(),
                text => text.to_owned(),
            }),
            Scalar::Uint(value) => {
                let message = format!("unsupported map key of type: uint64, key: {value:#x}");
                return Err(Error::new(message, node.line + 1, 1));
            }
            Scalar::Null => {
                let message = "unsupported map key of type: %!s(<nil>), key: <nil>, value: <nil>";
                return Err(Error::new(message, node.line + 1, 1));
            }
        })
    }

    /// A collection as Go's `%#v` prints it.
    fn go_syntax(&self, id: NodeId, depth: usize) -> String {
        const DEEPEST: usize = 20;
        if depth > DEEPEST {
            return "...".to_owned();
        }
        let node = &self.nodes[id];
        match &node.content {
            Content::Scalar { value, implicit } => match typed(node, value, *implicit) {
                Ok((Scalar::Null, _)) => "interface {}(nil)".to_owned(),
                Ok((Scalar::Bool(value), _)) => value.to_string(),
                Ok((Scalar::Int(value), _)) => value.to_string(),
                Ok((Scalar::Uint(value), _)) => format!("{value:#x}"),
                Ok((Scalar::Float(value), _)) => crate::number::float_g(value),
                Ok((_, text)) => format!("{text:?}"),
                Err(_) => String::new(),
            },
            Content::Sequence(items) => {
                let items: Vec<String> = items.iter().map(|&item| self.go_syntax(item, depth + 1)).collect();
                format!("[]interface {{}}{{{}}}", items.join(", "))
            }
            Content::Mapping(entries) => {
                let entry = |&(key, value): &(NodeId, NodeId)| {
                    format!("{}:{}", self.go_syntax(key, depth + 1), self.go_syntax(value, depth + 1))
                };
                let mut entries: Vec<String> = entries.iter().map(entry).collect();
                entries.sort();
                format!("map[interface {{}}]interface {{}}{{{}}}", entries.join(", "))
            }
            Content::Alias { target, .. } => self.go_syntax(*target, depth + 1),
        }
    }

    fn scalar(&mut self, node: &Node<'_>, value: &str, implicit: bool) -> Result<S::Value, Error> {
        let (scalar, text) = typed(node, value, implicit)?;
        Ok(match scalar {
            Scalar::Null => self.sink.null(),
            Scalar::Bool(value) => self.sink.bool(value),
            Scalar::Int(value) => self.sink.int(value),
            Scalar::Uint(value) => self.sink.uint(value),
            Scalar::Float(value) if value.is_finite() => self.sink.float(value),
            Scalar::Float(value) => {
                let message = format!("json: unsupported value: {}", crate::number::float_g(value));
                return Err(Error::new(message, node.line + 1, 1));
            }
            Scalar::String | Scalar::Timestamp => self.sink.string(text),
        })
    }
}

/// The value of a plain scalar; `None` if it has no JSON form.
pub(crate) fn plain<S: Sink>(sink: &mut S, text: Cow<'_, str>) -> Option<S::Value> {
    Some(match resolve(&text) {
        Scalar::Null => sink.null(),
        Scalar::Bool(value) => sink.bool(value),
        Scalar::Int(value) => sink.int(value),
        Scalar::Uint(value) => sink.uint(value),
        Scalar::Float(value) if value.is_finite() => sink.float(value),
        Scalar::Float(_) => return None,
        Scalar::String | Scalar::Timestamp => sink.string(text),
    })
}

fn is_merge(node: &Node<'_>) -> bool {
    match &node.content {
        Content::Scalar { value, implicit } if value == "<<" => {
            *implicit || node.tag.as_deref() == Some("tag:yaml.org,2002:merge")
        }
        _ => false,
    }
}

/// The type of a scalar by its tag, or by its text where it has none.
fn typed<'a>(node: &Node<'_>, value: &'a str, implicit: bool) -> Result<(Scalar, Cow<'a, str>), Error> {
    let Some(tag) = node.tag.as_deref() else {
        return Ok((if implicit { resolve(value) } else { Scalar::String }, Cow::Borrowed(value)));
    };
    let short = tag.strip_prefix("tag:yaml.org,2002:").unwrap_or_default();
    let error = |text: String| Err(Error::new(text, node.line + 1, 1));
    match short {
        "binary" => {
            let Some(text) = crate::resolve::base64_text(value) else {
                return error("yaml: !!binary value contains invalid base64 data".to_owned());
            };
            Ok((Scalar::String, Cow::Owned(text)))
        }
        "str" => Ok((Scalar::String, Cow::Borrowed(value))),
        "bool" | "int" | "float" | "null" | "timestamp" => {
            let found = resolve(value);
            let (scalar, name) = match found {
                Scalar::Null => (found, "null"),
                Scalar::Bool(_) => (found, "bool"),
                #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
                Scalar::Int(value) if short == "float" => (Scalar::Float(value as f64), "float"),
                Scalar::Int(_) | Scalar::Uint(_) => (found, "int"),
                Scalar::Float(_) => (found, "float"),
                Scalar::Timestamp => (found, "timestamp"),
                Scalar::String => (found, "str"),
            };
            if name != short {
                return error(format!("yaml: cannot decode !!{name} `{value}` as a !!{short}"));
            }
            Ok((scalar, Cow::Borrowed(value)))
        }
        _ => Ok((Scalar::String, Cow::Borrowed(value))),
    }
}
