//! Maps with string keys.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Str, Value};

/// The type of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// `map[string]interface {}`
    Any,
    /// `map[string]string`
    Strings,
    /// A named type over `map[string]interface {}`, such as `common.Values`.
    Named(&'static str),
    /// `map[string]interface {}` that is nil: encoders write `null` for it, and nothing can be set.
    Nil,
    /// `map[string]string` that is nil.
    NilStrings,
}

impl MapKind {
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any | Self::Nil => "map[string]interface {}",
            Self::Strings | Self::NilStrings => "map[string]string",
            Self::Named(name) => name,
        }
    }

    #[must_use]
    pub fn is_nil(self) -> bool {
        matches!(self, Self::Nil | Self::NilStrings)
    }

    /// Whether it is `map[string]interface {}` itself.
    #[must_use]
    pub fn is_any(self) -> bool {
        matches!(self, Self::Any | Self::Nil)
    }

    /// Whether the values are texts.
    #[must_use]
    pub fn is_strings(self) -> bool {
        matches!(self, Self::Strings | Self::NilStrings)
    }
}

/// A shared map; iteration is in the order of the keys, as templates and encoders sort them.
#[derive(Debug, Clone)]
pub struct Map {
    kind: MapKind,
    entries: Rc<RefCell<BTreeMap<Str, Value>>>,
}

impl Default for Map {
    fn default() -> Self {
        Self::new(MapKind::Any)
    }
}

impl Map {
    #[must_use]
    pub fn new(kind: MapKind) -> Self {
        Self { kind, entries: Rc::default() }
    }

    pub fn from_entries(kind: MapKind, entries: impl IntoIterator<Item = (Str, Value)>) -> Self {
        Self { kind, entries: Rc::new(RefCell::new(entries.into_iter().collect())) }
    }

    /// The same map under another type.
    #[must_use]
    pub fn with_kind(&self, kind: MapKind) -> Self {
        Self { kind, entries: Rc::clone(&self.entries) }
    }

    #[must_use]
    pub fn kind(&self) -> MapKind {
        self.kind
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.entries.borrow().get(key).cloned()
    }

    #[must_use]
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.entries.borrow().contains_key(key)
    }

    pub fn insert(&self, key: impl Into<Str>, value: Value) {
        self.entries.borrow_mut().insert(key.into(), value);
    }

    pub fn remove(&self, key: &[u8]) {
        self.entries.borrow_mut().remove(key);
    }

    /// The entries by key. Do not call back into a template while the guard lives.
    #[must_use]
    pub fn entries(&self) -> Ref<'_, BTreeMap<Str, Value>> {
        self.entries.borrow()
    }

    #[must_use]
    pub fn to_vec(&self) -> Vec<(Str, Value)> {
        self.entries.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    #[must_use]
    pub fn keys(&self) -> Vec<Str> {
        self.entries.borrow().keys().cloned().collect()
    }

    /// Whether both are one and the same map.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.entries, &other.entries)
    }

    pub(crate) fn equal_at(&self, other: &Self, depth: usize) -> bool {
        self.kind == other.kind
            && (self.is_same(other) || {
                let (entries, others) = (self.entries.borrow(), other.entries.borrow());
                entries.len() == others.len()
                    && entries.iter().zip(others.iter()).all(|(a, b)| a.0 == b.0 && a.1.equal_at(b.1, depth))
            })
    }

    pub(crate) fn copy_at(&self, depth: usize) -> Self {
        let entries = self.entries.borrow();
        Self::from_entries(self.kind, entries.iter().map(|(key, value)| (key.clone(), value.copy_at(depth))))
    }
}
