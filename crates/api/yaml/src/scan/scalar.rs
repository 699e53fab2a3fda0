//! Plain, quoted and block scalars. A scalar that stands in the text as it is meant is borrowed from it.

use std::borrow::Cow;

use super::Scanner;
use crate::Error;

/// Line breaks met between two pieces of a scalar, and how they fold.
#[derive(Default)]
struct Folding {
    leading_blanks: bool,
    leading: String,
    trailing: String,
}

impl Folding {
    fn line_break(&mut self, scanner: &mut Scanner<'_>) {
        if self.leading_blanks {
            scanner.cursor.read_line(&mut self.trailing);
        } else {
            scanner.cursor.read_line(&mut self.leading);
            self.leading_blanks = true;
        }
    }

    /// One break becomes a space, further ones stay.
    fn apply(&mut self, value: &mut String) {
        if self.leading.starts_with('\n') {
            if self.trailing.is_empty() {
                value.push(' ');
            }
        } else {
            value.push_str(&self.leading);
        }
        value.push_str(&self.trailing);
        self.leading.clear();
        self.trailing.clear();
        self.leading_blanks = false;
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn scan_plain_scalar(&mut self) -> Result<Cow<'a, str>, Error> {
        let indent = self.indent + 1;
        let start = self.cursor.position;
        let mut end = start;
        let mut folded: Option<String> = None;
        let mut folding = Folding::default();
        loop {
            if self.cursor.mark.column == 0 && self.cursor.is_document_indicator()
                || self.cursor.at(0) == b'#'
            {
                break;
            }
            let length = self.plain_run();
            if length > 0 {
                let run = self.cursor.position..self.cursor.position + length;
                if folding.leading_blanks {
                    let value = folded.get_or_insert_with(|| self.cursor.text[start..end].to_owned());
                    folding.apply(value);
                    value.push_str(&self.cursor.text[run.clone()]);
                } else if let Some(value) = &mut folded {
                    value.push_str(&self.cursor.text[end..run.end]);
                }
                end = run.end;
                self.cursor.skip_bytes(length);
            }
            if !self.cursor.is_blank(0) && !self.cursor.is_break(0) {
                break;
            }
            loop {
                if self.cursor.is_blank(0) {
                    let shallow = folding.leading_blanks && self.cursor.column() < indent;
                    if shallow && self.cursor.at(0) == b'\t' {
                        return Err(self.error("found a tab character that violates indentation"));
                    }
                    self.cursor.skip_ascii(1);
                } else if self.cursor.is_break(0) {
                    folding.line_break(self);
                } else {
                    break;
                }
            }
            if self.flow_level == 0 && self.cursor.column() < indent {
                break;
            }
        }
        if folding.leading_blanks {
            self.simple_key_allowed = true;
        }
        Ok(folded.map_or_else(|| Cow::Borrowed(&self.cursor.text[start..end]), Cow::Owned))
    }

    /// How many bytes of a plain scalar stand here without a blank or a line break.
    fn plain_run(&self) -> usize {
        let flow = self.flow_level > 0;
        let mut ahead = 0;
        loop {
            match self.cursor.at(ahead) {
                b':' if self.cursor.is_blankz(ahead + 1) => return ahead,
                b',' | b'?' | b'[' | b']' | b'{' | b'}' if flow => return ahead,
                0x00..=0x20 | 0xC2 | 0xE2 if self.cursor.is_blankz(ahead) => return ahead,
                _ => ahead += 1,
            }
        }
    }

    pub(super) fn scan_quoted_scalar(&mut self, single: bool) -> Result<Cow<'a, str>, Error> {
        let quote = if single { b'\'' } else { b'"' };
        self.cursor.skip_ascii(1);
        if let Some(value) = self.quoted_on_one_line(quote) {
            return Ok(value);
        }
        let mut value = String::new();
        let mut folding = Folding::default();
        loop {
            if self.cursor.mark.column == 0 && self.cursor.is_document_indicator() {
                return Err(self.error("found unexpected document indicator"));
            }
            if self.cursor.is_end() {
                return Err(self.error("found unexpected end of stream"));
            }
            let escaped_break = self.quoted_run(single, &mut value)?;
            folding.leading_blanks = escaped_break;
            if self.cursor.at(0) == quote {
                break;
            }
            let blanks = self.cursor.position;
            let mut blanks_end = blanks;
            loop {
                if self.cursor.is_blank(0) {
                    self.cursor.skip_ascii(1);
                    if !folding.leading_blanks {
                        blanks_end = self.cursor.position;
                    }
                } else if self.cursor.is_break(0) {
                    folding.line_break(self);
                } else {
                    break;
                }
            }
            if folding.leading_blanks {
                folding.apply(&mut value);
            } else {
                value.push_str(&self.cursor.text[blanks..blanks_end]);
            }
        }
        self.cursor.skip_ascii(1);
        Ok(Cow::Owned(value))
    }

    /// The common case: the closing quote is on the same line and nothing is escaped.
    fn quoted_on_one_line(&mut self, quote: u8) -> Option<Cow<'a, str>> {
        let start = self.cursor.position;
        let mut ahead = 0;
        loop {
            let byte = self.cursor.at(ahead);
            if byte == quote {
                break;
            }
            if byte == b'\\' && quote == b'"' || self.cursor.is_breakz(ahead) {
                return None;
            }
            ahead += 1;
        }
        if quote == b'\'' && self.cursor.at(ahead + 1) == b'\'' {
            return None;
        }
        self.cursor.skip_bytes(ahead);
        self.cursor.skip_ascii(1);
        Some(Cow::Borrowed(&self.cursor.text[start..start + ahead]))
    }

    /// Reads up to a blank, a line break or the closing quote; tells whether an escaped line break ended it.
    fn quoted_run(&mut self, single: bool, value: &mut String) -> Result<bool, Error> {
        while !self.cursor.is_blankz(0) {
            match (single, self.cursor.at(0)) {
                (true, b'\'') if self.cursor.at(1) == b'\'' => {
                    value.push('\'');
                    self.cursor.skip_ascii(2);
                }
                (true, b'\'') | (false, b'"') => break,
                (false, b'\\') if self.cursor.is_break(1) => {
                    self.cursor.skip_ascii(1);
                    self.cursor.skip_line();
                    return Ok(true);
                }
                (false, b'\\') => self.escape(value)?,
                _ => {
                    let width = super::cursor::width(self.cursor.at(0));
                    value.push_str(&self.cursor.text[self.cursor.position..self.cursor.position + width]);
                    self.cursor.skip_character();
                }
            }
        }
        Ok(false)
    }

    fn escape(&mut self, value: &mut String) -> Result<(), Error> {
        let length = match self.cursor.at(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            code => {
                value.push(match code {
                    b'0' => '\0',
                    b'a' => '\x07',
                    b'b' => '\x08',
                    b't' | b'\t' => '\t',
                    b'n' => '\n',
                    b'v' => '\x0B',
                    b'f' => '\x0C',
                    b'r' => '\r',
                    b'e' => '\x1B',
                    b' ' => ' ',
                    b'"' => '"',
                    b'\'' => '\'',
                    b'\\' => '\\',
                    b'N' => '\u{85}',
                    b'_' => '\u{A0}',
                    b'L' => '\u{2028}',
                    b'P' => '\u{2029}',
                    _ => return Err(self.error("found unknown escape character")),
                });
                self.cursor.skip_ascii(2);
                return Ok(());
            }
        };
        self.cursor.skip_ascii(2);
        let mut code = 0;
        for ahead in 0..length {
            let Some(digit) = char::from(self.cursor.at(ahead)).to_digit(16) else {
                return Err(self.error("did not find expected hexdecimal number"));
            };
            code = code << 4 | digit;
        }
        let Some(character) = char::from_u32(code) else {
            return Err(self.error("found invalid Unicode character escape code"));
        };
        value.push(character);
        self.cursor.skip_ascii(length);
        Ok(())
    }

    pub(super) fn scan_block_scalar(&mut self, literal: bool) -> Result<Cow<'a, str>, Error> {
        self.cursor.skip_ascii(1);
        let (chomping, increment) = self.block_header()?;
        let mut indent = match increment {
            0 => 0,
            increment => self.indent.max(0) + increment,
        };
        let mut value = String::new();
        let (mut leading_break, mut trailing_breaks) = (String::new(), String::new());
        self.block_breaks(&mut indent, &mut trailing_breaks)?;
        let mut leading_blank = false;
        while self.cursor.column() == indent && !self.cursor.is_end() {
            let blank = self.cursor.is_blank(0);
            if !literal && !leading_blank && !blank && leading_break.starts_with('\n') {
                if trailing_breaks.is_empty() {
                    value.push(' ');
                }
            } else {
                value.push_str(&leading_break);
            }
            leading_break.clear();
            value.push_str(&trailing_breaks);
            trailing_breaks.clear();
            leading_blank = blank;
            let length = self.cursor.to_line_end();
            value.push_str(&self.cursor.text[self.cursor.position..self.cursor.position + length]);
            self.cursor.skip_bytes(length);
            self.cursor.read_line(&mut leading_break);
            self.block_breaks(&mut indent, &mut trailing_breaks)?;
        }
        if chomping != Chomping::Strip {
            value.push_str(&leading_break);
        }
        if chomping == Chomping::Keep {
            value.push_str(&trailing_breaks);
        }
        Ok(Cow::Owned(value))
    }

    fn block_header(&mut self) -> Result<(Chomping, isize), Error> {
        let mut chomping = None;
        let mut increment = None;
        for _ in 0..2 {
            match self.cursor.at(0) {
                b'+' if chomping.is_none() => chomping = Some(Chomping::Keep),
                b'-' if chomping.is_none() => chomping = Some(Chomping::Strip),
                b'0' if increment.is_none() => {
                    return Err(self.error("found an indentation indicator equal to 0"));
                }
                digit @ b'1'..=b'9' if increment.is_none() => increment = Some(isize::from(digit - b'0')),
                _ => break,
            }
            self.cursor.skip_ascii(1);
        }
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_breakz(0) {
            return Err(self.error("did not find expected comment or line break"));
        }
        self.cursor.skip_line();
        Ok((chomping.unwrap_or(Chomping::Clip), increment.unwrap_or(0)))
    }

    /// Reads the indentation and the empty lines before a line of a block scalar; finds out the indentation if it
    /// is not known yet (zero).
    fn block_breaks(&mut self, indent: &mut isize, breaks: &mut String) -> Result<(), Error> {
        let mut deepest = 0;
        loop {
            while (*indent == 0 || self.cursor.column() < *indent) && self.cursor.at(0) == b' ' {
                self.cursor.skip_ascii(1);
            }
            deepest = deepest.max(self.cursor.column());
            if (*indent == 0 || self.cursor.column() < *indent) && self.cursor.at(0) == b'\t' {
                return Err(self.error("found a tab character where an indentation space is expected"));
            }
            if !self.cursor.is_break(0) {
                break;
            }
            self.cursor.read_line(breaks);
        }
        if *indent == 0 {
            *indent = deepest.max(self.indent + 1).max(1);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}
