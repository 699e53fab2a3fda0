//! A kustomization, with what the Application adds to it.

use kustomize::Settings;
use objects::Value;
use tree::TreePath;

use super::environment::Environment;
use super::{One, text};
use crate::application::Source;

pub(super) fn render(
    one: &One<'_>,
    source: &Source,
    path: &TreePath,
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
    let settings = Settings {
        helm: Some(chart_options(one, &settings)),
        remote: Some(one.outside),
        ..Settings::default()
    };
    kustomize::build_with(one.tree, path.as_str(), &options, &settings).map_err(|error| text(&error))
}

/// What charts among the kustomization's resources are rendered with. Argo CD renders them only with
/// `--enable-helm`, because that runs a program there; here nothing is run.
fn chart_options(one: &One<'_>, settings: &Value) -> helm::Options {
    let request = one.request;
    let kube_version = match settings["kubeVersion"].as_str() {
        Some(version) if !version.is_empty() => format!("v{}", version.trim_start_matches('v')),
        _ => request.kube_version.clone(),
    };
    let own = settings["apiVersions"].as_array().filter(|own| !own.is_empty());
    let api_versions = match own {
        Some(own) => own.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => request.api_versions.to_vec(),
    };
    helm::Options {
        kube_version,
        api_versions,
        now: jiff::Timestamp::now(),
        seed: request.seed,
        ..helm::Options::default()
    }
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
