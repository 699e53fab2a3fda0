//! Helm's functions on templates and clusters.

use super::Type::{Any, Str as Text};
use super::{Function, fixed, text};
use crate::error::Error;
use crate::value::Value;

/// What stands before and after the message of `fail` and `required` in an error's text, so that Helm finds it.
pub const WARNING: (&str, &str) = ("HELM_ERR_START", "HELM_ERR_END");

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("include", &[Text, Any], |machine, args| Ok(Value::Str(machine.include(text(args, 0), &args[1])?))),
    fixed("tpl", &[Text, Any], |machine, args| Ok(Value::Str(machine.expand(text(args, 0), &args[1])?))),
    fixed("required", &[Text, Any], |_, args| match &args[1] {
        Value::Nil => Err(warning(text(args, 0))),
        Value::Str(given) if given.is_empty() => Err(warning(text(args, 0))),
        given => Ok(given.clone()),
    }),
    fixed("fail", &[Text], |_, args| Err(warning(text(args, 0)))),
    fixed("lookup", &[Text, Text, Text, Text], |machine, args| {
        let [version, kind, namespace, name] = [0, 1, 2, 3].map(|index| text(args, index).text());
        machine.environment().lookup(&version, &kind, &namespace, &name).map_err(Error::new)
    }),
    // Helm answers for names of hosts only when it is told to; otherwise the answer is empty.
    fixed("getHostByName", &[Text], |_, _| Ok("".into())),
];

fn warning(message: &crate::value::Str) -> Error {
    Error::new(format!("{}{message}{}", WARNING.0, WARNING.1))
}
