//! Types.

use super::Type::{Any, Str as Text};
use super::{Function, fixed, text};
use crate::value::Value;

const TWO: &[super::Type] = &[Text, Any];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("typeOf", &[Any], |_, args| Ok(args[0].type_name().into())),
    fixed("typeIs", TWO, |_, args| Ok(Value::Bool(*text(args, 0) == args[1].type_name()))),
    fixed("typeIsLike", TWO, |_, args| {
        let (wanted, found) = (text(args, 0).text(), args[1].type_name());
        Ok(Value::Bool(wanted == found || found.strip_prefix('*') == Some(&*wanted)))
    }),
    fixed("kindOf", &[Any], |_, args| Ok(args[0].kind_name().into())),
    fixed("kindIs", TWO, |_, args| Ok(Value::Bool(*text(args, 0) == args[1].kind_name()))),
    fixed("deepEqual", &[Any, Any], |_, args| Ok(Value::Bool(args[0].deep_equal(&args[1])))),
];
