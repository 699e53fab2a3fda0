//! Slices.

use super::Type::{Any, Int};
use super::defaults::is_empty;
use super::math::to_int;
use super::strings::{to_str, to_strings};
use super::{Function, fixed, int, variadic};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::{List, ListKind, Room, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("list", &[], Any, |_, args| Ok(Value::list(args.to_vec()))),
    variadic("tuple", &[], Any, |_, args| Ok(Value::list(args.to_vec()))),
    fixed("append", &[Any, Any], push),
    fixed("push", &[Any, Any], push),
    fixed("mustAppend", &[Any, Any], push),
    fixed("mustPush", &[Any, Any], push),
    fixed("prepend", &[Any, Any], prepend),
    fixed("mustPrepend", &[Any, Any], prepend),
    fixed("first", &[Any], |_, args| {
        Ok(items(&args[0], "find first on type")?.first().cloned().unwrap_or_default())
    }),
    fixed("mustFirst", &[Any], |_, args| {
        Ok(items(&args[0], "find first on type")?.first().cloned().unwrap_or_default())
    }),
    fixed("last", &[Any], |_, args| Ok(items(&args[0], "find last on type")?.pop().unwrap_or_default())),
    fixed("mustLast", &[Any], |_, args| Ok(items(&args[0], "find last on type")?.pop().unwrap_or_default())),
    fixed("rest", &[Any], rest),
    fixed("mustRest", &[Any], rest),
    fixed("initial", &[Any], initial),
    fixed("mustInitial", &[Any], initial),
    fixed("reverse", &[Any], reverse),
    fixed("mustReverse", &[Any], reverse),
    fixed("uniq", &[Any], uniq),
    fixed("mustUniq", &[Any], uniq),
    variadic("without", &[Any], Any, without),
    variadic("mustWithout", &[Any], Any, without),
    fixed("has", &[Any, Any], has),
    fixed("mustHas", &[Any, Any], has),
    fixed("compact", &[Any], compact),
    fixed("mustCompact", &[Any], compact),
    variadic("slice", &[Any], Any, slice),
    variadic("mustSlice", &[Any], Any, slice),
    variadic("concat", &[], Any, concat),
    fixed("chunk", &[Int, Any], chunk),
    fixed("mustChunk", &[Int, Any], chunk),
    fixed("sortAlpha", &[Any], |_, args| {
        let mut texts = match &args[0] {
            // Sprig has no need to copy these, and orders them in place.
            Value::List(list) if list.kind() == ListKind::Strings => {
                list.sort_texts();
                return Ok(args[0].clone());
            }
            Value::List(_) => to_strings(&args[0]),
            other => vec![to_str(other)],
        };
        texts.sort();
        Ok(super::strings::texts(&args[0], texts))
    }),
];

/// The items of a slice, or Sprig's refusal.
fn items(value: &Value, doing: &str) -> Result<Vec<Value>, Error> {
    match value {
        Value::List(list) => Ok(list.to_vec()),
        Value::Object(object) if object.kind_name() == "slice" => {
            Ok(object.entries().unwrap_or_default().into_iter().map(|(_, value)| value).collect())
        }
        // reflect.TypeOf(nil).Kind()
        Value::Nil => Err("runtime error: invalid memory address or nil pointer dereference".into()),
        other => Err(format!("Cannot {doing} {}", other.kind_name()).into()),
    }
}

fn push(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut items = items(&args[0], "push on type")?;
    let room = Room::From(u32::try_from(items.len()).unwrap_or(u32::MAX));
    items.push(args[1].clone());
    Ok(Value::List(List::with_room(ListKind::Any, items, room)))
}

fn prepend(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut items = items(&args[0], "prepend on type")?;
    items.insert(0, args[1].clone());
    Ok(Value::List(List::with_room(ListKind::Any, items, Room::AtOnce)))
}

fn rest(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let items = items(&args[0], "find rest on type")?;
    if items.is_empty() {
        return Ok(Value::List(List::nil(ListKind::Any)));
    }
    Ok(Value::list(items.into_iter().skip(1).collect()))
}

fn initial(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut items = items(&args[0], "find initial on type")?;
    if items.pop().is_none() {
        return Ok(Value::List(List::nil(ListKind::Any)));
    }
    Ok(Value::list(items))
}

fn reverse(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut items = items(&args[0], "find reverse on type")?;
    items.reverse();
    Ok(Value::list(items))
}

fn uniq(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(&args[0], "find uniq on type")? {
        if !kept.iter().any(|known| known.deep_equal(&item)) {
            kept.push(item);
        }
    }
    Ok(Value::List(List::appended(ListKind::Any, kept)))
}

fn without(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut kept = items(&args[0], "find without on type")?;
    kept.retain(|item| !args[1..].iter().any(|omitted| omitted.deep_equal(item)));
    Ok(Value::List(List::appended(ListKind::Any, kept)))
}

fn has(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    if args[1].is_nil() {
        return Ok(Value::Bool(false));
    }
    let items = items(&args[1], "find has on type")?;
    Ok(Value::Bool(items.iter().any(|item| item.deep_equal(&args[0]))))
}

fn compact(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut kept = items(&args[0], "compact on type")?;
    kept.retain(|item| !is_empty(item));
    Ok(Value::List(List::appended(ListKind::Any, kept)))
}

fn slice(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let list = match &args[0] {
        Value::List(list) => list,
        Value::Nil => return Err("runtime error: invalid memory address or nil pointer dereference".into()),
        other => {
            return Err(format!("list should be type of slice or array but {}", other.kind_name()).into());
        }
    };
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let start = args.get(1).map_or(0, to_int);
    let end = args.get(2).map_or_else(|| i64::try_from(list.len()).unwrap_or(i64::MAX), to_int);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let part = range.and_then(|(start, end)| list.part(start, end));
    part.map(Value::List).ok_or_else(|| "reflect.Value.Slice: slice index out of bounds".into())
}

fn concat(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut all = Vec::new();
    for list in args {
        match list {
            Value::List(list) => all.extend(list.to_vec()),
            Value::Nil => {
                return Err("runtime error: invalid memory address or nil pointer dereference".into());
            }
            other => return Err(format!("Cannot concat type {} as list", other.kind_name()).into()),
        }
    }
    Ok(Value::List(List::new_or_nil(ListKind::Any, all)))
}

fn chunk(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let items = match &args[1] {
        Value::List(list) => list.to_vec(),
        Value::Nil => return Err("runtime error: invalid memory address or nil pointer dereference".into()),
        other => return Err(format!("Cannot chunk type {}", other.kind_name()).into()),
    };
    let size = int(args, 0);
    // Sprig makes (length - 1) / size + 1 lists, rounded down; for sizes below one that may be none or one.
    if size < -1 && items.len() == 1 {
        return Ok(Value::List(List::new(ListKind::Lists, vec![Value::list(items)])));
    }
    let last = i64::try_from(items.len()).unwrap_or(i64::MAX) - 1;
    if size < 0 && last > 0 && last <= size.saturating_neg() {
        return Ok(Value::List(List::new(ListKind::Lists, Vec::new())));
    }
    let Some(size) = usize::try_from(size).ok().filter(|&size| size > 0) else {
        return Err("runtime error: makeslice: len out of range".into());
    };
    let chunks = items.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
    Ok(Value::List(List::new(ListKind::Lists, chunks)))
}
