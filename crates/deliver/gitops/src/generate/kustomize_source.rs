//! A kustomization, with what the Application adds to it.

use objects::Value;
use tree::{Tree, TreePath};

use super::environment::Environment;
use super::text;
use crate::application::Source;

pub(super) fn render(
    tree: &dyn Tree,
    path: &TreePath,
    source: &Source,
    environment: &Environment,
) -> Result<Vec<Value>, String> {
    let mut settings = source.0["kustomize"].clone();
    let with_annotations = settings["commonAnnotationsEnvsubst"] == true;
    for (field, substituted) in
        [("images", true), ("commonLabels", true), ("commonAnnotations", with_annotations)]
    {
        if substituted && let Some(values) = settings.get_mut(field) {
            substitute(values, environment);
        }
    }
    let options = kustomize::Options::from_application(&settings).map_err(|error| text(&error))?;
    kustomize::build(tree, path.as_str(), &options).map_err(|error| text(&error))
}

/// Fills variables of the build environment into the strings of a list or map.
fn substitute(values: &mut Value, environment: &Environment) {
    let strings: Vec<&mut Value> = match values {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    for value in strings {
        if let Value::String(string) = value {
            *string = environment.substitute(string);
        }
    }
}
