//! What an Argo CD Application adds to a kustomization, applied as `kustomize edit` applies it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::kustomization::{Image, Kustomization, Label, Patch, Replica, without_nulls};
use crate::loader::Loader;

/// The fields of an Application's `source.kustomize`.
///
/// Images are written as `kustomize edit set image` takes them: `name=new:tag`, `name=new@digest`, `name:tag`,
/// `name@digest`; `*` in place of the new name keeps the one in the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Options {
    pub name_prefix: String,
    pub name_suffix: String,
    pub namespace: String,
    pub images: Vec<String>,
    replicas: Vec<ReplicaCount>,
    pub common_labels: BTreeMap<String, String>,
    /// Replaces labels the file sets to something else, which is an error otherwise.
    pub force_common_labels: bool,
    pub label_without_selector: bool,
    pub label_include_templates: bool,
    pub common_annotations: BTreeMap<String, String>,
    /// As `force_common_labels`, for annotations.
    pub force_common_annotations: bool,
    patches: Vec<Patch>,
    pub components: Vec<String>,
    /// Leaves out components whose directory does not exist.
    pub ignore_missing_components: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ReplicaCount {
    name: String,
    count: Value,
}

impl Options {
    /// Reads the `kustomize` field of an Application's source. What does not change the build (`version`) is left
    /// aside.
    ///
    /// # Errors
    /// If a field has the wrong type.
    pub fn from_application(kustomize: &Value) -> Result<Self, Error> {
        if kustomize.is_null() {
            return Ok(Self::default());
        }
        serde_json::from_value(without_nulls(kustomize.clone()))
            .map_err(|error| Error::invalid(format!("invalid kustomize options: {error}")))
    }

    pub(crate) fn edit(&self, file: &mut Kustomization, loader: &Loader<'_>) -> Result<(), Error> {
        for (value, field) in [
            (&self.name_prefix, &mut file.name_prefix),
            (&self.name_suffix, &mut file.name_suffix),
            (&self.namespace, &mut file.namespace),
        ] {
            if !value.is_empty() {
                field.clone_from(value);
            }
        }
        self.edit_images(file)?;
        self.edit_replicas(file)?;
        self.edit_labels(file)?;
        add(
            &self.common_annotations,
            &mut file.common_annotations,
            self.force_common_annotations,
            "annotation",
        )?;
        file.patches.extend(self.patches.iter().cloned());
        for component in &self.components {
            if self.ignore_missing_components && !loader.is_directory(component) {
                continue;
            }
            if !file.components.contains(component) {
                file.components.push(component.clone());
            }
        }
        Ok(())
    }

    fn edit_images(&self, file: &mut Kustomization) -> Result<(), Error> {
        if self.images.is_empty() {
            return Ok(());
        }
        let mut images: BTreeMap<String, Image> =
            file.images.drain(..).map(|image| (image.name.clone(), image)).collect();
        let mut wanted = BTreeMap::new();
        for argument in &self.images {
            let image = parse_image(argument)?;
            wanted.insert(image.name.clone(), image);
        }
        for (name, mut image) in wanted {
            let known = images.get(&name).cloned().unwrap_or_default();
            for (field, kept) in [
                (&mut image.new_name, known.new_name),
                (&mut image.new_tag, known.new_tag),
                (&mut image.digest, known.digest),
            ] {
                if field == "*" {
                    *field = kept;
                }
            }
            images.insert(name, image);
        }
        file.images = images.into_values().collect();
        Ok(())
    }

    fn edit_replicas(&self, file: &mut Kustomization) -> Result<(), Error> {
        if self.replicas.is_empty() {
            return Ok(());
        }
        let mut replicas: BTreeMap<String, Replica> =
            file.replicas.drain(..).map(|replica| (replica.name.clone(), replica)).collect();
        for ReplicaCount { name, count } in &self.replicas {
            let count = count.as_i64().or_else(|| count.as_str()?.parse().ok());
            let count = count.ok_or_else(|| {
                Error::invalid(format!("kustomize replicas: the count of {name} is no number"))
            })?;
            replicas.insert(name.clone(), Replica { name: name.clone(), count });
        }
        file.replicas = replicas.into_values().collect();
        Ok(())
    }

    fn edit_labels(&self, file: &mut Kustomization) -> Result<(), Error> {
        if self.common_labels.is_empty() {
            return Ok(());
        }
        if self.label_include_templates && !self.label_without_selector {
            return Err(Error::invalid("labelIncludeTemplates needs labelWithoutSelector"));
        }
        if self.label_without_selector {
            file.labels.push(Label {
                pairs: self.common_labels.clone(),
                include_templates: self.label_include_templates,
                ..Label::default()
            });
            return Ok(());
        }
        add(&self.common_labels, &mut file.common_labels, self.force_common_labels, "label")
    }
}

fn add(
    texts: &BTreeMap<String, String>,
    to: &mut BTreeMap<String, String>,
    force: bool,
    what: &str,
) -> Result<(), Error> {
    for (name, text) in texts {
        if to.contains_key(name) && !force {
            return Err(Error::invalid(format!("{what} {name} already in kustomization file")));
        }
        to.insert(name.clone(), text.clone());
    }
    Ok(())
}

fn parse_image(argument: &str) -> Result<Image, Error> {
    let (key, value) = match argument.split_once('=') {
        Some((key, value)) => (Some(key), value),
        None => (None, argument),
    };
    let (name, tag, digest) = crate::transform::images::split(value);
    if name == argument {
        return Err(Error::invalid(format!(
            "invalid image {argument:?}: neither a new name, a tag nor a digest"
        )));
    }
    let (name, new_name) = match key {
        Some(key) if !key.is_empty() => (key.to_owned(), name),
        _ => (name, String::new()),
    };
    Ok(Image { name, new_name, new_tag: tag, digest, tag_suffix: String::new() })
}
