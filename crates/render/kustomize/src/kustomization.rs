//! The kustomization file: its fields, checked strictly.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tree::TreePath;

use crate::Error;
use crate::fieldspec::FieldSpec;
use crate::id::{Gvk, Id};

const VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT_VERSION: &str = "kustomize.config.k8s.io/v1alpha1";
pub(crate) const COMPONENT: &str = "Component";
const KIND: &str = "Kustomization";

/// Fields that need programs, charts or the network.
const UNSUPPORTED: [&str; 6] =
    ["generators", "transformers", "validators", "helmCharts", "helmGlobals", "helmChartInflationGenerator"];

pub(crate) type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Kustomization {
    api_version: String,
    pub(crate) kind: String,
    /// Allowed in the file, without effect.
    #[serde(rename = "metadata")]
    _metadata: Option<Value>,
    pub(crate) openapi: Texts,
    pub(crate) name_prefix: String,
    pub(crate) name_suffix: String,
    pub(crate) namespace: String,
    pub(crate) common_labels: Texts,
    pub(crate) labels: Vec<Label>,
    pub(crate) common_annotations: Texts,
    pub(crate) patches_strategic_merge: Vec<String>,
    pub(crate) patches_json6902: Vec<Patch>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) images: Vec<Image>,
    image_tags: Vec<Image>,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) vars: Vec<Variable>,
    pub(crate) sort_options: Option<SortOptions>,
    pub(crate) resources: Vec<String>,
    pub(crate) components: Vec<String>,
    pub(crate) crds: Vec<String>,
    bases: Vec<String>,
    pub(crate) config_map_generator: Vec<Generator>,
    pub(crate) secret_generator: Vec<Generator>,
    pub(crate) generator_options: Option<GeneratorOptions>,
    pub(crate) configurations: Vec<String>,
    pub(crate) build_metadata: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Label {
    pub(crate) pairs: Texts,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
}

/// A patch: inline or in a file, strategic merge or JSON 6902, for the objects that `target` selects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Patch {
    pub(crate) path: String,
    pub(crate) patch: String,
    pub(crate) target: Option<Selector>,
    pub(crate) options: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Selector {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) annotation_selector: String,
    pub(crate) label_selector: String,
}

impl Selector {
    pub(crate) fn id(&self) -> Id {
        let gvk = Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() };
        Id { gvk, name: self.name.clone(), namespace: self.namespace.clone(), cluster_scoped: false }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) tag_suffix: String,
    pub(crate) new_tag: String,
    pub(crate) digest: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Replacement {
    pub(crate) source: Option<Source>,
    pub(crate) targets: Vec<Target>,
    pub(crate) path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Source {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) field_path: String,
    pub(crate) options: Option<FieldOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) select: Option<Selector>,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: Option<FieldOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    /// Allowed in the file; real kustomize does nothing with it either.
    #[serde(rename = "encoding")]
    _encoding: String,
    pub(crate) create: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) objref: ObjectReference,
    pub(crate) fieldref: FieldReference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ObjectReference {
    api_version: String,
    group: String,
    version: String,
    kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl ObjectReference {
    pub(crate) fn gvk(&self) -> Gvk {
        match self.api_version.as_str() {
            "" => Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() },
            version if version.contains('/') => Gvk::new(version, &self.kind),
            version => Gvk { group: self.group.clone(), ..Gvk::new(version, &self.kind) },
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FieldReference {
    pub(crate) field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SortOptions {
    pub(crate) order: String,
    pub(crate) legacy_sort_options: Option<LegacySortOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct LegacySortOptions {
    pub(crate) order_first: Vec<String>,
    pub(crate) order_last: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Generator {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) behavior: String,
    pub(crate) literals: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) envs: Vec<String>,
    env: String,
    pub(crate) options: Option<GeneratorOptions>,
    /// Of a Secret.
    #[serde(rename = "type")]
    pub(crate) secret_type: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: Texts,
    pub(crate) annotations: Texts,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

impl Kustomization {
    pub(crate) fn parse(path: &TreePath, text: &str) -> Result<Self, Error> {
        let malformed = |message: String| Error::Malformed { path: path.to_string(), message };
        let value = yaml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        let Value::Object(fields) = value else {
            if value.is_null() {
                return Err(Error::invalid(format!("{path} is empty")));
            }
            return Err(malformed("invalid Kustomization: the file must hold a mapping".to_owned()));
        };
        let fields = Self::canonical(fields);
        if let Some(field) = UNSUPPORTED.into_iter().find(|field| fields.contains_key(*field)) {
            return Err(Error::Unsupported { path: path.clone(), field: field.to_owned() });
        }
        if fields.keys().all(|field| matches!(field.as_str(), "apiVersion" | "kind")) {
            return Err(Error::invalid(format!("{path} is empty")));
        }
        let mut this: Self = serde_json::from_value(Value::Object(fields))
            .map_err(|error| malformed(format!("invalid Kustomization: {error}")))?;
        this.normalize();
        this.check(path)?;
        Ok(this)
    }

    /// Field names are read whatever their case, as Go does; what is null counts as absent.
    fn canonical(fields: Map<String, Value>) -> Map<String, Value> {
        const ODD: [&str; 2] = ["patchesJson6902", "openapi"];
        let known = |name: &str| {
            let mut names = ODD.iter().chain(&UNSUPPORTED).chain(&FIELDS);
            names.find(|known| known.eq_ignore_ascii_case(name)).map(|known| (*known).to_owned())
        };
        fields
            .into_iter()
            .filter(|(_, value)| !is_nothing(value))
            .map(|(name, value)| {
                let name = known(&name).unwrap_or(name);
                let value = spelled(&name, without_nulls(value));
                (name, value)
            })
            .collect()
    }

    /// Moves what stands in deprecated fields to where it belongs.
    fn normalize(&mut self) {
        self.resources.append(&mut self.bases);
        self.images.append(&mut self.image_tags);
        for generator in self.config_map_generator.iter_mut().chain(&mut self.secret_generator) {
            if !generator.env.is_empty() {
                generator.envs.push(std::mem::take(&mut generator.env));
            }
        }
        if self.kind.is_empty() {
            KIND.clone_into(&mut self.kind);
        }
    }

    fn check(&self, path: &TreePath) -> Result<(), Error> {
        let malformed = |message: String| Err(Error::Malformed { path: path.to_string(), message });
        if self.kind != KIND && self.kind != COMPONENT {
            return malformed(format!("kind should be {KIND} or {COMPONENT}"));
        }
        let version = if self.kind == COMPONENT { COMPONENT_VERSION } else { VERSION };
        if !self.api_version.is_empty() && self.api_version != version {
            return malformed(format!("apiVersion for {} should be {version}", self.kind));
        }
        if self.config_map_generator.iter().any(|generator| generator.secret_type.is_some()) {
            return malformed(
                "invalid Kustomization: unknown field \"type\" of configMapGenerator".to_owned(),
            );
        }
        match self.build_metadata.iter().find(|option| *option != "managedByLabel") {
            Some(option) => {
                Err(Error::Unsupported { path: path.clone(), field: format!("buildMetadata {option}") })
            }
            None => Ok(()),
        }
    }
}

/// The names of the fields, for reading them whatever their case.
const FIELDS: [&str; 27] = [
    "apiVersion",
    "kind",
    "metadata",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patches",
    "images",
    "imageTags",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "configurations",
    "buildMetadata",
    "patchesJson6902",
];

/// Names of fields further down that are written in more than one case.
const NESTED: [&str; 31] = [
    "kind",
    "group",
    "version",
    "pairs",
    "includeSelectors",
    "includeTemplates",
    "path",
    "patch",
    "target",
    "name",
    "namespace",
    "annotationSelector",
    "labelSelector",
    "newName",
    "newTag",
    "tagSuffix",
    "digest",
    "source",
    "targets",
    "fieldPath",
    "fieldPaths",
    "objref",
    "fieldref",
    "apiVersion",
    "count",
    "literals",
    "files",
    "envs",
    "behavior",
    "disableNameSuffixHash",
    "immutable",
];

/// Gives the fields below `parent` the case they are known by; maps of the user's own names stay as they are.
fn spelled(parent: &str, value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(|item| spelled(parent, item)).collect()),
        Value::Object(fields)
            if !matches!(parent, "commonLabels" | "commonAnnotations" | "pairs" | "openapi" | "metadata") =>
        {
            let fields = fields.into_iter().map(|(name, value)| {
                let known = NESTED.iter().find(|known| known.eq_ignore_ascii_case(&name));
                let name = known.map_or(name, |known| (*known).to_owned());
                let below = match name.as_str() {
                    "labels" | "annotations" => "pairs",
                    other => other,
                };
                let value = spelled(below, value);
                (name, value)
            });
            Value::Object(fields.collect())
        }
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Go reads a null as the field's zero value, which an absent field has too.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
