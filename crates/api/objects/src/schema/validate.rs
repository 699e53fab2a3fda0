//! Checking an object against a schema, with the API server's texts.

use std::fmt;

use regex::Regex;
use serde_json::{Number, Value};

use super::{Additional, Checks, JsonType, ListType, Schema, format};

/// What is wrong with a field: the classes of upstream's `field.ErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TypeInvalid,
}

impl ErrorKind {
    /// The `reason` of a Status cause.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

/// One problem of one field. Displays as `spec.replicas: Invalid value: -1: should be …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.ports[0].name`.
    pub path: String,
    pub kind: ErrorKind,
    /// The offending value; not shown for required, forbidden and too long fields.
    pub value: Value,
    /// How the value is shown where upstream's types write it otherwise than JSON sorted by name; empty to show none.
    pub shown: Option<String>,
    pub detail: String,
}

impl FieldError {
    #[must_use]
    pub fn new(kind: ErrorKind, path: &str, value: Value, detail: impl Into<String>) -> Self {
        Self { path: path.to_owned(), kind, value, shown: None, detail: detail.into() }
    }

    #[must_use]
    pub fn required(path: &str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, path, Value::Null, detail)
    }

    #[must_use]
    pub fn invalid(path: &str, value: Value, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, path, value, detail)
    }

    #[must_use]
    pub fn forbidden(path: &str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, path, Value::Null, detail)
    }

    /// A value that is none of the allowed ones.
    #[must_use]
    pub fn not_supported(path: &str, value: Value, allowed: &[&str]) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|value| format!("{value:?}")).collect();
        Self::new(ErrorKind::NotSupported, path, value, format!("supported values: {}", allowed.join(", ")))
    }

    /// The text without the path: the `message` of a Status cause.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = self.kind.title().to_owned();
        if !matches!(self.kind, ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::TooLong) {
            match &self.shown {
                None => text.push_str(&format!(": {}", self.value)),
                Some(shown) if shown.is_empty() => {}
                Some(shown) => text.push_str(&format!(": {shown}")),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// More errors than this are of no use to anybody.
const LIMIT: usize = 100;

pub(super) fn root(schema: &Schema, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema, object, "", &mut errors);
    errors.truncate(LIMIT);
    errors
}

fn check(schema: &Schema, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if errors.len() >= LIMIT || (value.is_null() && schema.nullable) {
        return;
    }
    if !type_fits(schema, value) {
        let wanted = if schema.int_or_string { "integer,string" } else { name_of(schema.json_type) };
        errors.push(wrong_type(path, type_name(value), wanted));
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                // metadata is validated as ObjectMeta by the server, not by the schema.
                if path.is_empty() && matches!(key.as_str(), "apiVersion" | "kind") {
                    continue;
                }
                let known = schema.properties.get(key).or(match &schema.additional {
                    Some(Additional::Schema(schema)) => Some(schema),
                    _ => None,
                });
                if let Some(known) = known {
                    check(known, child, &join(path, key), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    check(known, item, &format!("{path}[{index}]"), errors);
                }
            }
            check_unique(schema, items, path, errors);
        }
        _ => {}
    }
    if let Some(checks) = &schema.checks {
        check_value(checks, value, path, errors);
        check_alternatives(checks, value, path, errors);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn wrong_type(path: &str, found: &str, wanted: &str) -> FieldError {
    let detail = format!("{path} in body must be of type {wanted}: {found:?}");
    FieldError::new(ErrorKind::TypeInvalid, path, Value::String(found.to_owned()), detail)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn name_of(json_type: Option<JsonType>) -> &'static str {
    match json_type {
        None => "any",
        Some(JsonType::Object) => "object",
        Some(JsonType::Array) => "array",
        Some(JsonType::String) => "string",
        Some(JsonType::Integer) => "integer",
        Some(JsonType::Number) => "number",
        Some(JsonType::Boolean) => "boolean",
    }
}

fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn type_fits(schema: &Schema, value: &Value) -> bool {
    if schema.int_or_string {
        return value.is_string() || matches!(value, Value::Number(number) if is_integer(number));
    }
    match (schema.json_type, value) {
        (None, _)
        | (Some(JsonType::Object), Value::Object(_))
        | (Some(JsonType::Array), Value::Array(_))
        | (Some(JsonType::String), Value::String(_))
        | (Some(JsonType::Boolean), Value::Bool(_))
        | (Some(JsonType::Number), Value::Number(_)) => true,
        (Some(JsonType::Integer), Value::Number(number)) => is_integer(number),
        _ => false,
    }
}

fn check_unique(schema: &Schema, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match &schema.list_type {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map(keys) => keys
                .iter()
                .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        if !seen.insert(identity.to_string()) {
            errors.push(FieldError::new(ErrorKind::Duplicate, &format!("{path}[{index}]"), identity, ""));
        }
    }
}

fn check_value(checks: &Checks, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(choices) = &checks.choices
        && !choices.contains(value)
    {
        let quoted: Vec<String> = choices
            .iter()
            .map(|choice| {
                choice
                    .as_str()
                    .map_or_else(|| format!("{:?}", choice.to_string()), |text| format!("{text:?}"))
            })
            .collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        errors.push(FieldError::new(ErrorKind::NotSupported, path, value.clone(), detail));
    }
    if let Some(wanted) = &checks.format
        && !format::fits(wanted, value)
    {
        let detail = format!("{path} in body must be of type {wanted}: {value}");
        errors.push(FieldError::new(ErrorKind::TypeInvalid, path, value.clone(), detail));
    }
    let mut invalid = |text: String| {
        errors.push(FieldError::invalid(path, value.clone(), format!("{path} in body {text}")));
    };
    match value {
        Value::Number(number) => check_number(checks, number, &mut invalid),
        Value::String(text) => {
            // The first of these that fails is all that is told.
            if let Some(maximum) = checks.max_length.filter(|maximum| characters(text) > *maximum) {
                let detail = format!("may not be more than {maximum} bytes");
                errors.push(FieldError::new(ErrorKind::TooLong, path, Value::Null, detail));
            } else if let Some(minimum) = checks.min_length.filter(|minimum| characters(text) < *minimum) {
                invalid(format!("should be at least {minimum} chars long"));
            } else if let Some(pattern) =
                checks.pattern.as_ref().filter(|pattern| !matches(checks, pattern, text))
            {
                invalid(format!("should match '{pattern}'"));
            }
        }
        Value::Array(items) => {
            if let Some(minimum) = checks.min_items.filter(|minimum| count(items.len()) < *minimum) {
                invalid(format!("should have at least {minimum} items"));
            }
            if checks.unique_items && has_duplicates(items) {
                invalid("shouldn't contain duplicates".to_owned());
            }
            if let Some(maximum) = checks.max_items.filter(|maximum| count(items.len()) > *maximum) {
                errors.push(too_many(path, items.len(), maximum));
            }
        }
        Value::Object(map) => {
            if let Some(minimum) = checks.min_properties.filter(|minimum| count(map.len()) < *minimum) {
                invalid(format!("should have at least {minimum} properties"));
            }
            for name in checks.required.iter().filter(|name| !map.contains_key(*name)) {
                errors.push(FieldError::required(&join(path, name), ""));
            }
            if let Some(maximum) = checks.max_properties.filter(|maximum| count(map.len()) > *maximum) {
                errors.push(too_many(path, map.len(), maximum));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn characters(text: &str) -> u64 {
    count(text.chars().count())
}

fn too_many(path: &str, found: usize, maximum: u64) -> FieldError {
    FieldError::new(ErrorKind::TooMany, path, found.into(), format!("must have at most {maximum} items"))
}

fn has_duplicates(items: &[Value]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !items.iter().all(|item| seen.insert(item.to_string()))
}

/// A pattern that does not compile matches nothing, so that it is reported rather than passed over.
fn matches(checks: &Checks, pattern: &str, text: &str) -> bool {
    checks
        .compiled
        .get_or_init(|| Regex::new(pattern).ok())
        .as_ref()
        .is_some_and(|regex| regex.is_match(text))
}

fn check_number(checks: &Checks, number: &Number, invalid: &mut impl FnMut(String)) {
    let Some(value) = number.as_f64() else { return };
    let bound = |bound: &Option<Number>| Some((bound.as_ref()?.as_f64()?, bound.as_ref()?.to_string()));
    if let Some((minimum, text)) = bound(&checks.minimum) {
        if checks.exclusive_minimum && value <= minimum {
            invalid(format!("should be greater than {text}"));
        } else if value < minimum {
            invalid(format!("should be greater than or equal to {text}"));
        }
    }
    if let Some((maximum, text)) = bound(&checks.maximum) {
        if checks.exclusive_maximum && value >= maximum {
            invalid(format!("should be less than {text}"));
        } else if value > maximum {
            invalid(format!("should be less than or equal to {text}"));
        }
    }
    if let Some((factor, text)) = bound(&checks.multiple_of)
        && factor > 0.0
        && (value / factor).fract() != 0.0
    {
        invalid(format!("should be a multiple of {text}"));
    }
}

fn check_alternatives(checks: &Checks, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let fits = |schema: &&Schema| {
        let mut problems = Vec::new();
        check(schema, value, path, &mut problems);
        problems.is_empty()
    };
    let mut invalid = |text: String| {
        errors.push(FieldError::invalid(path, Value::String(String::new()), format!("{path:?} {text}")));
    };
    if !checks.any_of.is_empty() && !checks.any_of.iter().any(|schema| fits(&schema)) {
        invalid("must validate at least one schema (anyOf)".to_owned());
    }
    if !checks.one_of.is_empty() {
        match checks.one_of.iter().filter(fits).count() {
            1 => {}
            0 => invalid("must validate one and only one schema (oneOf). Found none valid".to_owned()),
            many => invalid(format!(
                "must validate one and only one schema (oneOf). Found {many} valid alternatives"
            )),
        }
    }
    if checks.not.as_ref().is_some_and(|schema| fits(&&**schema)) {
        invalid("must not validate the schema (not)".to_owned());
    }
    for schema in &checks.all_of {
        check(schema, value, path, errors);
    }
}
