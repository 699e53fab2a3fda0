//! `toToml`, as BurntSushi/toml encodes maps.

mod wrong;

use super::Type::Any;
use super::{Function, fixed};
use crate::error::Error;
use crate::value::{List, ListKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("toToml", &[Any], |_, args| Ok(encode(something(&args[0])?).unwrap_or_else(|error| error).into())),
    fixed("mustToToml", &[Any], |_, args| Ok(encode(something(&args[0])?).map_err(Error::new)?.into())),
    fixed("fromToml", &[super::Type::Str], |_, args| Ok(decode(super::text(args, 0)))),
];

/// The encoder asks for the type of what it is given, which nothing has none of.
fn something(value: &Value) -> Result<&Value, Error> {
    if value.is_nil() { Err("reflect: call of reflect.Value.Type on zero Value".into()) } else { Ok(value) }
}

/// A document as a map; what is wrong with it stands under `Error`.
fn decode(bytes: &[u8]) -> Value {
    let told = match std::str::from_utf8(bytes) {
        Ok(text) => match text.parse::<toml::Table>() {
            Ok(table) => return from_table(table),
            Err(error) => wrong::first_entry(text).map_or_else(
                || {
                    let at = error.span().map_or(0, |span| span.start.min(text.len()));
                    format!("toml: line {}: {}", line(&bytes[..at]), error.message())
                },
                |(_, told)| told,
            ),
        },
        Err(error) => {
            let at = error.valid_up_to();
            let text = String::from_utf8_lossy(bytes);
            wrong::first_entry(&text).filter(|(wrong, _)| *wrong < at).map_or_else(
                || format!("toml: line {}: invalid UTF-8 byte: 0x{:02x}", line(&bytes[..at]), bytes[at]),
                |(_, told)| told,
            )
        }
    };
    [("Error", Value::from(told))].into_iter().collect()
}

/// The number of the line that begins or goes on after these bytes.
fn line(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn from_table(table: toml::Table) -> Value {
    table.into_iter().map(|(key, value)| (key, from_toml(value))).collect()
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => Value::int64(number),
        toml::Value::Float(number) => Value::Float(number),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => super::dates::from_toml(&time),
        toml::Value::Array(items) => {
            Value::List(List::appended(ListKind::Any, items.into_iter().map(from_toml).collect()))
        }
        toml::Value::Table(table) => from_table(table),
    }
}

fn encode(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    entry(&mut out, &[], value)?;
    Ok(out)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0C' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\x1F' | '\x7F' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

fn key_text(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { key.to_owned() } else { quoted(key) }
}

fn full_key(key: &[String]) -> String {
    key.iter().map(|part| key_text(part)).collect::<Vec<_>>().join(".")
}

fn indent(key: &[String]) -> String {
    "  ".repeat(key.len().saturating_sub(1))
}

fn is_table(value: &Value) -> Result<bool, String> {
    Ok(match value {
        Value::Map(_) => true,
        Value::List(_) => is_table_array(value)?,
        Value::Object(object) => return is_table(&object.plain()),
        _ => false,
    })
}

fn is_table_array(value: &Value) -> Result<bool, String> {
    let Value::List(list) = value else { return Ok(false) };
    if list.items().iter().any(Value::is_nil) {
        return Err("toml: cannot encode array with nil element".to_owned());
    }
    let items = list.items();
    Ok(!items.is_empty() && items.iter().all(|item| matches!(item, Value::Map(_))))
}

fn new_line(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

fn entry(out: &mut String, key: &[String], value: &Value) -> Result<(), String> {
    match value {
        Value::Nil => Ok(()),
        Value::Map(_) => {
            if key.len() == 1 {
                new_line(out);
            }
            if !key.is_empty() {
                out.push_str(&format!("{}[{}]\n", indent(key), full_key(key)));
            }
            table(out, key, value)
        }
        Value::List(list) if is_table_array(value)? => {
            if key.is_empty() {
                return Err("toml: top-level values must be Go maps or structs".to_owned());
            }
            for item in list.to_vec() {
                new_line(out);
                out.push_str(&format!("{}[[{}]]\n", indent(key), full_key(key)));
                table(out, key, &item)?;
            }
            Ok(())
        }
        Value::Object(object) if object.timestamp().is_none() => entry(out, key, &object.plain()),
        _ => pair(out, key, value, false),
    }
}

fn table(out: &mut String, key: &[String], value: &Value) -> Result<(), String> {
    let Value::Map(map) = value else { return Ok(()) };
    let entries = map.to_vec();
    for tables in [false, true] {
        for (name, value) in &entries {
            if !value.is_nil() && is_table(value)? == tables {
                let mut inner = key.to_vec();
                inner.push(name.text().into_owned());
                entry(out, &inner, value)?;
            }
        }
    }
    Ok(())
}

fn pair(out: &mut String, key: &[String], value: &Value, inline: bool) -> Result<(), String> {
    if let Some(name) = key.last() {
        out.push_str(&format!("{}{} = ", indent(key), key_text(name)));
    }
    element(out, value)?;
    if !inline && !key.is_empty() {
        out.push('\n');
    }
    Ok(())
}

fn element(out: &mut String, value: &Value) -> Result<(), String> {
    match value {
        Value::Bool(value) => out.push_str(&value.to_string()),
        Value::Int(crate::value::IntKind::Duration, value) => {
            out.push_str(&quoted(&super::duration_text(*value)))
        }
        Value::Int(_, value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&match value {
            value if value.is_nan() => "nan".to_owned(),
            value if value.is_infinite() => if *value > 0.0 { "inf" } else { "-inf" }.to_owned(),
            value => {
                let text = yaml::number::float_g(*value);
                if text.contains(['e', '.']) { text } else { format!("{text}.0") }
            }
        }),
        Value::Str(text) => out.push_str(&quoted(&text.text())),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.to_vec().iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                element(out, item)?;
            }
            out.push(']');
        }
        Value::Map(map) => inline_table(out, &map.to_vec())?,
        Value::Object(object) => match object.timestamp() {
            Some(time) => out.push_str(&time),
            None => element(out, &object.plain())?,
        },
        Value::Nil => return Err("toml: cannot encode array with nil element".to_owned()),
    }
    Ok(())
}

fn inline_table(out: &mut String, entries: &[(crate::value::Str, Value)]) -> Result<(), String> {
    let mut ordered = Vec::new();
    for tables in [false, true] {
        for (name, value) in entries {
            if !value.is_nil() && is_table(value)? == tables {
                ordered.push((name, value));
            }
        }
    }
    out.push('{');
    for (index, (name, value)) in ordered.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        pair(out, &[name.text().into_owned()], value, true)?;
    }
    out.push('}');
    Ok(())
}
