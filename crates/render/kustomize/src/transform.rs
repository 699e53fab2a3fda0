//! The transformers, each a change to every object it concerns, and the order in which a kustomization runs them.

pub(crate) mod images;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod patches;
pub(crate) mod references;
mod replacements;
pub(crate) mod variables;

use crate::Error;
use crate::config::Config;
use crate::fieldspec::{self, FieldSpec};
use crate::kustomization::{Kustomization, Label, Texts};
use crate::loader::Loader;
use crate::node::{Kind, Node, Tag};
use crate::resources::Resources;
use crate::schema::Schema;

/// What every transformer needs besides the objects.
pub(crate) struct Context<'a> {
    pub(crate) file: &'a Kustomization,
    pub(crate) loader: &'a Loader<'a>,
    pub(crate) config: &'a Config,
    pub(crate) schema: &'a Schema,
}

/// Runs the transformers of one kustomization in kustomize's order.
pub(crate) fn run(resources: &mut Resources, context: &Context<'_>) -> Result<(), Error> {
    let Context { file, loader, config, schema } = *context;
    // Patches are read before the first one is applied.
    let merges = patches::load_strategic(&file.patches_strategic_merge, loader)?;
    let patches = patches::load(&file.patches, loader)?;
    let json = patches::load_json(&file.patches_json6902, loader)?;
    let labels = label_fields(file, config)?;
    let replacements = replacements::load(&file.replacements, loader)?;
    for patch in &merges {
        patches::apply_strategic(resources, patch, schema)?;
    }
    for patch in &patches {
        patches::apply(resources, patch, schema)?;
    }
    if !file.namespace.is_empty() {
        namespace::set(resources, &file.namespace, &config.namespace, schema)?;
    }
    names::add(resources, names::Affix::Prefix, &file.name_prefix, &config.name_prefix, schema)?;
    names::add(resources, names::Affix::Suffix, &file.name_suffix, &config.name_suffix, schema)?;
    for (texts, specs) in &labels {
        add_texts(resources, texts, specs)?;
    }
    add_texts(resources, &file.common_annotations, &config.common_annotations)?;
    for patch in &json {
        patches::apply_json(resources, patch, schema)?;
    }
    for replica in &file.replicas {
        set_replicas(resources, &replica.name, replica.count, &config.replicas, schema)?;
    }
    for image in &file.images {
        images::set(resources, image, &config.images)?;
    }
    replacements::apply(resources, &replacements, schema)
}

/// The labels to add and where, those of `commonLabels` last.
fn label_fields<'a>(
    file: &'a Kustomization,
    config: &Config,
) -> Result<Vec<(&'a Texts, Vec<FieldSpec>)>, Error> {
    let mut all = Vec::new();
    for Label { pairs, include_selectors, include_templates, fields } in &file.labels {
        let mut specs = fields.clone();
        fieldspec::merge_all(&mut specs, &config.labels)?;
        if *include_selectors {
            fieldspec::merge_all(&mut specs, &config.common_labels)?;
        } else {
            if *include_templates {
                fieldspec::merge_all(&mut specs, &config.template_labels)?;
            }
            fieldspec::merge_one(&mut specs, FieldSpec::new("metadata/labels", "", "", "", true))?;
        }
        all.push((pairs, specs));
    }
    all.push((&file.common_labels, config.common_labels.clone()));
    Ok(all)
}

/// Adds labels or annotations to the maps the specs name.
pub(crate) fn add_texts(resources: &mut Resources, texts: &Texts, specs: &[FieldSpec]) -> Result<(), Error> {
    if texts.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.list {
        for spec in specs {
            fieldspec::apply(resource, spec, Some(Kind::Map), &mut |node| {
                let fields = node.expect_map()?;
                fields.extend(texts.iter().map(|(name, text)| (name.clone(), Node::string(text.as_str()))));
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn set_replicas(
    resources: &mut Resources,
    name: &str,
    count: i64,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), Error> {
    let mut found = false;
    for spec in specs {
        let fits = |id: &crate::id::Id| id.name == name && id.gvk.is_selected(&spec.gvk);
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
