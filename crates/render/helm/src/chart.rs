//! A chart in memory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gotmpl::Templates;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::metadata::Metadata;

/// A file of a chart; the name is relative to the chart.
#[derive(Debug, Clone)]
pub struct File {
    pub name: String,
    pub data: Bytes,
}

/// A chart with its dependencies, as loaded. Cheap to clone; rendering does not change it.
#[derive(Debug, Clone)]
pub struct Chart {
    pub(crate) content: Arc<Content>,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) metadata: Metadata,
    pub(crate) values: Map<String, Value>,
    pub(crate) schema: Option<Bytes>,
    pub(crate) templates: Vec<File>,
    pub(crate) files: Vec<File>,
    pub(crate) dependencies: Vec<Chart>,
    /// What the last rendering parsed; the next one takes it over if it has the same templates.
    pub(crate) parsed: Mutex<Option<Parsed>>,
}

/// Parsed templates, and from which texts under which paths.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) texts: Vec<(String, Bytes)>,
    pub(crate) templates: Templates,
}

impl Chart {
    /// A chart from its files, as an archive would hold them: names are relative to the chart, and nothing is
    /// ignored.
    ///
    /// # Errors
    /// As [`crate::load`].
    ///
    /// ```
    /// use helm::{Chart, File, Options, Set, SetKind};
    ///
    /// let file = |name: &str, text: &'static str| File { name: name.to_owned(), data: text.into() };
    /// let chart = Chart::from_files(vec![
    ///     file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    ///     file("values.yaml", "port: 80\n"),
    ///     file("templates/NOTES.txt", "listens on {{ .Values.port }}"),
    /// ])
    /// .unwrap();
    /// let set = vec![Set { kind: SetKind::Value, expr: "port=443".to_owned() }];
    /// let rendered = helm::render(&chart, &Options { set, ..Options::default() }).unwrap();
    /// assert_eq!(rendered.notes.as_deref(), Some("listens on 443"));
    /// ```
    pub fn from_files(files: Vec<File>) -> Result<Self, Error> {
        crate::load::load_files(files, 0)
    }

    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.content.metadata
    }

    /// The chart's own values, as `values.yaml` has them.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.content.values
    }

    /// The charts under `charts/`, in the order of their names.
    #[must_use]
    pub fn dependencies(&self) -> &[Chart] {
        &self.content.dependencies
    }

    /// The dependencies that `Chart.yaml` names and `charts/` does not have, by name; Helm renders nothing until
    /// `helm dependency build` fetched them.
    #[must_use]
    pub fn missing_dependencies(&self) -> Vec<&str> {
        let there = |name: &str| self.dependencies().iter().any(|chart| chart.metadata().name == name);
        let named = self.metadata().dependencies.iter().map(|dependency| dependency.name.as_str());
        named.filter(|name| !there(name)).collect()
    }

    /// What `.Files` shows: everything that is neither a template nor otherwise known.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.content.files
    }
}
