//! Errors of templates in the words in which Helm passes them on.

use gotmpl::WARNING;

use crate::error::Error;

/// Helm keeps the place and the last part of a parse error.
pub(super) fn parse(path: &str, error: &str) -> Error {
    let parts: Vec<&str> = error.split(": ").collect();
    Error::Render(match parts.as_slice() {
        [_, location, .., message] => format!("parse error at ({location}): {message}"),
        [_, message] => format!("parse error at ({message}): {message}"),
        _ => format!("parse error in ({path}): {error}"),
    })
}

/// Where an error arose, in one of the templates that led to it.
#[derive(PartialEq, Eq)]
struct Trace<'e> {
    location: &'e str,
    executing: String,
    message: &'e str,
}

impl Trace<'_> {
    fn write(&self, out: &mut String) {
        if !self.location.is_empty() {
            out.push_str(self.location);
            out.push_str("\n  ");
        }
        if !self.executing.is_empty() {
            out.push_str(&self.executing);
            out.push_str("\n    ");
        }
        if !self.message.is_empty() {
            out.push_str(self.message);
            out.push('\n');
        }
    }
}

pub(super) fn execute(path: &str, error: &gotmpl::Error) -> Error {
    let text = error.to_string();
    if !error.is_executing() {
        return Error::Render(text);
    }
    let mut parts = text.splitn(3, ": ");
    let (Some(_), Some(location), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Error::Render(format!("execution error in ({path}): {text}"));
    };
    if let Some(message) = warning(rest) {
        return Error::Render(format!("execution error at ({location}): {message}"));
    }
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut traces: Vec<Trace<'_>> = Vec::new();
    for text in &chain {
        match trace(text) {
            Some(trace) => {
                if traces.last() != Some(&trace) {
                    traces.push(trace);
                }
            }
            None => return Error::Render(error.to_string()),
        }
    }
    let mut out = String::new();
    traces.iter().for_each(|trace| trace.write(&mut out));
    Error::Render(out.trim().to_owned())
}

/// The message of `fail` or `required`: from the first mark to the last.
fn warning(text: &str) -> Option<&str> {
    let start = text.find(WARNING.0)? + WARNING.0.len();
    let end = text[start..].rfind(WARNING.1)?;
    Some(&text[start..start + end])
}

fn trace(text: &str) -> Option<Trace<'_>> {
    let rest = text.strip_prefix("template: ")?;
    if rest.starts_with("no template ") {
        return Some(Trace { location: "", executing: String::new(), message: text });
    }
    let until_next = |message| match str::find(message, " template:") {
        Some(at) => &message[..at],
        None => message,
    };
    if let Some((location, after)) = rest.split_once(": executing ") {
        let name_end = after.strip_prefix('"').and_then(|name| name.find('"'));
        let parsed = name_end.and_then(|end| {
            let (name, after) = (&after[1..=end], &after[end + 2..]);
            let (place, message) = after.strip_prefix(" at <")?.split_once(">: ")?;
            Some((name, place, message))
        });
        if let Some((name, place, message)) = parsed {
            let executing = format!("executing \"{name}\" at <{place}>:");
            return Some(Trace { location, executing, message: until_next(message) });
        }
    }
    let (location, message) = rest.rsplit_once(": ")?;
    Some(Trace { location, executing: String::new(), message: until_next(message) })
}
