//! The parts of an Application's spec that the controller acts on.

use objects::meta::Key;
use objects::{Value, meta};
use serde_json::Map;
use sync::automatic::Automated;
use sync::{IgnoreRules, SyncOptions};

/// A checked spec.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The name in tracking ids, `.argocd-source-*` and the build environment.
    pub(crate) instance: String,
    pub(crate) project: String,
    pub(crate) sources: Vec<Source>,
    /// Whether the spec has the list `sources`, which decides the form of status fields.
    pub(crate) multi_source: bool,
    pub(crate) destination: Value,
    /// Namespace for objects that name none; empty if the spec has none.
    pub(crate) destination_namespace: String,
    pub(crate) automated: Option<Automated>,
    pub(crate) options: SyncOptions,
    pub(crate) sync_policy: Value,
    pub(crate) ignore_differences: Value,
    pub(crate) ignore: IgnoreRules,
    pub(crate) history_limit: usize,
}

/// One source, normalised: blocks that say nothing are gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source(pub(crate) Value);

impl Source {
    /// A source without blocks that say nothing, so that `directory: {recurse: false}` is the same as no directory.
    pub(crate) fn normalised(source: &Value) -> Self {
        let mut source = source.clone();
        if let Some(source) = source.as_object_mut() {
            for field in ["helm", "kustomize", "directory", "plugin"] {
                if source.get(field).is_some_and(says_nothing) {
                    source.remove(field);
                }
            }
        }
        Self(source)
    }

    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(crate) fn repo_url(&self) -> &str {
        self.text("repoURL")
    }

    pub(crate) fn path(&self) -> &str {
        self.text("path")
    }

    pub(crate) fn chart(&self) -> &str {
        self.text("chart")
    }

    pub(crate) fn target_revision(&self) -> &str {
        self.text("targetRevision")
    }

    pub(crate) fn reference(&self) -> &str {
        self.text("ref")
    }
}

impl Application {
    pub(crate) fn key(&self) -> Key {
        Key::namespaced(&self.namespace, &self.name)
    }

    /// # Errors
    /// What an InvalidSpecError condition says.
    pub(crate) fn read(object: &Value, controller_namespace: &str) -> Result<Self, String> {
        let spec = &object["spec"];
        let name = meta::name(object).to_owned();
        let namespace = meta::namespace(object).unwrap_or_default().to_owned();
        let instance =
            if namespace == controller_namespace { name.clone() } else { format!("{namespace}_{name}") };
        let multi_source = spec["sources"].as_array().is_some_and(|sources| !sources.is_empty());
        let sources: Vec<Source> = if multi_source {
            spec["sources"].as_array().into_iter().flatten().map(Source::normalised).collect()
        } else if spec["source"].is_object() {
            vec![Source::normalised(&spec["source"])]
        } else {
            return Err("spec.source or spec.sources is required".to_owned());
        };
        for source in &sources {
            check(source, multi_source)?;
        }
        let project = spec["project"].as_str().filter(|project| !project.is_empty()).unwrap_or("default");
        let ignore = IgnoreRules::parse(&spec["ignoreDifferences"]).map_err(|error| error.to_string())?;
        let limit = spec["revisionHistoryLimit"].as_u64().unwrap_or(10);
        Ok(Self {
            name,
            namespace,
            instance,
            project: project.to_owned(),
            sources,
            multi_source,
            destination: spec["destination"].clone(),
            destination_namespace: spec["destination"]["namespace"].as_str().unwrap_or_default().to_owned(),
            automated: Automated::from_spec(spec),
            options: SyncOptions::from_value(&spec["syncPolicy"]["syncOptions"]),
            sync_policy: spec["syncPolicy"].clone(),
            ignore_differences: spec["ignoreDifferences"].clone(),
            ignore,
            history_limit: usize::try_from(limit).unwrap_or(10),
        })
    }

    /// Adds what the settings ignore of every application. The rules are known to be good.
    pub(crate) fn also_ignoring(&mut self, rules: &[Value]) {
        if rules.is_empty() {
            return;
        }
        let own = self.ignore_differences.as_array().into_iter().flatten();
        let all = Value::Array(own.chain(rules).cloned().collect());
        if let Ok(ignore) = IgnoreRules::parse(&all) {
            self.ignore = ignore;
            self.ignore_differences = all;
        }
    }

    /// `source` or `sources` as status fields repeat it.
    pub(crate) fn sources_into(&self, target: &mut Value) {
        sources_into(&self.sources, self.multi_source, target);
    }

    /// `revision` or `revisions`; a single revision is always there, an empty one included.
    pub(crate) fn revisions_into(&self, revisions: &[String], target: &mut Value) {
        revisions_into(revisions, self.multi_source, target);
    }
}

pub(crate) fn sources_into(sources: &[Source], multi_source: bool, target: &mut Value) {
    if multi_source {
        target["sources"] = sources.iter().map(|source| source.0.clone()).collect();
    } else if let Some(source) = sources.first() {
        target["source"] = source.0.clone();
    }
}

pub(crate) fn revisions_into(revisions: &[String], multi_source: bool, target: &mut Value) {
    if multi_source {
        target["revisions"] = revisions.iter().map(|revision| Value::from(revision.as_str())).collect();
    } else {
        target["revision"] = revisions.first().map_or("", String::as_str).into();
    }
}

/// # Errors
/// What is wrong with a source.
pub(crate) fn check(source: &Source, multi_source: bool) -> Result<(), String> {
    let (url, path, chart, reference) =
        (source.repo_url(), source.path(), source.chart(), source.reference());
    let nothing = path.is_empty() && chart.is_empty();
    if multi_source && (url.is_empty() || nothing && reference.is_empty()) {
        return Err(format!(
            "spec.source.repoURL and either source.path, source.chart, or source.ref are required for source {}",
            source.0
        ));
    }
    if !multi_source && (url.is_empty() || nothing) {
        return Err(
            "spec.source.repoURL and either spec.source.path or spec.source.chart are required".to_owned()
        );
    }
    if !chart.is_empty() && source.target_revision().is_empty() {
        return Err(
            "spec.source.targetRevision is required if the manifest source is a helm chart".to_owned()
        );
    }
    if source.0["plugin"].is_object() {
        return Err("spec.source.plugin: config management plugins are not supported yet".to_owned());
    }
    let explicit =
        ["helm", "kustomize", "directory"].into_iter().filter(|field| source.0[*field].is_object());
    if explicit.count() > 1 {
        return Err(
            "multiple application sources defined: at most one of helm, kustomize and directory".to_owned()
        );
    }
    Ok(())
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(says_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A spec's map as one that may be changed; an empty one if it is none.
pub(crate) fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: Value) -> Result<Application, String> {
        Application::read(
            &json!({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": spec}),
            "argocd",
        )
    }

    #[test]
    fn blocks_that_say_nothing_are_dropped() {
        let application = read(json!({
            "source": {"repoURL": "https://example.org/r", "path": "p", "directory": {"recurse": false, "jsonnet": {}}},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
        }))
        .unwrap();
        assert_eq!(application.sources[0].0, json!({"repoURL": "https://example.org/r", "path": "p"}));
        assert_eq!((application.project.as_str(), application.instance.as_str()), ("default", "shop"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let destination = json!({"server": "https://kubernetes.default.svc"});
        let error = |source: &Value, destination: Value| {
            read(json!({"source": source, "destination": destination})).unwrap_err()
        };
        assert!(error(&json!({"path": "p"}), destination.clone()).contains("repoURL"));
        assert!(error(&json!({"repoURL": "https://e.org/r"}), destination.clone()).contains("path"));
        let both = json!({"repoURL": "https://e.org/r", "path": "p", "helm": {"skipCrds": true}, "directory": {"recurse": true}});
        assert!(error(&both, destination).contains("multiple"));
    }
}
