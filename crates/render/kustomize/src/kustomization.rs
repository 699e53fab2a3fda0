//! The kustomization file: its fields, checked strictly.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::decode::{Mode, decode};
use crate::fieldspec::FieldSpec;
use crate::id::{Gvk, Id};

const VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT_VERSION: &str = "kustomize.config.k8s.io/v1alpha1";
pub(crate) const COMPONENT: &str = "Component";
const KIND: &str = "Kustomization";

pub(crate) type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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
    pub(crate) helm_globals: Option<HelmGlobals>,
    pub(crate) helm_charts: Vec<HelmChart>,
    helm_chart_inflation_generator: Vec<HelmChartArgs>,
    pub(crate) configurations: Vec<String>,
    pub(crate) generators: Vec<String>,
    pub(crate) transformers: Vec<String>,
    pub(crate) validators: Vec<String>,
    pub(crate) build_metadata: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Label {
    pub(crate) pairs: Texts,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) include_volume_claim_templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
}

/// A patch: inline or in a file, strategic merge or JSON 6902, for the objects that `target` selects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Patch {
    pub(crate) path: String,
    pub(crate) patch: String,
    pub(crate) target: Option<Selector>,
    pub(crate) options: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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
    /// What it says, as a configuration would.
    pub(crate) fn value(&self) -> Value {
        let parts = [
            ("group", &self.group),
            ("version", &self.version),
            ("kind", &self.kind),
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("annotationSelector", &self.annotation_selector),
            ("labelSelector", &self.label_selector),
        ];
        let said = parts.into_iter().filter(|(_, text)| !text.is_empty());
        Value::Object(said.map(|(name, text)| (name.to_owned(), text.as_str().into())).collect())
    }

    pub(crate) fn id(&self) -> Id {
        let gvk = Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() };
        Id { gvk, name: self.name.clone(), namespace: self.namespace.clone(), cluster_scoped: false }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) tag_suffix: String,
    pub(crate) new_tag: String,
    pub(crate) digest: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Replacement {
    pub(crate) source: Option<Source>,
    pub(crate) targets: Vec<Target>,
    pub(crate) source_value: Option<String>,
    pub(crate) path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) select: Option<Selector>,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: Option<FieldOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    /// Allowed in the file; real kustomize does nothing with it either.
    #[serde(rename = "encoding")]
    _encoding: String,
    pub(crate) create: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) objref: ObjectReference,
    pub(crate) fieldref: FieldReference,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ObjectReference {
    api_version: String,
    group: String,
    version: String,
    kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl ObjectReference {
    /// Without what `apiVersion` says, which Go has not read yet where it prints the whole list.
    pub(crate) fn unversioned(&self) -> Self {
        Self { api_version: String::new(), ..self.clone() }
    }

    pub(crate) fn gvk(&self) -> Gvk {
        match self.api_version.as_str() {
            "" => Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() },
            version if version.contains('/') => Gvk::new(version, &self.kind),
            version => Gvk { group: self.group.clone(), ..Gvk::new(version, &self.kind) },
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FieldReference {
    pub(crate) field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SortOptions {
    pub(crate) order: String,
    pub(crate) legacy_sort_options: Option<LegacySortOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LegacySortOptions {
    pub(crate) order_first: Vec<String>,
    pub(crate) order_last: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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

/// Where charts are, for all of `helmCharts`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HelmGlobals {
    pub(crate) chart_home: String,
    /// Where the helm program would keep its settings; nothing runs here.
    #[serde(rename = "configHome")]
    _config_home: String,
}

/// A chart to render and add.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HelmChart {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) repo: String,
    pub(crate) release_name: String,
    pub(crate) namespace: String,
    pub(crate) additional_values_files: Vec<String>,
    pub(crate) values_file: String,
    pub(crate) values_inline: Option<Value>,
    pub(crate) values_merge: String,
    #[serde(rename = "includeCRDs")]
    pub(crate) include_crds: bool,
    pub(crate) skip_hooks: bool,
    pub(crate) api_versions: Vec<String>,
    pub(crate) kube_version: String,
    pub(crate) name_template: String,
    pub(crate) skip_tests: bool,
    pub(crate) devel: bool,
    #[serde(rename = "debug")]
    _debug: bool,
}

impl HelmChart {
    /// What identifies it, as errors show its configuration.
    pub(crate) fn configuration(&self) -> String {
        let parts = [
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("releaseName", &self.release_name),
            ("repo", &self.repo),
            ("valuesFile", &self.values_file),
            ("valuesMerge", &self.values_merge),
            ("version", &self.version),
        ];
        let said = parts.into_iter().filter(|(_, text)| !text.is_empty());
        yaml::to_string(&Value::Object(
            said.map(|(name, text)| (name.to_owned(), text.as_str().into())).collect(),
        ))
    }
}

/// An entry of the deprecated `helmChartInflationGenerator`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HelmChartArgs {
    chart_name: String,
    chart_version: String,
    chart_repo_url: String,
    chart_home: String,
    chart_repo_name: String,
    helm_bin: String,
    helm_home: String,
    values: String,
    values_local: Option<Value>,
    values_merge: String,
    release_name: String,
    release_namespace: String,
    extra_args: Vec<String>,
}

impl From<HelmChartArgs> for HelmChart {
    fn from(old: HelmChartArgs) -> Self {
        Self {
            name: old.chart_name,
            version: old.chart_version,
            repo: old.chart_repo_url,
            release_name: old.release_name,
            namespace: old.release_namespace,
            values_file: old.values,
            values_inline: old.values_local,
            values_merge: old.values_merge,
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: Texts,
    pub(crate) annotations: Texts,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

impl Kustomization {
    /// Reads the file of the directory `root`.
    pub(crate) fn parse(root: &str, text: &str) -> Result<Self, Error> {
        let invalid = |message: String| Error::invalid(format!("invalid Kustomization: {message}"));
        let value = yaml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let mut this: Self = decode(&value, Mode::Strict).map_err(invalid)?;
        if is_empty(&value) {
            return Err(Error::invalid("kustomization.yaml is empty"));
        }
        this.normalize();
        this.check(root)?;
        Ok(this)
    }

    /// Moves what stands in deprecated fields to where it belongs.
    fn normalize(&mut self) {
        self.resources.append(&mut self.bases);
        self.images.append(&mut self.image_tags);
        for generator in self.config_map_generator.iter_mut().chain(&mut self.secret_generator) {
            generator.normalize();
        }
        for old in std::mem::take(&mut self.helm_chart_inflation_generator) {
            if self.helm_globals.is_none() && !old.chart_home.is_empty() {
                self.helm_globals =
                    Some(HelmGlobals { chart_home: old.chart_home.clone(), ..HelmGlobals::default() });
            }
            self.helm_charts.push(old.into());
        }
        if self.kind.is_empty() {
            KIND.clone_into(&mut self.kind);
        }
    }

    fn check(&self, root: &str) -> Result<(), Error> {
        let mut wrong = Vec::new();
        if self.kind != KIND && self.kind != COMPONENT {
            wrong.push(format!("kind should be {KIND} or {COMPONENT}"));
        }
        let version = if self.kind == COMPONENT { COMPONENT_VERSION } else { VERSION };
        if !self.api_version.is_empty() && self.api_version != version {
            wrong.push(format!("apiVersion for {} should be {version}", self.kind));
        }
        if !wrong.is_empty() {
            let wrong = wrong.join("\n");
            return Err(Error::invalid(format!("Failed to read kustomization file under {root}:\n{wrong}")));
        }
        if self.config_map_generator.iter().any(|generator| generator.secret_type.is_some()) {
            return Err(Error::invalid("invalid Kustomization: json: unknown field \"type\""));
        }
        Ok(())
    }

    /// Whether `buildMetadata` names the option.
    pub(crate) fn records(&self, option: &str) -> bool {
        self.build_metadata.iter().any(|known| known == option)
    }
}

impl Generator {
    /// Moves the deprecated `env` to where it belongs.
    fn normalize(&mut self) {
        if !self.env.is_empty() {
            self.envs.push(std::mem::take(&mut self.env));
        }
    }
}

/// Whether the file sets nothing but what every object has.
fn is_empty(value: &Value) -> bool {
    let nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    };
    let general =
        |field: &str| field.eq_ignore_ascii_case("apiVersion") || field.eq_ignore_ascii_case("kind");
    match value {
        Value::Object(fields) => fields.iter().all(|(field, value)| general(field) || nothing(value)),
        _ => true,
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
