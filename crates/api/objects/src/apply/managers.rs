//! `metadata.managedFields`: one entry per manager, operation, version and subresource.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fields::FieldSet;
use super::walk::{WalkError, compare};
use super::{Conflict, Writer};
use crate::typing::Typing;
use crate::{form, meta};

/// As many entries of plain writers as are kept apart; older ones are merged into one, as upstream does.
const MAX_UPDATERS: usize = 10;
/// Identity and bookkeeping: nobody owns these.
const STRIPPED: [&[&str]; 11] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// How an entry's manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

/// What tells entries apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    manager: String,
    operation: Operation,
    api_version: String,
    subresource: String,
}

#[derive(Debug, Clone)]
struct Managed {
    owner: Owner,
    time: Option<String>,
    set: FieldSet,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Managers {
    entries: Vec<Managed>,
}

/// What a written object says of its own managed fields.
pub(super) enum Given {
    None,
    /// Exactly one empty entry.
    Reset,
    Some,
}

pub(super) fn given(object: &Value) -> Given {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    match entries.map(Vec::as_slice) {
        None | Some([]) => Given::None,
        Some([Value::Object(entry)]) if entry.is_empty() => Given::Reset,
        // Entries that nothing can be read from count as none, so that old clients do not delete them.
        Some(_) if Managers::read(object).is_empty() => Given::None,
        Some(_) => Given::Some,
    }
}

pub(super) fn strip_identity(set: &mut FieldSet) {
    for path in STRIPPED {
        set.remove(path);
    }
}

/// The names of the managers of an object with their operation and subresource.
#[must_use]
pub fn manager_names(object: &Value) -> Vec<(String, Operation, String)> {
    let entries = Managers::read(object).entries;
    entries
        .into_iter()
        .map(|entry| (entry.owner.manager, entry.owner.operation, entry.owner.subresource))
        .collect()
}

/// Gives a new object the times of the old one's managed fields if nothing else differs, so that a write that changes
/// nothing is none.
pub fn keep_times(old: &Value, new: &mut Value) {
    fn entries(object: &Value) -> &[Value] {
        object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    let same_entry = |(old, new): (&Value, &Value)| {
        let fields = |entry: &Value| entry.as_object().map_or(0, |entry| entry.len());
        let timeless = |entry: &Value| fields(entry) - usize::from(entry.get("time").is_some());
        let told = ["manager", "operation", "apiVersion", "subresource", "fieldsV1"];
        timeless(old) == timeless(new) && told.iter().all(|field| old.get(field) == new.get(field))
    };
    let (before, after) = (entries(old), entries(new));
    if before.len() != after.len() || !before.iter().zip(after).all(same_entry) {
        return;
    }
    let kept = Value::from(before.to_vec());
    let Some(slot) = new.pointer_mut("/metadata/managedFields") else { return };
    let given = std::mem::replace(slot, kept);
    if new != old
        && let Some(slot) = new.pointer_mut("/metadata/managedFields")
    {
        *slot = given;
    }
}

/// Every field that a manager owns, over all its entries.
#[must_use]
pub fn owned_by(object: &Value, manager: &str) -> FieldSet {
    let entries = Managers::read(object).entries;
    let mine = entries.iter().filter(|entry| entry.owner.manager == manager);
    mine.fold(FieldSet::default(), |all, entry| all.union(&entry.set))
}

impl Owner {
    pub(super) fn new(writer: Writer<'_>, operation: Operation, object: &Value) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation,
            api_version: object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned(),
            subresource: writer.subresource.to_owned(),
        }
    }

    /// An applier is the same whichever version it applies with; plain writers are kept apart by version.
    fn is(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }
}

impl Managers {
    pub(super) fn read(object: &Value) -> Self {
        let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        Self { entries: entries.into_iter().flatten().filter_map(Managed::read).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives everything of an object that was written before ownership was tracked to one manager.
    pub(super) fn own_before_first_apply(
        &mut self,
        live: &Value,
        typing: Typing<'_>,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        let mut set = compare(&form::zero(typing), live, typing)?.set();
        strip_identity(&mut set);
        let writer = Writer { manager: "before-first-apply", subresource: "", now };
        let owner = Owner::new(writer, Operation::Update, live);
        self.entries.push(Managed { owner, time: Some(meta::format_time(now)), set });
        Ok(())
    }

    /// Sets what `owner` owns and returns what it owned before; the entry's time stays as it was.
    pub(super) fn replace(&mut self, owner: &Owner, set: FieldSet) -> Option<FieldSet> {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.owner.is(owner)) {
            entry.owner = owner.clone();
            return Some(std::mem::replace(&mut entry.set, set));
        }
        self.entries.push(Managed { owner: owner.clone(), time: None, set });
        None
    }

    /// The entry of `owner` is of this moment.
    pub(super) fn stamp(&mut self, owner: &Owner, now: Timestamp) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.owner.is(owner)) {
            entry.time = Some(meta::format_time(now));
        }
    }

    /// Adds to what `owner` owns, and drops what is gone. The time changes only if the set does.
    pub(super) fn grow(&mut self, owner: &Owner, touched: &FieldSet, removed: &FieldSet, now: Timestamp) {
        let mine = self.entries.iter().find(|entry| entry.owner.is(owner)).map(|entry| entry.set.clone());
        let set = mine.unwrap_or_default().difference(removed).union(touched);
        // Upstream writes no time where replicas are set through their subresource.
        if self.replace(owner, set.clone()).is_none_or(|last| last != set) && owner.subresource != "scale" {
            self.stamp(owner, now);
        }
    }

    /// Fields of `touched` that others own.
    pub(super) fn conflicts(&self, owner: &Owner, touched: &FieldSet) -> Vec<Conflict> {
        let mut found = Vec::new();
        for entry in self.entries.iter().filter(|entry| !entry.owner.is(owner)) {
            let manager = entry.describe();
            let fields = entry.set.intersection(touched).paths();
            found.extend(fields.into_iter().map(|field| Conflict { manager: manager.clone(), field }));
        }
        found.sort_by(|a, b| a.manager.cmp(&b.manager));
        found
    }

    pub(super) fn take_from_others(&mut self, owner: &Owner, taken: &FieldSet) {
        for entry in self.entries.iter_mut().filter(|entry| !entry.owner.is(owner)) {
            entry.set = entry.set.difference(taken);
        }
    }

    /// What anybody owns.
    pub(super) fn all(&self) -> FieldSet {
        self.entries.iter().fold(FieldSet::default(), |all, entry| all.union(&entry.set))
    }

    /// Writes the entries in upstream's order: appliers first, then by time and name.
    pub(super) fn write(mut self, object: &mut Value) {
        self.entries.retain(|entry| !entry.set.is_empty());
        self.sort();
        self.merge_old_updaters();
        let entries: Vec<Value> = self.entries.iter().map(Managed::write).collect();
        let value = if entries.is_empty() { Value::Null } else { Value::Array(entries) };
        meta::set(object, "managedFields", value);
    }

    fn sort(&mut self) {
        self.entries.sort_by(|a, b| {
            let key = |entry: &Managed| {
                let Owner { manager, operation, api_version, subresource } = entry.owner.clone();
                (operation, entry.time.clone(), manager, api_version, subresource)
            };
            key(a).cmp(&key(b))
        });
    }

    fn merge_old_updaters(&mut self) {
        let is_updater = |entry: &Managed| entry.owner.operation == Operation::Update;
        let updaters = self.entries.iter().filter(|entry| is_updater(entry)).count();
        let Some(excess) = updaters.checked_sub(MAX_UPDATERS).filter(|excess| *excess > 0) else { return };
        // Oldest first, because the entries are sorted by time.
        let first = self.entries.iter().position(is_updater).unwrap_or_default();
        let old: Vec<Managed> = self.entries.splice(first..=first + excess, []).collect();
        let mut versions: Vec<Managed> = Vec::new();
        for entry in old {
            match versions.iter_mut().find(|merged| merged.owner.api_version == entry.owner.api_version) {
                Some(merged) => {
                    merged.set = merged.set.union(&entry.set);
                    merged.time = merged.time.take().max(entry.time);
                }
                None => versions.push(Managed {
                    owner: Owner {
                        manager: "ancient-changes".to_owned(),
                        subresource: String::new(),
                        ..entry.owner
                    },
                    ..entry
                }),
            }
        }
        self.entries.extend(versions);
        self.sort();
    }
}

impl Managed {
    fn read(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            owner: Owner {
                manager: text("manager").to_owned(),
                operation,
                api_version: text("apiVersion").to_owned(),
                subresource: text("subresource").to_owned(),
            },
            time: Some(text("time")).filter(|time| !time.is_empty()).map(str::to_owned),
            set: FieldSet::from_v1(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn write(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        put("manager", json!(self.owner.manager));
        put("operation", json!(if self.owner.operation == Operation::Apply { "Apply" } else { "Update" }));
        put("apiVersion", json!(self.owner.api_version));
        put("fieldsType", json!("FieldsV1"));
        put("fieldsV1", self.set.to_v1());
        if let Some(time) = &self.time {
            put("time", json!(time));
        }
        if !self.owner.subresource.is_empty() {
            put("subresource", json!(self.owner.subresource));
        }
        Value::Object(entry)
    }

    fn describe(&self) -> String {
        let mut text = format!("{:?}", self.owner.manager);
        if !self.owner.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.owner.subresource);
        }
        match self.owner.operation {
            Operation::Apply => text,
            Operation::Update => format!("{text} using {}", self.owner.api_version),
        }
    }
}
