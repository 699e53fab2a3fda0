//! Regular expressions with the syntax and the meaning of Go's RE2.

mod syntax;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::Type::{Int, Str as Text};
use super::{Function, fixed, int, text};
use crate::error::Error;
use crate::value::{List, ListKind, Room, Str, Value};

const TWO: &[super::Type] = &[Text, Text];
const THREE: &[super::Type] = &[Text, Text, Text];
const LIMITED: &[super::Type] = &[Text, Text, Int];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("regexMatch", TWO, |_, args| {
        Ok(Value::Bool(compiled(text(args, 0)).is_ok_and(|regex| regex.is_match(text(args, 1)))))
    }),
    fixed("mustRegexMatch", TWO, |_, args| Ok(Value::Bool(compiled(text(args, 0))?.is_match(text(args, 1))))),
    fixed("regexFindAll", LIMITED, |_, args| find_all(args, true)),
    fixed("mustRegexFindAll", LIMITED, |_, args| find_all(args, false)),
    fixed("regexFind", TWO, |_, args| find(args, true)),
    fixed("mustRegexFind", TWO, |_, args| find(args, false)),
    fixed("regexReplaceAll", THREE, |_, args| replace_all(args, true)),
    fixed("mustRegexReplaceAll", THREE, |_, args| replace_all(args, false)),
    fixed("regexReplaceAllLiteral", THREE, |_, args| replace_literally(args, true)),
    fixed("mustRegexReplaceAllLiteral", THREE, |_, args| replace_literally(args, false)),
    fixed("regexSplit", LIMITED, |_, args| split(args, true)),
    fixed("mustRegexSplit", LIMITED, |_, args| split(args, false)),
    fixed("regexQuoteMeta", &[Text], |_, args| Ok(quote_meta(text(args, 0)).into())),
];

thread_local! {
    /// Charts use few expressions, again and again.
    static COMPILED: RefCell<HashMap<Str, Rc<Regex>>> = RefCell::default();
}

/// Compiles an expression with Go's syntax and meaning.
///
/// # Errors
/// With Go's text.
pub fn compile_regex(pattern: &str) -> Result<Regex, String> {
    let translated =
        syntax::translate(pattern).map_err(|problem| format!("error parsing regexp: {problem}"))?;
    RegexBuilder::new(&translated)
        .size_limit(16 << 20)
        .build()
        .map_err(|_| format!("error parsing regexp: invalid expression: `{pattern}`"))
}

fn compiled(pattern: &Str) -> Result<Rc<Regex>, Error> {
    if std::str::from_utf8(pattern).is_err() {
        return Err(Error::new(format!("error parsing regexp: invalid UTF-8: `{}`", pattern.text())));
    }
    if let Some(regex) = COMPILED.with_borrow(|known| known.get(pattern).cloned()) {
        return Ok(regex);
    }
    let regex = compile_regex(&pattern.text()).map_err(Error::new)?;
    let regex = Rc::new(regex);
    COMPILED.with_borrow_mut(|known| {
        if known.len() >= 1000 {
            known.clear();
        }
        known.insert(pattern.clone(), Rc::clone(&regex));
    });
    Ok(regex)
}

/// The functions without "must" panic, which gives the text another form.
fn required(pattern: &Str, panics: bool) -> Result<Rc<Regex>, Error> {
    compiled(pattern).map_err(|error| {
        if panics {
            let quoted = go_quote(&pattern.text());
            Error::new(format!("regexp: Compile({quoted}): {error}"))
        } else {
            error
        }
    })
}

/// `regexp` quotes with backquotes where it can.
fn go_quote(text: &str) -> String {
    let plain = !text.contains(|character: char| character == '`' || character < ' ' && character != '\t');
    if plain { format!("`{text}`") } else { crate::quote::quote(text.as_bytes()) }
}

/// Matches as Go finds them: an empty one right after another match does not count.
fn matches<'t>(regex: &Regex, subject: &'t [u8], limit: i64) -> Vec<Captures<'t>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut last_end = None;
    let mut at = 0;
    while found.len() < limit && at <= subject.len() {
        let Some(captures) = regex.captures_at(subject, at) else { break };
        let whole = captures.get(0).expect("group 0 always matches");
        let (start, end) = (whole.start(), whole.end());
        if !(start == end && last_end == Some(end)) {
            found.push(captures);
        }
        last_end = Some(end);
        at = if end > at {
            end
        } else {
            at + crate::format::first_char(subject.get(at..).unwrap_or_default())
                .len_utf8()
                .min(subject.len() - at + 1)
        };
    }
    found
}

fn find_all(args: &[Value], panics: bool) -> Result<Value, Error> {
    let regex = required(text(args, 0), panics)?;
    let found = matches(&regex, text(args, 1), int(args, 2));
    if found.is_empty() {
        return Ok(Value::List(List::nil(ListKind::Strings)));
    }
    let texts = found.iter().map(|captures| Value::Str(captures[0].into())).collect();
    Ok(Value::List(List::with_room(ListKind::Strings, texts, Room::From(10))))
}

fn find(args: &[Value], panics: bool) -> Result<Value, Error> {
    let regex = required(text(args, 0), panics)?;
    Ok(regex.find(text(args, 1)).map_or_else(|| "".into(), |found| Value::Str(found.as_bytes().into())))
}

fn replaced(
    regex: &Regex,
    subject: &[u8],
    mut replacement: impl FnMut(&Captures<'_>, &mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(subject.len());
    let mut copied = 0;
    for captures in matches(regex, subject, -1) {
        let whole = captures.get(0).expect("group 0 always matches");
        out.extend_from_slice(&subject[copied..whole.start()]);
        replacement(&captures, &mut out);
        copied = whole.end();
    }
    out.extend_from_slice(&subject[copied..]);
    out
}

fn replace_all(args: &[Value], panics: bool) -> Result<Value, Error> {
    let regex = required(text(args, 0), panics)?;
    let template = text(args, 2).text().into_owned();
    Ok(replaced(&regex, text(args, 1), |captures, out| expand(&regex, &template, captures, out)).into())
}

fn replace_literally(args: &[Value], panics: bool) -> Result<Value, Error> {
    let regex = required(text(args, 0), panics)?;
    Ok(replaced(&regex, text(args, 1), |_, out| out.extend_from_slice(text(args, 2))).into())
}

/// `Regexp.Expand`: `$1`, `${1}`, `$name`; a name is as long as possible.
fn expand(regex: &Regex, template: &str, captures: &Captures<'_>, out: &mut Vec<u8>) {
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        out.extend_from_slice(&rest.as_bytes()[..dollar]);
        rest = &rest[dollar..];
        if rest[1..].starts_with('$') {
            out.push(b'$');
            rest = &rest[2..];
            continue;
        }
        let Some((name, length)) = reference(rest) else {
            out.push(b'$');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[length..];
        let found = match name.parse::<usize>() {
            Ok(number) => captures.get(number),
            Err(_) if regex.capture_names().flatten().any(|known| known == name) => captures.name(name),
            Err(_) => None,
        };
        if let Some(found) = found {
            out.extend_from_slice(found.as_bytes());
        }
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The name after a dollar, and how many bytes it takes with the dollar.
fn reference(text: &str) -> Option<(&str, usize)> {
    let body = &text[1..];
    let braced = body.strip_prefix('{');
    let start = braced.unwrap_or(body);
    let end = start
        .find(|character: char| !(character.is_alphanumeric() || character == '_'))
        .unwrap_or(start.len());
    if end == 0 {
        return None;
    }
    match braced {
        Some(_) if !start[end..].starts_with('}') => None,
        Some(_) => Some((&start[..end], end + 3)),
        None => Some((&start[..end], end + 1)),
    }
}

fn split(args: &[Value], panics: bool) -> Result<Value, Error> {
    let regex = required(text(args, 0), panics)?;
    let (subject, limit) = (text(args, 1), int(args, 2));
    if limit == 0 {
        return Ok(Value::List(List::nil(ListKind::Strings)));
    }
    if !regex.as_str().is_empty() && subject.is_empty() {
        return Ok(Value::strings([""]));
    }
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts: Vec<Str> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    let found = matches(&regex, subject, limit);
    let room = Room::From(u32::try_from(found.len()).unwrap_or(u32::MAX));
    for captures in found {
        if parts.len() + 1 == wanted {
            break;
        }
        let whole = captures.get(0).expect("group 0 always matches");
        end = whole.start();
        if whole.end() != 0 {
            parts.push(subject[begin..end].into());
        }
        begin = whole.end();
    }
    if end != subject.len() {
        parts.push(subject[begin..].into());
    }
    let parts = parts.into_iter().map(Value::Str).collect();
    Ok(Value::List(List::with_room(ListKind::Strings, parts, room)))
}

fn quote_meta(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if br"\.+*?()|[]{}^$".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}
