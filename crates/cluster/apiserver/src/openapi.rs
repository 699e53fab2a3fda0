//! OpenAPI documents: the types of what is served, without descriptions, and what its operations take.
//!
//! Built-in types come from the table of `objects`, custom ones from their definitions. The documents are what
//! `kubectl explain` reads, and where clients learn that the server validates fields and does dry runs.

mod schema;

use std::collections::BTreeMap;

use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::catalog::{Resource, Snapshot};
use crate::core::Core;
use crate::error::ApiError;
use crate::http::body;
use crate::http::{ApiBody, negotiate};

/// Where a document keeps its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Definitions,
    Components,
}

impl Place {
    fn reference(self, name: &str) -> String {
        match self {
            Place::Definitions => format!("#/definitions/{name}"),
            Place::Components => format!("#/components/schemas/{name}"),
        }
    }
}

/// Types by name.
type Schemas = BTreeMap<String, Value>;

pub(crate) fn answer(core: &Core, rest: &[&str], headers: &HeaderMap) -> Result<Response<ApiBody>, ApiError> {
    let snapshot = core.catalog.snapshot();
    let value = match rest {
        ["v2"] if negotiate::mentions(headers, PROTOBUF) => {
            return Ok(body::respond(StatusCode::OK, PROTOBUF, body::full(bare().into())));
        }
        ["v2"] => whole(&snapshot),
        ["v3"] => {
            negotiate::accept(headers, &[])?;
            let text = index(&snapshot).to_string();
            return Ok(body::respond(StatusCode::OK, "text/plain; charset=utf-8", body::full(text.into())));
        }
        ["v3", "api", version] => document(&snapshot, "", version)?,
        ["v3", "apis", group, version] => document(&snapshot, group, version)?,
        _ => return Err(ApiError::no_such_resource()),
    };
    negotiate::accept(headers, &[])?;
    Ok(body::json(StatusCode::OK, &value))
}

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document of the older form as protobuf, with its title and no types. kubectl asks for it about a kind that the
/// newer documents do not have, to be told that this one does not have it either.
fn bare() -> Vec<u8> {
    let text = |field: u8, bytes: &[u8]| {
        let mut out = vec![field << 3 | 2, u8::try_from(bytes.len()).unwrap_or_default()];
        out.extend_from_slice(bytes);
        out
    };
    let title = [text(1, b"Kubernetes"), text(2, crate::KUBERNETES_VERSION.as_bytes())].concat();
    [text(1, b"2.0"), text(2, &title)].concat()
}

fn index(snapshot: &Snapshot) -> Value {
    let mut paths = Map::new();
    for group in &snapshot.groups {
        for version in &group.versions {
            let path = if group.name.is_empty() {
                format!("api/{}", version.name)
            } else {
                format!("apis/{}/{}", group.name, version.name)
            };
            // Clients keep a document as long as its hash stays.
            let url =
                format!("/openapi/v3/{path}?hash={}-{}", crate::KUBERNETES_VERSION, snapshot.revision());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": crate::KUBERNETES_VERSION})
}

fn document(snapshot: &Snapshot, group: &str, version: &str) -> Result<Value, ApiError> {
    let resources = snapshot
        .group(group)
        .and_then(|group| group.versions.iter().find(|candidate| candidate.name == version))
        .map(|version| version.resources.as_slice())
        .ok_or_else(ApiError::no_such_resource)?;
    let mut paths = Map::new();
    let mut schemas = Schemas::new();
    for resource in resources {
        let name = schema::add(resource, Place::Components, &mut schemas);
        add_paths(resource, &Place::Components.reference(&name), &mut paths);
    }
    Ok(json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}}))
}

/// The document of the older form, with all types.
fn whole(snapshot: &Snapshot) -> Value {
    let mut schemas = Schemas::new();
    let versions = snapshot.groups.iter().flat_map(|group| &group.versions);
    for resource in versions.flat_map(|version| &version.resources) {
        schema::add(resource, Place::Definitions, &mut schemas);
    }
    json!({"swagger": "2.0", "info": info(), "paths": {}, "definitions": schemas})
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn add_paths(resource: &Resource, reference: &str, paths: &mut Map<String, Value>) {
    let root = if resource.group.is_empty() { "api".to_owned() } else { format!("apis/{}", resource.group) };
    let namespace = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("/{root}/{}/{namespace}{}", resource.version, resource.plural);
    let object = operations(
        resource,
        reference,
        &[("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")],
    );
    let all = operations(
        resource,
        reference,
        &[("get", "list"), ("post", "create"), ("delete", "deletecollection")],
    );
    paths.insert(format!("{collection}/{{name}}"), object);
    paths.insert(collection, all);
}

/// The operations of a path with the parameters by which clients learn what the server can do.
fn operations(resource: &Resource, reference: &str, methods: &[(&str, &str)]) -> Value {
    let parameter =
        |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let content = json!({"application/json": {"schema": {"$ref": reference}}});
    let mut operations = Map::new();
    for (method, verb) in methods {
        if !resource.verbs.contains(verb) {
            continue;
        }
        let names: &[&str] = match *method {
            "get" => &["pretty"],
            "patch" => &["pretty", "dryRun", "fieldManager", "fieldValidation", "force"],
            "delete" => &["pretty", "dryRun", "gracePeriodSeconds", "propagationPolicy"],
            _ => &["pretty", "dryRun", "fieldManager", "fieldValidation"],
        };
        let action = match *verb {
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let parameters: Vec<Value> = names.iter().map(parameter).collect();
        let mut operation = json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind(resource),
            "parameters": parameters, "responses": {"200": {"description": "OK", "content": content}}});
        if matches!(*method, "post" | "put") {
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        operations.insert((*method).to_owned(), operation);
    }
    Value::Object(operations)
}
