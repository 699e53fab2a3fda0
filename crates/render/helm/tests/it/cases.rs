//! The recorded cases of `shared/charts`, and how a rendering is compared with what was recorded.

use helm::{Options, Rendered};
use serde_json::Value;

use crate::shared;

/// A case of the shared charts.
pub(crate) struct Case {
    pub(crate) chart: String,
    pub(crate) name: String,
    /// The files of values below `charts/`, in order.
    pub(crate) files: Vec<String>,
    pub(crate) deterministic: bool,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut found = Vec::new();
    let mut charts: Vec<_> = std::fs::read_dir(shared::path("charts/golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    charts.sort();
    for directory in charts {
        let chart = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let list: Value =
            serde_json::from_slice(&std::fs::read(directory.join("cases.json")).unwrap()).unwrap();
        for case in list.as_array().unwrap() {
            let files =
                case["files"].as_array().unwrap().iter().map(|file| {
                    file.as_str().unwrap().replace("_values/", "values/").replace("_base/", "base/")
                });
            found.push(Case {
                chart: chart.clone(),
                name: case["case"].as_str().unwrap().to_owned(),
                files: files.collect(),
                deterministic: case["deterministic"].as_bool().unwrap_or(true),
            });
        }
    }
    found
}

pub(crate) fn options(case: &Case) -> Options {
    let values =
        case.files.iter().map(|file| yaml::from_str(&shared::text(&format!("charts/{file}"))).unwrap());
    Options {
        release_name: "demo".to_owned(),
        namespace: "demo".to_owned(),
        kube_version: "v1.36.0".to_owned(),
        values: values.collect(),
        seed: Some([7; 32]),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        ..Options::default()
    }
}

fn recorded(case: &Case, suffix: &str) -> Option<String> {
    let path = shared::path(&format!("charts/golden/{}/{}{suffix}", case.chart, case.name));
    std::fs::read_to_string(path).ok()
}

/// A text without what is random in it: long words of base64 or hexadecimal digits, and PEM blocks.
pub(crate) fn masked(text: &str) -> String {
    let mut out = String::new();
    for line in text.trim_end().lines() {
        // When a job runs may be taken from the clock.
        if line.trim_start().starts_with("schedule: ") {
            continue;
        }
        let line = line.find("$2a$").map_or(line, |bcrypt| &line[..bcrypt]);
        let words = line.trim_end().split_inclusive(|character: char| {
            !(character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '='))
        });
        for word in words {
            let random = word
                .trim_end_matches(|character: char| !character.is_ascii_alphanumeric() && character != '=');
            let mixed = random.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
            if random.len() >= 8 && mixed {
                out.push('~');
                out.push_str(&word[random.len()..]);
            } else {
                out.push_str(word);
            }
        }
        out.push('\n');
    }
    // Certificates differ in length as well.
    while let Some(start) = out.find("~\n~") {
        out.replace_range(start..start + 2, "");
    }
    out
}

/// What is wrong with a case; `None` if nothing is.
pub(crate) fn compare(case: &Case, result: Result<Rendered, helm::Error>) -> Option<String> {
    let refusal = recorded(case, ".err");
    let rendered = match (result, refusal) {
        (Err(error), Some(refusal)) => {
            let (expected, found) = (refusal, error.to_string());
            return (sorted_lines(&expected) != sorted_lines(&found))
                .then(|| format!("refused otherwise:\n    expected {expected:?}\n    found    {found:?}"));
        }
        (Err(error), None) => return Some(format!("refused: {error}")),
        (Ok(_), Some(refusal)) => return Some(format!("rendered, but Helm refuses: {refusal}")),
        (Ok(rendered), None) => rendered,
    };
    let expected = recorded(case, ".yaml").unwrap_or_default();
    let found = shared::manifest(&rendered.manifests);
    if !case.deterministic {
        let (expected, found) = (masked(&expected), masked(&found));
        return (expected != found).then(|| format!("masked: {}", shared::difference(&expected, &found)));
    }
    if expected.trim_end() != found.trim_end() {
        return Some(format!("manifest: {}", shared::difference(&expected, &found)));
    }
    // Hooks come from another version, and only of those cases in which the manifests of both agree.
    if let Some(hooks) = recorded(case, ".hooks.yaml").filter(|_| !rendered.nondeterministic) {
        let found = shared::manifest(&rendered.hooks);
        let (hooks, found) = (trimmed_documents(&hooks), trimmed_documents(&found));
        if hooks != found {
            return Some(format!("hooks: {}", shared::difference(&hooks, &found)));
        }
    }
    let notes = recorded(case, ".notes.txt").unwrap_or_default();
    let found = rendered.notes.unwrap_or_default();
    (notes.trim_end() != found.trim_end()).then(|| format!("notes: {}", shared::difference(&notes, &found)))
}

/// The hooks were recorded without blanks at the ends of lines and blank lines at the ends of documents.
pub(crate) fn trimmed_documents(text: &str) -> String {
    const SEPARATOR: &str = "---\n# Source: ";
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    let documents: Vec<&str> = text.split(SEPARATOR).map(str::trim_end).collect();
    documents.join(&format!("\n{SEPARATOR}"))
}

/// Go checks the properties of an object in no particular order.
pub(crate) fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.trim_end().lines().collect();
    lines.sort_unstable();
    lines
}
