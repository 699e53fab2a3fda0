//! Characters to tokens, with the rules (and the error texts) of libyaml as go-yaml v2 carries them.
//!
//! A mapping key needs no marker before it, so the scanner remembers where a simple key may have begun and puts
//! the KEY and BLOCK-MAPPING-START tokens in front of it once it meets the colon.

mod cursor;
mod scalar;
mod tag;

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::Error;
use cursor::Cursor;
pub(crate) use cursor::Mark;

/// Deeper nesting than this is refused, so that nothing that walks a document needs a deep stack.
pub(crate) const MAX_DEPTH: usize = 200;

/// How many characters a simple key may span.
const MAX_SIMPLE_KEY: usize = 1024;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    StreamEnd,
    VersionDirective(u8, u8),
    TagDirective { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag { handle: String, suffix: String },
    Scalar { value: Cow<'a, str>, plain: bool },
}

#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) start: Mark,
    pub(crate) end: Mark,
}

#[derive(Debug, Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    cursor: Cursor<'a>,
    tokens: VecDeque<Token<'a>>,
    /// How many tokens were taken out of the queue.
    taken: usize,
    indent: isize,
    indents: Vec<isize>,
    flow_level: usize,
    simple_key_allowed: bool,
    /// One per flow level; token numbers never decrease from one to the next.
    simple_keys: Vec<SimpleKey>,
    ended: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self, Error> {
        Ok(Self {
            cursor: Cursor::new(text)?,
            tokens: VecDeque::with_capacity(16),
            taken: 0,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            ended: false,
        })
    }

    /// The next token, left in place.
    pub(crate) fn peek(&mut self) -> Result<&Token<'a>, Error> {
        while self.tokens.is_empty() || self.head_may_be_key()? {
            self.fetch()?;
        }
        Ok(&self.tokens[0])
    }

    /// Takes the next token. After the end of the stream it stays there.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, Error> {
        self.peek()?;
        if self.tokens.len() == 1 && self.ended {
            return Ok(self.tokens[0].clone());
        }
        self.taken += 1;
        Ok(self.tokens.pop_front().expect("peek leaves at least one token"))
    }

    fn error(&self, problem: impl std::fmt::Display) -> Error {
        let Mark { line, column, .. } = self.cursor.mark;
        Error::new(scanner_message(line, problem), line + 1, column + 1)
    }

    fn head_may_be_key(&mut self) -> Result<bool, Error> {
        let at = self.simple_keys.partition_point(|key| key.token < self.taken);
        let found = (at..self.simple_keys.len())
            .take_while(|&at| self.simple_keys[at].token == self.taken)
            .find(|&at| self.simple_keys[at].possible);
        match found {
            Some(at) => self.key_is_valid(at),
            None => Ok(false),
        }
    }

    /// A simple key must end on its line and within 1024 characters.
    fn key_is_valid(&mut self, at: usize) -> Result<bool, Error> {
        let key = self.simple_keys[at];
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < self.cursor.mark.line || key.mark.index + MAX_SIMPLE_KEY < self.cursor.mark.index {
            if key.required {
                return Err(self.error("could not find expected ':'"));
            }
            self.simple_keys[at].possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn save_simple_key(&mut self) -> Result<(), Error> {
        if self.simple_key_allowed {
            let required = self.flow_level == 0 && self.indent == self.cursor.column();
            self.remove_simple_key()?;
            let key = SimpleKey {
                possible: true,
                required,
                token: self.taken + self.tokens.len(),
                mark: self.cursor.mark,
            };
            *self.simple_keys.last_mut().expect("one simple key per flow level") = key;
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), Error> {
        let key = *self.simple_keys.last().expect("one simple key per flow level");
        if key.possible {
            if key.required {
                return Err(self.error("could not find expected ':'"));
            }
            self.simple_keys.last_mut().expect("one simple key per flow level").possible = false;
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind<'a>, start: Mark) {
        self.tokens.push_back(Token { kind, start, end: self.cursor.mark });
    }

    /// Opens a block collection if the column lies deeper; `before` is the number of the token it goes in front of.
    fn roll_indent(
        &mut self,
        column: isize,
        before: Option<usize>,
        kind: Kind<'a>,
        mark: Mark,
    ) -> Result<(), Error> {
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_DEPTH {
            return Err(self.error(format_args!("exceeded max depth of {MAX_DEPTH}")));
        }
        let token = Token { kind, start: mark, end: mark };
        match before {
            Some(number) => self.tokens.insert(number - self.taken, token),
            None => self.tokens.push_back(token),
        }
        Ok(())
    }

    fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.push(Kind::BlockEnd, self.cursor.mark);
            self.indent = self.indents.pop().expect("every indent was pushed");
        }
    }

    fn fetch(&mut self) -> Result<(), Error> {
        if self.ended {
            return Ok(());
        }
        self.cursor.skip_to_token(self.flow_level > 0, &mut self.simple_key_allowed);
        self.unroll_indent(self.cursor.column());
        if self.cursor.is_end() {
            return self.fetch_stream_end();
        }
        let first = self.cursor.at(0);
        let flow = self.flow_level > 0;
        let column_zero = self.cursor.mark.column == 0;
        if column_zero && first == b'%' {
            return self.fetch_directive();
        }
        if column_zero && self.cursor.is_document_indicator() {
            let kind = if first == b'-' { Kind::DocumentStart } else { Kind::DocumentEnd };
            return self.fetch_document_indicator(kind);
        }
        match first {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if self.cursor.is_blankz(1) => self.fetch_block_entry(),
            b'?' if flow || self.cursor.is_blankz(1) => self.fetch_key(),
            b':' if flow || self.cursor.is_blankz(1) => self.fetch_value(),
            b'*' | b'&' => self.fetch_anchor(first == b'*'),
            b'!' => self.fetch_tag(),
            b'|' | b'>' if !flow => self.fetch_block_scalar(first == b'|'),
            b'\'' | b'"' => self.fetch_quoted_scalar(first == b'\''),
            _ if self.starts_plain(first) => self.fetch_plain_scalar(),
            _ => Err(self.error("found character that cannot start any token")),
        }
    }

    fn starts_plain(&self, first: u8) -> bool {
        match first {
            b'-' => !self.cursor.is_blank(1),
            b'?' | b':' => self.flow_level == 0 && !self.cursor.is_blankz(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' => false,
            _ => !self.cursor.is_blankz(0),
        }
    }

    fn fetch_stream_end(&mut self) -> Result<(), Error> {
        if self.cursor.mark.column != 0 {
            self.cursor.mark.column = 0;
            self.cursor.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.push(Kind::StreamEnd, self.cursor.mark);
        self.ended = true;
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<(), Error> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        let kind = self.scan_directive()?;
        self.push(kind, start);
        Ok(())
    }

    fn fetch_document_indicator(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        self.cursor.skip_ascii(3);
        self.push(kind, start);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey {
            token: self.taken + self.tokens.len(),
            mark: self.cursor.mark,
            ..SimpleKey::default()
        });
        self.flow_level += 1;
        if self.flow_level > MAX_DEPTH {
            return Err(self.error(format_args!("exceeded max depth of {MAX_DEPTH}")));
        }
        self.simple_key_allowed = true;
        self.one_character(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.one_character(kind);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Result<(), Error> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.one_character(Kind::FlowEntry);
        Ok(())
    }

    fn one_character(&mut self, kind: Kind<'a>) {
        let start = self.cursor.mark;
        self.cursor.skip_ascii(1);
        self.push(kind, start);
    }

    fn fetch_block_entry(&mut self) -> Result<(), Error> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error("block sequence entries are not allowed in this context"));
            }
            self.roll_indent(self.cursor.column(), None, Kind::BlockSequenceStart, self.cursor.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.one_character(Kind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Error> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error("mapping keys are not allowed in this context"));
            }
            self.roll_indent(self.cursor.column(), None, Kind::BlockMappingStart, self.cursor.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.one_character(Kind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Error> {
        let last = self.simple_keys.len() - 1;
        if self.key_is_valid(last)? {
            let key = self.simple_keys[last];
            let token = Token { kind: Kind::Key, start: key.mark, end: key.mark };
            self.tokens.insert(key.token - self.taken, token);
            let column = isize::try_from(key.mark.column).unwrap_or(isize::MAX);
            self.roll_indent(column, Some(key.token), Kind::BlockMappingStart, key.mark)?;
            self.simple_keys[last].possible = false;
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.error("mapping values are not allowed in this context"));
                }
                self.roll_indent(self.cursor.column(), None, Kind::BlockMappingStart, self.cursor.mark)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.one_character(Kind::Value);
        Ok(())
    }

    fn fetch_anchor(&mut self, alias: bool) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        let name = self.scan_anchor()?;
        self.push(if alias { Kind::Alias(name) } else { Kind::Anchor(name) }, start);
        Ok(())
    }

    fn fetch_tag(&mut self) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        let kind = self.scan_tag()?;
        self.push(kind, start);
        Ok(())
    }

    fn fetch_block_scalar(&mut self, literal: bool) -> Result<(), Error> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        let start = self.cursor.mark;
        let value = self.scan_block_scalar(literal)?;
        self.push(Kind::Scalar { value, plain: false }, start);
        Ok(())
    }

    fn fetch_quoted_scalar(&mut self, single: bool) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        let value = self.scan_quoted_scalar(single)?;
        self.push(Kind::Scalar { value, plain: false }, start);
        Ok(())
    }

    fn fetch_plain_scalar(&mut self) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        let value = self.scan_plain_scalar()?;
        self.push(Kind::Scalar { value, plain: true }, start);
        Ok(())
    }
}

fn scanner_message(line: usize, problem: impl std::fmt::Display) -> String {
    if line == 0 { format!("yaml: {problem}") } else { format!("yaml: line {}: {problem}", line + 1) }
}
