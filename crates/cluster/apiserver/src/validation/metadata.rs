//! `metadata` of every kind.

use objects::meta;
use objects::schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::Problems;
use super::names::{self, Form};
use crate::catalog::{Origin, Resource};

/// Bytes of all annotations together.
const ANNOTATIONS_LIMIT: usize = 256 << 10;

fn name_form(resource: &Resource) -> Form {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => Form::Label,
        ("", "services") => Form::Label1035,
        ("rbac.authorization.k8s.io", _) | ("certificates.k8s.io" | "scheduling.k8s.io", _) => Form::Segment,
        _ => match resource.origin {
            Origin::Builtin(_) | Origin::Custom(_) => Form::Subdomain,
        },
    }
}

pub(super) fn check(resource: &Resource, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let form = name_form(resource);
    let name = meta::name(object);
    if old.is_none() {
        if let Some(prefix) = meta::generate_name(object) {
            // The name that grows from it may well end in a dash before its suffix.
            let prefix = prefix.trim_end_matches('-');
            for problem in names::problems(form, prefix) {
                let given = meta::generate_name(object).unwrap_or_default();
                problems.push(FieldError::invalid("metadata.generateName", given.into(), problem));
            }
        }
        if name.is_empty() {
            problems.push(FieldError::required("metadata.name", "name or generateName is required"));
        } else {
            for problem in names::problems(form, name) {
                problems.push(FieldError::invalid("metadata.name", name.into(), problem));
            }
        }
    }
    check_maps(&object["metadata"], "metadata", problems);
    for (at, finalizer) in meta::finalizers(object).enumerate() {
        for problem in names::key_problems(finalizer) {
            problems.push(FieldError::invalid("metadata.finalizers", finalizer.into(), problem));
        }
        let standard = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
        // Definitions are checked by the rules of custom resources.
        let strict =
            matches!(resource.origin, Origin::Builtin(_)) && resource.group != "apiextensions.k8s.io";
        if strict && !standard && !finalizer.contains('/') {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            let path = format!("metadata.finalizers[{at}]");
            problems.push(FieldError::invalid(&path, finalizer.into(), detail));
        }
    }
    check_owners(object, problems);
}

/// Labels with valid keys and values.
pub(super) fn check_label_map(labels: &Value, path: &str, problems: &mut Problems) {
    match labels {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                for problem in names::key_problems(key) {
                    problems.push(FieldError::invalid(path, key.as_str().into(), problem));
                }
                for problem in names::value_problems(value.as_str().unwrap_or_default()) {
                    problems.push(FieldError::invalid(path, value.clone(), problem));
                }
            }
        }
        other => problems.push(FieldError::invalid(path, other.clone(), "must be a map of strings")),
    }
}

/// Labels and annotations in the metadata of an object or of a template in it.
pub(super) fn check_maps(metadata: &Value, path: &str, problems: &mut Problems) {
    check_label_map(&metadata["labels"], &format!("{path}.labels"), problems);
    let annotations = format!("{path}.annotations");
    let mut total = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        for problem in names::key_problems(&key.to_lowercase()) {
            problems.push(FieldError::invalid(&annotations, key.as_str().into(), problem));
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > ANNOTATIONS_LIMIT {
        let detail = format!("may not be more than {ANNOTATIONS_LIMIT} bytes");
        problems.push(FieldError::new(ErrorKind::TooLong, &annotations, Value::Null, detail));
    }
}

fn check_owners(object: &Value, problems: &mut Problems) {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut controllers = Vec::new();
    for owner in owners.into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let detail =
                    if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                let path = format!("metadata.ownerReferences.{field}");
                problems.push(FieldError::invalid(&path, "".into(), detail));
            }
        }
        if owner["controller"] == true {
            controllers.push(owner);
        }
    }
    if let [_, second, ..] = controllers.as_slice() {
        let detail = "Only one reference can have Controller set to true";
        problems.push(FieldError::invalid("metadata.ownerReferences", (*second).clone(), detail));
    }
}
