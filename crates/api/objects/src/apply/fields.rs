//! Sets of field paths, and their `fieldsV1` form: `{"f:spec":{"f:replicas":{}}}`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

/// One step of a field path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// `f:name`: a field of a struct or a key of a map.
    Field(String),
    /// `k:{"name":"x"}`: the list item with these key fields, as compact JSON with sorted names.
    Key(String),
    /// `v:"x"`: the item of a set, as compact JSON.
    Item(String),
    /// `i:3`: the item at an index.
    Index(u64),
}

/// A set of paths. The empty path cannot be in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSet {
    steps: BTreeMap<Step, Entry>,
}

/// What a set holds at and below one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The path that ends here is in the set.
    pub member: bool,
    pub below: FieldSet,
}

impl Step {
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            // Parsed and printed again, so that spelling does not matter.
            "k" => serde_json::from_str::<Map<String, Value>>(rest)
                .ok()
                .map(|keys| Self::Key(json!(keys).to_string())),
            "v" => serde_json::from_str::<Value>(rest).ok().map(|item| Self::Item(item.to_string())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Item(item) => format!("v:{item}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As conflicts name it: `.spec`, `[name="web"]`, `[="x"]`, `[3]`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Item(item) => write!(f, "[={item}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", pairs.join(","))
            }
        }
    }
}

impl FieldSet {
    /// Reads `fieldsV1`; entries that are malformed are left out.
    #[must_use]
    pub fn from_v1(fields: &Value) -> Self {
        let mut set = Self::default();
        for (key, value) in fields.as_object().into_iter().flatten() {
            let Some(step) = Step::parse(key) else { continue };
            let below = Self::from_v1(value);
            let member = below.is_empty() || value.get(".").is_some();
            set.steps.insert(step, Entry { member, below });
        }
        set
    }

    /// The `fieldsV1` form.
    #[must_use]
    pub fn to_v1(&self) -> Value {
        let mut fields = Map::new();
        for (step, entry) in &self.steps {
            let mut below = entry.below.to_v1();
            if entry.member && !entry.below.is_empty() {
                below["."] = json!({});
            }
            fields.insert(step.print(), below);
        }
        Value::Object(fields)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What the set holds at and below a step.
    #[must_use]
    pub fn get(&self, step: &Step) -> Option<&Entry> {
        self.steps.get(step)
    }

    pub(super) fn entry(&mut self, step: Step) -> &mut Entry {
        self.steps.entry(step).or_default()
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (&Step, &Entry)> {
        self.steps.iter()
    }

    /// Drops entries that hold nothing.
    pub(super) fn tidy(&mut self) {
        self.steps.retain(|_, entry| {
            entry.below.tidy();
            entry.member || !entry.below.is_empty()
        });
    }

    /// Removes one path; what is below it stays.
    pub(super) fn remove(&mut self, path: &[&str]) {
        if let [name, rest @ ..] = path
            && let Some(entry) = self.steps.get_mut(&Step::field(name))
        {
            if rest.is_empty() {
                entry.member = false;
            } else {
                entry.below.remove(rest);
            }
        }
        self.tidy();
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (step, entry) in &other.steps {
            let mine = all.entry(step.clone());
            mine.member |= entry.member;
            mine.below = mine.below.union(&entry.below);
        }
        all
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (step, entry) in &self.steps {
            if let Some(theirs) = other.steps.get(step) {
                let below = entry.below.intersection(&theirs.below);
                both.steps.insert(step.clone(), Entry { member: entry.member && theirs.member, below });
            }
        }
        both.tidy();
        both
    }

    /// The paths of this set that are not in the other one.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (step, entry) in &self.steps {
            let kept = match other.steps.get(step) {
                None => entry.clone(),
                Some(theirs) => Entry {
                    member: entry.member && !theirs.member,
                    below: entry.below.difference(&theirs.below),
                },
            };
            rest.steps.insert(step.clone(), kept);
        }
        rest.tidy();
        rest
    }

    /// Every path of the set as conflicts spell them, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect("", &mut found);
        found
    }

    fn collect(&self, prefix: &str, found: &mut Vec<String>) {
        // Upstream tells the paths of a level before those below it.
        found.extend(
            self.steps.iter().filter(|(_, entry)| entry.member).map(|(step, _)| format!("{prefix}{step}")),
        );
        for (step, entry) in self.steps.iter().filter(|(_, entry)| !entry.below.is_empty()) {
            entry.below.collect(&format!("{prefix}{step}"), found);
        }
    }
}
