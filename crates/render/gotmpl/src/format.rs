//! `fmt`: how values print.

mod printf;

use crate::value::Value;
pub(crate) use printf::sprintf;
use yaml::number::float_g;

/// What `fmt.Sprint` makes of one value.
#[must_use]
pub fn to_text(value: &Value) -> crate::value::Str {
    match value {
        Value::Str(text) => text.clone(),
        other => {
            let mut out = Vec::new();
            display(other, &mut out);
            out.into()
        }
    }
}

/// How deep values may nest when they are written or copied. `set` can make a map hold itself, on which Go's programs
/// end; and a few lists in lists can stand for more text than any machine has.
pub(crate) const MAX_NESTING: usize = 1000;
const MAX_TEXT: usize = 512 << 20;

/// `%v`
pub(crate) fn display(value: &Value, out: &mut Vec<u8>) {
    display_at(value, out, 0);
}

fn display_at(value: &Value, out: &mut Vec<u8>, depth: usize) {
    if depth > MAX_NESTING || out.len() > MAX_TEXT {
        if !out.ends_with(b")") {
            out.extend_from_slice(b"%!v(PANIC=value holds itself or is too large)");
        }
        return;
    }
    match value {
        Value::Nil => out.extend_from_slice(b"<nil>"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int(crate::value::IntKind::Duration, value) => {
            out.extend_from_slice(crate::funcs::duration_text(*value).as_bytes());
        }
        Value::Int(_, value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Float(value) => out.extend_from_slice(float_g(*value).as_bytes()),
        Value::Str(text) => out.extend_from_slice(text),
        Value::List(list) => {
            out.push(b'[');
            for (index, item) in list.items().iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                display_at(item, out, depth + 1);
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.extend_from_slice(b"map[");
            for (index, (key, value)) in map.entries().iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                out.extend_from_slice(key);
                out.push(b':');
                display_at(value, out, depth + 1);
            }
            out.push(b']');
        }
        Value::Object(object) => out.extend_from_slice(object.display().as_bytes()),
    }
}

/// `fmt.Sprint`: blanks between operands when neither is a string.
pub(crate) fn sprint(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut previous_string = true;
    for (index, value) in values.iter().enumerate() {
        let string = matches!(value, Value::Str(_));
        if index > 0 && !string && !previous_string {
            out.push(b' ');
        }
        display(value, &mut out);
        previous_string = string;
    }
    out
}

/// `fmt.Sprintln`
pub(crate) fn sprintln(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        display(value, &mut out);
    }
    out.push(b'\n');
    out
}

/// The bytes of a `[]byte`.
pub(crate) fn bytes_of(value: &Value) -> Option<&crate::value::Str> {
    match value {
        Value::Object(object) => object.as_any().downcast_ref::<crate::value::Bytes>().map(|bytes| &bytes.0),
        _ => None,
    }
}

/// The first character of a text, the replacement character where it is not UTF-8.
pub(crate) fn first_char(text: &[u8]) -> char {
    let chunk = text.utf8_chunks().next();
    match chunk.map(|chunk| chunk.valid().chars().next()) {
        Some(Some(character)) => character,
        _ => '\u{FFFD}',
    }
}
