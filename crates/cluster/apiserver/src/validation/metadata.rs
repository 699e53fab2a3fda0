//! `metadata` of every kind.

use serde_json::Value;

use super::field::Field;
use super::names::{self, Form};
use super::{Problems, addresses, selector};
use crate::catalog::{Origin, Resource};

/// Bytes of all annotations together.
const ANNOTATIONS_LIMIT: usize = 256 << 10;

fn name_form(resource: &Resource) -> Form {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") | ("apps", "statefulsets") => Form::Label,
        ("", "services") => Form::Label1035,
        ("" | "events.k8s.io", "events")
        | ("networking.k8s.io", "ipaddresses")
        | ("rbac.authorization.k8s.io" | "policy" | "apiregistration.k8s.io", _)
        | ("certificates.k8s.io", "certificatesigningrequests") => Form::Segment,
        _ => Form::Subdomain,
    }
}

/// Kinds whose finalizers need not have a domain.
fn any_finalizer(resource: &Resource) -> bool {
    !matches!(resource.origin, Origin::Builtin(_))
        || matches!(
            resource.group.as_str(),
            "admissionregistration.k8s.io"
                | "apiextensions.k8s.io"
                | "apiregistration.k8s.io"
                | "coordination.k8s.io"
                | "node.k8s.io"
                | "policy"
        )
}

pub(super) fn check(resource: &Resource, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let metadata = root.get("metadata");
    if old.is_none() {
        own_name(resource, &metadata, problems);
    }
    selector::labels(&metadata.get("labels"), problems);
    annotations(&metadata.get("annotations"), problems);
    owners(&metadata.get("ownerReferences"), problems);
    finalizers(resource, &metadata.get("finalizers"), problems);
}

fn own_name(resource: &Resource, metadata: &Field<'_, '_>, problems: &mut Problems) {
    let form = name_form(resource);
    let (name, prefix) = (metadata.get("name"), metadata.get("generateName"));
    if !prefix.text().is_empty() {
        for problem in names::prefix_problems(form, prefix.text()) {
            prefix.invalid(problem, problems);
        }
    }
    if name.text().is_empty() {
        name.required("name or generateName is required", problems);
        return;
    }
    if resource.is("networking.k8s.io", "ipaddresses") {
        if let Err(problem) = addresses::canonical(name.text()) {
            name.invalid(problem, problems);
        }
        return;
    }
    name.name(form, problems);
}

pub(super) fn annotations(annotations: &Field<'_, '_>, problems: &mut Problems) {
    let mut total = 0;
    for (key, value) in annotations.map().into_iter().flatten() {
        let lower = key.bytes().any(|c| c.is_ascii_uppercase()).then(|| key.to_lowercase());
        for problem in names::key_problems(lower.as_deref().unwrap_or(key)) {
            annotations.invalid_as(key.as_str().into(), problem, problems);
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > ANNOTATIONS_LIMIT {
        annotations.too_long(ANNOTATIONS_LIMIT, problems);
    }
}

fn owners(owners: &Field<'_, '_>, problems: &mut Problems) {
    let mut controller: Option<String> = None;
    for owner in owners.list() {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        for field in ["apiVersion", "kind", "name", "uid"] {
            let version = text(field).rsplit('/').next().unwrap_or_default();
            if version.is_empty() {
                let detail =
                    if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                owners.child(field).invalid_as(text(field).into(), detail, problems);
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            owners.invalid_shown(shown(owner), detail, problems);
        }
        if owner["controller"] != true {
            continue;
        }
        let this = format!("{}/{}", text("kind"), text("name"));
        if let Some(first) = &controller {
            let all: Vec<String> = owners.list().iter().map(shown).collect();
            let detail = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
            );
            owners.invalid_shown(format!("[{}]", all.join(",")), detail, problems);
        } else {
            controller = Some(this);
        }
    }
}

/// A reference with its fields in upstream's order.
fn shown(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let always = ["apiVersion", "kind", "name", "uid"];
    let parts = fields.into_iter().filter_map(|field| match &owner[field] {
        Value::Null => always.contains(&field).then(|| format!("{field:?}:\"\"")),
        value => Some(format!("{field:?}:{value}")),
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

fn finalizers(resource: &Resource, finalizers: &Field<'_, '_>, problems: &mut Problems) {
    for finalizer in finalizers.list() {
        finalizers.with(finalizer).qualified(problems);
    }
    let has = |name: &str| finalizers.strings().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        finalizers.invalid("finalizer orphan and foregroundDeletion cannot be both set", problems);
    }
    if any_finalizer(resource) {
        return;
    }
    for finalizer in finalizers.items() {
        let standard = matches!(finalizer.text(), "kubernetes" | "orphan" | "foregroundDeletion");
        if !standard && !finalizer.text().contains('/') {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            finalizer.invalid(detail, problems);
        }
    }
}
