//! The transformers, each a change to every object it concerns, and the order in which a kustomization runs them.

pub(crate) mod images;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod patches;
pub(crate) mod references;
pub(crate) mod replacements;
mod value_add;
pub(crate) mod variables;

use crate::Error;
use crate::config::Config;
use crate::fieldspec::{self, FieldSpec};
use crate::kustomization::{Image, Kustomization, Label, Replacement, Replica, Texts};
use crate::loader::Loader;
use crate::node::{Kind, Node, Tag};
use crate::origin::Origin;
use crate::resources::Resources;
use crate::schema::Schema;

pub(crate) use value_add::ValueAdd;

/// One transformer, configured and with its files read.
#[derive(Debug)]
pub(crate) enum Transformer {
    Strategic(Vec<crate::resource::Resource>),
    Patch(patches::Loaded),
    Namespace(namespace::Namespace),
    Affix {
        affix: names::Affix,
        text: String,
        specs: Vec<FieldSpec>,
    },
    /// Labels or annotations.
    Texts {
        texts: Texts,
        specs: Vec<FieldSpec>,
    },
    Json(patches::JsonPatch),
    Replicas {
        replica: Replica,
        specs: Vec<FieldSpec>,
    },
    Images {
        image: Image,
        specs: Vec<FieldSpec>,
    },
    Replacements(Vec<Replacement>),
    ValueAdd(ValueAdd),
    Hash,
    /// One after the other, as a single step.
    Both(Box<[Transformer; 2]>),
}

/// A transformer and what the build records of it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) transformer: Transformer,
    pub(crate) origin: Option<Origin>,
}

impl Transformer {
    pub(crate) fn run(&self, resources: &mut Resources, schema: &Schema) -> Result<(), Error> {
        match self {
            Self::Strategic(merges) => {
                merges.iter().try_for_each(|patch| patches::apply_strategic(resources, patch, schema))
            }
            Self::Patch(patch) => patches::apply(resources, patch, schema),
            Self::Namespace(namespace) => namespace.set(resources, schema),
            Self::Affix { affix, text, specs } => names::add(resources, *affix, text, specs, schema),
            Self::Texts { texts, specs } => add_texts(resources, texts, specs),
            Self::Json(patch) => patches::apply_json(resources, patch, schema),
            Self::Replicas { replica, specs } => set_replicas(resources, replica, specs, schema),
            Self::Images { image, specs } => images::set(resources, image, specs),
            Self::Replacements(entries) => replacements::apply(resources, entries, schema),
            Self::ValueAdd(add) => add.run(resources, schema),
            Self::Hash => crate::generate::add_hashes(resources, schema),
            Self::Both(both) => both.iter().try_for_each(|one| one.run(resources, schema)),
        }
    }
}

/// Runs transformers one after the other and records them in the objects.
pub(crate) fn run(resources: &mut Resources, steps: &[Step], schema: &Schema) -> Result<(), Error> {
    for Step { transformer, origin } in steps {
        transformer.run(resources, schema)?;
        resources.list.iter_mut().for_each(crate::resource::Resource::settle);
        if let Some(origin) = origin {
            resources.list.iter_mut().try_for_each(|resource| resource.add_transformation(origin))?;
        }
        resources.list.retain(|resource| !resource.node.is_empty());
    }
    Ok(())
}

/// The transformers that the fields of a kustomization ask for, in kustomize's order. All files are read before the
/// first one runs.
pub(crate) fn of_kustomization(
    file: &Kustomization,
    config: &Config,
    loader: &Loader<'_>,
) -> Result<Vec<(&'static str, Transformer)>, Error> {
    let mut all = Vec::new();
    if !file.patches_strategic_merge.is_empty() {
        let merges = patches::load_strategic(&file.patches_strategic_merge, "", loader).map_err(|error| {
            trouble(error, "PatchStrategicMergeTransformer", "paths", &file.patches_strategic_merge)
        })?;
        all.push(("PatchStrategicMergeTransformer", Transformer::Strategic(merges)));
    }
    for patch in &file.patches {
        let loaded = patches::load(patch, &patch.configuration(), loader)
            .map_err(|error| troubled(error, "PatchTransformer", &patch.configuration()))?;
        all.push(("PatchTransformer", Transformer::Patch(loaded)));
    }
    if !file.namespace.is_empty() {
        let namespace = namespace::Namespace::new(file.namespace.clone(), config.namespace.clone());
        all.push(("NamespaceTransformer", Transformer::Namespace(namespace)));
    }
    for (kind, affix, text, specs) in [
        ("PrefixTransformer", names::Affix::Prefix, &file.name_prefix, &config.name_prefix),
        ("SuffixTransformer", names::Affix::Suffix, &file.name_suffix, &config.name_suffix),
    ] {
        if !text.is_empty() {
            all.push((kind, Transformer::Affix { affix, text: text.clone(), specs: specs.clone() }));
        }
    }
    for (texts, specs) in label_fields(file, config)? {
        all.push(("LabelTransformer", Transformer::Texts { texts, specs }));
    }
    if !file.common_annotations.is_empty() {
        let (texts, specs) = (file.common_annotations.clone(), config.common_annotations.clone());
        all.push(("AnnotationsTransformer", Transformer::Texts { texts, specs }));
    }
    for patch in &file.patches_json6902 {
        let loaded = patches::load_json(patch, loader)
            .map_err(|error| troubled(error, "PatchJson6902Transformer", &patch.json_configuration()))?;
        all.push(("PatchJson6902Transformer", Transformer::Json(loaded)));
    }
    for replica in &file.replicas {
        let specs = config.replicas.clone();
        all.push(("ReplicaCountTransformer", Transformer::Replicas { replica: replica.clone(), specs }));
    }
    for image in &file.images {
        let specs = config.images.clone();
        all.push(("ImageTagTransformer", Transformer::Images { image: image.clone(), specs }));
    }
    if !file.replacements.is_empty() {
        let entries = replacements::load(&file.replacements, loader)?;
        all.push(("ReplacementTransformer", Transformer::Replacements(entries)));
    }
    Ok(all)
}

fn trouble(error: Error, kind: &str, field: &str, value: &[String]) -> Error {
    troubled(error, kind, &yaml::to_string(&serde_json::json!({ field: value })))
}

/// Names the transformer whose configuration, shown as YAML, does not work.
pub(crate) fn troubled(error: Error, kind: &str, configuration: &str) -> Error {
    error.within(format!("trouble configuring builtin {kind} with config: `\n{configuration}`"))
}

/// The labels to add and where, those of `commonLabels` last.
fn label_fields(file: &Kustomization, config: &Config) -> Result<Vec<(Texts, Vec<FieldSpec>)>, Error> {
    let mut all = Vec::new();
    for label in &file.labels {
        let specs = label_specs(label, config).map_err(|error| error.within("failed to merge labels"))?;
        all.push((label.pairs.clone(), specs));
    }
    if !file.labels.is_empty() || !file.common_labels.is_empty() {
        all.push((file.common_labels.clone(), config.common_labels.clone()));
    }
    Ok(all)
}

fn label_specs(label: &Label, config: &Config) -> Result<Vec<FieldSpec>, Error> {
    let mut specs = label.fields.clone();
    fieldspec::merge_all(&mut specs, &config.labels)?;
    if label.include_selectors {
        fieldspec::merge_all(&mut specs, &config.common_labels)?;
        return Ok(specs);
    }
    if label.include_templates {
        fieldspec::merge_all(&mut specs, &config.template_labels)
            .map_err(|error| error.within("failed to merge template fieldSpec"))?;
    }
    if label.include_volume_claim_templates {
        fieldspec::merge_all(&mut specs, &config.volume_claim_template_labels)
            .map_err(|error| error.within("failed to merge volumeClaimTemplate fieldSpec"))?;
    }
    fieldspec::merge_one(&mut specs, FieldSpec::new("metadata/labels", "", "", "", true))?;
    Ok(specs)
}

/// Adds labels or annotations to the maps the specs name.
pub(crate) fn add_texts(resources: &mut Resources, texts: &Texts, specs: &[FieldSpec]) -> Result<(), Error> {
    if texts.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.list {
        for (name, text) in texts {
            let shared = resource.share(text);
            for spec in specs {
                fieldspec::apply(resource, spec, Some(Kind::Map), &mut |node| {
                    write_text(node, name, &shared)
                })?;
                resource.settle();
            }
        }
    }
    Ok(())
}

/// Writes into a field that is there, or makes one of what is shared.
fn write_text(node: &mut Node, name: &str, shared: &Node) -> Result<(), Error> {
    match (node.expect_map()?.get_mut(name), shared) {
        (Some(Node::Scalar(field)), Node::Scalar(shared)) => field.write(shared.clone()),
        (Some(field), _) => field.clone_from(shared),
        (None, _) => {
            node.expect_map()?.insert(name.to_owned(), shared.clone());
        }
    }
    Ok(())
}

fn set_replicas(
    resources: &mut Resources,
    Replica { name, count }: &Replica,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), Error> {
    let mut found = false;
    for spec in specs {
        let fits = |id: &crate::id::Id| id.name == *name && id.gvk.is_selected(&spec.gvk);
        for index in resources.with_any_id(fits, schema) {
            found = true;
            fieldspec::apply(&mut resources.list[index], spec, Some(Kind::Scalar), &mut |node| {
                node.set_text(count.to_string(), Tag::Int)
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<String> = specs.iter().map(|spec| spec.gvk.to_string()).collect();
    Err(Error::invalid(format!(
        "resource with name {name} does not match a config with the following GVK [{}]",
        kinds.join(" ")
    )))
}
