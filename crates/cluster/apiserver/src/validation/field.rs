//! A field under validation: its value, and the path that leads to it.
//!
//! The path is a chain of borrowed steps on the stack. Nearly every field of nearly every object is right, so text is made
//! of it only when a problem is told.

use objects::schema::{ErrorKind, FieldError};
use serde_json::{Map, Value};

use super::Problems;
use super::names::{self, Form};

static NULL: Value = Value::Null;

/// One step of a path, and what it goes on from.
#[derive(Clone, Copy)]
enum At<'p> {
    Root,
    Child(&'p At<'p>, &'p str),
    Index(&'p At<'p>, usize),
    Key(&'p At<'p>, &'p str),
}

impl At<'_> {
    fn write(&self, out: &mut String) {
        match self {
            At::Root => {}
            At::Child(parent, name) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            At::Index(parent, index) => {
                parent.write(out);
                out.push_str(&format!("[{index}]"));
            }
            At::Key(parent, key) => {
                parent.write(out);
                out.push_str(&format!("[{key}]"));
            }
        }
    }
}

/// A value in an object and where it is. What is absent is null.
#[derive(Clone, Copy)]
pub(super) struct Field<'v, 'p> {
    value: &'v Value,
    at: At<'p>,
}

impl<'v> Field<'v, '_> {
    pub(super) fn root(value: &'v Value) -> Field<'v, 'static> {
        Field { value, at: At::Root }
    }

    pub(super) fn get<'q>(&'q self, name: &'q str) -> Field<'v, 'q> {
        self.named(name, name)
    }

    /// The field `name`, which messages call `shown`.
    pub(super) fn named<'q>(&'q self, name: &str, shown: &'q str) -> Field<'v, 'q> {
        Field { value: self.value.get(name).unwrap_or(&NULL), at: At::Child(&self.at, shown) }
    }

    /// The same path with another value.
    pub(super) fn with<'w, 'q>(&'q self, value: &'w Value) -> Field<'w, 'q> {
        Field { value, at: self.at }
    }

    /// A path that goes on to what is no field of the value.
    pub(super) fn child<'q>(&'q self, shown: &'q str) -> Field<'v, 'q> {
        Field { value: self.value, at: At::Child(&self.at, shown) }
    }

    pub(super) fn index<'q>(&'q self, index: usize) -> Field<'v, 'q> {
        Field { value: self.value.get(index).unwrap_or(&NULL), at: At::Index(&self.at, index) }
    }

    pub(super) fn key<'q>(&'q self, key: &'q str) -> Field<'v, 'q> {
        Field { value: self.value.get(key).unwrap_or(&NULL), at: At::Key(&self.at, key) }
    }

    pub(super) fn items<'q>(&'q self) -> impl ExactSizeIterator<Item = Field<'v, 'q>> {
        self.list().iter().enumerate().map(|(index, value)| Field { value, at: At::Index(&self.at, index) })
    }

    /// The entries of a map by key.
    pub(super) fn entries<'q>(&'q self) -> impl Iterator<Item = (&'q str, Field<'v, 'q>)>
    where
        'v: 'q,
    {
        let entries = self.map().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), Field { value, at: At::Key(&self.at, key) }))
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    pub(super) fn map(&self) -> Option<&'v Map<String, Value>> {
        self.value.as_object()
    }

    pub(super) fn list(&self) -> &'v [Value] {
        self.value.as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The strings of a list.
    pub(super) fn strings(&self) -> impl Iterator<Item = &'v str> {
        self.list().iter().map(|value| value.as_str().unwrap_or_default())
    }

    pub(super) fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(super) fn number(&self) -> i64 {
        self.int().unwrap_or(0)
    }

    pub(super) fn is_true(&self) -> bool {
        *self.value == true
    }

    pub(super) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether Go's zero value of a plain field stands here.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::Bool(flag) => !flag,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
        }
    }

    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        self.at.write(&mut path);
        path
    }

    pub(super) fn required(&self, detail: &str, problems: &mut Problems) {
        problems.push(FieldError::required(&self.path(), detail));
    }

    /// Tells if the field is empty, and whether it is not.
    pub(super) fn need(&self, problems: &mut Problems) -> bool {
        let missing = self.is_empty();
        if missing {
            self.required("", problems);
        }
        !missing
    }

    pub(super) fn invalid(&self, detail: impl Into<String>, problems: &mut Problems) {
        problems.push(FieldError::invalid(&self.path(), self.value.clone(), detail));
    }

    /// With a value that stands for the field's own.
    pub(super) fn invalid_as(&self, value: Value, detail: impl Into<String>, problems: &mut Problems) {
        problems.push(FieldError::invalid(&self.path(), value, detail));
    }

    /// With the value as upstream writes it; not at all if `shown` is empty.
    pub(super) fn invalid_shown(&self, shown: String, detail: impl Into<String>, problems: &mut Problems) {
        let mut problem = FieldError::invalid(&self.path(), self.value.clone(), detail);
        problem.shown = Some(shown);
        problems.push(problem);
    }

    pub(super) fn forbidden(&self, detail: impl Into<String>, problems: &mut Problems) {
        problems.push(FieldError::forbidden(&self.path(), detail));
    }

    pub(super) fn duplicate(&self, problems: &mut Problems) {
        self.duplicate_of(self.value.clone(), problems);
    }

    pub(super) fn duplicate_of(&self, value: Value, problems: &mut Problems) {
        problems.push(FieldError::new(ErrorKind::Duplicate, &self.path(), value, ""));
    }

    pub(super) fn duplicate_shown(&self, shown: String, problems: &mut Problems) {
        let mut problem = FieldError::new(ErrorKind::Duplicate, &self.path(), Value::Null, "");
        problem.shown = Some(shown);
        problems.push(problem);
    }

    pub(super) fn not_found(&self, detail: impl Into<String>, problems: &mut Problems) {
        problems.push(FieldError::new(ErrorKind::NotFound, &self.path(), self.value.clone(), detail));
    }

    pub(super) fn too_long(&self, bytes: usize, problems: &mut Problems) {
        let detail = format!("may not be more than {bytes} bytes");
        problems.push(FieldError::new(ErrorKind::TooLong, &self.path(), Value::Null, detail));
    }

    pub(super) fn too_many(&self, most: usize, problems: &mut Problems) {
        let found = self.list().len().max(self.map().map_or(0, Map::len));
        let detail = format!("must have at most {most} items");
        problems.push(FieldError::new(ErrorKind::TooMany, &self.path(), found.into(), detail));
    }

    pub(super) fn not_supported(&self, allowed: &[&str], problems: &mut Problems) {
        problems.push(FieldError::not_supported(&self.path(), self.value.clone(), allowed));
    }

    /// A plain string that must be one of these; defaults have filled in what may be left out.
    pub(super) fn one_of(&self, allowed: &[&str], problems: &mut Problems) {
        let text = self.text();
        if !text.is_empty() && !allowed.contains(&text) {
            self.not_supported(allowed, problems);
        }
    }

    /// A string that must be one of these if it is there at all, even when it is empty.
    pub(super) fn one_of_if_set(&self, allowed: &[&str], problems: &mut Problems) {
        if self.is_set() && !allowed.contains(&self.text()) {
            self.not_supported(allowed, problems);
        }
    }

    pub(super) fn not_negative(&self, problems: &mut Problems) {
        if self.int().is_some_and(|number| number < 0) {
            self.invalid("must be greater than or equal to 0", problems);
        }
    }

    pub(super) fn within(&self, least: i64, most: i64, problems: &mut Problems) {
        if self.int().is_some_and(|number| !(least..=most).contains(&number)) {
            self.invalid(format!("must be between {least} and {most}, inclusive"), problems);
        }
    }

    /// A name of that form.
    pub(super) fn name(&self, form: Form, problems: &mut Problems) {
        for problem in names::problems(form, self.text()) {
            self.invalid_as(self.text().into(), problem, problems);
        }
    }

    /// A name of that form, or nothing.
    pub(super) fn name_if_given(&self, form: Form, problems: &mut Problems) {
        if !self.text().is_empty() {
            self.name(form, problems);
        }
    }

    /// A name of that form, which must be there.
    pub(super) fn needs_name(&self, form: Form, problems: &mut Problems) {
        if self.need(problems) {
            self.name(form, problems);
        }
    }

    /// `prefix/name`, as keys of labels are.
    pub(super) fn qualified(&self, problems: &mut Problems) {
        for problem in names::key_problems(self.text()) {
            self.invalid(problem, problems);
        }
    }

    /// Tells if the field is not what it was.
    pub(super) fn fixed(&self, old: &Value, problems: &mut Problems) {
        if !same(old, self.value) {
            self.invalid("field is immutable", problems);
        }
    }
}

/// Whether two values mean the same to upstream: what is absent is like what is empty, and quantities are compared by amount.
pub(super) fn same(old: &Value, new: &Value) -> bool {
    equal(old, new, false)
}

fn equal(old: &Value, new: &Value, quantities: bool) -> bool {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let other = |map: &Map<String, Value>, key: &str, value: &Value| {
                let amounts = matches!(
                    key,
                    "requests" | "limits" | "capacity" | "overhead" | "podFixed" | "hard" | "sizeLimit"
                );
                equal(value, map.get(key).unwrap_or(&NULL), quantities || amounts)
            };
            before.iter().all(|(key, value)| other(after, key, value))
                && after.iter().all(|(key, value)| before.contains_key(key) || equal(&NULL, value, false))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(a, b)| equal(a, b, quantities))
        }
        (Value::Null, other) | (other, Value::Null) => match other {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        },
        (before, after) if quantities && before != after => {
            let amount = |value: &Value| objects::quantity::Quantity::from_value(value);
            matches!((amount(before), amount(after)), (Ok(before), Ok(after)) if before == after)
        }
        (before, after) => before == after,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_written_as_upstream_writes_them() {
        let object = json!({"spec": {"ports": [{"name": "a"}], "limits": {"a/b": 1}}});
        let root = Field::root(&object);
        let spec = root.get("spec");
        assert_eq!(spec.get("ports").index(0).get("name").path(), "spec.ports[0].name");
        assert_eq!(spec.get("limits").key("a/b").path(), "spec.limits[a/b]");
        assert_eq!(spec.get("absent").child("more").path(), "spec.absent.more");
        assert_eq!(spec.get("ports").index(0).get("name").text(), "a");
    }

    #[test]
    fn what_is_absent_is_like_what_is_empty() {
        for (old, new, expected) in [
            (json!({"a": [], "b": 1}), json!({"b": 1, "c": {}}), true),
            (json!({"a": 0}), json!({}), false),
            (json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "1000m"}}), true),
            (json!({"image": "1"}), json!({"image": "1000m"}), false),
            (json!([1, 2]), json!([1]), false),
        ] {
            assert_eq!(same(&old, &new), expected, "{old} {new}");
        }
    }
}
