//! Which form a string takes, and how each form is written.

use super::{Context, Dialect, Emitter, INDENT, WIDTH};
use crate::resolve::{Scalar, resolve};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// What forms the characters of a string allow.
struct Analysis {
    multiline: bool,
    plain: bool,
    single_quoted: bool,
    block: bool,
}

pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// go-yaml never writes characters beyond the basic plane as they are.
fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}')
}

fn analyze(value: &str, dialect: Dialect) -> Analysis {
    if value.is_empty() {
        return Analysis { multiline: false, plain: true, single_quoted: true, block: false };
    }
    let mut indicators = value.starts_with("---") || value.starts_with("...");
    let (mut breaks, mut special, mut tabs) = (false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut preceded_by_blank = true;
    let mut rest = value.chars();
    let mut first = true;
    while let Some(character) = rest.next() {
        let followed_by_blank = rest.as_str().is_empty() || rest.as_str().starts_with([' ', '\t']);
        indicators |= match character {
            '#' => first || preceded_by_blank,
            ':' => followed_by_blank,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
            '?' | '-' => first && followed_by_blank,
            _ => false,
        };
        if character == '\t' && dialect == Dialect::V3 {
            tabs = true;
        } else if !is_printable(character) {
            special = true;
        }
        if character == ' ' {
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(character) {
            breaks = true;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
        preceded_by_blank = matches!(character, ' ' | '\t') || is_break(character);
        first = false;
    }
    let edge = |character| character == ' ' || is_break(character);
    let loose_ends = value.starts_with(edge) || value.ends_with(edge);
    Analysis {
        multiline: breaks,
        plain: !(loose_ends || break_space || space_break || special || tabs || breaks || indicators),
        single_quoted: !(break_space || space_break || special || tabs),
        block: !(value.ends_with(' ') || space_break || special),
    }
}

/// Numbers like `1:30`, which YAML 1.1 reads to base 60.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some((first, rest)) = unsigned.split_once(':') else { return false };
    if !first.starts_with(|digit: char| digit.is_ascii_digit())
        || !first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    {
        return false;
    }
    let (groups, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && groups.split(':').all(|group| match group.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [b'0'..=b'5', digit] => digit.is_ascii_digit(),
            _ => false,
        })
}

impl Emitter {
    /// The form the encoder asks for; the emitter may have to choose another.
    pub(super) fn string_style(&self, value: &str) -> Style {
        if value.contains('\n') {
            return Style::Literal;
        }
        let plain = match resolve(value) {
            Scalar::String => !is_base_60(value),
            Scalar::Bool(_) | Scalar::Null | Scalar::Int(_) | Scalar::Uint(_) | Scalar::Float(_) => false,
            Scalar::Timestamp => false,
        };
        if plain { Style::Plain } else { Style::DoubleQuoted }
    }

    pub(super) fn scalar(&mut self, value: &str, wanted: Style) {
        let analysis = analyze(value, self.dialect);
        let simple_key = self.context == Context::SimpleKey;
        let mut style = wanted;
        if simple_key && analysis.multiline {
            style = Style::DoubleQuoted;
        }
        if style == Style::Plain && (!analysis.plain || (value.is_empty() && simple_key)) {
            style = Style::SingleQuoted;
        }
        if style == Style::SingleQuoted && !analysis.single_quoted {
            style = Style::DoubleQuoted;
        }
        if style == Style::Literal && (!analysis.block || simple_key) {
            style = Style::DoubleQuoted;
        }
        let outer = self.indent;
        self.indent = Some(outer.map_or(INDENT, |indent| indent + INDENT));
        let fold = self.dialect == Dialect::V2 && !simple_key;
        match style {
            Style::Plain => self.write_plain(value, fold),
            Style::SingleQuoted => self.write_single_quoted(value, fold),
            Style::DoubleQuoted => self.write_double_quoted(value, fold),
            Style::Literal => self.write_literal(value),
        }
        self.indent = outer;
    }

    fn write_break(&mut self, character: char) {
        if character == '\n' {
            self.put_break();
        } else {
            self.out.push(character);
            self.column = 0;
        }
    }

    fn may_fold(&self, fold: bool, after_space: bool) -> bool {
        fold && !after_space && self.column > WIDTH
    }

    fn write_plain(&mut self, value: &str, fold: bool) {
        if !self.whitespace && (self.dialect == Dialect::V2 || !value.is_empty()) {
            self.put(' ');
        }
        let mut spaces = false;
        let mut rest = value.chars();
        while let Some(character) = rest.next() {
            if character == ' ' {
                if self.may_fold(fold, spaces) && !rest.as_str().starts_with(' ') {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(character);
                self.indention = false;
                spaces = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn write_single_quoted(&mut self, value: &str, fold: bool) {
        self.write_indicator("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        let mut rest = value.chars();
        let mut first = true;
        while let Some(character) = rest.next() {
            if character == ' ' {
                let inside = !first && !rest.as_str().is_empty();
                if self.may_fold(fold, spaces) && inside && !rest.as_str().starts_with(' ') {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if is_break(character) {
                if !breaks && character == '\n' {
                    self.put_break();
                }
                self.write_break(character);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if character == '\'' {
                    self.put('\'');
                }
                self.put(character);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
            first = false;
        }
        self.write_indicator("'", false, false, false);
    }

    fn write_double_quoted(&mut self, value: &str, fold: bool) {
        self.write_indicator("\"", true, false, false);
        // go-yaml looks for the byte order mark at the start of the value, whatever character it is at.
        let all = value.starts_with('\u{feff}');
        let mut spaces = false;
        let mut rest = value.chars();
        let mut first = true;
        while let Some(character) = rest.next() {
            if all || !is_printable(character) || is_break(character) || matches!(character, '"' | '\\') {
                self.write_escape(character);
                spaces = false;
            } else if character == ' ' {
                if self.may_fold(fold, spaces) && !first && !rest.as_str().is_empty() {
                    self.write_indent();
                    if rest.as_str().starts_with(' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(character);
                spaces = false;
            }
            first = false;
        }
        self.write_indicator("\"", false, false, false);
    }

    fn write_escape(&mut self, character: char) {
        self.put('\\');
        let short = match character {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0B' => 'v',
            '\x0C' => 'f',
            '\r' => 'r',
            '\x1B' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(character);
                let text = match code {
                    0..=0xFF => format!("x{code:02X}"),
                    0x100..=0xFFFF => format!("u{code:04X}"),
                    _ => format!("U{code:08X}"),
                };
                self.out.push_str(&text);
                self.column += text.len();
                return;
            }
        };
        self.put(short);
    }

    fn write_literal(&mut self, value: &str) {
        self.write_indicator("|", true, false, false);
        if value.starts_with([' ', '\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
            self.write_indicator("2", false, false, false);
        }
        let mut from_end = value.chars().rev();
        match (from_end.next().is_some_and(is_break), from_end.next()) {
            (false, _) => self.write_indicator("-", false, false, false),
            (true, None) => self.write_indicator("+", false, false, false),
            (true, Some(before)) if is_break(before) => self.write_indicator("+", false, false, false),
            (true, Some(_)) => {}
        }
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        let mut rest = value;
        while let Some(character) = rest.chars().next() {
            if is_break(character) {
                self.write_break(character);
                self.indention = true;
                breaks = true;
                rest = &rest[character.len_utf8()..];
            } else {
                if breaks {
                    self.write_indent();
                }
                let end = rest.find(is_break).unwrap_or(rest.len());
                self.out.push_str(&rest[..end]);
                self.column += rest[..end].chars().count();
                self.indention = false;
                breaks = false;
                rest = &rest[end..];
            }
        }
    }
}
