//! What is known of the type of the value at each path of an object: its fields, how its lists and maps merge.
//!
//! Server-side apply, strategic merge patches and decoding walk an object together with a [`Typing`]. Built-in
//! kinds have a complete table (`types.txt`: the OpenAPI facts of Kubernetes 1.34); custom resources have the
//! structural schema of their definition; anything else is deduced as upstream deduces it: maps merge by key,
//! lists are atomic.

mod builtin;

use std::sync::Arc;

pub use builtin::{Field, ListType, Patch, Presence, Shape, Type};

use crate::gvk::GroupVersionKind;
use crate::schema::Schema;

/// The type of the value at some path.
#[derive(Debug, Clone, Copy, Default)]
pub enum Typing<'a> {
    /// Nothing is known: maps are granular, lists atomic.
    #[default]
    Deduced,
    /// A type of the built-in table; lists and maps are atomic where the flags say so.
    Builtin(Slot<'static>),
    /// A node of a custom resource's schema.
    Schema(&'a Schema),
    /// The root of a custom resource: `metadata` is `ObjectMeta`, everything else follows the schema.
    CustomRoot(Option<&'a Schema>),
}

/// A built-in field's shape together with the flags that were declared on the field that holds it.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    pub shape: &'a Shape,
    pub field: Option<&'a Field>,
}

/// An owned typing, for those that keep one per resource.
#[derive(Debug, Clone)]
pub enum Model {
    /// By group, version and kind: a built-in kind.
    Builtin(GroupVersionKind),
    /// A custom resource; without a schema its fields are deduced.
    Custom(Option<Arc<Schema>>),
}

impl Model {
    #[must_use]
    pub fn typing(&self) -> Typing<'_> {
        match self {
            Self::Builtin(gvk) => Typing::of(gvk),
            Self::Custom(schema) => Typing::CustomRoot(schema.as_deref()),
        }
    }
}

/// How the list at a path merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lists<'a> {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items are told apart by these fields.
    Map(&'a [String]),
}

impl Typing<'static> {
    /// The typing of a whole object of a kind: built in, or the root of a custom resource without a schema.
    #[must_use]
    pub fn of(gvk: &GroupVersionKind) -> Self {
        match builtin::root(gvk) {
            Some(shape) => Typing::Builtin(Slot { shape, field: None }),
            None => Typing::CustomRoot(None),
        }
    }
}

impl<'a> Typing<'a> {
    /// The root of a custom resource with this schema.
    #[must_use]
    pub fn custom(schema: &'a Schema) -> Self {
        Typing::CustomRoot(Some(schema))
    }

    #[must_use]
    pub fn is_builtin(&self) -> bool {
        matches!(self, Typing::Builtin(_))
    }

    /// The typing of a field of the map at this path.
    #[must_use]
    pub fn field(self, name: &str) -> Typing<'a> {
        match self {
            Typing::Deduced => Typing::Deduced,
            Typing::Builtin(slot) => match slot.shape {
                Shape::Map(value) => Typing::Builtin(Slot { shape: value, field: None }),
                Shape::Struct(name_of_type) => match builtin::lookup(*name_of_type).field(name) {
                    Some(field) => Typing::Builtin(Slot { shape: &field.shape, field: Some(field) }),
                    None => Typing::Deduced,
                },
                _ => Typing::Deduced,
            },
            Typing::CustomRoot(_) if name == "metadata" => object_meta(),
            Typing::CustomRoot(None) => Typing::Deduced,
            Typing::CustomRoot(Some(schema)) | Typing::Schema(schema) => {
                if schema.embedded_resource && name == "metadata" {
                    return object_meta();
                }
                schema.child(name).map_or(Typing::Deduced, Typing::Schema)
            }
        }
    }

    /// Whether the map at this path is a struct that declares the field (rather than a map with free keys).
    #[must_use]
    pub fn declares(self, name: &str) -> bool {
        match self {
            Typing::Deduced => false,
            Typing::Builtin(Slot { shape: Shape::Struct(id), .. }) => {
                builtin::lookup(*id).field(name).is_some()
            }
            Typing::Builtin(_) => false,
            Typing::CustomRoot(schema) => {
                matches!(name, "apiVersion" | "kind" | "metadata")
                    || schema.is_some_and(|schema| schema.properties.contains_key(name))
            }
            Typing::Schema(schema) => schema.properties.contains_key(name),
        }
    }

    /// The typing of the items of the list at this path.
    #[must_use]
    pub fn items(self) -> Typing<'a> {
        match self {
            Typing::Builtin(Slot { shape: Shape::List(item), .. }) => {
                Typing::Builtin(Slot { shape: item, field: None })
            }
            Typing::Schema(schema) => schema.items.as_deref().map_or(Typing::Deduced, Typing::Schema),
            _ => Typing::Deduced,
        }
    }

    /// How the list at this path merges under server-side apply.
    #[must_use]
    pub fn lists(self) -> Lists<'a> {
        match self {
            Typing::Builtin(Slot { field: Some(field), .. }) => match &field.list {
                ListType::Atomic => Lists::Atomic,
                ListType::Set => Lists::Set,
                ListType::Map(keys) => Lists::Map(keys),
            },
            Typing::Schema(schema) => schema.lists(),
            _ => Lists::Atomic,
        }
    }

    /// Whether the map at this path is replaced as a whole under server-side apply.
    #[must_use]
    pub fn is_atomic_map(self) -> bool {
        match self {
            Typing::Builtin(Slot { shape, field }) => {
                if let Some(atomic) = field.and_then(|field| field.atomic_map) {
                    return atomic;
                }
                matches!(shape, Shape::Struct(id) if builtin::lookup(*id).atomic)
            }
            Typing::Schema(schema) => schema.atomic_map,
            Typing::Deduced | Typing::CustomRoot(_) => false,
        }
    }

    /// How a strategic merge patch treats the value at this path.
    #[must_use]
    pub fn patch(self) -> Option<&'static Patch> {
        match self {
            Typing::Builtin(Slot { field: Some(field), .. }) => Some(&field.patch),
            _ => None,
        }
    }

    /// The default of a key field that list items are told apart by, where leaving it out is allowed.
    #[must_use]
    pub fn key_default(self, key: &str) -> Option<serde_json::Value> {
        match self {
            // The only optional list map key of a built-in kind is a port's protocol.
            Typing::Builtin(_) if key == "protocol" => Some(serde_json::json!("TCP")),
            Typing::Schema(schema) => schema.properties.get(key)?.default.clone(),
            _ => None,
        }
    }
}

fn object_meta() -> Typing<'static> {
    Typing::Builtin(Slot { shape: builtin::object_meta(), field: None })
}
