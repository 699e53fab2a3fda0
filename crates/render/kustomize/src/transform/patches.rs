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
#[derive(Debug)]
pub(crate) struct JsonPatch {
    operations: Value,
    target: Selector,
}

/// An entry of `patches`.
#[derive(Debug)]
pub(crate) enum Loaded {
    Strategic {
        patches: Vec<Resource>,
        target: Option<Selector>,
        source: String,
    },
    Json {
        operations: Value,
        target: Option<Selector>,
        source: String,
    },
    /// Nothing but comments.
    Nothing,
}

impl Patch {
    /// The configuration of its transformer, as errors show it.
    pub(crate) fn configuration(&self) -> String {
        self.shown("patch", true)
    }

    pub(crate) fn json_configuration(&self) -> String {
        self.shown("jsonOp", false)
    }

    fn shown(&self, inline: &str, options: bool) -> String {
        let mut value = serde_json::Map::new();
        for (name, text) in [(inline, &self.patch), ("path", &self.path)] {
            if !text.is_empty() {
                value.insert(name.to_owned(), text.as_str().into());
            }
        }
        if let Some(target) = &self.target {
            value.insert("target".to_owned(), target.value());
        }
        if options && !self.options.is_empty() {
            value.insert("options".to_owned(), serde_json::json!(self.options));
        }
        yaml::to_string(&Value::Object(value))
    }
}

/// Reads `patchesStrategicMerge`: each entry is a patch itself or the name of a file; `text` is more patches.
pub(crate) fn load_strategic(
    entries: &[String],
    text: &str,
    loader: &Loader<'_>,
) -> Result<Vec<Resource>, Error> {
    if entries.is_empty() && text.is_empty() {
        return Err(Error::invalid("empty file path and empty patch content"));
    }
    let mut patches = Vec::new();
    for entry in entries {
        match parse("patchesStrategicMerge", entry) {
            Ok(found) => patches.extend(found),
            Err(_) => patches.extend(parse(entry, &loader.load_text(entry)?)?),
        }
    }
    if !text.is_empty() {
        patches.extend(parse("patches", text)?);
    }
    if patches.is_empty() {
        let files = entries.join(" ");
        return Err(Error::invalid(format!("patch appears to be empty; files=[{files}], Patch={text}")));
    }
    Ok(patches)
}

/// Reads an entry of `patches`; which form it has shows in its content. `configuration` is shown in errors.
pub(crate) fn load(entry: &Patch, configuration: &str, loader: &Loader<'_>) -> Result<Loaded, Error> {
    let inline = entry.patch.trim();
    let (text, source) = match (inline.is_empty(), entry.path.is_empty()) {
        (true, true) => {
            return Err(Error::invalid(format!("must specify one of patch and path in\n{configuration}")));
        }
        (false, false) => {
            return Err(Error::invalid(format!(
                "patch and path can't be set at the same time\n{configuration}"
            )));
        }
        (false, true) => (inline.to_owned(), format!("[patch: {inline:?}]")),
        (true, false) => {
            let text = loader.load_text(&entry.path).map_err(|error| {
                error.within(format!("failed to get the patch file from path({})", entry.path))
            })?;
            (text, format!("[path: {:?}]", entry.path))
        }
    };
    let strategic = parse(&source, &text);
    let json = operations(&text);
    let count = |json: &Value| json.as_array().map_or(0, Vec::len);
    match (strategic, json) {
        (Ok(patches), Ok(json)) if !patches.is_empty() && count(&json) > 0 => {
            Err(Error::invalid(format!("illegally qualifies as both an SM and JSON patch: {source}")))
        }
        (Ok(patches), _) if patches.is_empty() => Ok(Loaded::Nothing),
        (Ok(mut patches), _) => {
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
        (Err(_), Ok(operations)) => Ok(Loaded::Json { operations, target: entry.target.clone(), source }),
        (Err(_), Err(_)) => Err(Error::invalid(format!("unable to parse SM or JSON patch from {source}"))),
    }
}

/// Reads an entry of `patchesJson6902`.
pub(crate) fn load_json(entry: &Patch, loader: &Loader<'_>) -> Result<JsonPatch, Error> {
    let target = entry.target.clone().filter(|target| !target.name.is_empty());
    let target = target.ok_or_else(|| Error::invalid("must specify the target name"))?;
    let text = match (entry.path.is_empty(), entry.patch.is_empty()) {
        (true, true) => return Err(Error::invalid("empty file path and empty jsonOp")),
        (false, false) => return Err(Error::invalid("must specify a file path or jsonOp, not both")),
        (false, true) => loader.load_text(&entry.path)?,
        (true, false) => entry.patch.clone(),
    };
    if text.is_empty() {
        let path = &entry.path;
        return Err(Error::invalid(format!("patch file '{path}' empty seems to be empty")));
    }
    let operations = operations(&text)?;
    if operations.as_array().is_none_or(Vec::is_empty) {
        let path = &entry.path;
        return Err(Error::invalid(format!("patch appears to be empty; file={path}, JsonOp={operations}")));
    }
    Ok(JsonPatch { operations, target })
}

/// The operations of a JSON patch written as YAML, or, if it begins with a bracket, as JSON.
fn operations(text: &str) -> Result<Value, Error> {
    let value = if text.is_empty() {
        return Err(Error::invalid("empty json patch operations"));
    } else if text.starts_with('[') {
        serde_json::from_str(text).map_err(|error| Error::invalid(format!("decoding {text}: {error}")))?
    } else {
        yaml::from_str(text).map_err(|error| Error::invalid(error.to_string()))?
    };
    let kind = match &value {
        Value::Array(items) if items.iter().all(Value::is_object) => return Ok(value),
        Value::Null => return Ok(Value::Array(Vec::new())),
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    Err(Error::invalid(format!(
        "decoding {value}: json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch"
    )))
}

pub(crate) fn apply(resources: &mut Resources, patch: &Loaded, schema: &Schema) -> Result<(), Error> {
    match patch {
        Loaded::Nothing => Ok(()),
        Loaded::Json { target: None, source, .. } => {
            Err(Error::invalid(format!("must specify a target for JSON patch {source}")))
        }
        Loaded::Json { operations, target: Some(target), .. } => {
            for index in resources.select(target, schema)? {
                resources.list[index].remember(schema)?;
                patch_json(&mut resources.list[index], operations)?;
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
                    error.within(format!("no resource matches strategic merge patch \"{id}\""))
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

/// Applies the operations. The library that kustomize patches with lets `replace` create a missing field.
fn patch_value(value: &mut Value, operations: &Value) -> Result<(), objects::patch::PatchError> {
    for operation in operations.as_array().into_iter().flatten() {
        let mut operation = operation.clone();
        let path = operation["path"].as_str().unwrap_or_default();
        let creates = operation["op"] == "replace"
            && path.rsplit_once('/').is_some_and(|(parent, _)| {
                value.pointer(path).is_none() && value.pointer(parent).is_some_and(Value::is_object)
            });
        if creates {
            operation["op"] = "add".into();
        }
        objects::patch::json_patch(value, &Value::Array(vec![operation]))?;
    }
    Ok(())
}

fn patch_json(resource: &mut Resource, operations: &Value) -> Result<(), Error> {
    let recorded = resource.build_annotations();
    let mut value = resource.node.to_value()?;
    let target = || format!("{} {}", resource.kind(), resource.name());
    patch_value(&mut value, operations).map_err(|source| {
        // The library that kustomize patches with says so twice.
        let test = source.to_string().starts_with("testing value");
        let error = Error::Patch { target: target(), source };
        if test { Error::invalid(format!("{}: test failed", error.text())) } else { error }
    })?;
    if !value.is_object() {
        return Err(Error::invalid(format!("a JSON patch leaves nothing of {}", target())));
    }
    resource.node = Node::from(&value);
    let mut annotations = resource.annotations();
    annotations.extend(recorded);
    resource.set_annotations(&annotations)
}
