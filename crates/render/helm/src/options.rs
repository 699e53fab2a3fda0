//! What a rendering is told.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

/// How a `--set` expression is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// `--set`: numbers, booleans and null are recognised.
    Value,
    /// `--set-string`: everything is text.
    String,
    /// `--set-json`: the value is JSON; an expression that is an object sets its fields.
    Json,
    /// `--set-file`: the value names a file of [`Options::set_files`].
    File,
    /// `--set-literal`: the value is taken as it is, commas and backslashes included.
    Literal,
}

/// A parameter in Helm's syntax, such as `image.tag=1.2,ports[0].name=http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub kind: SetKind,
    pub expr: String,
}

/// Everything that a rendering depends on besides the chart.
#[derive(Debug, Clone)]
pub struct Options {
    pub release_name: String,
    pub namespace: String,
    /// Values as read from YAML; later ones win, a null takes a chart's default away.
    pub values: Vec<Value>,
    /// Parameters, which win over all values. As in Helm they are applied by kind: JSON, values, strings, files,
    /// literals.
    pub set: Vec<Set>,
    /// Contents of the files that `--set-file` names.
    pub set_files: BTreeMap<String, Bytes>,
    /// Such as `v1.34.0`.
    pub kube_version: String,
    /// API versions beyond those that Helm assumes, as `group/version` or `group/version/Kind`.
    pub api_versions: Vec<String>,
    /// Whether the files under `crds/` are part of the result.
    pub include_crds: bool,
    /// Whether hooks that are tests are left out.
    pub skip_tests: bool,
    /// Whether the values are not checked against the chart's schema.
    pub skip_schema: bool,
    pub is_upgrade: bool,
    /// The number of the release.
    pub revision: i64,
    /// Whether the notes of dependencies are part of the notes.
    pub sub_notes: bool,
    /// What `now` gives.
    pub now: jiff::Timestamp,
    /// Where random functions take their bytes from. Whoever wants secrets from `randAlphaNum` must fill it from a
    /// source that nobody can foresee; the same seed gives the same output. Without it such functions fail.
    pub seed: Option<[u8; 32]>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            release_name: "release-name".to_owned(),
            namespace: "default".to_owned(),
            values: Vec::new(),
            set: Vec::new(),
            set_files: BTreeMap::new(),
            kube_version: "v1.34.0".to_owned(),
            api_versions: Vec::new(),
            include_crds: false,
            skip_tests: false,
            skip_schema: false,
            is_upgrade: false,
            revision: 1,
            sub_notes: false,
            now: jiff::Timestamp::UNIX_EPOCH,
            seed: None,
        }
    }
}
