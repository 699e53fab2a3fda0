//! The values templates compute with: Go's kinds and the types Helm's values and Sprig's functions have.
//!
//! Maps and lists are shared, as Go's are: what `set` writes into a map is seen through every name it has.

mod convert;
mod list;
mod map;
mod object;
mod text;

use std::rc::Rc;

pub use convert::FromYaml;
pub(crate) use list::Room;
pub use list::{List, ListKind};
pub use map::{Map, MapKind};
pub use object::{Bytes, Field, Object};
pub use text::Str;

/// Go's integer types that occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntKind {
    Int,
    Int32,
    Int64,
    Uint8,
    Uint32,
    Uint64,
    /// `time.Duration`
    Duration,
}

/// A value of a template.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Go's untyped nil (also the zero `reflect.Value`).
    #[default]
    Nil,
    Bool(bool),
    Int(IntKind, i64),
    Float(f64),
    Str(Str),
    List(List),
    Map(Map),
    Object(Rc<dyn Object>),
}

impl Value {
    #[must_use]
    pub fn int(value: i64) -> Self {
        Self::Int(IntKind::Int, value)
    }

    #[must_use]
    pub fn int64(value: i64) -> Self {
        Self::Int(IntKind::Int64, value)
    }

    /// A new `[]interface {}`.
    #[must_use]
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(List::new(ListKind::Any, items))
    }

    /// A new `[]string`.
    pub fn strings<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::List(List::new(
            ListKind::Strings,
            items.into_iter().map(|item| Value::Str(item.into())).collect(),
        ))
    }

    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Rc::new(object))
    }

    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// `text/template.IsTrue`
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(_, value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Object(object) => object.is_true(),
        }
    }

    /// The name `%T` prints.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(kind, _) => kind.type_name(),
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(list) => list.kind().type_name(),
            Self::Map(map) => map.kind().type_name(),
            Self::Object(object) => object.type_name(),
        }
    }

    /// The name of `reflect.Kind`.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::Bool(_) => "bool",
            Self::Int(kind, _) => kind.kind_name(),
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Object(object) => object.kind_name(),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&Str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// `reflect.DeepEqual` of two interfaces: types must be the same as well. Values that hold themselves are not equal.
    #[must_use]
    pub fn deep_equal(&self, other: &Self) -> bool {
        self.equal_at(other, 0)
    }

    pub(crate) fn equal_at(&self, other: &Self, depth: usize) -> bool {
        if depth > crate::format::MAX_NESTING {
            return false;
        }
        match (self, other) {
            (Self::Nil, Self::Nil) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(kind, a), Self::Int(other_kind, b)) => kind == other_kind && a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.equal_at(b, depth + 1),
            (Self::Map(a), Self::Map(b)) => a.equal_at(b, depth + 1),
            (Self::Object(a), Self::Object(b)) => Rc::ptr_eq(a, b) || a.equals(&**b),
            _ => false,
        }
    }

    /// A copy that shares no map and no list with this one; nil where it nests too deeply, as what holds itself does.
    #[must_use]
    pub fn deep_copy(&self) -> Self {
        self.copy_at(0)
    }

    pub(crate) fn copy_at(&self, depth: usize) -> Self {
        match self {
            Self::List(_) | Self::Map(_) if depth > crate::format::MAX_NESTING => Self::Nil,
            Self::List(list) => Self::List(list.copy_at(depth + 1)),
            Self::Map(map) => Self::Map(map.copy_at(depth + 1)),
            other => other.clone(),
        }
    }
}

impl IntKind {
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Duration => "time.Duration",
        }
    }

    #[must_use]
    pub fn kind_name(self) -> &'static str {
        match self {
            Self::Duration => "int64",
            other => other.type_name(),
        }
    }

    #[must_use]
    pub fn is_unsigned(self) -> bool {
        matches!(self, Self::Uint8 | Self::Uint32 | Self::Uint64)
    }
}
