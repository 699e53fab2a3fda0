//! What no two servers have in common is replaced by its name: times, uids, revisions, generated names.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

pub(super) struct Normal {
    patterns: Vec<(Regex, &'static str)>,
    /// Values kept by the case, longest first, with the names that stand for them.
    kept: Vec<(String, String)>,
}

impl Normal {
    pub(super) fn new(kept: &BTreeMap<String, String>) -> Normal {
        let pattern = |text: &str| Regex::new(text).unwrap();
        let mut kept: Vec<(String, String)> = kept
            .iter()
            // Revisions have patterns of their own.
            .filter(|(_, value)| value.parse::<u64>().is_err())
            .map(|(name, value)| (value.clone(), format!("<{name}>")))
            .collect();
        kept.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let patterns = vec![
            (pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
            (pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
            (pattern(r"resource version: \d+( \(\d+\))?(, current: \d+)?"), "resource version: <rv>"),
            (pattern(r"X509SHA256=[0-9a-f]{64}"), "X509SHA256=<sum>"),
            (pattern(r"in record \(\d+\)"), "in record (<rv>)"),
            (pattern(r"is at revision \d+"), "is at revision <rv>"),
            // Of an object inside a text, as YAML or as JSON, quoted once or twice.
            (pattern(r#"(resourceVersion[\\": ]{2,10})[1-9]\d*"#), "$1<rv>"),
        ];
        Normal { patterns, kept }
    }

    pub(super) fn value(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (name.clone(), self.field(&name, value))).collect()
            }
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::String(text) => self.text(text).into(),
            other => other,
        }
    }

    fn field(&self, name: &str, value: Value) -> Value {
        match (name, &value) {
            ("resourceVersion", Value::String(text)) if text.parse::<u64>().is_ok() => "<rv>".into(),
            ("continue", Value::String(text)) if !text.is_empty() => "<continue>".into(),
            ("managedFields", Value::Array(_)) => {
                let Value::Array(mut entries) = self.value(value) else { return Value::Null };
                // Their order depends on the second in which they were written.
                entries.sort_by_key(|entry| {
                    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                    (text("manager"), text("operation"), text("subresource"), text("apiVersion"))
                });
                entries.into()
            }
            // A case may show them by their path.
            (name, Value::Array(cells)) if name == "cells" || name.ends_with(".cells") => {
                let cell = |cell: &Value| match cell.as_str() {
                    Some(text) if is_age(text) => "<age>".into(),
                    _ => self.value(cell.clone()),
                };
                cells.iter().map(cell).collect()
            }
            _ => self.value(value),
        }
    }

    fn text(&self, text: String) -> String {
        let mut text = text;
        for (value, name) in &self.kept {
            text = text.replace(value, name);
        }
        for (pattern, name) in &self.patterns {
            text = pattern.replace_all(&text, *name).into_owned();
        }
        text
    }
}

fn is_age(text: &str) -> bool {
    text.strip_suffix('s')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}
