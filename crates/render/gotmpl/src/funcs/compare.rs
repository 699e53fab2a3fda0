//! `eq`, `lt` and their kin.

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Function, Type, fixed, variadic};
use crate::error::Error;
use crate::value::Value;

const TWO: &[Type] = &[Type::Value, Type::Value];

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("eq", &[Type::Value], Type::Value, |_, args| equal(&args[0], &args[1..]).map(Value::Bool)),
    fixed("ne", TWO, |_, args| equal(&args[0], &args[1..]).map(|equal| Value::Bool(!equal))),
    fixed("lt", TWO, |_, args| less(&args[0], &args[1]).map(Value::Bool)),
    fixed("le", TWO, |_, args| less_or_equal(&args[0], &args[1]).map(Value::Bool)),
    fixed("gt", TWO, |_, args| less_or_equal(&args[0], &args[1]).map(|less| Value::Bool(!less))),
    fixed("ge", TWO, |_, args| less(&args[0], &args[1]).map(|less| Value::Bool(!less))),
];

/// What comparison distinguishes.
enum Basic<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(&'a [u8]),
    Other,
}

fn basic(value: &Value) -> Basic<'_> {
    match value {
        Value::Bool(value) => Basic::Bool(*value),
        #[expect(clippy::cast_sign_loss, reason = "unsigned values are kept in the same bits")]
        Value::Int(kind, value) if kind.is_unsigned() => Basic::Uint(*value as u64),
        Value::Int(_, value) => Basic::Int(*value),
        Value::Float(value) => Basic::Float(*value),
        Value::Str(text) => Basic::Str(text),
        _ => Basic::Other,
    }
}

fn incompatible(a: &Value, b: &Value) -> Error {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()).into()
}

fn equal(first: &Value, others: &[Value]) -> Result<bool, Error> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal_two(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_two(a: &Value, b: &Value) -> Result<bool, Error> {
    match (basic(a), basic(b)) {
        (Basic::Bool(a), Basic::Bool(b)) => Ok(a == b),
        (Basic::Int(a), Basic::Int(b)) => Ok(a == b),
        (Basic::Uint(a), Basic::Uint(b)) => Ok(a == b),
        (Basic::Float(a), Basic::Float(b)) => Ok(a == b),
        (Basic::Str(a), Basic::Str(b)) => Ok(a == b),
        (Basic::Int(a), Basic::Uint(b)) | (Basic::Uint(b), Basic::Int(a)) => Ok(u64::try_from(a) == Ok(b)),
        (Basic::Other, Basic::Other) => equal_others(a, b),
        _ if a.is_nil() || b.is_nil() => Ok(false),
        _ => Err(incompatible(a, b)),
    }
}

fn equal_others(a: &Value, b: &Value) -> Result<bool, Error> {
    let comparable = a.kind_name() == b.kind_name() || a.is_nil() || b.is_nil();
    if !comparable {
        let types = [a.type_name(), b.type_name()].map(Value::from);
        let [a_type, b_type] = types;
        let args = [a.clone(), a_type, b_type, b.clone()];
        let text = crate::format::sprintf(b"non-comparable types %s: %v, %s: %v", &args);
        return Err(String::from_utf8_lossy(&text).into_owned().into());
    }
    if holds_nothing(a) || holds_nothing(b) {
        return Ok(holds_nothing(a) && holds_nothing(b));
    }
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => Ok(Rc::ptr_eq(a, b) || a.equals(&**b)),
        _ => {
            let args = [b.clone(), b.type_name().into()];
            let text = crate::format::sprintf(b"non-comparable type %s: %v", &args);
            Err(String::from_utf8_lossy(&text).into_owned().into())
        }
    }
}

/// Whether it is nil or a nil list or map.
fn holds_nothing(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::List(list) => list.is_nil(),
        Value::Map(map) => map.kind().is_nil(),
        _ => false,
    }
}

fn less(a: &Value, b: &Value) -> Result<bool, Error> {
    let bad = || Error::from("invalid type for comparison");
    match (basic(a), basic(b)) {
        (Basic::Other, _) | (_, Basic::Other) => Err(bad()),
        (Basic::Bool(_), Basic::Bool(_)) => Err(bad()),
        (Basic::Int(a), Basic::Int(b)) => Ok(a < b),
        (Basic::Uint(a), Basic::Uint(b)) => Ok(a < b),
        (Basic::Float(a), Basic::Float(b)) => Ok(a.partial_cmp(&b) == Some(Ordering::Less)),
        (Basic::Str(a), Basic::Str(b)) => Ok(a < b),
        (Basic::Int(a), Basic::Uint(b)) => Ok(u64::try_from(a).map_or(true, |a| a < b)),
        (Basic::Uint(a), Basic::Int(b)) => Ok(u64::try_from(b).is_ok_and(|b| a < b)),
        _ => Err(incompatible(a, b)),
    }
}

fn less_or_equal(a: &Value, b: &Value) -> Result<bool, Error> {
    Ok(less(a, b)? || equal_two(a, b)?)
}
