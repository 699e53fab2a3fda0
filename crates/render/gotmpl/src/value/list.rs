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

    fn zero(self) -> Value {
        match self {
            Self::Any => Value::Nil,
            Self::Strings => "".into(),
            Self::Ints => Value::int(0),
            Self::Lists => Value::List(List::nil(Self::Any)),
        }
    }

    /// Bytes of an item, and whether it holds pointers.
    fn item(self) -> (usize, bool) {
        match self {
            Self::Any | Self::Strings => (16, true),
            Self::Ints => (8, false),
            Self::Lists => (24, true),
        }
    }
}

/// The sizes Go's allocator has, in bytes, up to 32 KiB; larger ones are multiples of 8 KiB.
const SIZES: [usize; 67] = [
    8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416,
    448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200,
    3456, 4096, 4864, 5120, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568,
    14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672,
];

/// How many items fit where Go makes room for so many.
fn rounded(kind: ListKind, items: usize) -> usize {
    let (size, pointers) = kind.item();
    // Larger objects with pointers carry their type in front.
    let header = if pointers && size * items > 512 { 8 } else { 0 };
    let wanted = size * items + header;
    let found = SIZES.iter().copied().chain([32768]).find(|class| *class >= wanted);
    let bytes = found.map_or_else(|| (size * items).next_multiple_of(8192), |class| class - header);
    bytes / size
}

/// Room for more items, as Go makes it; `slice` reaches into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Room {
    /// None.
    #[default]
    Exact,
    /// A slice with room for so many items took its items one by one.
    From(u32),
    /// The items after the first were appended at once.
    AtOnce,
    /// For so many items in all.
    For(u32),
}

impl Room {
    /// `cap` of a slice that was made with so many items.
    fn capacity(self, kind: ListKind, length: usize) -> usize {
        match self {
            Self::Exact => length,
            Self::For(capacity) => capacity as usize,
            Self::AtOnce if length < 2 => length,
            Self::AtOnce => rounded(kind, length),
            Self::From(start) => {
                let mut capacity = start as usize;
                while capacity < length {
                    let wanted = match capacity {
                        0 => 1,
                        small if small < 256 => small * 2,
                        large => large + (large + 768) / 4,
                    };
                    capacity = rounded(kind, wanted);
                }
                capacity
            }
        }
    }
}

/// A shared slice. Its length never changes (`append` makes a new one), as that of a Go slice value.
#[derive(Debug, Clone)]
pub struct List {
    kind: ListKind,
    nil: bool,
    /// Where in the array it begins, and how many items it has.
    start: u32,
    length: u32,
    array: Rc<Array>,
}

/// What slices of slices share.
#[derive(Debug, Default)]
struct Array {
    items: RefCell<Vec<Value>>,
    /// How many items it was made with. More are there once a slice has reached into the room behind them.
    made: u32,
    room: Room,
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("four thousand million items do not fit the memory a template may use")
}

impl List {
    /// A slice without room for more items.
    #[must_use]
    pub fn new(kind: ListKind, items: Vec<Value>) -> Self {
        Self::with_room(kind, items, Room::Exact)
    }

    /// A slice that was made by appending one item after the other.
    #[must_use]
    pub fn appended(kind: ListKind, items: Vec<Value>) -> Self {
        Self::with_room(kind, items, Room::From(0))
    }

    pub(crate) fn with_room(kind: ListKind, items: Vec<Value>, room: Room) -> Self {
        let length = narrow(items.len());
        let array = Array { items: RefCell::new(items), made: length, room };
        Self { kind, nil: false, start: 0, length, array: Rc::new(array) }
    }

    /// Go's nil slice: it is empty, and encoders write `null` for it.
    #[must_use]
    pub fn nil(kind: ListKind) -> Self {
        Self { kind, nil: true, start: 0, length: 0, array: Rc::default() }
    }

    /// A slice that is nil if it is empty, and was made by appending otherwise.
    #[must_use]
    pub fn new_or_nil(kind: ListKind, items: Vec<Value>) -> Self {
        if items.is_empty() { Self::nil(kind) } else { Self::appended(kind, items) }
    }

    /// The items from `start` up to `end`, which may lie beyond the last one where Go has room for more. `None`: out of
    /// bounds.
    pub(crate) fn part(&self, start: usize, end: usize) -> Option<Self> {
        if start > end || end > self.capacity() {
            return None;
        }
        let (start, length) = (self.start + narrow(start), narrow(end - start));
        let needed = (start + length) as usize;
        let mut items = self.array.items.borrow_mut();
        if items.len() < needed {
            items.resize(needed, self.kind.zero());
        }
        Some(Self { start, length, ..self.clone() })
    }

    /// `cap` of the slice.
    fn capacity(&self) -> usize {
        self.array.room.capacity(self.kind, self.array.made as usize) - self.start as usize
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len()
    }

    /// Puts the items in order; whoever else has them sees it.
    pub(crate) fn sort_texts(&self) {
        self.array.items.borrow_mut()[self.range()].sort_by(|a, b| a.as_str().cmp(&b.as_str()));
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
        self.length as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value> {
        self.items().get(index).cloned()
    }

    /// The items. Do not call back into a template while the guard lives.
    #[must_use]
    pub fn items(&self) -> Ref<'_, [Value]> {
        Ref::map(self.array.items.borrow(), |items| &items[self.range()])
    }

    #[must_use]
    pub fn to_vec(&self) -> Vec<Value> {
        self.items().to_vec()
    }

    /// Replaces an item in place, for every slice that has it; ignored past the end.
    pub fn set(&self, index: usize, value: Value) {
        if let Some(slot) = self.array.items.borrow_mut()[self.range()].get_mut(index) {
            *slot = value;
        }
    }

    pub(crate) fn equal_at(&self, other: &Self, depth: usize) -> bool {
        let same = || Rc::ptr_eq(&self.array, &other.array) && self.range() == other.range();
        let equal = || {
            let (items, others) = (self.items(), other.items());
            items.len() == others.len() && items.iter().zip(others.iter()).all(|(a, b)| a.equal_at(b, depth))
        };
        self.kind == other.kind && self.nil == other.nil && (same() || equal())
    }

    pub(crate) fn copy_at(&self, depth: usize) -> Self {
        let items = self.items().iter().map(|item| item.copy_at(depth)).collect();
        let room = match self.array.room {
            Room::Exact if self.start + self.length == self.array.made => Room::Exact,
            room if self.start == 0 && self.length == self.array.made => room,
            _ => Room::For(narrow(self.capacity())),
        };
        Self { nil: self.nil, ..Self::with_room(self.kind, items, room) }
    }
}
