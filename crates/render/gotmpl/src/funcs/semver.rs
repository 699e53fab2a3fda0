//! `semver` and `semverCompare` of Sprig.

use std::any::Any as StdAny;

use super::Type::Str as Text;
use super::{Function, fixed, text};
use crate::semver::{Constraints, Version};
use crate::value::{Field, IntKind, Object, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("semver", &[Text], |_, args| Ok(Value::object(Version::parse(&text(args, 0).text())?))),
    fixed("semverCompare", &[Text, Text], |_, args| {
        let constraints = Constraints::parse(&text(args, 0).text())?;
        Ok(Value::Bool(constraints.check(&Version::parse(&text(args, 1).text())?)))
    }),
];

fn unsigned(value: u64) -> Value {
    Value::Int(IntKind::Uint64, i64::try_from(value).unwrap_or(i64::MAX))
}

fn other<'a>(arguments: &'a [Value], method: &str) -> Result<&'a Version, String> {
    match arguments {
        [Value::Object(object)] => object.as_any().downcast_ref(),
        _ => None,
    }
    .ok_or_else(|| format!("wrong type for value of {method}; expected *semver.Version"))
}

impl Object for Version {
    fn type_name(&self) -> &'static str {
        "*semver.Version"
    }

    fn kind_name(&self) -> &'static str {
        "ptr"
    }

    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "Major" | "Minor" | "Patch" | "Prerelease" | "Metadata" | "Original" | "String" | "IncMajor"
            | "IncMinor" | "IncPatch" => Some(Field::Method { arguments: 0 }),
            "Compare" | "Equal" | "GreaterThan" | "GreaterThanEqual" | "LessThan" | "LessThanEqual" => {
                Some(Field::Method { arguments: 1 })
            }
            _ => None,
        }
    }

    fn call(&self, method: &str, arguments: &[Value]) -> Result<Value, String> {
        Ok(match method {
            "Major" => unsigned(self.major),
            "Minor" => unsigned(self.minor),
            "Patch" => unsigned(self.patch),
            "Prerelease" => self.pre.as_str().into(),
            "Metadata" => self.metadata.as_str().into(),
            "Original" => self.original.as_str().into(),
            "IncMajor" => Value::object(self.next(0)),
            "IncMinor" => Value::object(self.next(1)),
            "IncPatch" => Value::object(self.next(2)),
            "Compare" => Value::int(self.compare(other(arguments, method)?) as i64),
            "Equal" => Value::Bool(self.compare(other(arguments, method)?).is_eq()),
            "GreaterThan" => Value::Bool(self.compare(other(arguments, method)?).is_gt()),
            "GreaterThanEqual" => Value::Bool(self.compare(other(arguments, method)?).is_ge()),
            "LessThan" => Value::Bool(self.compare(other(arguments, method)?).is_lt()),
            "LessThanEqual" => Value::Bool(self.compare(other(arguments, method)?).is_le()),
            _ => self.to_string().into(),
        })
    }

    fn display(&self) -> String {
        self.to_string()
    }

    fn plain(&self) -> Value {
        self.to_string().into()
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn StdAny {
        self
    }
}
