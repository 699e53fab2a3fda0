//! The functions of `text/template` itself.

use std::rc::Rc;

use super::{Function, Run, Type, fixed, variadic};
use crate::error::Error;
use crate::exec::Machine;
use crate::format::{sprint, sprintf, sprintln};
use crate::value::{IntKind, List, ListKind, Str, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "and", params: &[Type::Value], rest: Some(Type::Value), run: Run::And },
    Function { name: "or", params: &[Type::Value], rest: Some(Type::Value), run: Run::Or },
    Function { name: "call", params: &[Type::Value], rest: Some(Type::Value), run: Run::Call },
    variadic("html", &[], Type::Any, |_, args| Ok(html(&evaluate(args)).into())),
    variadic("index", &[Type::Value], Type::Value, index),
    variadic("js", &[], Type::Any, |_, args| Ok(js(&evaluate(args)).into())),
    Function { name: "len", params: &[Type::Value], rest: None, run: Run::Length },
    fixed("not", &[Type::Value], |_, args| Ok(Value::Bool(!args[0].is_true()))),
    variadic("print", &[], Type::Any, |_, args| Ok(sprint(args).into())),
    variadic("printf", &[Type::Str], Type::Any, |_, args| {
        Ok(sprintf(super::text(args, 0), &args[1..]).into())
    }),
    variadic("println", &[], Type::Any, |_, args| Ok(sprintln(args).into())),
    variadic("slice", &[Type::Value], Type::Value, slice),
    variadic("urlquery", &[], Type::Any, |_, args| Ok(super::urls::query_escape(&evaluate(args)).into())),
];

fn evaluate(args: &[Value]) -> Str {
    match args {
        [Value::Str(text)] => text.clone(),
        _ => {
            let shown = |arg: &Value| if arg.is_nil() { "<no value>".into() } else { arg.clone() };
            sprint(&args.iter().map(shown).collect::<Vec<_>>()).into()
        }
    }
}

fn index_arg(index: &Value, limit: usize) -> Result<usize, Error> {
    match index {
        Value::Int(_, at) => match usize::try_from(*at) {
            Ok(position) if position <= limit => Ok(position),
            _ => Err(format!("index out of range: {at}").into()),
        },
        Value::Nil => Err("cannot index slice/array with nil".into()),
        other => Err(format!("cannot index slice/array with type {}", other.type_name()).into()),
    }
}

fn index(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut item = args[0].clone();
    if item.is_nil() {
        return Err("index of untyped nil".into());
    }
    for index in &args[1..] {
        item = index_one(&item, index)?;
    }
    Ok(item)
}

fn index_one(item: &Value, index: &Value) -> Result<Value, Error> {
    match item {
        Value::Nil => Err("index of nil pointer".into()),
        Value::List(list) => {
            let at = index_arg(index, list.len())?;
            list.get(at).ok_or_else(|| "reflect: slice index out of range".into())
        }
        Value::Str(text) => {
            let at = index_arg(index, text.len())?;
            match text.get(at) {
                Some(byte) => Ok(Value::Int(IntKind::Uint8, i64::from(*byte))),
                None => Err("reflect: string index out of range".into()),
            }
        }
        Value::Map(map) => match index {
            Value::Str(key) => Ok(map.get(key).unwrap_or_else(|| match map.kind() {
                kind if kind.is_strings() => Value::Str(Str::default()),
                _ => Value::Nil,
            })),
            Value::Nil => Err("value is nil; should be of type string".into()),
            other => Err(format!("value has type {}; should be string", other.type_name()).into()),
        },
        Value::Object(object) => match (index, object.entries()) {
            (Value::Str(key), Some(_)) => Ok(object.entry(key).unwrap_or_default()),
            (Value::Int(..), Some(entries)) => {
                let at = index_arg(index, entries.len())?;
                let entry = entries.into_iter().nth(at);
                entry.map(|(_, value)| value).ok_or_else(|| "reflect: slice index out of range".into())
            }
            _ => Err(format!("can't index item of type {}", object.type_name()).into()),
        },
        other => Err(format!("can't index item of type {}", other.type_name()).into()),
    }
}

/// A nil is either one that something holds, or nothing at all.
pub(crate) fn length(value: &Value, held: bool) -> Result<Value, Error> {
    let count = match value {
        Value::Nil if held => return Err("len of nil pointer".into()),
        Value::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        Value::Str(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        Value::Object(object) => match Rc::clone(object).entries() {
            Some(entries) => entries.len(),
            None => return Err(format!("len of type {}", object.type_name()).into()),
        },
        other => return Err(format!("len of type {}", other.type_name()).into()),
    };
    Ok(Value::int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// `slice x 1 2` of Go; Sprig's function of the same name hides it in Helm.
fn slice(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let item = &args[0];
    let length = match item {
        Value::Nil => return Err("slice of untyped nil".into()),
        Value::Str(text) => text.len(),
        Value::List(list) => list.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name()).into()),
    };
    let indexes = &args[1..];
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()).into());
    }
    if indexes.len() == 3 && matches!(item, Value::Str(_)) {
        return Err("cannot 3-index slice a string".into());
    }
    let mut bounds = [0, length, length];
    for (slot, index) in bounds.iter_mut().zip(indexes) {
        *slot = index_arg(index, length)?;
    }
    for pair in bounds[..indexes.len().max(2)].windows(2) {
        if pair[0] > pair[1] {
            return Err(format!("invalid slice index: {} > {}", pair[0], pair[1]).into());
        }
    }
    let range = bounds[0]..bounds[1];
    Ok(match item {
        Value::List(list) => Value::List(List::new(list.kind(), list.items()[range].to_vec())),
        Value::Str(text) => Value::Str(text[range].into()),
        _ => Value::List(List::new(ListKind::Any, Vec::new())),
    })
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            0 => out.extend_from_slice("\u{FFFD}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            _ => out.push(byte),
        }
    }
    out
}

/// What is not UTF-8 stays as it is.
fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(js_text(chunk.valid()).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

fn js_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str(r"\\"),
            '\'' => out.push_str(r"\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str(r"\u003C"),
            '>' => out.push_str(r"\u003E"),
            '&' => out.push_str(r"\u0026"),
            '=' => out.push_str(r"\u003D"),
            '\0'..='\x1F' => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ if character.is_ascii() || crate::quote::is_print(character) => out.push(character),
            _ => out.push_str(&format!("\\u{:04X}", u32::from(character))),
        }
    }
    out
}
