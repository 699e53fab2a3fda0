//! The keywords of schemas.

mod collections;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use regex::bytes::Regex;
use serde_json::Value;

use super::failure::{Failure, Kind, display};
use super::formats;
use super::reference::{draft, resolve};

/// How deep schemas may lead into each other.
const MAX_DEPTH: usize = 500;

/// How often a schema may be held against a value; references can multiply without end.
const MAX_CHECKS: usize = 2_000_000;

/// Which properties and items some schema has looked at, for `unevaluatedProperties` and `unevaluatedItems`.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) names: BTreeSet<String>,
    pub(super) indexes: BTreeSet<usize>,
}

impl Seen {
    fn merge(&mut self, other: Self) {
        self.names.extend(other.names);
        self.indexes.extend(other.indexes);
    }
}

pub(super) type Outcome = Result<Seen, Failure>;

pub(super) struct Validator<'s> {
    root: &'s Value,
    pub(super) draft: u16,
    regexes: RefCell<HashMap<String, Rc<Regex>>>,
    checks: Cell<usize>,
}

/// One schema against one value.
pub(super) struct Check<'v, 's> {
    pub(super) validator: &'v Validator<'s>,
    pub(super) schema: &'s serde_json::Map<String, Value>,
    pub(super) at: &'v [String],
    pub(super) depth: usize,
    pub(super) failures: Vec<Failure>,
    pub(super) seen: Seen,
}

impl<'s> Validator<'s> {
    /// # Errors
    /// If the schema's dialect is not known, or a reference or an expression in it is broken.
    pub(super) fn new(root: &'s Value) -> Result<Self, String> {
        let validator = Self { root, draft: draft(root)?, regexes: RefCell::default(), checks: Cell::new(0) };
        validator.check_schema(root, 0)?;
        Ok(validator)
    }

    /// Finds broken references and expressions before any value is looked at.
    fn check_schema(&self, schema: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("schema is nested too deeply".to_owned());
        }
        match schema {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    resolve(self.root, reference)?;
                }
                if let Some(Value::String(pattern)) = object.get("pattern") {
                    self.compile(pattern, "pattern")?;
                }
                if let Some(Value::Object(patterns)) = object.get("patternProperties") {
                    for pattern in patterns.keys() {
                        self.compile(pattern, "patternProperties")?;
                    }
                }
                object
                    .iter()
                    .filter(|(key, _)| !matches!(key.as_str(), "default" | "enum" | "const" | "examples"))
                    .try_for_each(|(_, value)| self.check_schema(value, depth + 1))
            }
            Value::Array(items) => items.iter().try_for_each(|value| self.check_schema(value, depth + 1)),
            _ => Ok(()),
        }
    }

    fn compile(&self, pattern: &str, keyword: &str) -> Result<(), String> {
        let regex = gotmpl::compile_regex(pattern).map_err(|error| {
            format!(
                "invalid regex {} at \"file:///values.schema.json#/{keyword}\": {error}",
                gotmpl::quote(pattern.as_bytes())
            )
        })?;
        self.regexes.borrow_mut().insert(pattern.to_owned(), Rc::new(regex));
        Ok(())
    }

    pub(super) fn matches(&self, pattern: &str, text: &str) -> bool {
        let regex = self.regexes.borrow().get(pattern).cloned();
        regex.is_none_or(|regex| regex.is_match(text.as_bytes()))
    }

    pub(super) fn run(&self, value: &Value) -> Result<(), Failure> {
        self.check(self.root, value, &[], 0).map(|_| ())
    }

    pub(super) fn check(&self, schema: &'s Value, value: &Value, at: &[String], depth: usize) -> Outcome {
        self.checks.set(self.checks.get() + 1);
        if depth > MAX_DEPTH || self.checks.get() > MAX_CHECKS {
            return Err(Failure::new(at, "schema references do not end"));
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(Seen::default()),
            Value::Bool(false) => return Err(Failure::new(at, "false schema")),
            Value::Object(schema) => schema,
            _ => return Ok(Seen::default()),
        };
        let check = Check {
            validator: self,
            schema,
            at,
            depth: depth + 1,
            failures: Vec::new(),
            seen: Seen::default(),
        };
        check.run(value)
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Equality of JSON, in which 1 and 1.0 are the same number.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => a == b,
    }
}

/// The names of types in the order in which the library lists them.
const TYPES: [&str; 7] = ["null", "boolean", "number", "integer", "string", "array", "object"];

impl<'s> Check<'_, 's> {
    pub(super) fn fail(&mut self, message: impl Into<String>) {
        self.failures.push(Failure::new(self.at, message));
    }

    pub(super) fn failure(&self, message: impl Into<String>) -> Failure {
        Failure::new(self.at, message)
    }

    /// Another schema against the same value.
    pub(super) fn same(&mut self, schema: &'s Value, value: &Value) -> Result<(), Failure> {
        let seen = self.validator.check(schema, value, self.at, self.depth)?;
        self.seen.merge(seen);
        Ok(())
    }

    pub(super) fn same_or_fail(&mut self, schema: &'s Value, value: &Value) {
        if let Err(failure) = self.same(schema, value) {
            self.failures.push(failure);
        }
    }

    /// A schema against a part of the value.
    pub(super) fn part(&self, schema: &'s Value, value: &Value, name: &str) -> Result<(), Failure> {
        let mut at = self.at.to_vec();
        at.push(name.to_owned());
        self.validator.check(schema, value, &at, self.depth).map(|_| ())
    }

    pub(super) fn part_or_fail(&mut self, schema: &'s Value, value: &Value, name: &str) {
        if let Err(failure) = self.part(schema, value, name) {
            self.failures.push(failure);
        }
    }

    pub(super) fn number(&self, keyword: &str) -> Option<f64> {
        self.schema.get(keyword).and_then(Value::as_f64)
    }

    pub(super) fn count(&self, keyword: &str) -> Option<usize> {
        let number = self.number(keyword).filter(|number| number.fract() == 0.0 && *number >= 0.0)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, checked to be one"
        )]
        Some(number as usize)
    }

    fn run(mut self, value: &Value) -> Outcome {
        let old_reference = self.validator.draft < 2019 && self.schema.contains_key("$ref");
        if !old_reference {
            self.simple(value)?;
        }
        if let Some(Value::String(reference)) = self.schema.get("$ref") {
            self.reference(reference, value);
            if old_reference {
                return match self.failures.pop() {
                    Some(failure) => Err(failure),
                    None => Ok(self.seen),
                };
            }
        }
        match value {
            Value::Object(object) => self.object(object, value),
            Value::Array(items) => self.array(items),
            Value::String(text) => self.text(text),
            Value::Number(number) => self.bounds(number.as_f64().unwrap_or(f64::NAN)),
            _ => {}
        }
        if self.validator.draft >= 2019 {
            for keyword in ["$dynamicRef", "$recursiveRef"] {
                if let Some(Value::String(reference)) = self.schema.get(keyword) {
                    self.reference(reference, value);
                }
            }
        }
        self.combinations(value);
        if self.validator.draft >= 2019 {
            self.unevaluated(value);
        }
        match self.failures.len() {
            0 => Ok(self.seen),
            1 => Err(self.failures.remove(0)),
            _ => Err(Failure { at: self.at.to_vec(), kind: Kind::Group, causes: self.failures }),
        }
    }

    /// What decides at once: type, const, enum, format.
    fn simple(&self, value: &Value) -> Result<(), Failure> {
        let found = type_name(value);
        let wanted: Vec<&str> = match self.schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let fits = |name: &&str| *name == found || (*name == "integer" && is_integer(value));
        if !wanted.is_empty() && !wanted.iter().any(fits) {
            let listed: Vec<&str> = TYPES.into_iter().filter(|name| wanted.contains(name)).collect();
            return Err(self.failure(format!("got {found}, want {}", listed.join(" or "))));
        }
        let primitive = |value: &Value| !matches!(value, Value::Array(_) | Value::Object(_));
        if self.validator.draft >= 6
            && let Some(wanted) = self.schema.get("const")
            && !equal(value, wanted)
        {
            return Err(self.failure(if primitive(wanted) {
                format!("value must be {}", display(wanted))
            } else {
                "'const' failed".to_owned()
            }));
        }
        if let Some(Value::Array(wanted)) = self.schema.get("enum")
            && !wanted.iter().any(|one| equal(value, one))
        {
            let listed: Vec<String> = wanted.iter().map(display).collect();
            return Err(self.failure(match listed.as_slice() {
                _ if !wanted.iter().all(primitive) => "'enum' failed".to_owned(),
                [one] => format!("value must be {one}"),
                several => format!("value must be one of {}", several.join(", ")),
            }));
        }
        if self.validator.draft < 2019
            && let (Some(Value::String(format)), Value::String(text)) = (self.schema.get("format"), value)
        {
            formats::check(format, text).map_err(|error| {
                self.failure(format!("{} is not valid {format}: {error}", display(value)))
            })?;
        }
        Ok(())
    }

    fn reference(&mut self, reference: &str, value: &Value) {
        let target = match resolve(self.validator.root, reference) {
            Ok(Some(target)) => target,
            Ok(None) => return,
            Err(error) => return self.fail(error),
        };
        if let Err(failure) = self.same(target, value) {
            let causes = if failure.kind == Kind::Group { failure.causes } else { vec![failure] };
            self.failures.push(Failure { at: self.at.to_vec(), kind: Kind::Reference, causes });
        }
    }

    fn list(&self, keyword: &str) -> &'s [Value] {
        self.schema.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn combined(&mut self, message: &str, causes: Vec<Failure>) {
        let mut failure = self.failure(message);
        failure.causes = causes;
        self.failures.push(failure);
    }

    fn combinations(&mut self, value: &Value) {
        if let Some(schema) = self.schema.get("not")
            && self.validator.check(schema, value, self.at, self.depth).is_ok()
        {
            self.fail("'not' failed");
        }
        let failed: Vec<Failure> =
            self.list("allOf").iter().filter_map(|schema| self.same(schema, value).err()).collect();
        if !failed.is_empty() {
            self.combined("'allOf' failed", failed);
        }
        let any = self.list("anyOf");
        let failed: Vec<Failure> = any.iter().filter_map(|schema| self.same(schema, value).err()).collect();
        if !any.is_empty() && failed.len() == any.len() {
            self.combined("'anyOf' failed", failed);
        }
        self.one_of(value);
        if self.validator.draft >= 7
            && let Some(condition) = self.schema.get("if")
        {
            let branch = if self.same(condition, value).is_ok() { "then" } else { "else" };
            if let Some(schema) = self.schema.get(branch) {
                self.same_or_fail(schema, value);
            }
        }
    }

    fn one_of(&mut self, value: &Value) {
        let schemas = self.list("oneOf");
        let mut matched = None;
        let mut failed = Vec::new();
        for (index, schema) in schemas.iter().enumerate() {
            match (self.same(schema, value), matched) {
                (Ok(()), None) => matched = Some(index),
                (Ok(()), Some(first)) => {
                    return self.fail(format!("'oneOf' failed, subschemas {first}, {index} matched"));
                }
                (Err(failure), None) => failed.push(failure),
                (Err(_), Some(_)) => {}
            }
        }
        if !schemas.is_empty() && matched.is_none() {
            self.combined("'oneOf' failed, none matched", failed);
        }
    }
}
