//! Documents as written, for those who need the text of scalars rather than their values.

use std::borrow::Cow;

use crate::Error;
use crate::parse::{Content, Document, NodeId, Parser};

/// A part of a document. Aliases are replaced by what they stand for; merge keys are left as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    Scalar {
        text: Cow<'a, str>,
        /// The whole tag, such as `tag:yaml.org,2002:str`, if one is written.
        tag: Option<Box<str>>,
        /// Whether it is written without quotes and not as a block, so that its type follows from its text.
        plain: bool,
    },
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<(Node<'a>, Node<'a>)>),
}

/// How many nodes a stream may have when its aliases are replaced.
const MAX_NODES: usize = 2_000_000;

/// Every document of a stream, empty ones included (a plain scalar without text).
///
/// # Errors
/// If the text is not YAML, or its aliases stand for too much or for themselves.
pub fn nodes(text: &str) -> Result<Vec<Node<'_>>, Error> {
    let mut parser = Parser::new(text)?;
    let mut found = Vec::new();
    let mut builder = Builder { built: 0, open: Vec::new() };
    while let Some(document) = parser.document()? {
        found.push(builder.node(&document, document.root)?);
    }
    Ok(found)
}

struct Builder {
    built: usize,
    open: Vec<NodeId>,
}

impl Builder {
    fn node<'a>(&mut self, document: &Document<'a>, id: NodeId) -> Result<Node<'a>, Error> {
        let node = &document.nodes[id];
        self.built += 1;
        if self.built > MAX_NODES {
            return Err(Error::new("yaml: document contains excessive aliasing", node.line + 1, 1));
        }
        Ok(match &node.content {
            Content::Scalar { value, implicit } => Node::Scalar {
                text: value.clone(),
                tag: node.tag.clone(),
                plain: *implicit && node.tag.is_none(),
            },
            Content::Sequence(items) => {
                Node::Sequence(items.iter().map(|&item| self.node(document, item)).collect::<Result<_, _>>()?)
            }
            Content::Mapping(entries) => {
                let pair = |&(key, value): &(NodeId, NodeId)| {
                    Ok((self.node(document, key)?, self.node(document, value)?))
                };
                Node::Mapping(entries.iter().map(pair).collect::<Result<_, _>>()?)
            }
            Content::Alias { name, target } => {
                if self.open.contains(target) {
                    let message = format!("yaml: anchor '{name}' value contains itself");
                    return Err(Error::new(message, node.line + 1, 1));
                }
                self.open.push(*target);
                let value = self.node(document, *target)?;
                self.open.pop();
                value
            }
        })
    }
}
