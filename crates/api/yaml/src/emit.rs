//! Values to text, with the layout and the quoting of go-yaml's emitter.

mod keys;
mod scalar;

use crate::number::{float_g, float_json};
pub use keys::compare_keys;

/// Whose habits to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `sigs.k8s.io/yaml`: sequences are not indented below a key, lines are folded at 80 columns, numbers have
    /// passed through JSON.
    V2,
    /// go-yaml v3 with an indentation of two: sequences are indented, lines are not folded.
    V3,
}

impl Dialect {
    /// The order in which the dialect writes the keys of a map.
    #[must_use]
    pub fn compare_keys(self, a: &str, b: &str) -> std::cmp::Ordering {
        match self {
            Self::V2 => compare_keys(a, b),
            Self::V3 => keys::compare_keys_v3(a, b),
        }
    }
}

/// Writes one document. Call one of the value methods once; inside [`Emitter::mapping`] call [`Emitter::key`]
/// before each value, inside [`Emitter::sequence`] call [`Emitter::item`].
///
/// ```
/// let mut emitter = yaml::Emitter::new(yaml::Dialect::V2);
/// emitter.mapping(1, |emitter| {
///     emitter.key("ports");
///     emitter.sequence(1, |emitter| {
///         emitter.item();
///         emitter.int(80);
///     });
/// });
/// assert_eq!(emitter.finish(), "ports:\n- 80\n");
/// ```
#[derive(Debug)]
pub struct Emitter {
    dialect: Dialect,
    out: String,
    column: usize,
    /// The indentation of the open collection; `None` before the first.
    indent: Option<usize>,
    /// Whether the last thing written was a blank or the start of a line.
    whitespace: bool,
    /// Whether the line holds nothing but indentation and indicators.
    indention: bool,
    context: Context,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Root,
    Item,
    Value,
    SimpleKey,
}

/// Past this column a plain or quoted scalar breaks at its next space.
const WIDTH: usize = 80;
const INDENT: usize = 2;

impl Emitter {
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            out: String::new(),
            column: 0,
            indent: None,
            whitespace: true,
            indention: true,
            context: Context::Root,
        }
    }

    /// The document's text, with a newline at its end.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.indent = None;
        self.write_indent();
        self.out
    }

    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub fn null(&mut self) {
        self.word("null");
    }

    pub fn bool(&mut self, value: bool) {
        self.word(if value { "true" } else { "false" });
    }

    pub fn int(&mut self, value: i64) {
        self.word(&value.to_string());
    }

    pub fn uint(&mut self, value: u64) {
        self.word(&value.to_string());
    }

    /// A float. In [`Dialect::V2`] one whose JSON text is an integer is written as that.
    pub fn float(&mut self, value: f64) {
        if self.dialect == Dialect::V2 && value.is_finite() {
            let json = float_json(value);
            match crate::resolve::resolve(&json) {
                crate::resolve::Scalar::Int(value) => return self.int(value),
                crate::resolve::Scalar::Uint(value) => return self.uint(value),
                _ => {}
            }
        }
        let text = float_g(value);
        self.word(match text.as_str() {
            "+Inf" => ".inf",
            "-Inf" => "-.inf",
            "NaN" => ".nan",
            text => text,
        });
    }

    /// A time, in a form that reads as one.
    pub fn timestamp(&mut self, text: &str) {
        self.word(text);
    }

    pub fn string(&mut self, value: &str) {
        self.scalar(value, self.string_style(value));
    }

    /// A mapping of `len` entries, which `entries` writes in the order they shall have.
    pub fn mapping(&mut self, len: usize, entries: impl FnOnce(&mut Self)) {
        if len == 0 {
            self.write_indicator("{", true, true, false);
            self.write_indicator("}", false, false, false);
            return;
        }
        let outer = self.indent;
        self.indent = Some(outer.map_or(0, |indent| indent + INDENT));
        entries(self);
        self.indent = outer;
    }

    /// The key of the entry whose value follows.
    pub fn key(&mut self, key: &str) {
        self.write_indent();
        let style = self.string_style(key);
        if is_simple_key(key) {
            self.context = Context::SimpleKey;
            self.scalar(key, style);
            self.write_indicator(":", false, false, false);
        } else {
            self.write_indicator("?", true, false, true);
            self.context = Context::Value;
            self.scalar(key, style);
            self.write_indent();
            self.write_indicator(":", true, false, true);
        }
        self.context = Context::Value;
    }

    /// A sequence of `len` items, which `items` writes.
    pub fn sequence(&mut self, len: usize, items: impl FnOnce(&mut Self)) {
        if len == 0 {
            self.write_indicator("[", true, true, false);
            self.write_indicator("]", false, false, false);
            return;
        }
        let outer = self.indent;
        let indentless = self.dialect == Dialect::V2 && self.context == Context::Value && !self.indention;
        self.indent = Some(match outer {
            None => 0,
            Some(indent) if indentless => indent,
            Some(indent) => indent + INDENT,
        });
        items(self);
        self.indent = outer;
    }

    /// Begins the item whose value follows.
    pub fn item(&mut self) {
        self.write_indent();
        self.write_indicator("-", true, false, true);
        self.context = Context::Item;
    }

    /// A scalar that is surely plain.
    fn word(&mut self, text: &str) {
        if !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = false;
        self.indention = false;
    }

    fn put(&mut self, character: char) {
        self.out.push(character);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn write_indicator(&mut self, indicator: &str, spaced: bool, whitespace: bool, indention: bool) {
        if spaced && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(indicator);
        self.column += indicator.len();
        self.whitespace = whitespace;
        self.indention = self.indention && indention;
    }
}

/// Whether a key can stand on one line before its colon.
fn is_simple_key(key: &str) -> bool {
    key.len() <= 128 && !key.contains(scalar::is_break)
}
