//! What does not fit, and how it is told.

use serde_json::Value;

/// One mismatch, with those that led to it.
#[derive(Debug)]
pub(super) struct Failure {
    /// The names and indexes that lead to the value.
    pub(super) at: Vec<String>,
    pub(super) kind: Kind,
    pub(super) causes: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Several mismatches of one schema.
    Group,
    /// A mismatch behind a reference; told only where it has several causes.
    Reference,
    Message(String),
}

impl Failure {
    pub(super) fn new(at: &[String], message: impl Into<String>) -> Self {
        Self { at: at.to_vec(), kind: Kind::Message(message.into()), causes: Vec::new() }
    }

    /// The text below the chart's name.
    pub(super) fn report(self) -> String {
        let causes = if self.kind == Kind::Group { self.causes } else { vec![self] };
        let mut lines = Vec::new();
        for cause in &causes {
            cause.display(0, &mut lines);
        }
        lines.join("\n")
    }

    fn display(&self, indent: usize, lines: &mut Vec<String>) {
        let mut inner = indent;
        if !(self.kind == Kind::Reference && self.causes.len() == 1) {
            let message = match &self.kind {
                Kind::Message(message) => message.as_str(),
                Kind::Group | Kind::Reference => "validation failed",
            };
            let pointer: String = self
                .at
                .iter()
                .map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")))
                .collect();
            lines.push(format!("{}- at {}: {message}", "  ".repeat(indent), quote(&pointer)));
            inner += 1;
        }
        for cause in &self.causes {
            cause.display(inner, lines);
        }
    }
}

/// Go's `%q` in single quotes.
pub(super) fn quote(text: &str) -> String {
    let quoted = gotmpl::quote(text.as_bytes());
    let inner = &quoted[1..quoted.len() - 1];
    format!("'{}'", inner.replace("\\\"", "\"").replace('\'', "\\'"))
}

pub(super) fn quoted_list<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    texts.into_iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")
}

/// How a value is shown in a message.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(_) | Value::Object(_) => "value".to_owned(),
        Value::Null => "<nil>".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
    }
}

/// A count as the library prints it: with commas between thousands.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
