//! Types as JSON schemas.

use objects::typing::{Field, ListType, Shape, Type, Typing};
use serde_json::{Map, Value, json};

use super::{Place, Schemas, kind};
use crate::catalog::Resource;

/// Adds a resource's type with all it refers to, and returns its name.
pub(super) fn add(resource: &Resource, place: Place, schemas: &mut Schemas) -> String {
    let typing = Typing::of(&resource.gvk());
    if let (None, Typing::Builtin(slot)) = (resource.custom(), typing)
        && let Shape::Struct(id) = slot.shape
    {
        let name = full_name(id.get().name);
        add_type(id.get(), place, schemas);
        if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
        }
        return name;
    }
    let mut parts: Vec<&str> = resource.group.split('.').filter(|part| !part.is_empty()).rev().collect();
    if parts.is_empty() {
        parts = vec!["io", "k8s", "api", "core"];
    }
    let name = format!("{}.{}.{}", parts.join("."), resource.version, resource.kind);
    let given = resource.custom().and_then(|custom| custom.open_api.clone());
    let mut schema =
        given.unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    let text = json!({"type": "string"});
    for field in ["apiVersion", "kind"] {
        schema["properties"][field] = text.clone();
    }
    if let Typing::Builtin(slot) = typing.field("metadata")
        && let Shape::Struct(id) = slot.shape
    {
        add_type(id.get(), place, schemas);
        schema["properties"]["metadata"] = json!({"$ref": place.reference(&full_name(id.get().name))});
    }
    schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
    schemas.insert(name.clone(), schema);
    name
}

/// `core.v1.Pod` as upstream's documents spell it.
fn full_name(short: &str) -> String {
    match short.split('.').next().unwrap_or_default() {
        "meta" => format!("io.k8s.apimachinery.pkg.apis.{short}"),
        "apiextensions" => format!("io.k8s.apiextensions-apiserver.pkg.apis.{short}"),
        "apiregistration" => format!("io.k8s.kube-aggregator.pkg.apis.{short}"),
        _ => format!("io.k8s.api.{short}"),
    }
}

fn add_type(kind: &'static Type, place: Place, schemas: &mut Schemas) {
    let name = full_name(kind.name);
    if schemas.contains_key(&name) {
        return;
    }
    // Its name is taken before its fields are walked: types refer to themselves.
    schemas.insert(name.clone(), Value::Null);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (field, declared) in kind.fields() {
        let schema = match (field, &declared.shape) {
            ("fieldsV1", Shape::Any) => named(
                "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
                json!({"type": "object"}),
                place,
                schemas,
            ),
            _ => property(declared, place, schemas),
        };
        properties.insert(field.to_owned(), schema);
        if declared.required {
            required.push(field);
        }
    }
    let mut schema = json!({"type": "object"});
    if !properties.is_empty() {
        schema["properties"] = properties.into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if kind.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    schemas.insert(name, schema);
}

fn property(field: &'static Field, place: Place, schemas: &mut Schemas) -> Value {
    let mut schema = shape(&field.shape, place, schemas);
    if matches!(field.shape, Shape::List(_)) {
        match &field.list {
            ListType::Atomic => schema["x-kubernetes-list-type"] = "atomic".into(),
            ListType::Set => schema["x-kubernetes-list-type"] = "set".into(),
            ListType::Map(keys) => {
                schema["x-kubernetes-list-type"] = "map".into();
                schema["x-kubernetes-list-map-keys"] = keys.clone().into();
            }
        }
    }
    if field.patch.merge {
        schema["x-kubernetes-patch-strategy"] =
            if field.patch.retain_keys { "merge,retainKeys" } else { "merge" }.into();
        if let Some(key) = &field.patch.key {
            schema["x-kubernetes-patch-merge-key"] = key.clone().into();
        }
    }
    schema
}

fn shape(shape: &'static Shape, place: Place, schemas: &mut Schemas) -> Value {
    match shape {
        Shape::String => json!({"type": "string"}),
        Shape::Quantity => named(
            "io.k8s.apimachinery.pkg.api.resource.Quantity",
            match place {
                Place::Definitions => json!({"type": "string"}),
                Place::Components => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            },
            place,
            schemas,
        ),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int32 => json!({"type": "integer", "format": "int32"}),
        Shape::Int64 => json!({"type": "integer", "format": "int64"}),
        Shape::Number => json!({"type": "number", "format": "double"}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::IntOrString => named(
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            match place {
                Place::Definitions => json!({"type": "string", "format": "int-or-string"}),
                Place::Components => {
                    json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
                }
            },
            place,
            schemas,
        ),
        Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
        Shape::List(item) => json!({"type": "array", "items": self::shape(item, place, schemas)}),
        Shape::Map(value) => {
            json!({"type": "object", "additionalProperties": self::shape(value, place, schemas)})
        }
        Shape::Struct(id) => {
            add_type(id.get(), place, schemas);
            reference(&full_name(id.get().name), place)
        }
    }
}

/// A type that upstream's documents name although it is no struct.
fn named(name: &str, schema: Value, place: Place, schemas: &mut Schemas) -> Value {
    schemas.entry(name.to_owned()).or_insert(schema);
    reference(name, place)
}

fn reference(name: &str, place: Place) -> Value {
    let reference = json!({"$ref": place.reference(name)});
    match place {
        // Beside a reference nothing else is read, so it stands in a list of its own.
        Place::Components => json!({"allOf": [reference]}),
        Place::Definitions => reference,
    }
}
