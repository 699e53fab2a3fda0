//! Values to try a chart with: none, those it is tested with, and those made from its defaults.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// How many sets of values are drawn at random for a chart.
const DRAWN: u64 = 3;

/// Names and the texts of the values files.
pub(crate) fn of(chart: &Path) -> Vec<(String, Vec<String>)> {
    let mut found = vec![("default".to_owned(), Vec::new())];
    for folder in ["ci", "tests", "examples"] {
        let Ok(entries) = fs::read_dir(chart.join(folder)) else { continue };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with("values.yaml")
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push((format!("{folder}/{name}"), vec![text]));
            }
        }
    }
    let defaults = fs::read_to_string(chart.join("values.yaml")).unwrap_or_default();
    let Ok(defaults @ Value::Object(_)) = yaml::from_str(&defaults) else { return found };
    found.push(("on".to_owned(), vec![changed(&defaults, &mut |value| switch(value, true)).to_string()]));
    found.push(("off".to_owned(), vec![changed(&defaults, &mut |value| switch(value, false)).to_string()]));
    found.push(("filled".to_owned(), vec![changed(&defaults, &mut fill).to_string()]));
    for seed in 1..=DRAWN {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut mix = |value: &Value| match (draw() % 4, value) {
            (0 | 1, Value::Bool(value)) => Some(Value::Bool(!value)),
            (0, value) => fill(value),
            _ => None,
        };
        found.push((format!("drawn-{seed}"), vec![changed(&defaults, &mut mix).to_string()]));
    }
    found
}

fn switch(value: &Value, on: bool) -> Option<Value> {
    value.is_boolean().then_some(Value::Bool(on))
}

/// Something where the default has nothing.
fn fill(value: &Value) -> Option<Value> {
    match value {
        Value::Null => Some(json!("filled")),
        Value::String(text) if text.is_empty() => Some(json!("some-text")),
        Value::Array(items) if items.is_empty() => {
            Some(json!([{"name": "first", "value": "1"}, {"name": "second"}]))
        }
        Value::Object(fields) if fields.is_empty() => {
            Some(json!({"key": "value", "number": 3, "flag": true}))
        }
        _ => None,
    }
}

/// The defaults with everything changed that the function changes.
fn changed(value: &Value, change: &mut impl FnMut(&Value) -> Option<Value>) -> Value {
    if let Some(changed) = change(value) {
        return changed;
    }
    match value {
        Value::Array(items) => items.iter().map(|item| changed(item, change)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), changed(value, change))).collect()
        }
        other => other.clone(),
    }
}
