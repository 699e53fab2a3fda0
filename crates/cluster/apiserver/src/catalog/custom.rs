//! Custom resources as resources: what a CustomResourceDefinition says, one entry for each served version.

use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

use objects::schema::Schema;
use objects::typing::Model;
use serde_json::Value;

use super::{Origin, Resource, Subresource};
use crate::object::type_prefix;
use crate::validation::rules::Rules;

const VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const SUBRESOURCE_VERBS: &[&str] = &["get", "patch", "update"];

/// What is particular to a custom resource.
#[derive(Debug, Clone)]
pub(crate) struct Custom {
    /// Absent for our minimal definitions: everything is kept.
    pub(crate) schema: Option<Arc<Schema>>,
    pub(crate) columns: Vec<Column>,
    pub(crate) scale: Option<Scale>,
    /// The definition is being deleted: no new objects.
    pub(crate) terminating: bool,
    /// Fields the resource can be selected by: paths such as `.spec.color`.
    pub(crate) selectable: Vec<String>,
    /// The schema as it was written, for OpenAPI.
    pub(crate) open_api: Option<Value>,
    /// The schema's CEL rules, compiled when the first object meets them.
    pub(crate) rules: Arc<OnceLock<Option<Rules>>>,
}

impl Custom {
    /// The rules that an object must satisfy beside the schema.
    pub(crate) fn rules(&self, resource: &Resource) -> Option<&Rules> {
        let compile = || {
            let schema = self.open_api.as_ref()?;
            Rules::compile(schema, &resource.group, &resource.api_version, &resource.kind)
        };
        self.rules.get_or_init(compile).as_ref()
    }
}

/// A column of the resource's table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) json_path: String,
}

/// Where the scale subresource finds its figures: paths such as `.spec.replicas`.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) label_selector: Option<String>,
}

/// One served version of a custom resource.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) storage_version: String,
    pub(crate) deprecation: Option<String>,
    pub(crate) custom: Custom,
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Definition {
    /// The versions that a stored definition serves. One that has not been accepted serves none.
    pub(super) fn of_stored(bytes: &[u8]) -> Vec<Definition> {
        let Ok(crd) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
        let established = crd["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
        if established { Definition::of(&crd) } else { Vec::new() }
    }

    /// The versions that a definition serves.
    pub(crate) fn of(crd: &Value) -> Vec<Definition> {
        let spec = &crd["spec"];
        let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
        let group = text(spec, "group");
        let stored = versions.iter().find(|version| version["storage"] == true);
        let storage_version = objects::gvk::api_version(
            &group,
            &stored.map(|version| text(version, "name")).unwrap_or_default(),
        );
        versions
            .iter()
            .filter(|version| version["served"] == true)
            .map(|version| Definition::version(crd, version, storage_version.clone()))
            .collect()
    }

    fn version(crd: &Value, version: &Value, storage_version: String) -> Definition {
        let spec = &crd["spec"];
        let names = &spec["names"];
        let name = text(version, "name");
        let group = text(spec, "group");
        let kind = text(names, "kind");
        let schema = match Schema::from_crd(crd, &name) {
            Ok(schema) => schema.map(Arc::new),
            Err(error) => {
                let name = objects::meta::name(crd);
                tracing::warn!(definition = name, error = %error, "schema is not understood and not enforced");
                None
            }
        };
        let or = |given: String, otherwise: String| if given.is_empty() { otherwise } else { given };
        let deprecation = (version["deprecated"] == true)
            .then(|| or(text(version, "deprecationWarning"), deprecation_warning(spec, &name)));
        Definition {
            list_kind: or(text(names, "listKind"), format!("{kind}List")),
            plural: text(names, "plural"),
            singular: or(text(names, "singular"), kind.to_lowercase()),
            short_names: texts(names, "shortNames"),
            categories: texts(names, "categories"),
            namespaced: text(spec, "scope") == "Namespaced",
            status: version["subresources"]["status"].is_object(),
            storage_version,
            deprecation,
            custom: Custom {
                schema,
                columns: columns(version),
                scale: scale(&version["subresources"]["scale"]),
                terminating: objects::meta::is_deleting(crd),
                selectable: version["selectableFields"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|field| text(field, "jsonPath"))
                    .collect(),
                open_api: version["schema"].get("openAPIV3Schema").cloned(),
                rules: Arc::default(),
            },
            group,
            version: name,
            kind,
        }
    }

    pub(super) fn resource(&self) -> Resource {
        let api_version = objects::gvk::api_version(&self.group, &self.version);
        let mut subresources = Vec::new();
        if self.status {
            subresources.push(Subresource {
                name: "status".to_owned(),
                speaks: None,
                verbs: SUBRESOURCE_VERBS.to_vec(),
            });
        }
        if self.custom.scale.is_some() {
            subresources.push(Subresource {
                name: "scale".to_owned(),
                speaks: Some(("autoscaling".to_owned(), "v1".to_owned(), "Scale".to_owned())),
                verbs: SUBRESOURCE_VERBS.to_vec(),
            });
        }
        Resource {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
            list_kind: self.list_kind.clone(),
            plural: self.plural.clone(),
            singular: self.singular.clone(),
            short_names: self.short_names.clone(),
            categories: self.categories.clone(),
            namespaced: self.namespaced,
            verbs: VERBS.to_vec(),
            subresources,
            storage: format!("{}/{}", self.group, self.plural).into(),
            type_prefix: type_prefix(&self.kind, &self.storage_version),
            storage_version: self.storage_version.clone(),
            api_version,
            model: Model::Custom(self.custom.schema.clone()),
            origin: Origin::Custom(self.custom.clone()),
            deprecation: self.deprecation.clone(),
        }
    }
}

fn columns(version: &Value) -> Vec<Column> {
    let listed: Vec<Column> = version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| Column {
            name: text(column, "name"),
            kind: text(column, "type"),
            format: text(column, "format"),
            description: text(column, "description"),
            priority: column["priority"].as_i64().unwrap_or(0),
            json_path: text(column, "jsonPath"),
        })
        .collect();
    if listed.is_empty() { vec![age()] } else { listed }
}

/// The column that a resource without any gets.
pub(crate) fn age() -> Column {
    Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description: "Time since the object was created".to_owned(),
        priority: 0,
        json_path: ".metadata.creationTimestamp".to_owned(),
    }
}

fn scale(scale: &Value) -> Option<Scale> {
    let spec_replicas = scale.get("specReplicasPath")?.as_str()?.to_owned();
    let status_replicas = scale.get("statusReplicasPath")?.as_str()?.to_owned();
    let label_selector = scale.get("labelSelectorPath").and_then(Value::as_str).map(str::to_owned);
    Some(Scale { spec_replicas, status_replicas, label_selector })
}

/// Orders versions as clients prefer them: stable before beta before alpha, higher numbers first, anything else
/// last, by name.
pub(crate) fn version_priority(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let other = (0, 0, 0, Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else { return other };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let Ok(major) = major.parse::<u64>() else { return other };
    let none = Reverse(String::new());
    if rest.is_empty() {
        return (3, major, 0, none);
    }
    for (prefix, rank) in [("beta", 2), ("alpha", 1)] {
        if let Some(minor) = rest.strip_prefix(prefix).and_then(|minor| minor.parse::<u64>().ok()) {
            return (rank, major, minor, none);
        }
    }
    other
}

/// What clients of a deprecated version are told: the newest version that is served and not deprecated, if there is one.
fn deprecation_warning(spec: &Value, deprecated: &str) -> String {
    let (group, kind) = (text(spec, "group"), text(&spec["names"], "kind"));
    let message = format!("{group}/{deprecated} {kind} is deprecated");
    let versions = spec["versions"].as_array().into_iter().flatten();
    let newer = versions
        .filter(|version| version["served"] == true && version["deprecated"] != true)
        .map(|version| text(version, "name"))
        .filter(|name| version_priority(name) > version_priority(deprecated))
        .max_by_key(|name| version_priority(name));
    match newer {
        Some(name) => format!("{message}; use {group}/{name} {kind}"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_as_clients_prefer_them() {
        let mut versions = ["v1beta1", "foo", "v10", "v2alpha1", "v2", "v11beta2", "bar", "v1alpha1"];
        versions.sort_by_key(|version| Reverse(version_priority(version)));
        assert_eq!(versions, ["v10", "v2", "v11beta2", "v1beta1", "v2alpha1", "v1alpha1", "bar", "foo"]);
    }
}
