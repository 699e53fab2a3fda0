//! Objects as they are stored: how a value becomes bytes with a place for its revision, and back.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use store::Draft;

use crate::error::ApiError;

/// The bytes of an object, `kind` and `apiVersion` first as upstream writes them, with the place of
/// `metadata.resourceVersion` left open for the store to fill.
pub(crate) fn draft(object: &Value) -> Draft {
    let mut out = Vec::with_capacity(1024);
    let mut revision_at = 0;
    out.push(b'{');
    let Some(fields) = object.as_object() else { return Draft::plain(object.to_string().into_bytes()) };
    for name in ["kind", "apiVersion"] {
        if let Some(value) = fields.get(name) {
            field(&mut out, name, value);
        }
    }
    separate(&mut out);
    out.extend_from_slice(b"\"metadata\":{");
    let empty = Map::new();
    let metadata = fields.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let mut written = false;
    for (name, value) in metadata {
        if !written && name.as_str() >= "resourceVersion" {
            revision_at = revision(&mut out);
            written = true;
        }
        if name != "resourceVersion" {
            field(&mut out, name, value);
        }
    }
    if !written {
        revision_at = revision(&mut out);
    }
    out.push(b'}');
    for (name, value) in fields {
        if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
            field(&mut out, name, value);
        }
    }
    out.push(b'}');
    Draft::with_revision_at(out, revision_at)
}

fn revision(out: &mut Vec<u8>) -> usize {
    separate(out);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    let at = out.len();
    out.push(b'"');
    at
}

fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &Value) {
    separate(out);
    write(out, &name);
    out.push(b':');
    write(out, value);
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a JSON value with string keys always serializes into memory");
}

/// Reads stored bytes.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::internal("decode a stored object", &error))
}

/// What [`draft`] writes before `metadata`: left out of the items of built-in lists, as upstream leaves it out.
pub(crate) fn type_prefix(kind: &str, api_version: &str) -> String {
    format!("{{\"kind\":{},\"apiVersion\":{},", Value::from(kind), Value::from(api_version))
}

/// The bytes of a stored object without its `kind` and `apiVersion`.
pub(crate) fn without_type(bytes: &Bytes, prefix: &str) -> Option<Bytes> {
    bytes.starts_with(prefix.as_bytes()).then(|| bytes.slice(prefix.len()..))
}

/// The part of an object that selectors look at, read without building the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct Labelled {
    #[serde(default)]
    metadata: LabelledMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct LabelledMetadata {
    #[serde(default)]
    labels: Option<Map<String, Value>>,
}

impl Labelled {
    pub(crate) fn read(bytes: &[u8]) -> Option<Map<String, Value>> {
        serde_json::from_slice::<Labelled>(bytes).ok()?.metadata.labels
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_draft_takes_the_revision_in_its_place() {
        let cases = [
            json!({"kind": "A", "apiVersion": "v1", "metadata": {"name": "x", "resourceVersion": "5", "uid": "u"}, "a": 1}),
            json!({"kind": "A", "apiVersion": "v1", "metadata": {"name": "x"}, "spec": {"resourceVersion": "no"}}),
            json!({"kind": "A", "apiVersion": "v1", "metadata": {"uid": "x"}}),
            json!({"kind": "A", "apiVersion": "v1"}),
        ];
        for object in cases {
            let sealed = draft(&object).seal(42);
            let mut expected = object.clone();
            expected["metadata"]["resourceVersion"] = "42".into();
            assert_eq!(decode(&sealed.bytes).unwrap(), expected);
            let rest = without_type(&sealed.bytes, &type_prefix("A", "v1")).unwrap();
            assert!(rest.starts_with(b"\"metadata\""));
        }
    }
}
