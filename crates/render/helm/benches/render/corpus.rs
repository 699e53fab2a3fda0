//! What is rendered: the default cases of the shared charts, an umbrella of 100 charts, and 5 MB of values.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use helm::{Chart, File, Options, Rendered};

use crate::shared;

/// One chart with values, as file bytes.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) files: Vec<File>,
    pub(crate) values: Vec<String>,
    /// Whether it counts for the total.
    pub(crate) in_total: bool,
}

impl Case {
    /// From the bytes on. Another seed draws other keys.
    pub(crate) fn render(&self, seed: usize) -> Rendered {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(seed as u64).to_le_bytes());
        let chart = Chart::from_files(self.files.clone()).expect("the chart loads");
        let values = self.values.iter().map(|text| yaml::from_str(text).expect("the values are YAML"));
        let options = Options {
            release_name: "demo".to_owned(),
            namespace: "demo".to_owned(),
            kube_version: "v1.36.0".to_owned(),
            values: values.collect(),
            seed: Some(bytes),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            ..Options::default()
        };
        helm::render(&chart, &options).expect("the chart renders")
    }
}

pub(crate) fn all() -> Vec<Case> {
    let charts = shared::path("charts");
    let mut names: Vec<String> = fs::read_dir(charts.join("charts"))
        .expect("the shared charts lie beside the checkout")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut cases: Vec<Case> = names.iter().map(|name| recorded(&charts, name)).collect();
    cases.push(umbrella());
    cases.push(large_values());
    cases
}

/// A shared chart with its defaults, or with the values it needs where it refuses them.
fn recorded(charts: &Path, name: &str) -> Case {
    let files = helm::read(&shared::tree(&charts.join("charts").join(name)), "").expect("a chart");
    let base = fs::read_to_string(charts.join(format!("base/{name}.yaml")));
    Case { name: name.to_owned(), files, values: base.into_iter().collect(), in_total: true }
}

fn file(name: &str, text: impl Into<String>) -> File {
    File { name: name.to_owned(), data: text.into().into() }
}

const HELPERS: &str = r#"{{- define "NAME.fullname" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "NAME.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
"#;

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  template:
    metadata:
      labels: {{- include "NAME.labels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
    spec:
      containers:
        - name: main
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
          {{- with .Values.resources }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
          env:
            {{- range $key, $value := .Values.env }}
            - name: {{ $key }}
              value: {{ tpl $value $ | quote }}
            {{- end }}
"#;

const CONFIG: &str = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
data: {{- toYaml .Values.env | nindent 2 }}
"#;

const VALUES: &str = r#"replicas: 2
image: {repository: registry.example.com/app, tag: ""}
resources:
  limits: {cpu: 500m, memory: 256Mi}
  requests: {cpu: 10m, memory: 64Mi}
env:
  ADDRESS: "{{ .Release.Name }}.{{ .Release.Namespace }}.svc"
  LEVEL: info
  LIMIT: "100"
"#;

/// A chart with 100 dependencies, each with templates, helpers and values of its own.
fn umbrella() -> Case {
    let mut metadata =
        "apiVersion: v2\nname: umbrella\nversion: 1.0.0\nappVersion: \"1.0\"\ndependencies:\n".to_owned();
    let mut values = "global:\n  region: north\n  labels: {team: platform}\n".to_owned();
    let mut files = Vec::new();
    for number in 0..100 {
        let name = format!("part-{number:02}");
        let _ = write!(metadata, "- name: {name}\n  version: \">=1.0.0\"\n  condition: {name}.enabled\n");
        let _ = write!(
            values,
            "{name}:\n  enabled: true\n  replicas: {number}\n  env: {{NUMBER: \"{number}\"}}\n"
        );
        let own = |text: &str| text.replace("NAME", &name);
        let inside = |path: &str| format!("charts/{name}/{path}");
        let chart = format!("apiVersion: v2\nname: {name}\nversion: 1.2.{number}\nappVersion: \"2.0\"\n");
        files.push(file(&inside("Chart.yaml"), chart));
        files.push(file(&inside("values.yaml"), VALUES));
        files.push(file(&inside("templates/_helpers.tpl"), own(HELPERS)));
        files.push(file(&inside("templates/config.yaml"), own(CONFIG)));
        files.push(file(&inside("templates/deployment.yaml"), own(DEPLOYMENT)));
    }
    files.push(file("Chart.yaml", metadata));
    files.push(file("values.yaml", values));
    Case { name: "100 dependencies".to_owned(), files, values: Vec::new(), in_total: false }
}

/// A chart whose values are a file of 5 MB, all of which it prints.
fn large_values() -> Case {
    let mut values = "users:\n".to_owned();
    let mut number = 0;
    while values.len() < 5_000_000 {
        let _ = write!(
            values,
            "  user{number:06}:\n    id: {number}\n    name: \"Name Number {number}\"\n    active: {}\n    \
             roles: [reader, writer]\n    quota:\n      requests: {}m\n      ratio: {}.5\n    note: >-\n      A note that \
             goes on\n      over two lines, number {number}\n",
            number % 2 == 0,
            number % 1000,
            number % 7,
        );
        number += 1;
    }
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: users\ndata:\n  count: {{ len .Values.users | \
                    quote }}\n  users: |\n{{ toYaml .Values.users | indent 4 }}\n";
    let files = vec![
        file("Chart.yaml", "apiVersion: v2\nname: large\nversion: 1.0.0\n"),
        file("templates/users.yaml", template),
    ];
    Case { name: "5 MB of values".to_owned(), files, values: vec![values], in_total: false }
}
