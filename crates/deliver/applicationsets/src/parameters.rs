//! Sets of parameters: as one level of texts, selected, merged.

use objects::Value;

use crate::Parameters;

/// Nested maps and lists as one level of texts, keys joined by dots.
pub(crate) fn flat(set: &Parameters) -> Vec<(String, String)> {
    let mut flat = Vec::new();
    for (key, value) in set {
        flatten(key, value, &mut flat);
    }
    flat
}

fn flatten(key: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                flatten(&format!("{key}.{name}"), value, into);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                flatten(&format!("{key}.{index}"), value, into);
            }
        }
        _ => into.push((key.to_owned(), shown(value))),
    }
}

/// A value as Go's `%v` shows it after `encoding/json` read it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => match gotmpl::from_json(&other.to_string()) {
            Ok(value) => gotmpl::to_text(&value).to_string(),
            Err(_) => other.to_string(),
        },
    }
}

/// A label selector whose values may be any text.
pub(crate) struct Selector(Vec<Requirement>);

struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    pub(crate) fn parse(selector: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values });
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let values = expression["values"].as_array().into_iter().flatten();
            requirements.push(Requirement {
                key: expression["key"].as_str().unwrap_or_default().to_owned(),
                operator,
                values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
            });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn matches(&self, set: &Parameters) -> bool {
        let flat = flat(set);
        self.0.iter().all(|requirement| {
            let found = flat.iter().find(|(key, _)| *key == requirement.key).map(|(_, value)| value);
            let listed = found.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator {
                Operator::In => listed,
                Operator::NotIn => !listed,
                Operator::Exists => found.is_some(),
                Operator::DoesNotExist => found.is_none(),
            }
        })
    }
}

/// Lays `over` over `base`: maps are merged, anything else that says something replaces.
pub(crate) fn overlay(base: &mut Parameters, over: &Parameters) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => overlay(base, over),
            (Some(_), value) if is_empty(value) => {}
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// What Go calls a zero value.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
