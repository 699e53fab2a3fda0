//! Strings.

mod words;

use super::Type::{Any, Int, Str as Text};
use super::{Function, fixed, int, text, variadic};
use crate::error::Error;
use crate::exec::Machine;
use crate::format::{bytes_of, display};
use crate::value::{List, ListKind, Map, MapKind, Room, Str, Value};

const ONE: &[super::Type] = &[Text];
const TWO: &[super::Type] = &[Text, Text];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("hello", &[], |_, _| Ok("Hello!".into())),
    fixed("abbrev", &[Int, Text], |_, args| Ok(abbreviate(text(args, 1), 0, int(args, 0)))),
    fixed("abbrevboth", &[Int, Int, Text], abbreviate_both),
    fixed("trunc", &[Int, Text], |_, args| Ok(truncate(int(args, 0), text(args, 1)))),
    fixed("trim", ONE, |_, args| Ok(Value::Str(trimmed(text(args, 0), char::is_whitespace).into()))),
    fixed("upper", ONE, |_, args| Ok(map_characters(text(args, 0), upper))),
    fixed("lower", ONE, |_, args| Ok(map_characters(text(args, 0), lower))),
    fixed("title", ONE, |_, args| Ok(words::title(&text(args, 0).text()).into())),
    fixed("untitle", ONE, |_, args| Ok(words::untitle(&text(args, 0).text()).into())),
    fixed("substr", &[Int, Int, Text], substring),
    fixed("repeat", &[Int, Text], repeat),
    fixed("trimall", TWO, trim_all),
    fixed("trimAll", TWO, trim_all),
    fixed("trimSuffix", TWO, |_, args| {
        let subject = text(args, 1);
        Ok(Value::Str(
            subject.strip_suffix(text(args, 0).as_bytes()).map_or_else(|| subject.clone(), Str::from),
        ))
    }),
    fixed("trimPrefix", TWO, |_, args| {
        let subject = text(args, 1);
        Ok(Value::Str(
            subject.strip_prefix(text(args, 0).as_bytes()).map_or_else(|| subject.clone(), Str::from),
        ))
    }),
    fixed("nospace", ONE, |_, args| Ok(words::no_space(text(args, 0)).into())),
    fixed("initials", ONE, |_, args| Ok(words::initials(text(args, 0)).into())),
    fixed("swapcase", ONE, |_, args| Ok(words::swap_case(&text(args, 0).text()).into())),
    fixed("snakecase", ONE, |_, args| Ok(words::connect(&text(args, 0).text(), '_').into())),
    fixed("camelcase", ONE, |_, args| Ok(words::pascal_case(&text(args, 0).text()).into())),
    fixed("kebabcase", ONE, |_, args| Ok(words::connect(&text(args, 0).text(), '-').into())),
    fixed("wrap", &[Int, Text], |_, args| Ok(words::wrap(text(args, 1), int(args, 0), b"\n", false).into())),
    fixed("wrapWith", &[Int, Text, Text], |_, args| {
        let separator: &[u8] = if text(args, 1).is_empty() { b"\n" } else { text(args, 1) };
        Ok(words::wrap(text(args, 2), int(args, 0), separator, true).into())
    }),
    fixed("contains", TWO, |_, args| Ok(Value::Bool(find(text(args, 1), text(args, 0)).is_some()))),
    fixed("hasPrefix", TWO, |_, args| Ok(Value::Bool(text(args, 1).starts_with(text(args, 0))))),
    fixed("hasSuffix", TWO, |_, args| Ok(Value::Bool(text(args, 1).ends_with(text(args, 0))))),
    variadic("quote", &[], Any, |_, args| {
        Ok(joined(args, |value, out| out.extend_from_slice(crate::quote::quote(&to_str(value)).as_bytes())))
    }),
    variadic("squote", &[], Any, |_, args| {
        Ok(joined(args, |value, out| {
            out.push(b'\'');
            display(value, out);
            out.push(b'\'');
        }))
    }),
    variadic("cat", &[], Any, |_, args| Ok(joined(args, display))),
    fixed("indent", &[Int, Text], indent),
    fixed("nindent", &[Int, Text], nindent),
    fixed("replace", &[Text, Text, Text], |_, args| {
        Ok(replace(text(args, 2), text(args, 0), text(args, 1)).into())
    }),
    fixed("plural", &[Text, Text, Int], |_, args| Ok(args[usize::from(int(args, 2) != 1)].clone())),
    fixed("toString", &[Any], |_, args| Ok(Value::Str(to_str(&args[0])))),
    fixed("split", TWO, |_, args| Ok(numbered(split(text(args, 1), text(args, 0), usize::MAX)))),
    fixed("splitn", &[Text, Int, Text], splitn),
    fixed("splitList", TWO, |_, args| Ok(Value::strings(split(text(args, 1), text(args, 0), usize::MAX)))),
    fixed("toStrings", &[Any], |_, args| match &args[0] {
        // What are texts already is the same list.
        Value::List(list) if list.kind() == ListKind::Strings => Ok(args[0].clone()),
        other => Ok(texts(other, to_strings(other))),
    }),
    fixed("join", &[Text, Any], join),
];

/// Sprig's `strval`
pub(super) fn to_str(value: &Value) -> Str {
    match value {
        Value::Str(text) => text.clone(),
        other => match bytes_of(other) {
            Some(bytes) => bytes.clone(),
            None => crate::format::to_text(other),
        },
    }
}

/// Sprig's `strslice`
pub(super) fn to_strings(value: &Value) -> Vec<Str> {
    match value {
        Value::Nil => Vec::new(),
        Value::List(list) => list.items().iter().filter(|item| !item.is_nil()).map(to_str).collect(),
        Value::Object(object) => match object.entries() {
            Some(entries) if object.kind_name() == "slice" => {
                entries.iter().map(|(_, value)| to_str(value)).collect()
            }
            _ => vec![to_str(value)],
        },
        other => vec![to_str(other)],
    }
}

/// Texts made of a list, with the room for all of its items.
pub(super) fn texts(from: &Value, texts: Vec<Str>) -> Value {
    let room = from.as_list().map_or(texts.len(), List::len);
    let texts = texts.into_iter().map(Value::Str).collect();
    let room = Room::From(u32::try_from(room).unwrap_or(u32::MAX));
    Value::List(List::with_room(ListKind::Strings, texts, room))
}

fn joined(args: &[Value], mut write: impl FnMut(&Value, &mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    for (index, value) in args.iter().filter(|value| !value.is_nil()).enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        write(value, &mut out);
    }
    out.into()
}

pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let Some(&first) = part.first() else { return Some(0) };
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|&byte| byte == first) {
        let at = from + at;
        if text[at..].starts_with(part) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// `strings.SplitN`; between every two characters where the separator is empty.
pub(super) fn split<'a>(text: &'a [u8], separator: &[u8], limit: usize) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    if separator.is_empty() {
        while !rest.is_empty() && parts.len() + 1 < limit {
            let width = character_width(rest);
            parts.push(&rest[..width]);
            rest = &rest[width..];
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        return parts;
    }
    while parts.len() + 1 < limit {
        let Some(at) = find(rest, separator) else { break };
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// How many bytes the first character has; one where it is not UTF-8.
fn character_width(text: &[u8]) -> usize {
    let chunk = text.utf8_chunks().next();
    chunk.and_then(|chunk| chunk.valid().chars().next()).map_or(1, char::len_utf8)
}

fn numbered(parts: Vec<&[u8]>) -> Value {
    let entries = parts.into_iter().enumerate();
    Value::Map(Map::from_entries(
        MapKind::Strings,
        entries.map(|(index, part)| (format!("_{index}").into(), Value::Str(part.into()))),
    ))
}

fn splitn(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let limit = int(args, 1);
    if limit == 0 {
        return Ok(numbered(Vec::new()));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(numbered(split(text(args, 2), text(args, 0), limit)))
}

/// `strings.ReplaceAll`; before and after every character where what is replaced is empty.
pub(super) fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    if old.is_empty() {
        out.extend_from_slice(new);
        for part in split(text, b"", usize::MAX) {
            out.extend_from_slice(part);
            out.extend_from_slice(new);
        }
        return out;
    }
    for (index, part) in split(text, old, usize::MAX).into_iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(new);
        }
        out.extend_from_slice(part);
    }
    out
}

fn upper(character: char) -> char {
    single(character.to_uppercase(), character)
}

/// Letters that are two in one have a form of their own in titles.
fn title(character: char) -> char {
    match character {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        'ა'..='ჿ' => character,
        _ => upper(character),
    }
}

fn lower(character: char) -> char {
    if character == 'İ' { 'i' } else { single(character.to_lowercase(), character) }
}

/// Go maps one character to one; those with a longer mapping stay as they are.
fn single(mut mapped: impl Iterator<Item = char>, character: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn map_characters(text: &Str, map: fn(char) -> char) -> Value {
    text.text().chars().map(map).collect::<String>().into()
}

fn truncate(count: i64, text: &Str) -> Value {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let at = |position: i64| usize::try_from(position).unwrap_or(0);
    if count < 0 && length + count > 0 {
        return Value::Str(text[at(length + count)..].into());
    }
    if count >= 0 && length > count {
        return Value::Str(text[..at(count)].into());
    }
    Value::Str(text.clone())
}

fn substring(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let (start, end, text) = (int(args, 0), int(args, 1), text(args, 2));
    let length = text.len();
    let bounds = |from: i64, to: i64| -> Result<Value, Error> {
        let to_index = usize::try_from(to).ok().filter(|&to| to <= length);
        let Some(to_index) = to_index else {
            return Err(if to < 0 {
                format!("runtime error: slice bounds out of range [:{to}]").into()
            } else {
                format!("runtime error: slice bounds out of range [:{to}] with length {length}").into()
            });
        };
        match usize::try_from(from).ok().filter(|&from| from <= to_index) {
            Some(from) => Ok(Value::Str(text[from..to_index].into())),
            None => Err(format!("runtime error: slice bounds out of range [{from}:{to}]").into()),
        }
    };
    let whole = i64::try_from(length).unwrap_or(i64::MAX);
    if start < 0 {
        bounds(0, end)
    } else if end < 0 || end > whole {
        bounds(start, whole)
    } else {
        bounds(start, end)
    }
}

fn repeat(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let text = text(args, 1);
    let Ok(count) = usize::try_from(int(args, 0)) else {
        return Err("strings: negative Repeat count".into());
    };
    if text.len().checked_mul(count).is_none_or(|size| size > 64 << 20) {
        return Err("strings: Repeat output length overflow".into());
    }
    Ok(text.repeat(count).into())
}

fn trim_all(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let set: Vec<char> = text(args, 0).text().chars().collect();
    Ok(Value::Str(trimmed(text(args, 1), |character| set.contains(&character)).into()))
}

fn trimmed(mut text: &[u8], goes: impl Fn(char) -> bool) -> &[u8] {
    while let Some((length, character)) = first_character(text)
        && goes(character)
    {
        text = &text[length..];
    }
    while let Some((length, character)) = last_character(text)
        && goes(character)
    {
        text = &text[..text.len() - length];
    }
    text
}

/// The first character and its length in bytes; a byte that is not UTF-8 counts as a replacement character.
fn first_character(bytes: &[u8]) -> Option<(usize, char)> {
    let chunk = bytes[..bytes.len().min(4)].utf8_chunks().next()?;
    let first = chunk.valid().chars().next();
    Some(first.map_or((1, '\u{FFFD}'), |character| (character.len_utf8(), character)))
}

fn last_character(bytes: &[u8]) -> Option<(usize, char)> {
    let last = (1..=bytes.len().min(4)).find_map(|length| {
        let text = std::str::from_utf8(&bytes[bytes.len() - length..]).ok()?;
        Some((length, text.chars().next()?))
    });
    last.or((!bytes.is_empty()).then_some((1, '\u{FFFD}')))
}

/// Blanks before every line, also an empty one.
fn indented(spaces: i64, text: &Str, first: &[u8]) -> Result<Value, Error> {
    let Ok(spaces) = usize::try_from(spaces) else {
        return Err("strings: negative Repeat count".into());
    };
    let lines = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
    if spaces.saturating_mul(lines) > 256 << 20 {
        return Err("strings: Repeat output length overflow".into());
    }
    let mut out = Vec::with_capacity(first.len() + text.len() + spaces * lines);
    out.extend_from_slice(first);
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        out.resize(out.len() + spaces, b' ');
        out.extend_from_slice(line);
    }
    Ok(out.into())
}

fn indent(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    indented(int(args, 0), text(args, 1), b"")
}

fn nindent(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    indented(int(args, 0), text(args, 1), b"\n")
}

fn join(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let parts = to_strings(&args[1]);
    let separator = text(args, 0);
    let mut out = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(part);
    }
    Ok(out.into())
}

fn abbreviate(text: &Str, offset: i64, width: i64) -> Value {
    if width < 4 {
        return Value::Str(text.clone());
    }
    abbreviate_full(text, offset, width).into()
}

fn abbreviate_both(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let (left, right, text) = (int(args, 0), int(args, 1), text(args, 2));
    if right < 4 || left > 0 && right < 7 {
        return Ok(Value::Str(text.clone()));
    }
    Ok(abbreviate_full(text, left, right).into())
}

/// A text of at most `width` bytes with dots in place of what is left out.
fn abbreviate_full(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let at = |position: i64| usize::try_from(position).unwrap_or(0).min(text.len());
    if text.is_empty() || length <= width {
        return text.to_vec();
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    let marker: &[u8] = b"...";
    if offset <= 4 {
        return [&text[..at(width - 3)], marker].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < length {
        let rest = abbreviate_full(&text[at(offset)..], 0, width - 3);
        return [marker, &rest].concat();
    }
    [marker, &text[at(length - (width - 3))..]].concat()
}
