//! `--with DIR`: what teams create by hand, applied before anything else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use client::{Api, Client, Key, ResourceType, Resources};
use objects::gvk::GroupVersionKind;
use serde_json::{Value, json};

/// Directories deeper than this are not looked into.
const MOST_DEPTH: usize = 16;

/// Who owns the fields of these objects.
const MANAGER: &str = "mainstay-with";

const NAMESPACES: ResourceType = ResourceType::cluster("", "v1", "Namespace", "namespaces");

/// Applies every manifest below `directory`: namespaces first, then definitions, then the rest, each in the order of
/// file names. A namespace that an object needs and nobody made is made, as `CreateNamespace=true` would later.
///
/// Returns what was applied, as `kind/name`.
///
/// # Errors
/// At the first file that does not parse or object that is refused; the text names it.
pub(crate) async fn apply(client: &Client, resources: &Resources, directory: &Path) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    for path in files(directory)? {
        objects.extend(read(&path)?);
    }
    objects.sort_by_key(rank);
    let mut applied = Vec::new();
    for object in objects {
        let name = format!("{}/{}", text(&object, "/kind").to_lowercase(), text(&object, "/metadata/name"));
        one(client, resources, object)
            .await
            .with_context(|| format!("apply {name} of {}", directory.display()))?;
        applied.push(name);
    }
    Ok(applied)
}

async fn one(client: &Client, resources: &Resources, mut object: Value) -> Result<()> {
    let gvk = GroupVersionKind::of(&object).context("apiVersion or kind is missing")?;
    let resource = resources.resolve(&gvk).await?;
    if resource.namespaced {
        if text(&object, "/metadata/namespace").is_empty() {
            object["metadata"]["namespace"] = "default".into();
        }
        let namespace = Key { namespace: None, name: text(&object, "/metadata/namespace").to_owned() };
        let namespaces = Api::new(client, &NAMESPACES);
        if namespaces.find(&namespace).await?.is_none() {
            let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name}});
            namespaces.apply(&made, MANAGER, true).await?;
        }
    }
    Api::new(client, &resource).apply(&object, MANAGER, true).await?;
    Ok(())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn rank(object: &Value) -> u8 {
    match text(object, "/kind") {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        _ => 2,
    }
}

/// The manifest files below a directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(directory, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MOST_DEPTH {
        bail!("{} lies too deep: directories are read {MOST_DEPTH} levels down", directory.display());
    }
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.is_dir() {
            collect(&path, depth + 1, found)?;
        } else if path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json") {
            found.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let documents = yaml::documents(&text).with_context(|| format!("parse {}", path.display()))?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            list if list["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
                && list["items"].is_array() =>
            {
                objects.extend(list["items"].as_array().cloned().unwrap_or_default());
            }
            object if object["kind"].is_string() && object["metadata"]["name"].is_string() => {
                objects.push(object)
            }
            _ => bail!(
                "{}: a document is no Kubernetes object: it lacks kind or metadata.name",
                path.display()
            ),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_lists_opened() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("b")).unwrap();
        fs::write(directory.path().join("b/secret.yml"), "kind: Secret\nmetadata: {name: s}\n---\n").unwrap();
        fs::write(directory.path().join("notes.txt"), "not read").unwrap();
        fs::write(
            directory.path().join("a.json"),
            r#"{"kind": "List", "items": [{"kind": "Namespace", "metadata": {"name": "n"}}]}"#,
        )
        .unwrap();
        let names: Vec<String> = files(directory.path())
            .unwrap()
            .iter()
            .flat_map(|path| read(path).unwrap())
            .map(|object| text(&object, "/metadata/name").to_owned())
            .collect();
        assert_eq!(names, ["n", "s"]);
    }

    #[test]
    fn what_is_no_object_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.yaml");
        fs::write(&path, "kind: Secret\n").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("x.yaml") && error.contains("metadata.name"), "{error}");
        fs::write(&path, "a: [\n").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("x.yaml"));
    }
}
