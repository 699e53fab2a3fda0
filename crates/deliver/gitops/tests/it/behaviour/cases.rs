//! The cases as they stand in `tests/behaviour/*.yaml`.
//!
//! Each file is a list of cases. A case has a name, `files` (the repository's first commit; `$URL` is its address),
//! `before` (objects that exist before the controller starts) and `steps`. With `served: true` the repository is fetched
//! over HTTP, and nobody notices a commit before the next poll unless a `webhook` tells. In every text `$NS` is the namespace of the
//! case's objects, `$CD` that of its Applications, and `$APP` a name for an Application that no other case has: objects
//! are tracked by that name, whatever the controller's namespace.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

pub(super) struct Case {
    file: String,
    name: String,
    pub(super) files: BTreeMap<String, Value>,
    /// Whether the repository is fetched over HTTP.
    pub(super) served: bool,
    pub(super) before: Vec<Value>,
    pub(super) steps: Vec<Step>,
}

/// One thing that is done or expected: a verb and its object.
pub(super) struct Step {
    pub(super) verb: String,
    pub(super) value: Value,
}

impl Case {
    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.file, self.name)
    }
}

/// Every case of every file.
pub(super) fn read() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour");
    let mut files: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let list = yaml::from_str_strict(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        cases.extend(list.as_array().unwrap().iter().map(|case| parse(&file, case)));
    }
    let mut names: Vec<String> = cases.iter().map(Case::title).collect();
    names.sort();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "two cases have one name: {twice:?}");
    cases
}

fn parse(file: &str, case: &Value) -> Case {
    let fields = case.as_object().unwrap_or_else(|| panic!("{file}: a case is a map"));
    let name = fields["case"].as_str().unwrap_or_else(|| panic!("{file}: a case has a name")).to_owned();
    let unknown =
        fields.keys().find(|key| !["case", "files", "served", "before", "steps"].contains(&key.as_str()));
    assert!(unknown.is_none(), "{file}: {name}: a case has no {unknown:?}");
    let list = |key: &str| case[key].as_array().cloned().unwrap_or_default();
    let steps: Vec<Step> = list("steps").iter().flat_map(|step| parse_step(file, &name, step)).collect();
    assert!(
        steps.iter().any(|step| ["until", "now", "unchanged"].contains(&step.verb.as_str())),
        "{file}: {name}: nothing is expected, so it could not fail"
    );
    let files = case["files"].as_object().cloned().unwrap_or_default().into_iter().collect();
    let served = case["served"] == true;
    Case { file: file.to_owned(), name, files, served, before: list("before"), steps }
}

fn parse_step(file: &str, name: &str, step: &Value) -> Vec<Step> {
    let step = step.as_object().unwrap_or_else(|| panic!("{file}: {name}: a step is a map"));
    step.iter().map(|(verb, value)| Step { verb: verb.clone(), value: value.clone() }).collect()
}
