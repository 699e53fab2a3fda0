//! The Helm chart.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::objects::{self, How, Template, When};
use crate::settings::SETTINGS;
use crate::source::{Source, fill};
use crate::{NAME, Parts, Settings};

const NOTES: &str = "\
Mainstay runs the Applications in the namespace {{ .Values.applicationsNamespace }}.

  kubectl --namespace {{ .Release.Namespace }} get pods,leases
  kubectl --namespace {{ .Values.applicationsNamespace }} get applications

Where there is an Argo CD, its Applications stay its own until `mainstay takeover take NAME`.
";

/// The files of the chart, by their paths below its directory. The settings become its default values; the namespace is
/// the release's.
///
/// Definitions lie in `crds/`, where Helm creates those that are missing, and neither changes nor removes those that are
/// there: another Argo CD's stay as they are.
#[must_use]
pub fn chart(parts: &Parts, settings: &Settings) -> BTreeMap<String, String> {
    let values = settings.values();
    let mut files = BTreeMap::new();
    files.insert("Chart.yaml".to_owned(), metadata(parts));
    files.insert("values.yaml".to_owned(), defaults(&values));
    files.insert("values.schema.json".to_owned(), schema());
    files.insert("templates/NOTES.txt".to_owned(), NOTES.to_owned());
    for definition in objects::definitions(parts) {
        let name = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
        files.insert(format!("crds/{name}.yaml"), yaml::to_string(&definition));
    }
    for template in objects::templates(parts) {
        let file = files.entry(format!("templates/{}", template.file)).or_default();
        file.push_str(&document(&template));
    }
    files
}

fn metadata(parts: &Parts) -> String {
    yaml::to_string(&json!({
        "apiVersion": "v2", "type": "application", "name": NAME, "version": parts.version, "appVersion": parts.version,
        "description": "The Argo CD Applications of a GitOps repository, run by one process",
        "kubeVersion": ">=1.25.0-0",
    }))
}

fn defaults(values: &Value) -> String {
    let mut text = String::new();
    for setting in &SETTINGS {
        let entry = yaml::to_string(&json!({setting.name: values[setting.name]}));
        text.push_str(&format!("# {}\n{entry}", setting.about));
    }
    text
}

fn schema() -> String {
    let properties: serde_json::Map<String, Value> = SETTINGS
        .iter()
        .map(|setting| {
            let mut schema = (setting.schema)();
            schema["description"] = setting.about.into();
            (setting.name.to_owned(), schema)
        })
        // Helm gives every chart this one.
        .chain([("global".to_owned(), json!({"type": "object"}))])
        .collect();
    let required: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft-07/schema#",
        "type": "object", "additionalProperties": false, "required": required, "properties": properties,
    });
    format!("{schema:#}\n")
}

/// One object with what decides whether there is one.
fn document(template: &Template) -> String {
    let object = template.made(Source::Chart).remove(0);
    let mut text = format!("---\n{}", fill(&yaml::to_string(&object)));
    let When { set, unset, how } = template.when;
    if how == How::EachNamespace {
        text = format!("{{{{- range $namespace := .Values.namespaces }}}}\n{text}{{{{- end }}}}\n");
    }
    let mut conditions: Vec<String> = set.iter().map(|setting| format!(".Values.{setting}")).collect();
    conditions.extend(unset.iter().map(|setting| format!("(not .Values.{setting})")));
    if how == How::NewNamespace {
        conditions.push("(ne .Values.applicationsNamespace .Release.Namespace)".to_owned());
        conditions.push("(not (lookup \"v1\" \"Namespace\" \"\" .Values.applicationsNamespace))".to_owned());
    }
    match &conditions[..] {
        [] => text,
        [only] => format!("{{{{- if {only} }}}}\n{text}{{{{- end }}}}\n"),
        several => format!("{{{{- if and {} }}}}\n{text}{{{{- end }}}}\n", several.join(" ")),
    }
}
