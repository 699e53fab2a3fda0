//! Which lists merge, and by which fields: the part of the OpenAPI schema that strategic merge patches need.
//!
//! The built-in table `schema.txt` is that part of the Kubernetes 1.21 schema which kustomize 5.5 carries (its
//! merge keys differ from the API server's: container ports merge by port and protocol). A kustomization can
//! replace it through `openapi.path`. Format of the table: a type, with its apiVersion and kind if it is one, then
//! its fields, indented: name, type (`[]` before a list, `{}` before a map, `-` for nothing of interest), `merge`
//! and the keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::Error;
use crate::id::Gvk;

const TABLE: &str = include_str!("schema.txt");

/// Kinds without a namespace, as kustomize knows them. Others count as namespaced.
const CLUSTER_SCOPED: &[(&str, &[&str])] = &[
    (
        "admissionregistration.k8s.io/v1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
    ),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"]),
    ("apiextensions.k8s.io/v1beta1", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io/v1", &["APIService"]),
    ("apiregistration.k8s.io/v1beta1", &["APIService"]),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"]),
    ("certificates.k8s.io/v1beta1", &["CertificateSigningRequest"]),
    ("flowcontrol.apiserver.k8s.io/v1beta1", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io/v1", &["IngressClass"]),
    ("networking.k8s.io/v1beta1", &["IngressClass"]),
    ("node.k8s.io/v1", &["RuntimeClass"]),
    ("node.k8s.io/v1beta1", &["RuntimeClass"]),
    ("policy/v1beta1", &["PodSecurityPolicy"]),
    ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding"]),
    ("rbac.authorization.k8s.io/v1beta1", &["ClusterRole", "ClusterRoleBinding"]),
    ("scheduling.k8s.io/v1", &["PriorityClass"]),
    ("scheduling.k8s.io/v1beta1", &["PriorityClass"]),
    ("storage.k8s.io/v1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]),
    ("storage.k8s.io/v1beta1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]),
    ("v1", &["ComponentStatus", "Namespace", "Node", "NodeProxyOptions", "PersistentVolume"]),
];

/// A type or field of the schema, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(usize);

/// What a custom schema stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Nothing,
    Builtin,
}

#[derive(Debug, Default)]
struct Entry {
    fields: BTreeMap<String, usize>,
    items: Option<usize>,
    /// The value of every field that is not listed.
    free: Option<usize>,
    reference: Option<String>,
    /// Set for lists that merge: the fields that tell items apart, none for lists of scalars.
    merge: Option<Vec<String>>,
}

#[derive(Debug, Default)]
pub(crate) struct Schema {
    entries: Vec<Entry>,
    definitions: HashMap<String, usize>,
    kinds: HashMap<(String, String), usize>,
    /// Whether a kind has a namespace, where the paths of a custom schema say it.
    namespaced: HashMap<(String, String), bool>,
}

impl Schema {
    /// The schema that counts unless a kustomization brings its own.
    pub(crate) fn builtin() -> Arc<Self> {
        static BUILTIN: OnceLock<Arc<Schema>> = OnceLock::new();
        Arc::clone(BUILTIN.get_or_init(|| Arc::new(Self::from_table(TABLE))))
    }

    fn from_table(table: &str) -> Self {
        let (mut schema, mut current) = (Self::default(), 0);
        for line in table.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            if !line.starts_with(' ') {
                current = schema.add(Entry::default());
                schema.definitions.insert(name.to_owned(), current);
                if let (Some(version), Some(kind)) = (words.next(), words.next()) {
                    schema.kinds.insert((version.to_owned(), kind.to_owned()), current);
                }
                continue;
            }
            let shape = words.next().unwrap_or("-");
            let merge = words.next().map(|_merge| {
                words.next().map(|keys| keys.split(',').map(str::to_owned).collect()).unwrap_or_default()
            });
            let target = shape.trim_start_matches(['[', ']', '{', '}']);
            let inner = (target != "-")
                .then(|| schema.add(Entry { reference: Some(target.to_owned()), ..Entry::default() }));
            let field = match (shape.get(..2), inner) {
                (Some("[]"), items) => schema.add(Entry { items, merge, ..Entry::default() }),
                (Some("{}"), free) => schema.add(Entry { free, ..Entry::default() }),
                (_, Some(inner)) => inner,
                (_, None) => continue,
            };
            schema.entries[current].fields.insert(name.to_owned(), field);
        }
        schema
    }

    /// Reads an OpenAPI v2 document, as `openapi.path` names it; `base` says what it stands beside.
    pub(crate) fn from_openapi(document: &Value, base: Base) -> Result<Self, Error> {
        let mut schema = match base {
            Base::Nothing => Self::default(),
            Base::Builtin => Self::from_table(TABLE),
        };
        let definitions = document
            .get("definitions")
            .and_then(Value::as_object)
            .ok_or_else(|| Error::invalid("openapi: the schema has no definitions"))?;
        for (name, definition) in definitions {
            let index = schema.add_openapi(definition);
            schema.definitions.entry(short(name)).or_insert(index);
            for key in group_version_kinds(definition.get("x-kubernetes-group-version-kind")) {
                schema.kinds.entry(key).or_insert(index);
            }
        }
        for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let kind = item.pointer("/get/x-kubernetes-group-version-kind");
            for key in group_version_kinds(kind) {
                let found = path.contains("namespaces/{namespace}");
                *schema.namespaced.entry(key).or_default() |= found;
            }
        }
        Ok(schema)
    }

    fn add(&mut self, entry: Entry) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }

    fn add_openapi(&mut self, definition: &Value) -> usize {
        let mut entry = Entry::default();
        for (name, property) in definition.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let index = self.add_openapi(property);
            entry.fields.insert(name.clone(), index);
        }
        entry.free = definition
            .get("additionalProperties")
            .filter(|value| value.is_object())
            .map(|value| self.add_openapi(value));
        if definition.get("type").and_then(Value::as_str) == Some("array") {
            entry.items = definition.get("items").map(|items| self.add_openapi(items));
        }
        let text = |name: &str| definition.get(name).and_then(Value::as_str);
        entry.reference = text("$ref").map(|target| short(target.trim_start_matches("#/definitions/")));
        let strategy = text("x-kubernetes-patch-strategy").unwrap_or_default();
        if strategy.split(',').any(|part| part == "merge") {
            let keys = definition.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            entry.merge = Some(match keys {
                Some(keys) => keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                None => text("x-kubernetes-patch-merge-key").map(str::to_owned).into_iter().collect(),
            });
        }
        self.add(entry)
    }

    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Position> {
        self.kinds.get(&(api_version.to_owned(), kind.to_owned())).copied().map(Position)
    }

    pub(crate) fn field(&self, at: Position, name: &str) -> Option<Position> {
        let entry = &self.entries[at.0];
        self.resolve(entry.fields.get(name).copied().or(entry.free)?)
    }

    pub(crate) fn items(&self, at: Position) -> Option<Position> {
        self.resolve(self.entries[at.0].items?)
    }

    /// The merge keys of a list that merges (empty for a list of scalars).
    pub(crate) fn merge_keys(&self, at: Position) -> Option<&[String]> {
        self.entries[at.0].merge.as_deref()
    }

    fn resolve(&self, mut index: usize) -> Option<Position> {
        for _step in 0..16 {
            match &self.entries[index].reference {
                Some(name) => index = *self.definitions.get(name)?,
                None => return Some(Position(index)),
            }
        }
        None
    }

    pub(crate) fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        let api_version = gvk.api_version();
        let builtin = CLUSTER_SCOPED
            .iter()
            .any(|(version, kinds)| *version == api_version && kinds.contains(&gvk.kind.as_str()));
        builtin || self.namespaced.get(&(api_version, gvk.kind.clone())) == Some(&false)
    }
}

/// The name of a definition as the table writes it.
fn short(name: &str) -> String {
    let prefixes = [
        "io.k8s.api.",
        "io.k8s.apimachinery.pkg.apis.",
        "io.k8s.apiextensions-apiserver.pkg.apis.",
        "io.k8s.kube-aggregator.pkg.apis.",
    ];
    prefixes.into_iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name).to_owned()
}

fn group_version_kinds(extension: Option<&Value>) -> Vec<(String, String)> {
    let one = |value: &Value| {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let (group, version, kind) = (text("group").unwrap_or_default(), text("version")?, text("kind")?);
        Some((Gvk { group, version, kind: String::new() }.api_version(), kind))
    };
    match extension {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_merge_keys_through_references() {
        let schema = Schema::builtin();
        let at = |kind: &str, version: &str, path: &[&str]| {
            path.iter().try_fold(schema.of_kind(version, kind).unwrap(), |at, part| match *part {
                "[]" => schema.items(at),
                name => schema.field(at, name),
            })
        };
        let ports =
            at("Deployment", "apps/v1", &["spec", "template", "spec", "containers", "[]", "ports"]).unwrap();
        assert_eq!(schema.merge_keys(ports).unwrap(), ["containerPort", "protocol"]);
        let finalizers = at("ConfigMap", "v1", &["metadata", "finalizers"]).unwrap();
        assert_eq!(schema.merge_keys(finalizers), Some([].as_slice()));
        assert_eq!(at("ConfigMap", "v1", &["data"]), None);
    }
}
