//! Objects as kustomize's own library sees them: scalars keep their text, their tag and whether they were quoted.
//!
//! A JSON value is not enough: list items are matched by the text of a key, replacements copy text and leave the
//! type of the target, and a new image reference is typed only when it is written. The order of mapping fields is
//! not kept, because kustomize sorts them on output.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Error, resolve};

pub(crate) type Fields = BTreeMap<String, Node>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Scalar(Scalar),
    Map(Fields),
    List(Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) tag: Tag,
    pub(crate) style: Style,
    /// Scalars of one object with the same number are one: written by one label transformer into several fields, they
    /// stay a single node in real kustomize, so that whoever changes one changes all.
    pub(crate) shared: Option<u32>,
}

/// The type a scalar has. [`Tag::Empty`] is decided by the text when the object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Empty,
    Str,
    Int,
    Float,
    Bool,
    Null,
    Timestamp,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// In quotes or as a block.
    Quoted,
}

/// What a missing field is created as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Map,
    List,
}

/// Whether a text on one line is something else than a string by YAML 1.1.
fn is_odd(text: &str) -> bool {
    // Most texts are words, which need no parser: the longest with another meaning is `false`.
    let word = text.len() > 5
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.contains([':', '#']);
    if word {
        return false;
    }
    !text.is_empty() && !text.contains('\n') && yaml::from_str(text).is_ok_and(|value| !value.is_string())
}

impl Kind {
    /// As kustomize calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "ScalarNode",
            Self::Map => "MappingNode",
            Self::List => "SequenceNode",
        }
    }
}

impl Scalar {
    /// The scalar with its quotes, as a pattern of a replacement sees it.
    pub(crate) fn written(&self) -> String {
        match self.style {
            Style::Plain => self.text.clone(),
            Style::Quoted => format!("{:?}", self.text),
        }
    }

    /// Takes the content of another scalar; what it is shared with stays.
    pub(crate) fn write(&mut self, content: Self) {
        *self = Self { shared: self.shared, ..content };
    }

    /// Quotes what YAML 1.1 would not take for a string.
    pub(crate) fn quote_odd_text(&mut self) {
        if self.is_string() && self.style == Style::Plain && is_odd(&self.text) {
            self.style = Style::Quoted;
        }
    }

    /// Whether kustomize takes it for a string before its type is settled.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.tag, Tag::Str | Tag::Empty)
    }

    fn value(&self) -> Result<Value, Error> {
        let tag = match (self.tag, self.style) {
            (Tag::Empty, Style::Plain) => resolve::tag(&self.text),
            // Written with its quotes and read again, it is a string: only a tag that does not follow from the text
            // would be written too.
            (tag, Style::Quoted) if resolve::tag(&self.text) == tag => Tag::Str,
            (tag, _) => tag,
        };
        resolve::value(&self.text, tag)
            .ok_or_else(|| Error::invalid(format!("cannot decode {:?} as {tag:?}", self.text)))
    }
}

impl Node {
    pub(crate) fn string(text: impl Into<String>) -> Self {
        Self::Scalar(Scalar { text: text.into(), tag: Tag::Str, style: Style::Plain, shared: None })
    }

    pub(crate) fn typed(text: impl Into<String>, tag: Tag) -> Self {
        Self::Scalar(Scalar { text: text.into(), tag, style: Style::Plain, shared: None })
    }

    pub(crate) fn map() -> Self {
        Self::Map(Fields::new())
    }

    pub(crate) fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Scalar => Self::typed("", Tag::Empty),
            Kind::Map => Self::map(),
            Kind::List => Self::List(Vec::new()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Scalar(_) => Kind::Scalar,
            Self::Map(_) => Kind::Map,
            Self::List(_) => Kind::List,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(scalar) if scalar.tag == Tag::Null)
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.tag == Tag::Null,
            Self::Map(fields) => fields.is_empty(),
            Self::List(items) => items.is_empty(),
        }
    }

    /// A copy of its own, which nothing else writes to.
    pub(crate) fn unshared(mut self) -> Self {
        self.each_scalar(&mut |scalar| scalar.shared = None);
        self
    }

    /// Calls `visit` with every scalar below.
    pub(crate) fn each_scalar(&mut self, visit: &mut dyn FnMut(&mut Scalar)) {
        match self {
            Self::Scalar(scalar) => visit(scalar),
            Self::Map(fields) => fields.values_mut().for_each(|value| value.each_scalar(visit)),
            Self::List(items) => items.iter_mut().for_each(|item| item.each_scalar(visit)),
        }
    }

    /// The error about something that should be of another kind.
    pub(crate) fn wrong_kind(&self, wanted: Kind) -> Error {
        let contents = self.to_value().unwrap_or_default();
        Error::invalid(format!(
            "wrong node kind: expected {} but got {}: node contents:\n{}",
            wanted.name(),
            self.kind().name(),
            yaml::to_string(&contents)
        ))
    }

    /// The text of a scalar; empty for maps and lists.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Scalar(scalar) => &scalar.text,
            Self::Map(_) | Self::List(_) => "",
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.fields()?.get(name)
    }

    pub(crate) fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Map(fields) => Some(fields),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    pub(crate) fn fields_mut(&mut self) -> Option<&mut Fields> {
        match self {
            Self::Map(fields) => Some(fields),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    /// Writes a text whose type is settled later; the quoting of what was there stays.
    ///
    /// # Errors
    /// If this is a map or a list.
    pub(crate) fn set_text(&mut self, text: impl Into<String>, tag: Tag) -> Result<(), Error> {
        match self {
            Self::Scalar(scalar) => {
                scalar.write(Scalar { text: text.into(), tag, style: scalar.style, shared: None });
                Ok(())
            }
            Self::Map(_) | Self::List(_) => Err(Error::invalid("wrong node kind: expected a scalar")),
        }
    }

    /// Writes an untagged text into a field of this map, as a new name or namespace is written.
    ///
    /// # Errors
    /// If this is not a map, or the field is not a scalar.
    pub(crate) fn set_field_text(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let fields = self.expect_map()?;
        if let Some(Self::Scalar(scalar)) = fields.get_mut(name) {
            scalar.write(Scalar {
                text: text.to_owned(),
                tag: Tag::Empty,
                style: scalar.style,
                shared: None,
            });
        } else {
            let style = if is_odd(text) { Style::Quoted } else { Style::Plain };
            fields.insert(
                name.to_owned(),
                Self::Scalar(Scalar { text: text.to_owned(), tag: Tag::Empty, style, shared: None }),
            );
        }
        Ok(())
    }

    /// The fields of a map; a null becomes an empty map first.
    ///
    /// # Errors
    /// If this is a list or another scalar.
    pub(crate) fn expect_map(&mut self) -> Result<&mut Fields, Error> {
        if self.is_null() {
            *self = Self::map();
        }
        self.fields_mut().ok_or_else(|| Error::invalid("wrong node kind: expected a map"))
    }

    /// The field's map, created if it is missing or null.
    ///
    /// # Errors
    /// If this or the field is not a map.
    pub(crate) fn map_at(&mut self, name: &str) -> Result<&mut Fields, Error> {
        self.expect_map()?.entry(name.to_owned()).or_insert_with(Self::map).expect_map()
    }

    /// What JSON makes of it.
    ///
    /// # Errors
    /// If a scalar's text does not fit its tag, or is a number JSON cannot hold.
    pub(crate) fn to_value(&self) -> Result<Value, Error> {
        Ok(match self {
            Self::Scalar(scalar) => scalar.value()?,
            Self::Map(fields) => Value::Object(
                fields.iter().map(|(name, value)| Ok((name.clone(), value.to_value()?))).collect::<Result<
                    Map<_, _>,
                    Error,
                >>(
                )?,
            ),
            Self::List(items) => {
                Value::Array(items.iter().map(Self::to_value).collect::<Result<Vec<_>, _>>()?)
            }
        })
    }
}

/// As kustomize's library takes JSON in, by way of YAML: strings are quoted that need it.
impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::typed("null", Tag::Null),
            Value::Bool(value) => Self::typed(value.to_string(), Tag::Bool),
            Value::Number(number) => match number.as_f64() {
                _ if number.is_i64() || number.is_u64() => Self::typed(number.to_string(), Tag::Int),
                Some(float) => Self::typed(yaml::number::float_g(float), Tag::Float),
                None => Self::typed(number.to_string(), Tag::Float),
            },
            Value::String(text) => {
                let plain = yaml::to_string(value).strip_suffix('\n') == Some(text);
                let style = if plain { Style::Plain } else { Style::Quoted };
                Self::Scalar(Scalar { text: text.clone(), tag: Tag::Str, style, shared: None })
            }
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(fields) => {
                Self::Map(fields.iter().map(|(name, value)| (name.clone(), value.into())).collect())
            }
        }
    }
}
