//! Values with fields and methods of their own: `.Files`, `.Capabilities`, a version, a time.

use std::any::Any;
use std::fmt;

use super::{Str, Value};

/// What a name after a dot leads to.
#[derive(Debug)]
pub enum Field {
    Value(Value),
    /// A method; it is called through [`Object::call`] with exactly so many arguments.
    Method {
        arguments: usize,
    },
}

/// A value that templates know only by its fields and methods.
pub trait Object: fmt::Debug {
    /// The name `%T` prints, such as `*semver.Version`.
    fn type_name(&self) -> &'static str;

    /// The name of its `reflect.Kind`.
    fn kind_name(&self) -> &'static str {
        "struct"
    }

    /// `None`: there is no such field.
    fn field(&self, name: &str) -> Option<Field>;

    /// Calls a method that [`Object::field`] announced.
    ///
    /// # Errors
    /// The method's own error text.
    fn call(&self, method: &str, arguments: &[Value]) -> Result<Value, String> {
        let _ = arguments;
        Err(format!("{method} is not a method"))
    }

    /// The text `%v` prints.
    fn display(&self) -> String;

    /// The text that an action prints. It differs from [`Object::display`] where Go finds the method `String` only
    /// because it can take the value's address.
    fn printed(&self) -> String {
        self.display()
    }

    fn is_true(&self) -> bool {
        true
    }

    /// Its entries if it is a map or a slice (then keys are indexes).
    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        None
    }

    /// The entry of a map (`index`, field access) by its key.
    fn entry(&self, key: &Str) -> Option<Value> {
        let _ = key;
        None
    }

    /// What an encoder (JSON, YAML) writes for it.
    fn plain(&self) -> Value {
        Value::Str(self.display().into())
    }

    /// Its text if it is a time, which YAML and TOML have a type for; encoders of JSON write it as a text.
    fn timestamp(&self) -> Option<String> {
        None
    }

    /// Whether both are equal, when they are not the same object.
    fn equals(&self, other: &dyn Object) -> bool {
        let _ = other;
        false
    }

    fn as_any(&self) -> &dyn Any;
}

/// `[]uint8`, the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Str);

impl Object for Bytes {
    fn type_name(&self) -> &'static str {
        "[]uint8"
    }

    fn kind_name(&self) -> &'static str {
        "slice"
    }

    fn field(&self, _: &str) -> Option<Field> {
        None
    }

    fn display(&self) -> String {
        let numbers: Vec<String> = self.0.iter().map(u8::to_string).collect();
        format!("[{}]", numbers.join(" "))
    }

    fn is_true(&self) -> bool {
        !self.0.is_empty()
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        let bytes = self.0.iter().enumerate();
        let index = |at: usize| Value::int(i64::try_from(at).unwrap_or(i64::MAX));
        Some(
            bytes
                .map(|(at, byte)| (index(at), Value::Int(super::IntKind::Uint8, i64::from(*byte))))
                .collect(),
        )
    }

    fn plain(&self) -> Value {
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, self.0.as_bytes()).into()
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
