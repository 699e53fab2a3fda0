//! What claims ask for, wherever they are written.

use serde_json::Value;

use super::{Form, Problems};
use crate::validation::field::Field;
use crate::validation::{metadata, resources, selector};

/// A claim that is made for a Pod.
pub(in crate::validation) fn claim_template(template: &Field<'_, '_>, problems: &mut Problems) {
    let metadata = template.get("metadata");
    metadata::annotations(&metadata.get("annotations"), problems);
    selector::labels(&metadata.get("labels"), problems);
    for (field, _) in metadata.map().into_iter().flatten() {
        let value = metadata.get(field);
        if !matches!(field.as_str(), "labels" | "annotations") && !value.is_empty() {
            value.forbidden("cannot be set", problems);
        }
    }
    claim_spec(&template.get("spec"), None, problems);
}

pub(in crate::validation) const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Access modes that exist and go together.
pub(in crate::validation) fn access_modes(modes: &Field<'_, '_>, problems: &mut Problems) {
    let (mut one_pod, mut others) = (false, false);
    for mode in modes.list() {
        let known = ACCESS_MODES.contains(&mode.as_str().unwrap_or_default());
        if !known {
            modes.with(mode).not_supported(&ACCESS_MODES, problems);
        }
        one_pod |= *mode == "ReadWriteOncePod";
        others |= known && *mode != "ReadWriteOncePod";
    }
    if one_pod && others {
        modes.forbidden("may not use ReadWriteOncePod with other access modes", problems);
    }
}

/// What a claim asks for; `old` is what it asked for before.
pub(in crate::validation) fn claim_spec(spec: &Field<'_, '_>, old: Option<&Value>, problems: &mut Problems) {
    let modes = spec.get("accessModes");
    if modes.list().is_empty() {
        modes.required("at least 1 access mode is required", problems);
    }
    selector::label_selector(&spec.get("selector"), problems);
    access_modes(&modes, problems);
    let asked = spec.get("resources");
    let at = asked.key("storage");
    let storage = &asked.value()["requests"]["storage"];
    let storage = at.with(storage);
    if !storage.is_set() {
        storage.required("", problems);
    } else if resources::positive(&storage, problems) {
        resources::quantity(&storage, "storage", problems);
    }
    spec.get("storageClassName").name_if_given(Form::Subdomain, problems);
    spec.get("volumeMode").one_of_if_set(&["Block", "Filesystem"], problems);
    let group_was_given = |field: &str| old.is_some_and(|old| !old[field]["apiGroup"].is_null());
    let lenient = group_was_given("dataSource") || group_was_given("dataSourceRef");
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for origin in [source, reference] {
        if origin.is_set() {
            data_source(&origin, lenient, problems);
        }
    }
    let namespaced = !reference.get("namespace").text().is_empty();
    reference.get("namespace").name_if_given(Form::Label, problems);
    let same = |field: &str| source.value().get(field) == reference.value().get(field);
    if namespaced && source.is_set() {
        let detail = "may not be specified when dataSourceRef.namespace is specified";
        spec.invalid_shown("{}".to_owned(), detail, problems);
    } else if !namespaced
        && source.is_set()
        && reference.is_set()
        && !["apiGroup", "kind", "name"].into_iter().all(same)
    {
        spec.invalid_shown("{}".to_owned(), "must match dataSourceRef", problems);
    }
    spec.get("volumeAttributesClassName").name_if_given(Form::Subdomain, problems);
}

fn data_source(origin: &Field<'_, '_>, lenient: bool, problems: &mut Problems) {
    origin.get("name").need(problems);
    let kind = origin.get("kind");
    kind.need(problems);
    let group = origin.get("apiGroup");
    if group.text().is_empty() && kind.text() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        origin.invalid_as(kind.text().into(), detail, problems);
    }
    if !lenient {
        group.name_if_given(Form::Subdomain, problems);
    }
}
