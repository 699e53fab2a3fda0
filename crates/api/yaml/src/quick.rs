//! The plain way most documents are written, read in one pass.
//!
//! Manifests and values are nearly always block mappings and sequences of scalars without anchors, tags or
//! directives. Reading those line by line, straight into the sink, takes a fraction of the time of the scanner and the
//! parser. Whatever is not of that plain form, and everything that is wrong, is left to them: this reader gives up
//! ([`Other`]) and never reports an error, and what it does read, it reads exactly as they do.

use std::borrow::Cow;

use crate::compose::{Duplicates, Sink, plain};
use crate::resolve::{Scalar, resolve};

/// The text is not of the plain form.
pub(crate) struct Other;

type Read<T> = Result<T, Other>;

/// Deeper nesting is left to the parser, which limits it.
const MAX_DEPTH: usize = 150;

/// A simple key may be so long; the parser counts characters.
const MAX_KEY: usize = 1000;

/// The first document of a text.
pub(crate) fn read<S: Sink>(text: &str, sink: &mut S, duplicates: Duplicates) -> Read<S::Value> {
    if !is_simple(text.as_bytes()) {
        return Err(Other);
    }
    let body = text.strip_prefix("---\n").unwrap_or(text);
    let mut reader = Reader { text: body.as_bytes(), body, at: 0, column: 0, sink, duplicates, depth: 0 };
    if !reader.next_line() {
        return Ok(reader.sink.null());
    }
    let column = reader.column;
    let value = reader.block(column)?;
    if reader.at < reader.text.len() { Err(Other) } else { Ok(value) }
}

/// No control characters, tabs, line breaks other than `\n`, or characters that mean something to the scanner.
fn is_simple(bytes: &[u8]) -> bool {
    // Without jumps, so that a whole block is compared at once.
    let unusual = |byte: u8| {
        (byte < 0x20) & (byte != b'\n') | (byte == 0x7F) | (byte == 0xC2) | (byte == 0xE2) | (byte == 0xEF)
    };
    let (blocks, rest) = bytes.as_chunks::<64>();
    let all_usual = |block: &[u8]| !block.iter().fold(false, |any, &byte| any | unusual(byte));
    blocks.iter().map(|block| block.as_slice()).chain([rest]).enumerate().all(|(index, block)| {
        all_usual(block)
            || (0..block.len()).all(|at| !unusual(block[at]) || is_harmless(&bytes[index * 64 + at..]))
    })
}

/// Whether the character that begins with an unusual byte is one of those that mean nothing: no control character, no
/// line break, no byte order mark.
fn is_harmless(bytes: &[u8]) -> bool {
    match bytes {
        [0xC2, second, ..] => *second >= 0xA0,
        [0xE2, second, third, ..] => !(*second == 0x80 && matches!(*third, 0xA8 | 0xA9)),
        [0xEF, second, third, ..] => {
            !(*second == 0xBB && *third == 0xBF || *second == 0xBF && matches!(*third, 0xBE | 0xBF))
        }
        _ => false,
    }
}

struct Reader<'a, 's, S> {
    text: &'a [u8],
    body: &'a str,
    /// The first character that is not yet read, in the middle of a line or at its content.
    at: usize,
    /// Its column.
    column: usize,
    sink: &'s mut S,
    duplicates: Duplicates,
    depth: usize,
}

/// Whether a byte may be part of a key that is written plain: a few that are common, none that means something.
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'$')
}

impl<'a, S: Sink> Reader<'a, '_, S> {
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(b'\n')
    }

    /// Goes to the content of the next line that has any; `false` at the end. Call at the beginning of a line.
    fn next_line(&mut self) -> bool {
        loop {
            let start = self.at;
            while self.byte(self.at) == b' ' {
                self.at += 1;
            }
            match self.text.get(self.at) {
                None => return false,
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(_) => {
                    self.column = self.at - start;
                    return true;
                }
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
    }

    fn skip_spaces(&mut self) {
        while self.byte(self.at) == b' ' {
            self.at += 1;
        }
    }

    /// Nothing but a comment may be left of the line; goes to the content of the next.
    fn end_line(&mut self) -> Read<()> {
        let spaced = self.byte(self.at) == b' ';
        self.skip_spaces();
        match self.byte(self.at) {
            b'\n' => self.at = (self.at + 1).min(self.text.len()),
            b'#' if spaced => self.skip_line(),
            _ => return Err(Other),
        }
        if !self.next_line() {
            self.column = 0;
        }
        Ok(())
    }

    fn is_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn is_entry(&self) -> bool {
        self.byte(self.at) == b'-' && matches!(self.byte(self.at + 1), b' ' | b'\n')
    }

    /// A mapping or a sequence that begins here.
    fn block(&mut self, column: usize) -> Read<S::Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Other);
        }
        let value = if self.is_entry() { self.sequence(column, false) } else { self.mapping(column) };
        self.depth -= 1;
        value
    }

    /// What begins on a line after the key or the entry, at `column`, that it belongs to.
    fn nested(&mut self, column: usize) -> Read<S::Value> {
        if self.is_entry() || self.is_at_key() {
            self.block(self.column)
        } else if matches!(self.byte(self.at), b'|' | b'>') {
            Err(Other)
        } else {
            self.scalar(column)
        }
    }

    fn mapping(&mut self, column: usize) -> Read<S::Value> {
        let mut map = self.sink.map(0);
        loop {
            let key = self.key()?;
            self.sink.key(&key);
            self.skip_spaces_before_value();
            let value = if self.at_line_end() {
                self.end_line()?;
                if !self.is_end() && self.column > column {
                    self.nested(column)?
                } else if !self.is_end() && self.column == column && self.is_entry() {
                    self.sequence(column, true)?
                } else {
                    self.sink.null()
                }
            } else {
                self.scalar(column)?
            };
            if self.duplicates == Duplicates::Refuse && self.sink.contains(&map, &key) {
                return Err(Other);
            }
            self.sink.insert(&mut map, &key, value);
            if self.is_end() || self.column < column {
                return Ok(self.sink.finish(map));
            }
            if self.column > column {
                return Err(Other);
            }
        }
    }

    fn sequence(&mut self, column: usize, indentless: bool) -> Read<S::Value> {
        let mut items = Vec::new();
        loop {
            self.at += 1;
            self.column += 1;
            let before = self.at;
            self.skip_spaces();
            self.column += self.at - before;
            let value = if self.at_line_end() {
                self.at = before;
                self.end_line()?;
                if !self.is_end() && self.column > column { self.nested(column)? } else { self.sink.null() }
            } else if self.is_entry() || self.is_at_key() {
                self.block(self.column)?
            } else {
                self.scalar(column)?
            };
            items.push(value);
            if self.is_end() || self.column < column {
                break;
            }
            if self.column > column {
                return Err(Other);
            }
            if !self.is_entry() {
                if indentless {
                    break;
                }
                return Err(Other);
            }
        }
        Ok(self.sink.list(items))
    }

    /// After the colon of a key.
    fn skip_spaces_before_value(&mut self) {
        let before = self.at;
        self.skip_spaces();
        if self.at_line_end() {
            self.at = before;
        }
    }

    /// Whether the line has no more than a comment.
    fn at_line_end(&self) -> bool {
        let rest = &self.text[self.at.min(self.text.len())..];
        let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
        match rest.get(spaces) {
            None | Some(b'\n') => true,
            Some(b'#') => spaces > 0 || self.text.get(self.at.wrapping_sub(1)) == Some(&b' '),
            Some(_) => false,
        }
    }

    /// Where the key that begins here ends, if one does: before the colon.
    fn key_end(&self) -> Option<usize> {
        let first = self.byte(self.at);
        let end = if first == b'"' || first == b'\'' {
            let rest = &self.text[self.at + 1..];
            let end = rest.iter().position(|&byte| byte == first || byte == b'\\' || byte == b'\n')?;
            if rest[end] != first {
                return None;
            }
            self.at + 1 + end + 1
        } else {
            if !is_key(first) || first == b'-' {
                return None;
            }
            self.at + self.text[self.at..].iter().take_while(|&&byte| is_key(byte)).count()
        };
        let colon = self.byte(end) == b':' && matches!(self.byte(end + 1), b' ' | b'\n');
        (colon && end - self.at <= MAX_KEY).then_some(end)
    }

    fn is_at_key(&self) -> bool {
        self.key_end().is_some()
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Read<Cow<'a, str>> {
        let end = self.key_end().ok_or(Other)?;
        let text = &self.body[self.at..end];
        self.at = end + 1;
        if let Some(inner) = text.strip_prefix(['"', '\'']) {
            // The quoting character is not inside; a doubled single quote would follow the end.
            return Ok(Cow::Borrowed(&inner[..inner.len() - 1]));
        }
        match resolve(text) {
            Scalar::String => Ok(Cow::Borrowed(text)),
            _ => Err(Other),
        }
    }

    /// A value that begins on this line, of a collection at `column`; then goes to the content of the next line.
    fn scalar(&mut self, column: usize) -> Read<S::Value> {
        match self.byte(self.at) {
            b'"' | b'\'' => {
                let text = self.quoted(Some(column))?;
                self.end_line()?;
                Ok(self.sink.string(text))
            }
            b'|' | b'>' => {
                let text = self.block_scalar(column)?;
                Ok(self.sink.string(Cow::Owned(text)))
            }
            b'[' | b'{' => {
                let value = self.flow(0)?;
                self.end_line()?;
                Ok(value)
            }
            b'-' if matches!(self.byte(self.at + 1), b' ' | b'\n') => Err(Other),
            b'?' | b':' | b',' | b']' | b'}' | b'#' | b'&' | b'*' | b'!' | b'%' | b'@' | b'`' => Err(Other),
            _ => {
                let text = self.plain(column)?;
                plain(self.sink, text).ok_or(Other)
            }
        }
    }

    /// The text of a plain scalar on this line; goes to the end of the line.
    fn plain_line(&mut self) -> Read<(&'a str, bool)> {
        let start = self.at;
        let rest = &self.text[start..];
        let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        let mut end = line.len();
        for at in memchr::memchr2_iter(b':', b'#', line) {
            if line[at] == b':' {
                if matches!(line.get(at + 1), None | Some(b' ')) {
                    return Err(Other);
                }
            } else if at > 0 && line[at - 1] == b' ' {
                end = at;
                break;
            }
        }
        self.at = (start + line.len() + 1).min(self.text.len());
        Ok((self.body[start..start + end].trim_end_matches(' '), end < line.len()))
    }

    /// A plain scalar, which goes on as long as lines are indented more.
    fn plain(&mut self, column: usize) -> Read<Cow<'a, str>> {
        let (first, mut commented) = self.plain_line()?;
        let mut text = Cow::Borrowed(first);
        loop {
            let start = self.at;
            let more = self.next_line();
            if !more {
                self.column = 0;
                return Ok(text);
            }
            if self.column <= column {
                return Ok(text);
            }
            // A comment ends it, and nothing indented more may follow.
            let breaks =
                self.body[start..self.at - self.column].bytes().filter(|&byte| byte == b'\n').count();
            let blank = self.body[start..self.at].bytes().all(|byte| matches!(byte, b' ' | b'\n'));
            if commented || !blank {
                return Err(Other);
            }
            let (line, comment) = self.plain_line()?;
            commented = comment;
            let text = text.to_mut();
            match breaks {
                0 => text.push(' '),
                _ => text.extend(std::iter::repeat_n('\n', breaks)),
            }
            text.push_str(line);
        }
    }

    /// A quoted scalar, which ends on this line or, in a collection at a column, goes on where lines are indented more.
    fn quoted(&mut self, column: Option<usize>) -> Read<Cow<'a, str>> {
        let mark = self.byte(self.at);
        let mut start = self.at + 1;
        let mut text = Cow::Borrowed("");
        loop {
            let rest = &self.text[start..];
            let found = memchr::memchr3(mark, b'\\', b'\n', rest).ok_or(Other)?;
            let at = start + found;
            let mut part = &self.body[start..at];
            if self.text[at] == b'\n' {
                part = part.trim_end_matches(' ');
            }
            if text.is_empty() && matches!(text, Cow::Borrowed(_)) {
                text = Cow::Borrowed(part);
            } else {
                text.to_mut().push_str(part);
            }
            match (self.text[at], self.text.get(at + 1)) {
                (b'\n', _) => {
                    let (next, breaks) = self.continued(at, column.ok_or(Other)?)?;
                    match breaks {
                        1 => text.to_mut().push(' '),
                        _ => text.to_mut().extend(std::iter::repeat_n('\n', breaks - 1)),
                    }
                    start = next;
                    continue;
                }
                (b'\\', _) if mark == b'\'' => text.to_mut().push('\\'),
                (b'\\', Some(escape)) => {
                    text.to_mut().push(match escape {
                        b'"' => '"',
                        b'\\' => '\\',
                        b'/' => '/',
                        b'n' => '\n',
                        b't' => '\t',
                        _ => return Err(Other),
                    });
                    start = at + 2;
                    continue;
                }
                (_, Some(b'\'')) if mark == b'\'' => {
                    text.to_mut().push('\'');
                    start = at + 2;
                    continue;
                }
                _ => {
                    self.at = at + 1;
                    return Ok(text);
                }
            }
            start = at + 1;
        }
    }

    /// Where a quoted scalar goes on after the end of a line, and how many lines later.
    fn continued(&self, mut at: usize, column: usize) -> Read<(usize, usize)> {
        let mut breaks = 0;
        loop {
            let line = &self.text[at + 1..];
            let spaces = line.iter().take_while(|&&byte| byte == b' ').count();
            breaks += 1;
            match line.get(spaces) {
                Some(b'\n') => at += 1 + spaces,
                Some(_) if spaces > column => return Ok((at + 1 + spaces, breaks)),
                _ => return Err(Other),
            }
        }
    }

    /// A literal or folded scalar without an indentation of its own choosing.
    fn block_scalar(&mut self, column: usize) -> Read<String> {
        let folded = self.byte(self.at) == b'>';
        let mut keep = None;
        self.at += 1;
        if let sign @ (b'-' | b'+') = self.byte(self.at) {
            keep = Some(sign == b'+');
            self.at += 1;
        }
        self.skip_spaces();
        if self.text.get(self.at) != Some(&b'\n') {
            return Err(Other);
        }
        self.at += 1;
        let mut text = String::new();
        let mut indent = None;
        // How many spaces the longest blank line before the first has.
        let mut deepest = 0;
        // Line breaks since the last line, its own included, and whether that line was indented more.
        let (mut breaks, mut spaced) = (0usize, false);
        while !self.is_end() {
            let rest = &self.text[self.at..];
            let line_break = memchr::memchr(b'\n', rest);
            let end = line_break.unwrap_or(rest.len());
            let spaces = rest[..end].iter().take_while(|&&byte| byte == b' ').count();
            if spaces == end && line_break.is_none() {
                return Err(Other);
            }
            if indent.is_none() && spaces < end {
                // A blank line that is longer than the first line's indentation is an error.
                if spaces < deepest {
                    return Err(Other);
                }
                indent = Some(spaces);
            }
            let Some(indent) = indent else {
                deepest = deepest.max(spaces);
                breaks += 1;
                self.at += end + 1;
                continue;
            };
            if indent <= column || (spaces < indent && spaces < end) {
                break;
            }
            if end <= indent {
                breaks += 1;
            } else {
                let line = &self.body[self.at + indent..self.at + end];
                let now_spaced = line.starts_with(' ');
                let fold = folded && !text.is_empty() && !spaced && !now_spaced;
                match (fold, breaks) {
                    (true, 1) => text.push(' '),
                    (true, _) => text.extend(std::iter::repeat_n('\n', breaks - 1)),
                    (false, _) => text.extend(std::iter::repeat_n('\n', breaks)),
                }
                text.push_str(line);
                (breaks, spaced) = (usize::from(line_break.is_some()), now_spaced);
            }
            self.at = (self.at + end + 1).min(self.text.len());
        }
        if indent.is_none() && deepest > column {
            return Err(Other);
        }
        match keep {
            // The end of the text may end the last line.
            None if !text.is_empty() && breaks > 0 => text.push('\n'),
            Some(true) => text.extend(std::iter::repeat_n('\n', breaks)),
            _ => {}
        }
        if !self.next_line() {
            self.column = 0;
        }
        Ok(text)
    }

    /// A flow collection that ends on this line, of the plainest form.
    fn flow(&mut self, depth: usize) -> Read<S::Value> {
        if depth > 8 {
            return Err(Other);
        }
        let open = self.byte(self.at);
        let close = if open == b'[' { b']' } else { b'}' };
        self.at += 1;
        self.skip_spaces();
        let (mut items, mut map) = (Vec::new(), self.sink.map(0));
        while self.byte(self.at) != close {
            if open == b'{' {
                let key = self.flow_key()?;
                self.sink.key(&key);
                self.skip_spaces();
                let value = self.flow_value(depth)?;
                if self.duplicates == Duplicates::Refuse && self.sink.contains(&map, &key) {
                    return Err(Other);
                }
                self.sink.insert(&mut map, &key, value);
            } else {
                let value = self.flow_value(depth)?;
                items.push(value);
            }
            self.skip_spaces();
            match self.byte(self.at) {
                b',' if self.byte(self.at + 1) == b' ' => {
                    self.at += 1;
                    self.skip_spaces();
                    // A comma at the end is allowed, but not plain.
                    if self.byte(self.at) == close {
                        return Err(Other);
                    }
                }
                found if found == close => {}
                _ => return Err(Other),
            }
        }
        self.at += 1;
        Ok(if open == b'[' { self.sink.list(items) } else { self.sink.finish(map) })
    }

    fn flow_key(&mut self) -> Read<Cow<'a, str>> {
        if self.byte(self.at) == b'\'' {
            return Err(Other);
        }
        let key = self.key()?;
        if self.byte(self.at) == b' ' { Ok(key) } else { Err(Other) }
    }

    fn flow_value(&mut self, depth: usize) -> Read<S::Value> {
        match self.byte(self.at) {
            b'[' | b'{' => self.flow(depth + 1),
            b'"' | b'\'' => {
                let text = self.quoted(None)?;
                Ok(self.sink.string(text))
            }
            first if is_key(first) && first != b'-' => {
                let length = self.text[self.at..].iter().take_while(|&&byte| is_key(byte)).count();
                let text = &self.body[self.at..self.at + length];
                self.at += length;
                if !matches!(self.byte(self.at), b',' | b']' | b'}') {
                    return Err(Other);
                }
                plain(self.sink, Cow::Borrowed(text)).ok_or(Other)
            }
            _ => Err(Other),
        }
    }
}
