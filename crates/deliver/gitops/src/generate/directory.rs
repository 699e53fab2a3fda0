//! A directory of manifests.

use objects::Value;
use sync::glob;
use tree::{EntryKind, Tree, TreePath};

use super::{expanded, text};
use crate::application::Source;

/// All files of one directory together.
const LARGEST: usize = 10 << 20;
/// A file that says this renders nothing.
const SKIP: &str = "+argocd:skip-file-rendering";
const DEPTH: usize = 64;

pub(super) fn render(tree: &dyn Tree, path: &TreePath, source: &Source) -> Result<Vec<Value>, String> {
    let directory = &source.0["directory"];
    let pattern = |field: &str| directory[field].as_str().filter(|pattern| !pattern.is_empty());
    let (include, exclude) = (pattern("include"), pattern("exclude"));
    let mut manifests = Vec::new();
    let mut left = LARGEST;
    for file in files(tree, path, directory["recurse"] == true)? {
        let relative = file.strip_prefix(path).unwrap_or_default();
        let kind = relative.rsplit_once('.').map_or("", |(_, extension)| extension);
        if !matches!(kind, "yaml" | "yml" | "json" | "jsonnet")
            || exclude.is_some_and(|exclude| glob::matches(exclude, relative))
            || include.is_some_and(|include| !glob::matches(include, relative))
        {
            continue;
        }
        let Some(content) = tree.read(&file).map_err(|error| text(&error))? else { continue };
        left = left
            .checked_sub(content.len())
            .ok_or_else(|| format!("the manifests below {path} are larger than {LARGEST} bytes together"))?;
        let content = String::from_utf8_lossy(&content);
        if content.contains(SKIP) {
            continue;
        }
        if kind == "jsonnet" {
            return Err(format!("{file}: jsonnet is not supported yet"));
        }
        let parsed = if kind == "json" { json(&content) } else { documents(&content) };
        match parsed {
            Ok(parsed) => manifests.extend(parsed),
            Err(reason) if looks_like_a_manifest(&content) => {
                return Err(format!("Failed to unmarshal {:?}: {reason}", file.file_name()));
            }
            Err(_) => {}
        }
    }
    Ok(manifests)
}

fn files(tree: &dyn Tree, path: &TreePath, recurse: bool) -> Result<Vec<TreePath>, String> {
    if recurse {
        return tree::walk(tree, path, DEPTH).map_err(|error| text(&error));
    }
    let entries = tree.list(path).map_err(|error| text(&error))?.unwrap_or_default();
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    files.map(|entry| path.join(&entry.name).map_err(|error| error.to_string())).collect()
}

fn documents(content: &str) -> Result<Vec<Value>, String> {
    objects_of(yaml::documents(content).map_err(|error| error.to_string())?)
}

fn json(content: &str) -> Result<Vec<Value>, String> {
    let value = serde_json::from_str(content).map_err(|error| error.to_string())?;
    objects_of(vec![value])
}

/// The objects in documents, if every document is one.
pub(super) fn objects_of(documents: Vec<Value>) -> Result<Vec<Value>, String> {
    let mut manifests = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        for object in expanded(document) {
            for field in ["apiVersion", "kind"] {
                if object[field].as_str().is_none_or(str::is_empty) {
                    return Err(format!("Object '{field}' is missing"));
                }
            }
            manifests.push(object);
        }
    }
    Ok(manifests)
}

/// A file that is no manifest may lie anywhere; one that was meant to be must not be passed over.
fn looks_like_a_manifest(content: &str) -> bool {
    let has = |key: &str| {
        content.lines().any(|line| {
            let line = line.trim_start_matches([' ', '{', '"', ',']);
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches('"').starts_with(':'))
        }) || content.contains(&format!("\"{key}\""))
    };
    has("apiVersion") && has("kind") && has("metadata")
}
