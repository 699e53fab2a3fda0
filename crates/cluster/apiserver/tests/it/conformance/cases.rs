//! The text files that the cases are written in.
//!
//! A case begins with `=== NAME`. Blocks separated by empty lines are its requests: `METHOD PATH [OPTION…]`, then the
//! body as YAML (sent as JSON), then lines `> NAME = PATH` that keep a value of the answer as `$NAME` for what comes
//! after. `$NS` is a namespace of the case's own. Lines that begin with `#` are comments. Options:
//!
//! - `type=merge|json|strategic|apply|MEDIA-TYPE`: the body's type; `raw`: the body is sent as it is written
//! - `accept=table|metadata|metadatalist|yaml|MEDIA-TYPE`; `as=USER`, `groups=A,B`: impersonation
//! - `watch=N`: reads events until there are N or none comes for a while
//! - `show=PATH,PATH`: only these parts of the answer are compared; `quiet`: none is
//! - `await`: the request is repeated until it succeeds

use std::path::Path;

pub(super) struct File {
    pub(super) name: String,
    pub(super) cases: Vec<Case>,
}

pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

#[derive(Default)]
pub(super) struct Step {
    /// The first line, for reports.
    pub(super) line: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) options: Vec<(String, String)>,
    pub(super) body: String,
    /// Names and the dotted paths whose values they keep.
    pub(super) keep: Vec<(String, String)>,
}

impl Step {
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Case {
    pub(super) fn namespace(&self) -> String {
        let slug: String = self
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        format!("t-{}", slug.chars().take(50).collect::<String>().trim_end_matches('-'))
    }
}

pub(super) fn read(directory: &Path) -> Vec<File> {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let file = |path: &std::path::PathBuf| File {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        cases: parse(&std::fs::read_to_string(path).unwrap()),
    };
    paths.iter().map(file).collect()
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut fresh = true;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("=== ") {
            assert!(cases.iter().all(|case| case.name != name), "two cases are called {name:?}");
            cases.push(Case { name: name.to_owned(), steps: Vec::new() });
            fresh = true;
            continue;
        }
        if line.trim().is_empty() {
            fresh = true;
            continue;
        }
        let case = cases.last_mut().expect("a file begins with a case");
        if std::mem::take(&mut fresh) {
            case.steps.push(request(line));
            continue;
        }
        let step = case.steps.last_mut().expect("a body follows a request");
        if let Some(keep) = line.strip_prefix("> ") {
            let (name, path) = keep.split_once(" = ").expect("`> NAME = PATH`");
            step.keep.push((name.to_owned(), path.to_owned()));
        } else {
            step.body.push_str(line);
            step.body.push('\n');
        }
    }
    cases
}

fn request(line: &str) -> Step {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("{line:?} is not METHOD PATH")).to_owned();
    let (method, path) = (next(), next());
    let options = words
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Step { line: line.to_owned(), method, path, options, ..Step::default() }
}
