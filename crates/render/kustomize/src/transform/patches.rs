//! The three forms of patches: `patches`, `patchesStrategicMerge` and `patchesJson6902`.

use serde_json::Value;

use crate::kustomization::{Patch, Selector};
use crate::loader::Loader;
use crate::node::Node;
use crate::resource::{ALLOW_KIND_CHANGE, ALLOW_NAME_CHANGE, ENABLED, Resource, parse};
use crate::resources::Resources;
use crate::schema::Schema;
use crate::{Error, merge};

/// A JSON 6902 patch and the objects it is for.
pub(crate) struct JsonPatch {
    operations: Value,
    target: Selector,
}

/// An entry of `patches`.
pub(crate) enum Loaded {
    Strategic { patches: Vec<Resource>, target: Option<Selector>, source: String },
    Json(JsonPatch),
}

/// Reads `patchesStrategicMerge`: each entry is a patch itself or the name of a file.
pub(crate) fn load_strategic(entries: &[String], loader: &Loader<'_>) -> Result<Vec<Resource>, Error> {
    let mut patches = Vec::new();
    for entry in entries {
        match parse("patchesStrategicMerge", entry) {
            Ok(found) => patches.extend(found),
            Err(_) => patches.extend(parse(&loader.display(entry), &loader.load_text(entry)?)?),
        }
    }
    if patches.is_empty() && !entries.is_empty() {
        return Err(Error::invalid(format!("{}: patchesStrategicMerge appears to be empty", loader.root())));
    }
    Ok(patches)
}

/// Reads `patches`; which form one has shows in its content.
pub(crate) fn load(entries: &[Patch], loader: &Loader<'_>) -> Result<Vec<Loaded>, Error> {
    entries.iter().map(|entry| load_one(entry, loader)).collect()
}

fn load_one(entry: &Patch, loader: &Loader<'_>) -> Result<Loaded, Error> {
    let root = loader.root();
    let inline = entry.patch.trim();
    let (text, source) = match (inline.is_empty(), entry.path.is_empty()) {
        (true, true) => {
            return Err(Error::invalid(format!("{root}: patches: must specify one of patch and path")));
        }
        (false, false) => {
            return Err(Error::invalid(format!(
                "{root}: patches: patch and path can't be set at the same time"
            )));
        }
        (false, true) => (inline.to_owned(), format!("{root}: inline patch")),
        (true, false) => (loader.load_text(&entry.path)?, loader.display(&entry.path)),
    };
    let (strategic, json) = (parse(&source, &text), operations(&text));
    match (strategic, json) {
        (Ok(mut patches), Err(_)) => {
            for patch in &mut patches {
                for (option, annotation) in
                    [("allowNameChange", ALLOW_NAME_CHANGE), ("allowKindChange", ALLOW_KIND_CHANGE)]
                {
                    if entry.options.get(option) == Some(&true) {
                        patch.annotate(annotation, ENABLED)?;
                    }
                }
            }
            Ok(Loaded::Strategic { patches, target: entry.target.clone(), source })
        }
        (Err(_), Ok(operations)) => {
            let Some(target) = entry.target.clone() else {
                return Err(Error::invalid(format!("{source}: must specify a target for a JSON patch")));
            };
            Ok(Loaded::Json(JsonPatch { operations, target }))
        }
        (Ok(_), Ok(_)) => {
            Err(Error::invalid(format!("illegally qualifies as both an SM and JSON patch: {source}")))
        }
        (Err(error), Err(_)) => Err(error.within(format!("unable to parse SM or JSON patch from {source}"))),
    }
}

/// Reads `patchesJson6902`.
pub(crate) fn load_json(entries: &[Patch], loader: &Loader<'_>) -> Result<Vec<JsonPatch>, Error> {
    let mut patches = Vec::new();
    for entry in entries {
        let invalid = |what: &str| Error::invalid(format!("{}: patchesJson6902: {what}", loader.root()));
        let target = entry.target.clone().filter(|target| !target.name.is_empty());
        let target = target.ok_or_else(|| invalid("must specify the target name"))?;
        let text = match (entry.path.is_empty(), entry.patch.is_empty()) {
            (true, true) => return Err(invalid("empty file path and empty patch")),
            (false, false) => return Err(invalid("must specify a file path or a patch, not both")),
            (false, true) => loader.load_text(&entry.path)?,
            (true, false) => entry.patch.clone(),
        };
        let operations = operations(&text)?;
        if operations.as_array().is_none_or(Vec::is_empty) {
            return Err(invalid("patch appears to be empty"));
        }
        patches.push(JsonPatch { operations, target });
    }
    Ok(patches)
}

/// The operations of a JSON patch written as YAML, or, if it begins with a bracket, as JSON.
fn operations(text: &str) -> Result<Value, Error> {
    let malformed = |message: String| Error::Malformed { path: "JSON patch".to_owned(), message };
    let value = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?
    } else {
        yaml::from_str(text).map_err(|error| malformed(error.to_string()))?
    };
    match value {
        Value::Array(items) if items.iter().all(Value::is_object) => Ok(Value::Array(items)),
        Value::Null if !text.is_empty() => Ok(Value::Array(Vec::new())),
        _ => Err(malformed("a JSON patch must be a list of operations".to_owned())),
    }
}

pub(crate) fn apply(resources: &mut Resources, patch: &Loaded, schema: &Schema) -> Result<(), Error> {
    match patch {
        Loaded::Json(patch) => {
            for index in resources.select(&patch.target, schema)? {
                resources.list[index].remember(schema)?;
                patch_json(&mut resources.list[index], &patch.operations)?;
            }
            Ok(())
        }
        Loaded::Strategic { patches, target: Some(target), source } => match patches.as_slice() {
            [patch] => {
                let selected = resources.select(target, schema)?;
                patch_selected(resources, &selected, patch, schema)
            }
            [] => Ok(()),
            _ => Err(Error::invalid(format!(
                "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field: {source}"
            ))),
        },
        Loaded::Strategic { patches, target: None, .. } => {
            for patch in patches {
                let id = patch.original_id(schema);
                let index = resources.by_id(&id, schema).map_err(|error| {
                    error.within(format!("no resource matches strategic merge patch {id}"))
                })?;
                if !patch_strategic(&mut resources.list[index], patch, schema)? {
                    resources.list.remove(index);
                }
            }
            Ok(())
        }
    }
}

/// Applies one entry of `patchesStrategicMerge`.
pub(crate) fn apply_strategic(
    resources: &mut Resources,
    patch: &Resource,
    schema: &Schema,
) -> Result<(), Error> {
    let index = resources.by_id(&patch.original_id(schema), schema)?;
    patch_selected(resources, &[index], patch, schema)
}

/// Applies one entry of `patchesJson6902`.
pub(crate) fn apply_json(resources: &mut Resources, patch: &JsonPatch, schema: &Schema) -> Result<(), Error> {
    for index in resources.select(&patch.target, schema)? {
        patch_json(&mut resources.list[index], &patch.operations)?;
    }
    Ok(())
}

fn patch_selected(
    resources: &mut Resources,
    selected: &[usize],
    patch: &Resource,
    schema: &Schema,
) -> Result<(), Error> {
    let mut patched = Resources::default();
    for (index, mut resource) in std::mem::take(&mut resources.list).into_iter().enumerate() {
        if selected.contains(&index) {
            let mut own = patch.clone();
            own.inherit(patch)?;
            own.set_api_version(&resource.gvk().api_version())?;
            own.set_kind(patch.kind())?;
            if !patch_strategic(&mut resource, &own, schema)? {
                continue;
            }
        }
        patched.append(resource, schema)?;
    }
    *resources = patched;
    Ok(())
}

/// Merges a patch into an object; false if it deletes the object.
fn patch_strategic(resource: &mut Resource, patch: &Resource, schema: &Schema) -> Result<bool, Error> {
    let (rename, retype) = (patch.is_enabled(ALLOW_NAME_CHANGE), patch.is_enabled(ALLOW_KIND_CHANGE));
    let (name, namespace) = (resource.name().to_owned(), resource.namespace().to_owned());
    let kind = resource.kind().to_owned();
    if rename || retype {
        resource.remember(schema)?;
    }
    let target = std::mem::replace(&mut resource.node, Node::map());
    let merged = merge::merge(target, patch.node.clone(), schema)
        .map_err(|error| error.within(format!("apply a strategic merge patch to {kind} {name}")))?;
    let Some(node) = merged.filter(|node| !node.is_empty()) else { return Ok(false) };
    resource.node = node;
    if !retype {
        resource.set_kind(&kind)?;
    }
    if !rename {
        resource.set_name(&name)?;
    }
    resource.set_namespace(&namespace)?;
    Ok(true)
}

fn patch_json(resource: &mut Resource, operations: &Value) -> Result<(), Error> {
    let recorded = resource.build_annotations();
    let mut value = resource.node.to_value()?;
    let target = || format!("{} {}", resource.kind(), resource.name());
    objects::patch::json_patch(&mut value, operations)
        .map_err(|source| Error::Patch { target: target(), source })?;
    if !value.is_object() {
        return Err(Error::invalid(format!("a JSON patch leaves nothing of {}", target())));
    }
    resource.node = Node::from(&value);
    let mut annotations = resource.annotations();
    annotations.extend(recorded);
    resource.set_annotations(&annotations)
}
