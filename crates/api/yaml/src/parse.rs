//! Tokens to a tree of nodes, one document at a time.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::Error;
use crate::scan::{Kind, MAX_DEPTH, Mark, Scanner, Token};

/// A node's place in [`Document::nodes`].
pub(crate) type NodeId = usize;

#[derive(Debug)]
pub(crate) enum Content<'a> {
    Scalar {
        value: Cow<'a, str>,
        /// Whether it was written plain (or tagged `!`), so that its type follows from its text.
        implicit: bool,
    },
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
    Alias {
        name: &'a str,
        target: NodeId,
    },
}

#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) line: usize,
    pub(crate) tag: Option<Box<str>>,
    pub(crate) content: Content<'a>,
}

#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) root: NodeId,
}

#[derive(Debug)]
pub(crate) struct Parser<'a> {
    scanner: Scanner<'a>,
    first: bool,
    tag_directives: Vec<(String, String)>,
    nodes: Vec<Node<'a>>,
    anchors: HashMap<&'a str, NodeId>,
    depth: usize,
}

/// What stood before a node.
#[derive(Default)]
struct Properties<'a> {
    anchor: Option<&'a str>,
    tag: Option<Box<str>>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, Error> {
        Ok(Self {
            scanner: Scanner::new(text)?,
            first: true,
            tag_directives: Vec::new(),
            nodes: Vec::new(),
            anchors: HashMap::new(),
            depth: 0,
        })
    }

    /// The next document; `None` at the end of the stream.
    pub(crate) fn document(&mut self) -> Result<Option<Document<'a>>, Error> {
        let first = std::mem::replace(&mut self.first, false);
        if !first {
            while self.scanner.peek()?.kind == Kind::DocumentEnd {
                self.scanner.next()?;
            }
        }
        let implicit = match self.scanner.peek()?.kind {
            Kind::StreamEnd => return Ok(None),
            Kind::VersionDirective(..) | Kind::TagDirective { .. } | Kind::DocumentStart => false,
            _ => first,
        };
        self.directives()?;
        let root = if implicit {
            self.node(true, false)?
        } else {
            self.expect_document_start()?;
            self.document_content()?
        };
        if self.scanner.peek()?.kind == Kind::DocumentEnd {
            self.scanner.next()?;
        }
        self.tag_directives.clear();
        self.anchors.clear();
        Ok(Some(Document { nodes: std::mem::take(&mut self.nodes), root }))
    }

    fn expect_document_start(&mut self) -> Result<(), Error> {
        let token = self.scanner.peek()?;
        if token.kind != Kind::DocumentStart {
            return Err(problem("did not find expected <document start>", token.start));
        }
        self.scanner.next()?;
        Ok(())
    }

    fn document_content(&mut self) -> Result<NodeId, Error> {
        let token = self.scanner.peek()?;
        match token.kind {
            Kind::VersionDirective(..)
            | Kind::TagDirective { .. }
            | Kind::DocumentStart
            | Kind::DocumentEnd
            | Kind::StreamEnd => {
                let mark = token.start;
                Ok(self.empty(mark))
            }
            _ => self.node(true, false),
        }
    }

    fn directives(&mut self) -> Result<(), Error> {
        let mut versions = 0;
        loop {
            let token = self.scanner.peek()?;
            let start = token.start;
            match &token.kind {
                Kind::VersionDirective(major, minor) => {
                    versions += 1;
                    if versions > 1 {
                        return Err(problem("found duplicate %YAML directive", start));
                    }
                    if (*major, *minor) != (1, 1) {
                        return Err(problem("found incompatible YAML document", start));
                    }
                }
                Kind::TagDirective { handle, prefix } => {
                    if self.tag_directives.iter().any(|(known, _)| known == handle) {
                        return Err(problem("found duplicate %TAG directive", start));
                    }
                    let directive = (handle.clone(), prefix.clone());
                    self.tag_directives.push(directive);
                }
                _ => break,
            }
            self.scanner.next()?;
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.tag_directives.iter().any(|(known, _)| known == handle) {
                self.tag_directives.push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    /// Adds a node and names it if it has an anchor (before its children: they may refer to it).
    fn add(&mut self, mark: Mark, properties: Properties<'a>, content: Content<'a>) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node { line: mark.line, tag: properties.tag, content });
        if let Some(anchor) = properties.anchor {
            self.anchors.insert(anchor, id);
        }
        id
    }

    fn empty(&mut self, mark: Mark) -> NodeId {
        let content = Content::Scalar { value: Cow::Borrowed(""), implicit: true };
        self.add(mark, Properties::default(), content)
    }

    fn properties(&mut self) -> Result<Properties<'a>, Error> {
        let mut properties = Properties::default();
        let mut tag = None;
        loop {
            let token = self.scanner.peek()?;
            match &token.kind {
                Kind::Anchor(name) if properties.anchor.is_none() => properties.anchor = Some(name),
                Kind::Tag { handle, suffix } if tag.is_none() => {
                    tag = Some((handle.clone(), suffix.clone(), token.start));
                }
                _ => break,
            }
            self.scanner.next()?;
        }
        if let Some((handle, suffix, mark)) = tag {
            properties.tag = Some(self.full_tag(&handle, &suffix, mark)?);
        }
        Ok(properties)
    }

    fn full_tag(&self, handle: &str, suffix: &str, mark: Mark) -> Result<Box<str>, Error> {
        if handle.is_empty() {
            return Ok(suffix.into());
        }
        match self.tag_directives.iter().find(|(known, _)| known == handle) {
            Some((_, prefix)) => Ok(format!("{prefix}{suffix}").into()),
            None => Err(problem("found undefined tag handle", mark)),
        }
    }

    fn node(&mut self, block: bool, indentless: bool) -> Result<NodeId, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let mark = self.scanner.peek()?.start;
            return Err(problem(&format!("exceeded max depth of {MAX_DEPTH}"), mark));
        }
        let node = self.node_at_depth(block, indentless);
        self.depth -= 1;
        node
    }

    fn node_at_depth(&mut self, block: bool, indentless: bool) -> Result<NodeId, Error> {
        let token = self.scanner.peek()?;
        let start = token.start;
        if let Kind::Alias(name) = token.kind {
            let Some(&target) = self.anchors.get(name) else {
                let message = format!("yaml: unknown anchor '{name}' referenced");
                return Err(Error::new(message, start.line + 1, start.column + 1));
            };
            self.scanner.next()?;
            return Ok(self.add(start, Properties::default(), Content::Alias { name, target }));
        }
        let properties = self.properties()?;
        let token = self.scanner.peek()?;
        match token.kind {
            Kind::BlockEntry if indentless => self.indentless_sequence(start, properties),
            Kind::Scalar { .. } => self.scalar(start, properties),
            Kind::FlowSequenceStart => self.flow_sequence(start, properties),
            Kind::FlowMappingStart => self.flow_mapping(start, properties),
            Kind::BlockSequenceStart if block => self.block_sequence(start, properties),
            Kind::BlockMappingStart if block => self.block_mapping(start, properties),
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let implicit = properties.tag.is_none();
                let content = Content::Scalar { value: Cow::Borrowed(""), implicit };
                Ok(self.add(start, properties, content))
            }
            _ => Err(problem("did not find expected node content", token.start)),
        }
    }

    fn scalar(&mut self, start: Mark, properties: Properties<'a>) -> Result<NodeId, Error> {
        let Token { kind: Kind::Scalar { value, plain }, .. } = self.scanner.next()? else {
            return Err(problem("did not find expected node content", start));
        };
        let implicit = match properties.tag.as_deref() {
            None => plain,
            Some(tag) => tag == "!",
        };
        Ok(self.add(start, properties, Content::Scalar { value, implicit }))
    }

    fn block_sequence(&mut self, start: Mark, properties: Properties<'a>) -> Result<NodeId, Error> {
        let id = self.add(start, properties, Content::Sequence(Vec::new()));
        self.scanner.next()?;
        let mut items = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            match token.kind {
                Kind::BlockEntry => {
                    let mark = token.end;
                    self.scanner.next()?;
                    items.push(match self.scanner.peek()?.kind {
                        Kind::BlockEntry | Kind::BlockEnd => self.empty(mark),
                        _ => self.node(true, false)?,
                    });
                }
                Kind::BlockEnd => break,
                _ => return Err(begun(start, "did not find expected '-' indicator", token.start)),
            }
        }
        self.scanner.next()?;
        self.nodes[id].content = Content::Sequence(items);
        Ok(id)
    }

    fn indentless_sequence(&mut self, start: Mark, properties: Properties<'a>) -> Result<NodeId, Error> {
        let id = self.add(start, properties, Content::Sequence(Vec::new()));
        let mut items = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            if token.kind != Kind::BlockEntry {
                break;
            }
            let mark = token.end;
            self.scanner.next()?;
            items.push(match self.scanner.peek()?.kind {
                Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd => self.empty(mark),
                _ => self.node(true, false)?,
            });
        }
        self.nodes[id].content = Content::Sequence(items);
        Ok(id)
    }

    fn block_mapping(&mut self, start: Mark, properties: Properties<'a>) -> Result<NodeId, Error> {
        let id = self.add(start, properties, Content::Mapping(Vec::new()));
        self.scanner.next()?;
        let mut entries = Vec::new();
        loop {
            let token = self.scanner.peek()?;
            let mark = token.end;
            match token.kind {
                Kind::Key => {
                    self.scanner.next()?;
                    let key = self.block_mapping_part(mark)?;
                    entries.push((key, self.block_mapping_value()?));
                }
                Kind::BlockEnd => break,
                _ => return Err(begun(start, "did not find expected key", token.start)),
            }
        }
        self.scanner.next()?;
        self.nodes[id].content = Content::Mapping(entries);
        Ok(id)
    }

    fn block_mapping_part(&mut self, mark: Mark) -> Result<NodeId, Error> {
        match self.scanner.peek()?.kind {
            Kind::Key | Kind::Value | Kind::BlockEnd => Ok(self.empty(mark)),
            _ => self.node(true, true),
        }
    }

    fn block_mapping_value(&mut self) -> Result<NodeId, Error> {
        let token = self.scanner.peek()?;
        if token.kind != Kind::Value {
            let mark = token.start;
            return Ok(self.empty(mark));
        }
        let mark = token.end;
        self.scanner.next()?;
        self.block_mapping_part(mark)
    }

    fn flow_sequence(&mut self, start: Mark, properties: Properties<'a>) -> Result<NodeId, Error> {
        let id = self.add(start, properties, Content::Sequence(Vec::new()));
        self.scanner.next()?;
        let mut items = Vec::new();
        let mut first = true;
        loop {
            if self.scanner.peek()?.kind == Kind::FlowSequenceEnd {
                break;
            }
            if !std::mem::replace(&mut first, false) {
                let token = self.scanner.peek()?;
                if token.kind != Kind::FlowEntry {
                    return Err(begun(start, "did not find expected ',' or ']'", token.start));
                }
                self.scanner.next()?;
            }
            let token = self.scanner.peek()?;
            match token.kind {
                Kind::Key => {
                    let mark = token.start;
                    self.scanner.next()?;
                    items.push(self.single_pair(mark)?);
                }
                Kind::FlowSequenceEnd => break,
                _ => items.push(self.node(false, false)?),
            }
        }
        self.scanner.next()?;
        self.nodes[id].content = Content::Sequence(items);
        Ok(id)
    }

    /// `[a: b]` is a sequence of one mapping.
    fn single_pair(&mut self, start: Mark) -> Result<NodeId, Error> {
        let id = self.add(start, Properties::default(), Content::Mapping(Vec::new()));
        let token = self.scanner.peek()?;
        let key = match token.kind {
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd => {
                let mark = token.end;
                self.scanner.next()?;
                self.empty(mark)
            }
            _ => self.node(false, false)?,
        };
        let token = self.scanner.peek()?;
        let mut mark = token.start;
        let mut value = None;
        if token.kind == Kind::Value {
            self.scanner.next()?;
            let token = self.scanner.peek()?;
            mark = token.start;
            if !matches!(token.kind, Kind::FlowEntry | Kind::FlowSequenceEnd) {
                value = Some(self.node(false, false)?);
            }
        }
        let value = value.unwrap_or_else(|| self.empty(mark));
        self.nodes[id].content = Content::Mapping(vec![(key, value)]);
        Ok(id)
    }

    fn flow_mapping(&mut self, start: Mark, properties: Properties<'a>) -> Result<NodeId, Error> {
        let id = self.add(start, properties, Content::Mapping(Vec::new()));
        self.scanner.next()?;
        let mut entries = Vec::new();
        let mut first = true;
        loop {
            if self.scanner.peek()?.kind == Kind::FlowMappingEnd {
                break;
            }
            if !std::mem::replace(&mut first, false) {
                let token = self.scanner.peek()?;
                if token.kind != Kind::FlowEntry {
                    return Err(begun(start, "did not find expected ',' or '}'", token.start));
                }
                self.scanner.next()?;
            }
            let token = self.scanner.peek()?;
            match token.kind {
                Kind::Key => {
                    self.scanner.next()?;
                    let key = self.flow_mapping_part()?;
                    entries.push((key, self.flow_mapping_value()?));
                }
                Kind::FlowMappingEnd => break,
                _ => {
                    let key = self.node(false, false)?;
                    let mark = self.scanner.peek()?.start;
                    entries.push((key, self.empty(mark)));
                }
            }
        }
        self.scanner.next()?;
        self.nodes[id].content = Content::Mapping(entries);
        Ok(id)
    }

    fn flow_mapping_part(&mut self) -> Result<NodeId, Error> {
        let token = self.scanner.peek()?;
        match token.kind {
            Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => {
                let mark = token.start;
                Ok(self.empty(mark))
            }
            _ => self.node(false, false),
        }
    }

    fn flow_mapping_value(&mut self) -> Result<NodeId, Error> {
        let token = self.scanner.peek()?;
        let mut mark = token.start;
        if token.kind == Kind::Value {
            self.scanner.next()?;
            let token = self.scanner.peek()?;
            mark = token.start;
            if !matches!(token.kind, Kind::FlowEntry | Kind::FlowMappingEnd) {
                return self.node(false, false);
            }
        }
        Ok(self.empty(mark))
    }
}

/// A problem in something that begins at `start`.
fn begun(start: Mark, text: &str, mark: Mark) -> Error {
    problem(text, mark).begun(start.line, text)
}

/// A parser's problem; Go shows its line counted from zero, and not at all if that is zero.
fn problem(text: &str, mark: Mark) -> Error {
    let message =
        if mark.line == 0 { format!("yaml: {text}") } else { format!("yaml: line {}: {text}", mark.line) };
    Error::new(message, mark.line + 1, mark.column + 1)
}
