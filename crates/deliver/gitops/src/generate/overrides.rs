//! `.argocd-source.yaml` and `.argocd-source-<application>.yaml`: patches of a source that lie beside what it renders.

use objects::patch;
use tree::{Tree, TreePath};

use super::text;
use crate::application::Source;

/// What an override cannot change: it was found by these.
const FIXED: [&str; 4] = ["repoURL", "path", "chart", "targetRevision"];

/// The source with both files merged onto it (RFC 7386), so that lists are replaced as wholes.
pub(super) fn apply(
    tree: &dyn Tree,
    path: &TreePath,
    source: &Source,
    instance: &str,
) -> Result<Source, String> {
    let mut merged = source.0.clone();
    for name in [".argocd-source.yaml".to_owned(), format!(".argocd-source-{instance}.yaml")] {
        let file = path.join(&name).map_err(|error| error.to_string())?;
        let Some(content) = tree.read(&file).map_err(|error| text(&error))? else { continue };
        let content = String::from_utf8_lossy(&content);
        let patch = yaml::from_str(&content).map_err(|error| format!("{file}: {error}"))?;
        if patch.is_null() {
            continue;
        }
        if !patch.is_object() {
            return Err(format!("{file}: it is not a map"));
        }
        patch::merge(&mut merged, &patch);
    }
    if let Some(merged) = merged.as_object_mut() {
        for field in FIXED {
            match source.0.get(field) {
                Some(value) => merged.insert(field.to_owned(), value.clone()),
                None => merged.remove(field),
            };
        }
    }
    Ok(Source(merged))
}
