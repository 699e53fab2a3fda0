//! Reading of a document for what Helm looks at, and nothing else.
//!
//! All of a document is checked, because what is not YAML is refused, but only the few fields that are looked at are
//! kept: building the rest took longer than rendering it.

use std::borrow::Cow;

use serde_json::Number;

/// The keys whose values are kept, wherever they are.
const KEYS: [&str; 8] = [
    "kind",
    "name",
    "metadata",
    "apiVersion",
    "annotations",
    "helm.sh/hook",
    "helm.sh/hook-weight",
    "helm.sh/hook-delete-policy",
];

/// What is left of a value.
#[derive(Debug)]
pub(super) enum Glimpse {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List,
    Map(Fields),
}

impl Glimpse {
    /// How `encoding/json` names it.
    pub(super) fn json_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List => "array",
            Self::Map(_) => "object",
        }
    }
}

/// What is left of a mapping.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) known: Vec<(&'static str, Glimpse)>,
    /// What the first entry is that is no scalar, if there is one.
    pub(super) unfit: Option<&'static str>,
}

impl Fields {
    pub(super) fn get(&self, key: &str) -> Option<&Glimpse> {
        self.known.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

#[derive(Debug, Default)]
pub(super) struct Skim {
    /// Whether the value that is being read is one that is looked at.
    wanted: bool,
}

impl yaml::Sink for Skim {
    type Value = Glimpse;
    type Map = Fields;

    fn null(&mut self) -> Glimpse {
        Glimpse::Null
    }

    fn bool(&mut self, value: bool) -> Glimpse {
        Glimpse::Bool(value)
    }

    fn int(&mut self, value: i64) -> Glimpse {
        Glimpse::Number(value.into())
    }

    fn uint(&mut self, value: u64) -> Glimpse {
        Glimpse::Number(value.into())
    }

    fn float(&mut self, value: f64) -> Glimpse {
        let whole = yaml::number::float_to_integer(value).map(Number::from);
        whole.or_else(|| Number::from_f64(value)).map_or(Glimpse::Null, Glimpse::Number)
    }

    fn string(&mut self, value: Cow<'_, str>) -> Glimpse {
        if !self.wanted {
            return Glimpse::Text(String::new());
        }
        // Names, kinds and the words of hooks are short; what is longer is text of another kind.
        const LONGEST: usize = 4096;
        Glimpse::Text(if value.len() > LONGEST { String::new() } else { value.into_owned() })
    }

    fn list(&mut self, _: Vec<Glimpse>) -> Glimpse {
        Glimpse::List
    }

    fn key(&mut self, key: &str) {
        self.wanted = KEYS.contains(&key);
    }

    fn map(&mut self, _: usize) -> Fields {
        Fields::default()
    }

    fn insert(&mut self, map: &mut Fields, key: &str, value: Glimpse) {
        if map.unfit.is_none() && matches!(value, Glimpse::List | Glimpse::Map(_)) {
            map.unfit = Some(value.json_name());
        }
        if let Some(key) = KEYS.iter().find(|known| **known == key) {
            map.known.retain(|(known, _)| known != key);
            map.known.push((key, value));
        }
    }

    fn contains(&self, map: &Fields, key: &str) -> bool {
        map.get(key).is_some()
    }

    fn finish(&mut self, map: Fields) -> Glimpse {
        Glimpse::Map(map)
    }
}
