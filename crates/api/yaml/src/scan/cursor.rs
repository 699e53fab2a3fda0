//! Where the scanner is, and the classes of characters it asks for.

use crate::Error;

/// A position; everything counted from zero, columns and indexes in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) index: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    bytes: &'a [u8],
    pub(super) position: usize,
    pub(super) mark: Mark,
}

impl<'a> Cursor<'a> {
    /// # Errors
    /// If the text has a character that YAML does not allow.
    pub(super) fn new(text: &'a str) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(at) = first_forbidden(text) {
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            return Err(Error::new("yaml: control characters are not allowed", line, column));
        }
        Ok(Self { text, bytes: text.as_bytes(), position: 0, mark: Mark::default() })
    }

    pub(super) fn column(&self) -> isize {
        isize::try_from(self.mark.column).unwrap_or(isize::MAX)
    }

    /// The byte `ahead` of the position; zero past the end.
    #[inline]
    pub(super) fn at(&self, ahead: usize) -> u8 {
        self.bytes.get(self.position + ahead).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn is_end(&self) -> bool {
        self.position >= self.bytes.len()
    }

    #[inline]
    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.at(ahead), b' ' | b'\t')
    }

    /// How many bytes the line break at this place has; zero if there is none.
    #[inline]
    pub(super) fn break_width(&self, ahead: usize) -> usize {
        match self.at(ahead) {
            b'\n' => 1,
            b'\r' => 1 + usize::from(self.at(ahead + 1) == b'\n'),
            0xC2 if self.at(ahead + 1) == 0x85 => 2,
            0xE2 if self.at(ahead + 1) == 0x80 && matches!(self.at(ahead + 2), 0xA8 | 0xA9) => 3,
            _ => 0,
        }
    }

    #[inline]
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        self.break_width(ahead) != 0
    }

    #[inline]
    pub(super) fn is_breakz(&self, ahead: usize) -> bool {
        self.position + ahead >= self.bytes.len() || self.is_break(ahead)
    }

    #[inline]
    pub(super) fn is_blankz(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_breakz(ahead)
    }

    /// Whether `---` or `...` stands here, followed by a blank or the end of the line.
    pub(super) fn is_document_indicator(&self) -> bool {
        matches!(self.bytes.get(self.position..self.position + 3), Some(b"---" | b"...")) && self.is_blankz(3)
    }

    /// Skips characters that are known to be ASCII and no line breaks.
    #[inline]
    pub(super) fn skip_ascii(&mut self, count: usize) {
        self.position += count;
        self.mark.index += count;
        self.mark.column += count;
    }

    /// Skips bytes of whole characters, none of them a line break.
    pub(super) fn skip_bytes(&mut self, count: usize) {
        let end = self.position + count;
        let characters = self.bytes[self.position..end].iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        self.position = end;
        self.mark.index += characters;
        self.mark.column += characters;
    }

    /// Skips one character that is no line break.
    pub(super) fn skip_character(&mut self) {
        self.position += width(self.at(0));
        self.mark.index += 1;
        self.mark.column += 1;
    }

    /// Skips a line break if there is one.
    pub(super) fn skip_line(&mut self) {
        let width = self.break_width(0);
        if width > 0 {
            self.mark.index += if self.at(0) == b'\r' { width } else { 1 };
            self.mark.column = 0;
            self.mark.line += 1;
            self.position += width;
        }
    }

    /// Reads a line break as the text it stands for.
    pub(super) fn read_line(&mut self, into: &mut String) {
        if self.at(0) == 0xE2 && self.is_break(0) {
            into.push_str(&self.text[self.position..self.position + 3]);
        } else if self.is_break(0) {
            into.push('\n');
        }
        self.skip_line();
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.skip_ascii(1);
        }
    }

    pub(super) fn skip_comment(&mut self) {
        if self.at(0) == b'#' {
            self.skip_bytes(self.to_line_end());
        }
    }

    /// How many bytes are left of this line.
    pub(super) fn to_line_end(&self) -> usize {
        let mut ahead = 0;
        while !self.is_breakz(ahead) {
            ahead += 1;
        }
        ahead
    }

    /// Goes to the next token: over blanks, comments and line breaks. Tabs do not count as blanks where a key may
    /// begin.
    pub(super) fn skip_to_token(&mut self, flow: bool, simple_key_allowed: &mut bool) {
        loop {
            if self.mark.column == 0 && self.text[self.position..].starts_with('\u{feff}') {
                self.skip_character();
            }
            while self.at(0) == b' ' || ((flow || !*simple_key_allowed) && self.at(0) == b'\t') {
                self.skip_ascii(1);
            }
            self.skip_comment();
            if !self.is_break(0) {
                return;
            }
            self.skip_line();
            if !flow {
                *simple_key_allowed = true;
            }
        }
    }
}

#[inline]
pub(super) fn width(first: u8) -> usize {
    match first {
        0..=0x7F => 1,
        0x80..=0xDF => 2,
        0xE0..=0xEF => 3,
        _ => 4,
    }
}

fn first_forbidden(text: &str) -> Option<usize> {
    // Whole blocks at a time, without branches, as long as there is nothing but ordinary ASCII.
    const BLOCK: usize = 32;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if let Some(block) = bytes.get(at..at + BLOCK) {
            let ordinary = |byte: u8| (byte.wrapping_sub(0x20) <= 0x5E) | (byte == b'\t') | (byte == b'\n');
            if block.iter().fold(true, |all, &byte| all & ordinary(byte)) {
                at += BLOCK;
                continue;
            }
        }
        match bytes[at] {
            0x20..=0x7E | b'\t' | b'\n' | b'\r' => at += 1,
            first @ 0x80.. => {
                let character = text[at..].chars().next()?;
                let allowed = matches!(character,
                    '\u{85}' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
                if !allowed {
                    return Some(at);
                }
                at += width(first);
            }
            _ => return Some(at),
        }
    }
    None
}
