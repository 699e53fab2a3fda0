//! Which fields each transformer changes: kustomize's defaults, and what `configurations` and `crds` add.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::Error;
use crate::decode::{Mode, decode};
use crate::fieldspec::{self, FieldSpec};
use crate::id::Gvk;

mod crds;
mod defaults;

pub(crate) use crds::from_crds;

/// Kinds the legacy order puts first, in this order.
pub(crate) const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
pub(crate) const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Objects of one kind and the fields in which others name them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, from = "WrittenReference")]
pub(crate) struct BackReference {
    pub(crate) gvk: Gvk,
    pub(crate) referrers: Vec<FieldSpec>,
}

/// A reference as it stands in a file.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", rename = "NameBackReferences")]
struct WrittenReference {
    group: String,
    version: String,
    kind: String,
    field_specs: Vec<FieldSpec>,
}

impl From<WrittenReference> for BackReference {
    fn from(WrittenReference { group, version, kind, field_specs }: WrittenReference) -> Self {
        Self { gvk: Gvk { group, version, kind }, referrers: field_specs }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) volume_claim_template_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_reference: Vec<BackReference>,
    pub(crate) var_reference: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
}

/// What kustomize calls the fields of [`Config::specs_mut`].
const NAMES: [&str; 11] = [
    "NamePrefix",
    "NameSuffix",
    "NameSpace",
    "CommonLabels",
    "Labels",
    "TemplateLabels",
    "VolumeClaimTemplateLabels",
    "CommonAnnotations",
    "VarReference",
    "Images",
    "Replicas",
];

impl Config {
    /// Reads a file of `configurations`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let value = yaml::from_str_strict(text)
            .map_err(|error| Error::invalid(format!("error converting YAML to JSON: {error}")))?;
        decode(&value, Mode::StrictFields).map_err(|message| {
            Error::invalid(format!("error unmarshaling JSON: while decoding JSON: {message}"))
        })
    }

    pub(crate) fn builtin() -> Self {
        static DEFAULTS: OnceLock<Config> = OnceLock::new();
        DEFAULTS.get_or_init(defaults::defaults).clone()
    }

    fn specs_mut(&mut self) -> [&mut Vec<FieldSpec>; 11] {
        [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.volume_claim_template_labels,
            &mut self.common_annotations,
            &mut self.var_reference,
            &mut self.images,
            &mut self.replicas,
        ]
    }

    /// Adds another configuration's fields and puts all in kustomize's order.
    ///
    /// # Errors
    /// If the two disagree on whether a field is created.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<(), Error> {
        for (name, (specs, more)) in
            NAMES.into_iter().zip(self.specs_mut().into_iter().zip(other.specs_mut()))
        {
            fieldspec::merge_all(specs, more)
                .map_err(|error| error.within(format!("failed to merge {name} fieldSpec")))?;
        }
        for more in other.name_reference {
            match self.name_reference.iter_mut().find(|known| known.gvk == more.gvk) {
                Some(known) => fieldspec::merge_all(&mut known.referrers, &more.referrers)?,
                None => self.name_reference.push(more),
            }
        }
        for specs in self.specs_mut() {
            specs.sort_by_cached_key(|spec| order(&spec.gvk));
        }
        self.name_reference.sort_by_cached_key(|reference| order(&reference.gvk));
        Ok(())
    }
}

fn order(gvk: &Gvk) -> (isize, String) {
    (rank(&gvk.kind, &FIRST, &LAST), gvk.sort_key())
}

/// Where a kind comes in the legacy order; most kinds are in the middle.
pub(crate) fn rank(kind: &str, first: &[impl AsRef<str>], last: &[impl AsRef<str>]) -> isize {
    let found_last = last.iter().rposition(|known| known.as_ref() == kind);
    let found_first = first.iter().rposition(|known| known.as_ref() == kind);
    match (found_last, found_first) {
        (Some(index), _) => index.cast_signed() + 1,
        (None, Some(index)) => index.cast_signed() - first.len().cast_signed(),
        (None, None) => 0,
    }
}
