//! Objects that configure builtin plugins, as `generators`, `transformers` and `validators` name them.

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::charts::Chart;
use crate::decode::{Mode, decode};
use crate::fieldspec::FieldSpec;
use crate::generate;
use crate::kustomization::{
    Generator, HelmChart, HelmGlobals, Image, Patch, Replacement, Replica, Selector, Texts,
};
use crate::loader::Loader;
use crate::resource::Resource;
use crate::transform::names::Affix;
use crate::transform::{Transformer, ValueAdd, namespace, patches, replacements};

/// A generator, configured.
#[derive(Debug)]
pub(crate) enum Generate {
    Map(generate::Target, Generator),
    Chart(Box<Chart>),
    Account(IamPolicy),
}

const BUILTIN: &str = "builtin";
/// The ones a transformer list may hold; what is neither here nor a generator is no plugin.
const TRANSFORMERS: [&str; 14] = [
    "AnnotationsTransformer",
    "HashTransformer",
    "ImageTagTransformer",
    "LabelTransformer",
    "NamespaceTransformer",
    "PatchJson6902Transformer",
    "PatchStrategicMergeTransformer",
    "PatchTransformer",
    "PrefixSuffixTransformer",
    "PrefixTransformer",
    "SuffixTransformer",
    "ReplacementTransformer",
    "ReplicaCountTransformer",
    "ValueAddTransformer",
];
const GENERATORS: [&str; 4] =
    ["ConfigMapGenerator", "IAMPolicyGenerator", "SecretGenerator", "HelmChartInflationGenerator"];

#[derive(Default, Deserialize)]
#[serde(default, rename = "ObjectMeta")]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TextsConfiguration {
    labels: Texts,
    annotations: Texts,
    field_specs: Vec<FieldSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AffixConfiguration {
    prefix: String,
    suffix: String,
    field_specs: Option<Vec<FieldSpec>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ImageConfiguration {
    image_tag: Image,
    field_specs: Vec<FieldSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReplicaConfiguration {
    replica: Replica,
    field_specs: Vec<FieldSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReplacementConfiguration {
    replacements: Vec<Replacement>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MergeConfiguration {
    paths: Vec<String>,
    patches: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonConfiguration {
    target: Option<Selector>,
    path: String,
    json_op: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Metadata,
}

/// The configuration of an IAMPolicyGenerator: a service account tied to one of a cloud.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IamPolicy {
    cloud: String,
    kubernetes_service: Account,
    service_account: CloudAccount,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CloudAccount {
    name: String,
    project_id: String,
}

impl IamPolicy {
    pub(crate) fn generate(&self) -> Result<Resource, Error> {
        if self.cloud != "gke" {
            return Err(Error::invalid(format!("cloud provider {} not supported yet", self.cloud)));
        }
        let CloudAccount { name, project_id } = &self.service_account;
        let account = format!("{name}@{project_id}.iam.gserviceaccount.com");
        let mut object = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "annotations": {"iam.gke.io/gcp-service-account": account},
                "name": self.kubernetes_service.name,
            },
        });
        if !self.kubernetes_service.namespace.is_empty() {
            object["metadata"]["namespace"] = self.kubernetes_service.namespace.as_str().into();
        }
        Ok(Resource::new((&object).into()))
    }
}

/// Configures the transformer an object describes.
pub(crate) fn transformer(resource: &Resource, loader: &Loader<'_>) -> Result<Transformer, Error> {
    let kind = builtin(resource)?;
    if GENERATORS.contains(&kind) {
        return Err(Error::invalid(format!("plugin {} not a transformer", resource.named())));
    }
    let value = resource.node.to_value()?;
    configured_transformer(kind, &value, loader).map_err(|error| failing(error, resource))
}

/// Configures the generator an object describes.
pub(crate) fn generator(resource: &Resource, loader: &Loader<'_>) -> Result<Generate, Error> {
    let kind = builtin(resource)?;
    if TRANSFORMERS.contains(&kind) {
        return Err(Error::invalid(format!("plugin {} not a generator", resource.named())));
    }
    let value = resource.node.to_value()?;
    configured_generator(kind, &value, loader).map_err(|error| failing(error, resource))
}

fn failing(error: Error, resource: &Resource) -> Error {
    error.within(format!("plugin {} fails configuration", resource.named()))
}

/// The kind of a builtin plugin. Others are programs, which never run here.
fn builtin(resource: &Resource) -> Result<&str, Error> {
    let kind = resource.kind();
    if resource.api_version() != BUILTIN {
        return Err(Error::invalid(format!(
            "external plugins disabled; unable to load external plugin '{kind}'"
        )));
    }
    if !TRANSFORMERS.contains(&kind) && !GENERATORS.contains(&kind) {
        return Err(Error::invalid(format!("unable to load builtin {}", resource.gvk())));
    }
    Ok(kind)
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Error> {
    decode(value, Mode::Lenient)
        .map_err(|message| Error::invalid(format!("error unmarshaling JSON: while decoding JSON: {message}")))
}

fn configured_transformer(kind: &str, value: &Value, loader: &Loader<'_>) -> Result<Transformer, Error> {
    Ok(match kind {
        "AnnotationsTransformer" => {
            let TextsConfiguration { annotations: texts, field_specs: specs, .. } = read(value)?;
            Transformer::Texts { texts, specs }
        }
        "LabelTransformer" => {
            let TextsConfiguration { labels: texts, field_specs: specs, .. } = read(value)?;
            Transformer::Texts { texts, specs }
        }
        "ImageTagTransformer" => {
            let ImageConfiguration { image_tag: image, field_specs: specs } = read(value)?;
            Transformer::Images { image, specs }
        }
        "ReplicaCountTransformer" => {
            let ReplicaConfiguration { replica, field_specs: specs } = read(value)?;
            Transformer::Replicas { replica, specs }
        }
        "NamespaceTransformer" => {
            let configuration: namespace::Configuration =
                read(value).map_err(|error| error.within("unmarshalling NamespaceTransformer config"))?;
            Transformer::Namespace(configuration.try_into()?)
        }
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            let AffixConfiguration { prefix, suffix, field_specs } = read(value)?;
            let specs = field_specs.ok_or_else(|| Error::invalid("fieldSpecs is not expected to be nil"))?;
            let before = Transformer::Affix { affix: Affix::Prefix, text: prefix, specs: specs.clone() };
            let after = Transformer::Affix { affix: Affix::Suffix, text: suffix, specs };
            match kind {
                "PrefixTransformer" => before,
                "SuffixTransformer" => after,
                _ => Transformer::Both(Box::new([before, after])),
            }
        }
        "PatchJson6902Transformer" => {
            let JsonConfiguration { target, path, json_op } = read(value)?;
            let patch = Patch { path, patch: json_op, target, ..Patch::default() };
            Transformer::Json(patches::load_json(&patch, loader)?)
        }
        "PatchStrategicMergeTransformer" => {
            let MergeConfiguration { paths, patches } = read(value)?;
            Transformer::Strategic(patches::load_strategic(&paths, &patches, loader)?)
        }
        "PatchTransformer" => {
            let patch: Patch = read(value)?;
            Transformer::Patch(patches::load(&patch, &yaml::to_string(value), loader)?)
        }
        "ReplacementTransformer" => {
            let ReplacementConfiguration { replacements } = read(value)?;
            Transformer::Replacements(replacements::load(&replacements, loader)?)
        }
        "ValueAddTransformer" => Transformer::ValueAdd(read::<ValueAdd>(value)?.load(loader)?),
        _ => Transformer::Hash,
    })
}

fn configured_generator(kind: &str, value: &Value, loader: &Loader<'_>) -> Result<Generate, Error> {
    Ok(match kind {
        "ConfigMapGenerator" | "SecretGenerator" => {
            let mut generator: Generator = read(value)?;
            let Named { metadata } = read(value)?;
            for (own, fallback) in
                [(&mut generator.name, metadata.name), (&mut generator.namespace, metadata.namespace)]
            {
                if own.is_empty() {
                    *own = fallback;
                }
            }
            let target = if kind == "SecretGenerator" {
                generate::Target::Secret
            } else {
                generate::Target::ConfigMap
            };
            Generate::Map(target, generator)
        }
        "IAMPolicyGenerator" => Generate::Account(read(value)?),
        _ => {
            let (chart, globals): (HelmChart, HelmGlobals) = (read(value)?, read(value)?);
            Generate::Chart(Box::new(Chart::new(chart, Some(&globals), loader)?))
        }
    })
}
