//! A chart with its values and parameters.

use std::collections::BTreeMap;

use objects::Value;
use tree::{Tree, TreePath};

use super::directory::objects_of;
use super::environment::Environment;
use super::{Needed, One, text};
use crate::application::Source;

pub(super) fn render(
    one: &One<'_>,
    source: &Source,
    path: &TreePath,
    environment: &Environment,
) -> Result<Vec<Value>, String> {
    let settings = &source.0["helm"];
    let string = |field: &str| settings[field].as_str().filter(|text| !text.is_empty());
    let request = one.request;
    let mut options = helm::Options {
        release_name: string("releaseName").unwrap_or(&request.name).to_owned(),
        namespace: string("namespace").unwrap_or(&request.destination_namespace).to_owned(),
        values: values(one, settings, path, environment)?,
        set: parameters(settings, environment),
        set_files: BTreeMap::new(),
        kube_version: string("kubeVersion").map_or_else(|| request.kube_version.clone(), version),
        api_versions: request.api_versions.to_vec(),
        include_crds: settings["skipCrds"] != true,
        skip_tests: settings["skipTests"] == true,
        skip_schema: settings["skipSchemaValidation"] == true,
        now: jiff::Timestamp::now(),
        seed: request.seed,
        ..helm::Options::default()
    };
    add_file_parameters(&mut options, one, settings, path, environment)?;
    let own: Vec<String> = list(settings, "apiVersions").map(str::to_owned).collect();
    if !own.is_empty() {
        options.api_versions = own;
    }
    let chart = one.chart(path)?;
    let rendered = helm::render(&chart, &options).map_err(|error| text(&error))?;
    let mut manifests = Vec::new();
    for manifest in rendered.crds.iter().chain(&rendered.manifests).chain(&rendered.hooks) {
        let documents =
            yaml::documents(&manifest.text).map_err(|error| format!("{}: {error}", manifest.source))?;
        manifests.extend(objects_of(documents).map_err(|reason| format!("{}: {reason}", manifest.source))?);
    }
    Ok(manifests)
}

fn list<'a>(settings: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    settings[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// `1.30` and `v1.30.2` as Helm wants it.
fn version(text: &str) -> String {
    format!("v{}", text.trim_start_matches('v'))
}

/// Value files in order, then `valuesObject`, or `values` where there is none.
fn values(
    one: &One<'_>,
    settings: &Value,
    path: &TreePath,
    environment: &Environment,
) -> Result<Vec<Value>, String> {
    let ignore_missing = settings["ignoreMissingValueFiles"] == true;
    let mut values = Vec::new();
    let mut seen = Vec::new();
    for name in list(settings, "valueFiles") {
        let Some((file, content)) = file(one, name, path, environment)? else {
            if ignore_missing {
                continue;
            }
            return Err(format!("open {name}: no such file or directory"));
        };
        if seen.contains(&file) {
            continue;
        }
        values.push(helm::read_values(&content).map_err(|error| format!("failed to parse {name}: {error}"))?);
        seen.push(file);
    }
    if settings["valuesObject"].is_object() {
        values.push(settings["valuesObject"].clone());
    } else if let Some(text) = settings["values"].as_str() {
        values.push(yaml::from_str(text).map_err(|error| format!("failed to parse helm.values: {error}"))?);
    }
    values.retain(|value| !value.is_null());
    if values.iter().any(|value| !value.is_object()) {
        return Err("helm values: a values file must be a map".to_owned());
    }
    Ok(values)
}

/// A value file and where it was found: `$ref/…` in another source, `/…` from the root of the repository, otherwise
/// relative to the chart and never outside the repository.
fn file(
    one: &One<'_>,
    name: &str,
    path: &TreePath,
    environment: &Environment,
) -> Result<Option<(String, String)>, String> {
    let (tree, base, relative): (&dyn Tree, TreePath, String) = match reference(one, name)? {
        Some((tree, relative)) => (tree, TreePath::root(), relative),
        None => {
            let name = environment.substitute(name);
            if name.contains("://") {
                return fetched(one, name).map(Some);
            }
            match name.strip_prefix('/') {
                Some(from_root) => (one.tree, TreePath::root(), from_root.to_owned()),
                None => (one.tree, path.clone(), name),
            }
        }
    };
    if relative.contains(['*', '?', '[']) {
        return Err(format!("value file {name}: patterns are not supported yet"));
    }
    let file = base.join(&relative).map_err(|error| format!("value file {name}: {error}"))?;
    let content = tree.read(&file).map_err(|error| format!("value file {name}: {}", text(&error)))?;
    Ok(content.map(|content| {
        let origin =
            if std::ptr::addr_eq(tree, one.tree) { "" } else { name.split('/').next().unwrap_or_default() };
        (format!("{origin}/{file}"), String::from_utf8_lossy(&content).into_owned())
    }))
}

/// A value file that a URL names: what it is and what it holds.
fn fetched(one: &One<'_>, url: String) -> Result<(String, String), String> {
    if let Some(content) = one.rendering.fetched.files.get(&url) {
        return Ok((url, String::from_utf8_lossy(content).into_owned()));
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(format!("the URL scheme of value file {url} is not allowed"));
    }
    one.need(Needed::Values(url.clone()));
    Err(format!("value file {url} is not here"))
}

/// The tree and path that `$ref/path` names; a `$NAME` that is the build environment's is none.
fn reference<'a>(one: &One<'a>, name: &str) -> Result<Option<(&'a dyn Tree, String)>, String> {
    let Some(rest) = name.strip_prefix('$') else { return Ok(None) };
    let (reference, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(tree) = one.references.get(reference) {
        return Ok(Some((*tree, path.to_owned())));
    }
    let is_name = !reference.is_empty()
        && reference.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !reference.starts_with("ARGOCD_");
    if is_name && !path.is_empty() {
        return Err(format!("source referenced {reference:?}, which is not one of the available sources"));
    }
    Ok(None)
}

/// `parameters`, as `--set` and `--set-string`.
fn parameters(settings: &Value, environment: &Environment) -> Vec<helm::Set> {
    let parameters = last_of_each(&settings["parameters"]).into_iter().map(|parameter| {
        let name = parameter["name"].as_str().unwrap_or_default();
        let value = environment.substitute(parameter["value"].as_str().unwrap_or_default());
        let forced = parameter["forceString"] == true || parameter["forcestring"] == true;
        let kind = if forced { helm::SetKind::String } else { helm::SetKind::Value };
        helm::Set { kind, expr: format!("{name}={}", escaped(&value)) }
    });
    parameters.collect()
}

/// `fileParameters`, as `--set-file`.
fn add_file_parameters(
    options: &mut helm::Options,
    one: &One<'_>,
    settings: &Value,
    path: &TreePath,
    environment: &Environment,
) -> Result<(), String> {
    for parameter in last_of_each(&settings["fileParameters"]) {
        let name = parameter["name"].as_str().unwrap_or_default();
        let from = environment.substitute(parameter["path"].as_str().unwrap_or_default());
        let (_, content) = file(one, &from, path, environment)?
            .ok_or_else(|| format!("open {from}: no such file or directory"))?;
        options.set.push(helm::Set { kind: helm::SetKind::File, expr: format!("{name}={from}") });
        options.set_files.insert(from, content.into());
    }
    Ok(())
}

/// A name that is given twice counts as given last.
fn last_of_each(list: &Value) -> Vec<&Value> {
    let all: Vec<&Value> = list.as_array().into_iter().flatten().collect();
    let given_later = |at: usize| all[at + 1..].iter().any(|later| later["name"] == all[at]["name"]);
    (0..all.len()).filter(|at| !given_later(*at)).map(|at| all[at]).collect()
}

/// A comma separates assignments in Helm's syntax, except in a list.
fn escaped(value: &str) -> String {
    if value.starts_with('{') && value.ends_with('}') {
        return value.to_owned();
    }
    let mut escaped = String::with_capacity(value.len());
    let mut previous = None;
    for character in value.chars() {
        if character == ',' && previous != Some('\\') {
            escaped.push('\\');
        }
        escaped.push(character);
        previous = Some(character);
    }
    escaped
}
