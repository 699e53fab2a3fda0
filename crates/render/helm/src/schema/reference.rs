//! `$ref` within a document.

use serde_json::Value;

/// Drafts of JSON Schema, by what they change.
pub(super) fn draft(schema: &Value) -> Result<u16, String> {
    let Some(url) = schema.get("$schema").and_then(Value::as_str) else { return Ok(2020) };
    let plain = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url);
    match plain.strip_suffix('#').unwrap_or(plain) {
        "json-schema.org/schema" | "json-schema.org/draft/2020-12/schema" => Ok(2020),
        "json-schema.org/draft/2019-09/schema" => Ok(2019),
        "json-schema.org/draft-07/schema" => Ok(7),
        "json-schema.org/draft-06/schema" => Ok(6),
        "json-schema.org/draft-04/schema" => Ok(4),
        _ => Err(format!("schema dialect {url:?} is not supported yet")),
    }
}

/// What a reference leads to; `Ok(None)`: anything fits (a name that nobody resolves).
pub(super) fn resolve<'s>(root: &'s Value, reference: &str) -> Result<Option<&'s Value>, String> {
    let (url, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let base = root.get("$id").or_else(|| root.get("id")).and_then(Value::as_str).unwrap_or_default();
    let base = base.split('#').next().unwrap_or_default();
    let document = if url.is_empty() || url == base {
        root
    } else if url.starts_with("urn:") {
        return Ok(None);
    } else {
        match embedded(root, url, 0) {
            Some(document) => document,
            None => {
                return Err(format!(
                    "schema reference {reference:?} to another document is not supported yet"
                ));
            }
        }
    };
    let fragment = percent_decoded(fragment);
    if fragment.is_empty() {
        return Ok(Some(document));
    }
    let found = if fragment.starts_with('/') {
        document.pointer(&fragment)
    } else {
        anchored(document, &fragment, 0)
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => Err(format!(
            "json-pointer in {} not found",
            gotmpl::quote(format!("file:///values.schema.json#{fragment}").as_bytes())
        )),
    }
}

const MAX_DEPTH: usize = 100;

/// The schema in the document that names itself by a URL.
fn embedded<'s>(schema: &'s Value, url: &str, depth: usize) -> Option<&'s Value> {
    search(schema, depth, &|object| {
        let id = object.get("$id").or_else(|| object.get("id")).and_then(Value::as_str);
        id.is_some_and(|id| id.trim_end_matches('#') == url)
    })
}

fn anchored<'s>(schema: &'s Value, name: &str, depth: usize) -> Option<&'s Value> {
    search(schema, depth, &|object| {
        let is = |key: &str, wanted: &str| object.get(key).and_then(Value::as_str) == Some(wanted);
        let fragment = format!("#{name}");
        is("$anchor", name) || is("$dynamicAnchor", name) || is("$id", &fragment) || is("id", &fragment)
    })
}

fn search<'s>(
    value: &'s Value,
    depth: usize,
    fits: &dyn Fn(&serde_json::Map<String, Value>) -> bool,
) -> Option<&'s Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Object(object) if fits(object) => Some(value),
        Value::Object(object) => object.values().find_map(|value| search(value, depth + 1, fits)),
        Value::Array(items) => items.iter().find_map(|value| search(value, depth + 1, fits)),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = text.get(text.len() - after.len()..).and_then(|after| after.get(..2));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
