//! Whether a definition's schema is structural: what each place in it has to say about its type.

use objects::schema::FieldError;
use serde_json::Value;

use super::Problems;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Where in a schema a node stands, which is how upstream words what it lacks.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Root,
    Item,
    Field,
}

impl Place {
    fn untyped(self) -> &'static str {
        match self {
            Place::Root => "must not be empty at the root",
            Place::Item => "must not be empty for specified array items",
            Place::Field => "must not be empty for specified object fields",
        }
    }
}

/// Reports the nodes of a schema that have no type, or one that JSON Schema does not know. The schema has come through a
/// parser with a limit of depth.
pub(super) fn check(schema: &Value, place: Place, path: &str, problems: &mut Problems) {
    let is = |field: &str| schema[field] == true;
    match schema["type"].as_str().unwrap_or_default() {
        "" if is("x-kubernetes-int-or-string") || is("x-kubernetes-preserve-unknown-fields") => {}
        "" => problems.push(FieldError::required(&format!("{path}.type"), place.untyped())),
        known if TYPES.contains(&known) => {}
        other => problems.push(FieldError::not_supported(&format!("{path}.type"), other.into(), &TYPES)),
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        check(child, Place::Field, &format!("{path}.properties[{name}]"), problems);
    }
    for (name, below) in [("items", Place::Item), ("additionalProperties", Place::Field)] {
        if schema[name].is_object() {
            check(&schema[name], below, &format!("{path}.{name}"), problems);
        }
    }
}
