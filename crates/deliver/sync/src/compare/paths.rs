//! Places inside an object, found in one copy of it and used on another.

use std::collections::BTreeSet;

use objects::Value;
use serde_json::Map;

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Field(String),
    Index(usize),
    /// The element of a list whose fields have these values (as JSON text).
    Element(String),
    /// The element of a list of scalars that equals this one (as JSON text).
    Scalar(String),
}

impl Part {
    fn find(&self, value: &Value) -> Option<Place> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => {
                map.contains_key(name).then(|| Place::Field(name.clone()))
            }
            (Self::Index(index), Value::Array(list)) => (*index < list.len()).then_some(Place::Index(*index)),
            (Self::Element(keys), Value::Array(list)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
                let matches = |element: &Value| keys.iter().all(|(name, key)| element.get(name) == Some(key));
                list.iter().position(matches).map(Place::Index)
            }
            (Self::Scalar(text), Value::Array(list)) => {
                let wanted: Value = serde_json::from_str(text).ok()?;
                list.iter().position(|element| *element == wanted).map(Place::Index)
            }
            _ => None,
        }
    }
}

enum Place {
    Field(String),
    Index(usize),
}

impl Place {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Field(name) => value.get(name),
            Self::Index(index) => value.get(index),
        }
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        match self {
            Self::Field(name) => value.get_mut(name),
            Self::Index(index) => value.get_mut(index),
        }
    }
}

type Path = Vec<Part>;

/// A set of places.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeSet<Path>);

impl Paths {
    pub(super) fn add(&mut self, path: Path) {
        if !path.is_empty() {
            self.0.insert(path);
        }
    }

    /// Adds an RFC 6901 pointer.
    pub(super) fn add_pointer(&mut self, pointer: &str) {
        let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
        let path = parts.map(|part| match part.parse() {
            // A number may also be a field name; which it is shows when the value is there.
            Ok(index) if part == "0" || !part.starts_with('0') => Part::Index(index),
            _ => Part::Field(part),
        });
        let path: Path = path.collect();
        self.add(path.clone());
        let as_fields = path.into_iter().map(|part| match part {
            Part::Index(index) => Part::Field(index.to_string()),
            part => part,
        });
        self.add(as_fields.collect());
    }

    /// Adds the leaves of a `fieldsV1` set.
    pub(super) fn add_fields(&mut self, fields: &Value) {
        self.add_fields_below(fields, &mut Vec::new());
    }

    fn add_fields_below(&mut self, fields: &Value, path: &mut Path) {
        let Some(fields) = fields.as_object().filter(|fields| fields.keys().any(|key| key != ".")) else {
            self.add(path.clone());
            return;
        };
        for (key, below) in fields {
            let part = match key.split_once(':') {
                Some(("f", name)) => Part::Field(name.to_owned()),
                Some(("k", keys)) => Part::Element(keys.to_owned()),
                Some(("v", scalar)) => Part::Scalar(scalar.to_owned()),
                Some(("i", index)) => match index.parse() {
                    Ok(index) => Part::Index(index),
                    Err(_) => continue,
                },
                _ => continue,
            };
            path.push(part);
            self.add_fields_below(below, path);
            path.pop();
        }
    }

    /// Takes every place out of a value. A list is emptied from its end, so that positions stay true.
    pub(super) fn remove(&self, value: &mut Value) {
        for path in self.0.iter().rev() {
            remove(value, path);
        }
    }

    /// Makes every place of `to` what it is in `from`: set, or absent.
    pub(super) fn copy(&self, from: &Value, to: &mut Value) {
        for path in &self.0 {
            match get(from, path) {
                Some(value) => set(to, path, value.clone(), from),
                None => remove(to, path),
            }
        }
    }
}

fn get<'a>(value: &'a Value, path: &[Part]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| part.find(value)?.of(value))
}

fn remove(value: &mut Value, path: &[Part]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut parent = value;
    for part in parents {
        let Some(place) = part.find(parent) else { return };
        let Some(below) = place.of_mut(parent) else { return };
        parent = below;
    }
    match (last.find(parent), parent) {
        (Some(Place::Field(name)), Value::Object(map)) => {
            map.remove(&name);
        }
        (Some(Place::Index(index)), Value::Array(list)) => {
            list.remove(index);
        }
        _ => {}
    }
}

/// Sets a place, making the maps on the way; a list element that is missing is not made up.
fn set(value: &mut Value, path: &[Part], new: Value, source: &Value) {
    let Some((part, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    if let Some(place) = part.find(value) {
        let below = place.of_mut(value);
        let source = part.find(source).and_then(|place| place.of(source));
        if let (Some(below), Some(source)) = (below, source) {
            set(below, rest, new, source);
        }
        return;
    }
    let source = part.find(source).and_then(|place| place.of(source));
    match (part, value, source) {
        (Part::Field(name), Value::Object(map), Some(source)) if rest.is_empty() || source.is_object() => {
            let below = map.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            set(below, rest, new, source);
        }
        // Whole elements of the live list, or a list that the manifest does not have: taken over as they are.
        (Part::Field(name), Value::Object(map), Some(source)) => {
            map.insert(name.clone(), source.clone());
        }
        (Part::Index(_) | Part::Element(_) | Part::Scalar(_), Value::Array(list), Some(source))
            if rest.is_empty() =>
        {
            list.push(source.clone());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_remove_and_copy() {
        let mut paths = Paths::default();
        for pointer in
            ["/spec/replicas", "/metadata/annotations/a~1b", "/spec/list/1", "/spec/list/0", "/spec/absent/x"]
        {
            paths.add_pointer(pointer);
        }
        let live = json!({"spec": {"replicas": 5, "list": ["a", "b", "c"]}, "metadata": {"annotations": {"a/b": "1"}}});
        let mut stripped = live.clone();
        paths.remove(&mut stripped);
        assert_eq!(stripped, json!({"spec": {"list": ["c"]}, "metadata": {"annotations": {}}}));
        let mut target = json!({"spec": {"absent": {"x": 1, "y": 2}, "list": ["z"]}});
        paths.copy(&live, &mut target);
        assert_eq!(
            target,
            json!({"spec": {"absent": {"y": 2}, "list": ["a", "b"], "replicas": 5},
                   "metadata": {"annotations": {"a/b": "1"}}})
        );
    }

    #[test]
    fn managed_fields_name_elements_by_key() {
        let live = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}], "n": [1, 2]}});
        let mut paths = Paths::default();
        paths.add_fields(
            &json!({"f:spec": {"f:containers": {"k:{\"name\":\"b\"}": {".": {}, "f:image": {}}}, "f:n": {"v:2": {}}}}),
        );
        let mut stripped = live.clone();
        paths.remove(&mut stripped);
        assert_eq!(
            stripped,
            json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "n": [1]}})
        );
    }
}
