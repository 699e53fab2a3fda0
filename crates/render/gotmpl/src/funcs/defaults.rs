//! Emptiness and choices.

use super::Type::{Any, Bool};
use super::{Function, boolean, fixed, variadic};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("default", &[Any], Any, |_, args| {
        Ok(args.get(1).filter(|given| !is_empty(given)).unwrap_or(&args[0]).clone())
    }),
    fixed("empty", &[Any], |_, args| Ok(Value::Bool(is_empty(&args[0])))),
    variadic("coalesce", &[], Any, |_, args| {
        Ok(args.iter().find(|value| !is_empty(value)).cloned().unwrap_or_default())
    }),
    variadic("all", &[], Any, |_, args| Ok(Value::Bool(!args.iter().any(is_empty)))),
    variadic("any", &[], Any, |_, args| Ok(Value::Bool(!args.iter().all(is_empty)))),
    fixed("ternary", &[Any, Any, Bool], |_, args| Ok(args[usize::from(!boolean(args, 2))].clone())),
    fixed("deepCopy", &[Any], deep_copy),
    fixed("mustDeepCopy", &[Any], deep_copy),
];

/// Sprig's `empty`
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_true()
}

fn deep_copy(_: &mut crate::exec::Machine<'_>, args: &[Value]) -> Result<Value, crate::error::Error> {
    if args[0].is_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".into());
    }
    Ok(args[0].deep_copy())
}
