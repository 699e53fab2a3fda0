//! CustomResourceDefinitions.

use objects::meta;
use objects::schema::{FieldError, Schema};
use serde_json::Value;

use super::names::{self, Form};
use super::structure::{self, Place};
use super::{Problems, pod, rules};

pub(super) fn check(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    let group = spec["group"].as_str().unwrap_or_default();
    let plural = spec["names"]["plural"].as_str().unwrap_or_default();
    if meta::name(object) != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        problems.push(FieldError::invalid("metadata.name", meta::name(object).into(), detail));
    }
    if group.is_empty() {
        problems.push(FieldError::required("spec.group", ""));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        problems.push(FieldError::invalid("spec.group", group.into(), detail));
    }
    for problem in names::problems(Form::Label1035, plural) {
        problems.push(FieldError::invalid("spec.names.plural", plural.into(), problem));
    }
    pod::one_of(spec, "spec", "scope", &["Cluster", "Namespaced"], problems);
    versions(object, problems);
    if let Some(old) = old {
        for field in ["group", "scope"] {
            if old["spec"][field] != spec[field] {
                let path = format!("spec.{field}");
                problems.push(FieldError::invalid(&path, spec[field].clone(), "field is immutable"));
            }
        }
        for stored in old["status"]["storedVersions"].as_array().into_iter().flatten() {
            let listed =
                spec["versions"].as_array().into_iter().flatten().any(|version| version["name"] == *stored);
            if !listed {
                let detail = "must appear in spec.versions";
                problems.push(FieldError::invalid("status.storedVersions[0]", stored.clone(), detail));
            }
        }
    }
}

fn versions(object: &Value, problems: &mut Problems) {
    let versions = object["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let stored = versions.iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        problems.push(FieldError::invalid("spec.versions", object["spec"]["versions"].clone(), detail));
        if stored == 0 {
            let detail = "must have at least one stored version";
            problems.push(FieldError::invalid("status.storedVersions", Value::Null, detail));
        }
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let name = version["name"].as_str().unwrap_or_default();
        for problem in names::problems(Form::Label1035, name) {
            problems.push(FieldError::invalid(&format!("{path}.name"), name.into(), problem));
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            problems.push(FieldError::required(&format!("{path}.schema.openAPIV3Schema"), ""));
            continue;
        }
        // Upstream keeps the schema that all versions share in one place, and names it from there.
        let shared = versions.iter().all(|other| other["schema"]["openAPIV3Schema"] == *schema);
        if shared && index > 0 {
            continue;
        }
        let path = if shared { "spec.validation".to_owned() } else { format!("{path}.schema") };
        let path = format!("{path}.openAPIV3Schema");
        let before = problems.len();
        structure::check(schema, Place::Root, &path, problems);
        if problems.len() > before {
            continue;
        }
        match Schema::from_crd(object, name) {
            Err(error) => problems.push(FieldError::invalid(&path, Value::Null, error.to_string())),
            Ok(_) => rules::problems(schema, &path, problems),
        }
    }
}
