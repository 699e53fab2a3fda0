//! Slices.

use super::Type::{Any, Int};
use super::defaults::is_empty;
use super::math::to_int;
use super::strings::{to_str, to_strings};
use super::{Function, fixed, int, variadic};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::{List, ListKind, Value};

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
            Value::List(_) => to_strings(&args[0]),
            other => vec![to_str(other)],
        };
        texts.sort();
        Ok(Value::strings(texts))
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
    items.push(args[1].clone());
    Ok(Value::list(items))
}

fn prepend(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut items = items(&args[0], "prepend on type")?;
    items.insert(0, args[1].clone());
    Ok(Value::list(items))
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
    Ok(Value::list(kept))
}

fn without(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut kept = items(&args[0], "find without on type")?;
    kept.retain(|item| !args[1..].iter().any(|omitted| omitted.deep_equal(item)));
    Ok(Value::list(kept))
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
    Ok(Value::list(kept))
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
    match range {
        Some((start, end)) if start <= end && end <= list.len() => {
            Ok(Value::List(List::new(list.kind(), list.items()[start..end].to_vec())))
        }
        _ => Err("reflect.Value.Slice: slice index out of bounds".into()),
    }
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
    // Sprig makes (length - 1) / size + 1 lists; for sizes below one that may be none.
    if size < 0 && i64::try_from(items.len()).is_ok_and(|length| (length - 1).div_euclid(size) + 1 == 0) {
        return Ok(Value::List(List::new(ListKind::Lists, Vec::new())));
    }
    let Some(size) = usize::try_from(size).ok().filter(|&size| size > 0) else {
        return Err("runtime error: makeslice: len out of range".into());
    };
    let chunks = items.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
    Ok(Value::List(List::new(ListKind::Lists, chunks)))
}
