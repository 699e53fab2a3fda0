//! The built-in table: parsed once from `types.txt`.
//!
//! One line per type (`core.v1.Pod = v1 Pod`, plus `atomic` for a map replaced as a whole), followed by one
//! indented line per field: name, shape, flags. `[x]` is a list, `{x}` a map with free keys. `always` and `pointer` are
//! from the struct tags of `k8s.io/api` 0.34.4 and its like: what the JSON of an empty struct has, and what is a
//! pointer.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use crate::gvk::GroupVersionKind;

const TABLE: &str = include_str!("types.txt");

/// What a value looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    String,
    /// Base64 text.
    Bytes,
    Bool,
    Int32,
    Int64,
    Number,
    Quantity,
    Time,
    MicroTime,
    IntOrString,
    /// Any JSON value: extensions and JSON schemas.
    Any,
    List(Box<Shape>),
    Map(Box<Shape>),
    /// A type of the table, by its index.
    Struct(TypeId),
}

/// Index of a type in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeId(usize);

/// A struct type.
#[derive(Debug)]
pub struct Type {
    /// Its short OpenAPI name: `core.v1.Container`.
    pub name: &'static str,
    /// Replaced as a whole under server-side apply.
    pub atomic: bool,
    fields: BTreeMap<&'static str, Field>,
    /// Names of the fields that are always written.
    always: Vec<&'static str>,
}

/// A field of a struct type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub shape: Shape,
    pub required: bool,
    pub presence: Presence,
    /// A pointer in Go: what is always written is null when it is not set.
    pub nullable: bool,
    pub list: ListType,
    /// Set where the field overrides what its type says.
    pub atomic_map: Option<bool>,
    pub patch: Patch,
}

/// When Go writes the field of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Unless it is zero or empty (`omitempty`).
    Omitted,
    /// Unless it is not set: a pointer, which tells zero from absent (`omitempty`).
    Pointer,
    /// Even when it is zero.
    Always,
}

/// How a list merges under server-side apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// How a strategic merge patch treats a field. The default replaces lists and merges maps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// Lists are merged rather than replaced.
    pub merge: bool,
    /// The field that tells items apart; `None` for lists of scalars.
    pub key: Option<String>,
    /// `$retainKeys` is sent with this map (or with the items of this list).
    pub retain_keys: bool,
    /// Maps are replaced rather than merged.
    pub replace: bool,
}

impl Type {
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// The fields that are written even when they are zero.
    pub fn always(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        self.always.iter().map(|name| (*name, &self.fields[name]))
    }

    /// Fields with their names, sorted.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        self.fields.iter().map(|(name, field)| (*name, field))
    }
}

struct Table {
    types: Vec<Type>,
    roots: HashMap<GroupVersionKind, Shape>,
    object_meta: Shape,
}

pub(super) fn root(gvk: &GroupVersionKind) -> Option<&'static Shape> {
    table().roots.get(gvk)
}

pub(super) fn object_meta() -> &'static Shape {
    &table().object_meta
}

pub(super) fn lookup(id: TypeId) -> &'static Type {
    &table().types[id.0]
}

impl TypeId {
    /// The type's fields.
    #[must_use]
    pub fn get(self) -> &'static Type {
        lookup(self)
    }
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(parse)
}

fn parse() -> Table {
    let heads = || TABLE.lines().filter(|line| !line.starts_with(' ') && !line.is_empty());
    let ids: HashMap<&str, TypeId> = heads()
        .enumerate()
        .map(|(index, line)| (line.split(' ').next().unwrap_or_default(), TypeId(index)))
        .collect();
    let mut types: Vec<Type> = Vec::new();
    let mut roots = HashMap::new();
    for line in TABLE.lines() {
        if let Some(field) = line.strip_prefix(' ') {
            let (name, field) = parse_field(field, &ids);
            let owner = types.last_mut().expect("the table's first line is a type");
            if field.presence == Presence::Always {
                owner.always.push(name);
            }
            owner.fields.insert(name, field);
            continue;
        }
        let words: Vec<&'static str> = line.split(' ').collect();
        if let [_, "=", api_version, kind, ..] = words.as_slice() {
            let gvk =
                GroupVersionKind::parse(api_version, kind).expect("the table's versions are well formed");
            roots.insert(gvk, Shape::Struct(TypeId(types.len())));
        }
        types.push(Type {
            name: words[0],
            atomic: words.contains(&"atomic"),
            fields: BTreeMap::new(),
            always: Vec::new(),
        });
    }
    let object_meta = Shape::Struct(ids["meta.v1.ObjectMeta"]);
    Table { types, roots, object_meta }
}

fn parse_field(line: &'static str, ids: &HashMap<&str, TypeId>) -> (&'static str, Field) {
    let mut words = line.split(' ');
    let name = words.next().expect("a field line has a name");
    let shape = parse_shape(words.next().expect("a field line has a shape"), ids);
    let mut field = Field {
        shape,
        required: false,
        presence: Presence::Omitted,
        nullable: false,
        list: ListType::Atomic,
        atomic_map: None,
        patch: Patch::default(),
    };
    for flag in words {
        match flag.split_once(':') {
            Some(("map", keys)) => field.list = ListType::Map(keys.split(',').map(str::to_owned).collect()),
            Some(("merge", key)) => {
                field.patch.merge = true;
                field.patch.key = Some(key.to_owned());
            }
            None => match flag {
                "required" => field.required = true,
                "always" => field.presence = Presence::Always,
                "pointer" => {
                    field.nullable = true;
                    if field.presence == Presence::Omitted {
                        field.presence = Presence::Pointer;
                    }
                }
                "set" => field.list = ListType::Set,
                "atomic" => field.atomic_map = Some(true),
                "granular" => field.atomic_map = Some(false),
                "merge" => field.patch.merge = true,
                "retain" => field.patch.retain_keys = true,
                "replace" => field.patch.replace = true,
                other => unreachable!("the table has no flag {other}"),
            },
            Some(_) => unreachable!("the table has no flag {flag}"),
        }
    }
    (name, field)
}

fn parse_shape(text: &str, ids: &HashMap<&str, TypeId>) -> Shape {
    if let Some(item) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Shape::List(Box::new(parse_shape(item, ids)));
    }
    if let Some(value) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return Shape::Map(Box::new(parse_shape(value, ids)));
    }
    match text {
        "string" => Shape::String,
        "bytes" => Shape::Bytes,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "number" => Shape::Number,
        "quantity" => Shape::Quantity,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "intstr" => Shape::IntOrString,
        "any" => Shape::Any,
        name => Shape::Struct(*ids.get(name).unwrap_or_else(|| unreachable!("the table has no type {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(path: &[&str]) -> &'static Field {
        let mut shape = root(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
        let mut found = None;
        for name in path {
            let Shape::Struct(id) = shape else { panic!("{name}: parent is no struct") };
            let field = lookup(*id).field(name).unwrap_or_else(|| panic!("no field {name}"));
            found = Some(field);
            shape = match &field.shape {
                Shape::List(item) => item,
                other => other,
            };
        }
        found.unwrap()
    }

    #[test]
    fn container_ports_have_both_kinds_of_keys() {
        let ports = field(&["spec", "template", "spec", "containers", "ports"]);
        assert_eq!(ports.list, ListType::Map(vec!["containerPort".to_owned(), "protocol".to_owned()]));
        assert_eq!(ports.patch.key.as_deref(), Some("containerPort"));
    }

    #[test]
    fn flags_are_read() {
        assert!(field(&["spec", "strategy"]).patch.retain_keys);
        assert!(field(&["spec", "template", "spec", "volumes"]).patch.retain_keys);
        assert_eq!(field(&["spec", "template", "spec", "nodeSelector"]).atomic_map, Some(true));
        assert_eq!(field(&["metadata", "finalizers"]).list, ListType::Set);
        assert!(field(&["spec", "template", "spec", "containers", "name"]).required);
    }
}
