//! `encoding/json`

use std::rc::Rc;

use crate::value::{List, ListKind, Str, Value};
use yaml::number::float_json;

/// What `encoding/json` says of a time that it has no text for.
pub(crate) const YEAR: &str =
    "json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]";

/// Whether `<`, `>` and `&` are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    Html,
    Raw,
}

/// `json.Marshal`
///
/// # Errors
/// If a number has no JSON form, with Go's text.
pub fn to_json(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    write(value, &mut out, Escape::Html, None, 0)?;
    Ok(out)
}

pub(crate) fn to_raw_json(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    write(value, &mut out, Escape::Raw, None, 0)?;
    Ok(out)
}

pub(crate) fn to_pretty_json(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    write(value, &mut out, Escape::Html, Some(0), 0)?;
    Ok(out)
}

fn new_line(out: &mut String, indent: Option<usize>) {
    if let Some(depth) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn write(
    value: &Value,
    out: &mut String,
    escape: Escape,
    indent: Option<usize>,
    depth: usize,
) -> Result<(), String> {
    if depth > crate::format::MAX_NESTING {
        return Err(cycle(value));
    }
    if out.len() > MAX_TEXT {
        return Err(format!("json: the text is longer than {MAX_TEXT} bytes"));
    }
    let inner = indent.map(|depth| depth + 1);
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(_, value) => out.push_str(&value.to_string()),
        Value::Float(value) if value.is_finite() => out.push_str(&float_json(*value)),
        Value::Float(value) => {
            return Err(format!("json: unsupported value: {}", yaml::number::float_g(*value)));
        }
        Value::Str(text) => write_string(text, out, escape),
        Value::List(list) if list.is_nil() => out.push_str("null"),
        Value::List(list) if list.is_empty() => out.push_str("[]"),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.items().iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                new_line(out, inner);
                write(item, out, escape, inner, depth + 1)?;
            }
            new_line(out, indent);
            out.push(']');
        }
        Value::Map(map) if map.kind().is_nil() => out.push_str("null"),
        Value::Map(map) if map.is_empty() => out.push_str("{}"),
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.entries().iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                new_line(out, inner);
                write_string(key, out, escape);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(item, out, escape, inner, depth + 1)?;
            }
            new_line(out, indent);
            out.push('}');
        }
        // A year before zero comes from a time without a date, taken back.
        Value::Object(object) if object.timestamp().is_some_and(|time| time.starts_with('-')) => {
            return Err(YEAR.to_owned());
        }
        Value::Object(object) => write(&Rc::clone(object).plain(), out, escape, indent, depth + 1)?,
    }
    Ok(())
}

/// How long a text may become.
const MAX_TEXT: usize = 512 << 20;

/// How Go refuses a value that holds itself.
pub(crate) fn cycle(value: &Value) -> String {
    format!("json: unsupported value: encountered a cycle via {}", value.type_name())
}

fn write_string(text: &Str, out: &mut String, escape: Escape) {
    out.push('"');
    for chunk in text.utf8_chunks() {
        write_characters(chunk.valid(), out, escape);
        out.extend(std::iter::repeat_n("\\ufffd", chunk.invalid().len()));
    }
    out.push('"');
}

fn write_characters(text: &str, out: &mut String, escape: Escape) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0C' => out.push_str("\\f"),
            '<' | '>' | '&' if escape == Escape::Html => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            '\0'..='\x1F' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
}

/// `json.Unmarshal` into an interface: numbers become `float64`.
///
/// # Errors
/// With Go's text.
pub fn from_json(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0, depth: 0, too_large: None };
    let value = parser.value()?;
    parser.blanks();
    match parser.peek() {
        None => parser.too_large.map_or(Ok(value), Err),
        Some(byte) => Err(parser.invalid(byte, "after top-level value")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// The first number that is none; the text has to be right before Go looks at numbers.
    too_large: Option<String>,
}

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 500;

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn invalid(&self, byte: u8, context: &str) -> String {
        // Go's scanner sees bytes.
        let shown = match byte {
            b'\'' => r"'\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            _ => crate::quote::quote_char(char::from(byte), false),
        };
        format!("invalid character {shown} {context}")
    }

    /// At the end Go looks whether a blank would end what was begun.
    fn peek_or_blank(&self) -> u8 {
        self.peek().unwrap_or(b' ')
    }

    fn end() -> String {
        "unexpected end of JSON input".to_owned()
    }

    fn value(&mut self) -> Result<Value, String> {
        self.blanks();
        let Some(first) = self.peek() else { return Err(Self::end()) };
        match first {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => Ok(Value::Str(self.string()?.into())),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Nil),
            b'-' | b'0'..=b'9' => self.number(),
            byte => Err(self.invalid(byte, "looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for (index, expected) in word.bytes().enumerate() {
            match self.peek_or_blank() {
                byte if byte == expected => self.at += 1,
                byte => {
                    let expected = char::from(word.as_bytes()[index]);
                    let context = format!("in literal {word} (expecting '{expected}')");
                    return Err(self.invalid(byte, &context));
                }
            }
        }
        Ok(value)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(self.invalid(self.peek_or_blank(), "in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.invalid(self.peek_or_blank(), "after decimal point in numeric literal"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.invalid(self.peek_or_blank(), "in exponent of numeric literal"));
            }
        }
        let text = &self.text[start..self.at];
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Float(value)),
            _ => {
                let error = format!("json: cannot unmarshal number {text} into Go value of type float64");
                self.too_large.get_or_insert(error);
                Ok(Value::Nil)
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(byte) = self.peek() else { return Err(Self::end()) };
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => self.escape(&mut out)?,
                0..=0x1F => return Err(self.invalid(byte, "in string literal")),
                _ => {
                    let rest = &self.text[self.at..];
                    let end = rest
                        .bytes()
                        .position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)
                        .unwrap_or(rest.len());
                    out.push_str(&rest[..end]);
                    self.at += end;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        self.at += 1;
        let byte = self.peek_or_blank();
        out.push(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\x08',
            b'f' => '\x0C',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let character = self.unicode()?;
                out.push(character);
                return Ok(());
            }
            _ => return Err(self.invalid(byte, "in string escape code")),
        });
        self.at += 1;
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.peek_or_blank();
            let Some(digit) = char::from(byte).to_digit(16) else {
                return Err(self.invalid(byte, "in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn unicode(&mut self) -> Result<char, String> {
        let code = self.hex()?;
        if (0xD800..0xDC00).contains(&code) && self.text[self.at..].starts_with("\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or('\u{FFFD}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(code).unwrap_or('\u{FFFD}'))
    }

    fn array(&mut self) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(List::appended(ListKind::Any, items)));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(List::appended(ListKind::Any, items)));
                }
                Some(byte) => return Err(self.invalid(byte, "after array element")),
                None => return Err(Self::end()),
            }
        }
    }

    fn object(&mut self) -> Result<Value, String> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(crate::value::Map::default()));
        }
        loop {
            self.blanks();
            match self.peek() {
                Some(b'"') => {}
                Some(byte) => {
                    return Err(self.invalid(byte, "looking for beginning of object key string"));
                }
                None => return Err(Self::end()),
            }
            let key = self.string()?;
            self.blanks();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(byte) => return Err(self.invalid(byte, "after object key")),
                None => return Err(Self::end()),
            }
            entries.push((key, self.value()?));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(entries.into_iter().collect());
                }
                Some(byte) => return Err(self.invalid(byte, "after object key:value pair")),
                None => return Err(Self::end()),
            }
        }
    }
}
