//! Directives, anchors and tags.

use super::{Kind, Scanner};
use crate::Error;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl<'a> Scanner<'a> {
    fn word(&mut self) -> &'a str {
        let start = self.cursor.position;
        while is_word(self.cursor.at(0)) {
            self.cursor.skip_ascii(1);
        }
        &self.cursor.text[start..self.cursor.position]
    }

    pub(super) fn scan_anchor(&mut self) -> Result<&'a str, Error> {
        self.cursor.skip_ascii(1);
        let name = self.word();
        let ends = self.cursor.is_blankz(0)
            || matches!(self.cursor.at(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return Err(self.error("did not find expected alphabetic or numeric character"));
        }
        Ok(name)
    }

    pub(super) fn scan_directive(&mut self) -> Result<Kind<'a>, Error> {
        self.cursor.skip_ascii(1);
        let name = self.word();
        if name.is_empty() {
            return Err(self.error("could not find expected directive name"));
        }
        if !self.cursor.is_blankz(0) {
            return Err(self.error("found unexpected non-alphabetical character"));
        }
        let kind = match name {
            "YAML" => self.scan_version()?,
            "TAG" => self.scan_tag_directive()?,
            _ => return Err(self.error("found unknown directive name")),
        };
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_breakz(0) {
            return Err(self.error("did not find expected comment or line break"));
        }
        self.cursor.skip_line();
        Ok(kind)
    }

    fn scan_version(&mut self) -> Result<Kind<'a>, Error> {
        self.cursor.skip_blanks();
        let major = self.scan_version_number()?;
        if self.cursor.at(0) != b'.' {
            return Err(self.error("did not find expected digit or '.' character"));
        }
        self.cursor.skip_ascii(1);
        Ok(Kind::VersionDirective(major, self.scan_version_number()?))
    }

    fn scan_version_number(&mut self) -> Result<u8, Error> {
        let (mut value, mut length) = (0, 0);
        while self.cursor.at(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return Err(self.error("found extremely long version number"));
            }
            value = value * 10 + (self.cursor.at(0) - b'0');
            self.cursor.skip_ascii(1);
        }
        if length == 0 {
            return Err(self.error("did not find expected version number"));
        }
        Ok(value)
    }

    fn scan_tag_directive(&mut self) -> Result<Kind<'a>, Error> {
        self.cursor.skip_blanks();
        let handle = self.scan_tag_handle(true)?;
        if !self.cursor.is_blank(0) {
            return Err(self.error("did not find expected whitespace"));
        }
        self.cursor.skip_blanks();
        let prefix = self.scan_tag_uri("")?;
        if !self.cursor.is_blankz(0) {
            return Err(self.error("did not find expected whitespace or line break"));
        }
        Ok(Kind::TagDirective { handle, prefix })
    }

    pub(super) fn scan_tag(&mut self) -> Result<Kind<'a>, Error> {
        let (handle, suffix);
        if self.cursor.at(1) == b'<' {
            self.cursor.skip_ascii(2);
            handle = String::new();
            suffix = self.scan_tag_uri("")?;
            if self.cursor.at(0) != b'>' {
                return Err(self.error("did not find the expected '>'"));
            }
            self.cursor.skip_ascii(1);
        } else {
            let first = self.scan_tag_handle(false)?;
            if first.len() > 1 && first.ends_with('!') {
                handle = first;
                suffix = self.scan_tag_uri("")?;
            } else {
                let rest = self.scan_tag_uri(&first)?;
                // A lone "!" is a tag without a handle.
                (handle, suffix) =
                    if rest.is_empty() { (String::new(), "!".to_owned()) } else { ("!".to_owned(), rest) };
            }
        }
        if !self.cursor.is_blankz(0) {
            return Err(self.error("did not find expected whitespace or line break"));
        }
        Ok(Kind::Tag { handle, suffix })
    }

    fn scan_tag_handle(&mut self, directive: bool) -> Result<String, Error> {
        if self.cursor.at(0) != b'!' {
            return Err(self.error("did not find expected '!'"));
        }
        self.cursor.skip_ascii(1);
        let mut handle = format!("!{}", self.word());
        if self.cursor.at(0) == b'!' {
            self.cursor.skip_ascii(1);
            handle.push('!');
        } else if directive && handle != "!" {
            return Err(self.error("did not find expected '!'"));
        }
        Ok(handle)
    }

    fn scan_tag_uri(&mut self, head: &str) -> Result<String, Error> {
        let mut found = !head.is_empty();
        let mut uri: Vec<u8> = head.bytes().skip(1).collect();
        loop {
            let byte = self.cursor.at(0);
            if byte == b'%' {
                self.scan_uri_escapes(&mut uri)?;
            } else if is_word(byte) || (byte != 0 && b";/?:@&=+$,.!~*'()[]".contains(&byte)) {
                uri.push(byte);
                self.cursor.skip_ascii(1);
            } else {
                break;
            }
            found = true;
        }
        if !found {
            return Err(self.error("did not find expected tag URI"));
        }
        String::from_utf8(uri).map_err(|_| self.error("found an incorrect trailing UTF-8 octet"))
    }

    fn scan_uri_escapes(&mut self, uri: &mut Vec<u8>) -> Result<(), Error> {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut left = None;
        while left != Some(0) {
            let digits = (hex(self.cursor.at(1)), hex(self.cursor.at(2)));
            let (b'%', (Some(high), Some(low))) = (self.cursor.at(0), digits) else {
                return Err(self.error("did not find URI escaped octet"));
            };
            let octet = high << 4 | low;
            left = match left {
                None => Some(match octet {
                    0x00..=0x7F => 0,
                    0xC0..=0xDF => 1,
                    0xE0..=0xEF => 2,
                    0xF0..=0xF7 => 3,
                    _ => return Err(self.error("found an incorrect leading UTF-8 octet")),
                }),
                Some(_) if octet & 0xC0 != 0x80 => {
                    return Err(self.error("found an incorrect trailing UTF-8 octet"));
                }
                Some(count) => Some(count - 1),
            };
            uri.push(octet);
            self.cursor.skip_ascii(3);
        }
        Ok(())
    }
}
