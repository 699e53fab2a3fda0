//! Slices.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use super::Value;

/// The element type of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Strings,
    /// `[]int`
    Ints,
    /// `[][]interface {}`
    Lists,
}

impl ListKind {
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Strings => "[]string",
            Self::Ints => "[]int",
            Self::Lists => "[][]interface {}",
        }
    }
}

/// A shared slice. Its length never changes (`append` makes a new one), as that of a Go slice value.
#[derive(Debug, Clone)]
pub struct List {
    kind: ListKind,
    nil: bool,
    items: Rc<RefCell<Vec<Value>>>,
}

impl List {
    #[must_use]
    pub fn new(kind: ListKind, items: Vec<Value>) -> Self {
        Self { kind, nil: false, items: Rc::new(RefCell::new(items)) }
    }

    /// Go's nil slice: it is empty, and encoders write `null` for it.
    #[must_use]
    pub fn nil(kind: ListKind) -> Self {
        Self { kind, nil: true, items: Rc::default() }
    }

    /// A slice that is nil if it is empty.
    #[must_use]
    pub fn new_or_nil(kind: ListKind, items: Vec<Value>) -> Self {
        if items.is_empty() { Self::nil(kind) } else { Self::new(kind, items) }
    }

    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    #[must_use]
    pub fn kind(&self) -> ListKind {
        self.kind
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.borrow().is_empty()
    }

    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value> {
        self.items.borrow().get(index).cloned()
    }

    /// The items. Do not call back into a template while the guard lives.
    #[must_use]
    pub fn items(&self) -> Ref<'_, [Value]> {
        Ref::map(self.items.borrow(), Vec::as_slice)
    }

    #[must_use]
    pub fn to_vec(&self) -> Vec<Value> {
        self.items.borrow().clone()
    }

    /// Replaces an item in place; ignored past the end.
    pub fn set(&self, index: usize, value: Value) {
        if let Some(slot) = self.items.borrow_mut().get_mut(index) {
            *slot = value;
        }
    }

    pub(crate) fn equal_at(&self, other: &Self, depth: usize) -> bool {
        self.kind == other.kind
            && self.nil == other.nil
            && (Rc::ptr_eq(&self.items, &other.items) || {
                let (items, others) = (self.items.borrow(), other.items.borrow());
                items.len() == others.len()
                    && items.iter().zip(others.iter()).all(|(a, b)| a.equal_at(b, depth))
            })
    }

    pub(crate) fn copy_at(&self, depth: usize) -> Self {
        let items = self.items.borrow().iter().map(|item| item.copy_at(depth)).collect();
        Self { nil: self.nil, ..Self::new(self.kind, items) }
    }
}
