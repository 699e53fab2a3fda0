//! Cases with an expected outcome: our own, a directory each, and suites recorded elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::reference::{Answer, Reference};
use super::{Case, Sameness, build, same};

const OUTPUT: &str = "expected.yaml";
const ERROR: &str = "expected.error";

/// Runs our own cases through both and prints a table.
pub(super) fn run_own(root: &Path, reference: &mut Reference, filter: &str, record: bool) -> Result<()> {
    let directory = root.join("crates/render/kustomize/tests/cases");
    let mut directories: Vec<PathBuf> = fs::read_dir(&directory)
        .with_context(|| format!("read {}", directory.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(filter)))
        .collect();
    directories.sort();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for directory in &directories {
        let case = read(directory)?;
        let (theirs, ours) = (reference.build(&case)?, build(&case));
        if record {
            write(directory, &theirs)?;
        }
        let recorded = recorded(directory)?;
        let verdict = match (same(&ours, &theirs), recorded == theirs) {
            (Sameness::Equal, true) => "equal",
            (Sameness::OtherError, true) => "refused by both, with another text",
            (Sameness::Different, _) => "DIFFERENT",
            (_, false) => "RECORDED OTHERWISE",
        };
        *counts.entry(verdict).or_default() += 1;
        println!("{:<44} {verdict}", case.name);
        if verdict != "equal" {
            println!("  theirs: {}\n  ours:   {}", theirs.text().trim_end(), ours.text().trim_end());
        }
    }
    let summary: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    println!("{} cases: {}", directories.len(), summary.join(", "));
    if counts.keys().any(|verdict| verdict.starts_with(char::is_uppercase)) {
        bail!("ours differs from real kustomize");
    }
    Ok(())
}

fn read(directory: &Path) -> Result<Case> {
    let mut files = BTreeMap::new();
    collect(directory, directory, &mut files)?;
    files.remove(OUTPUT);
    files.remove(ERROR);
    let path = if files.contains_key("kustomization.yaml") { "" } else { "overlay" };
    Ok(Case {
        name: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: path.to_owned(),
        files,
        reorder: kustomize::Reorder::Legacy,
        load_restrictor: kustomize::LoadRestrictor::RootOnly,
    })
}

fn collect(root: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry.with_context(|| format!("read {}", directory.display()))?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let name = path.strip_prefix(root).context("a file lies below its case")?;
        files.insert(name.to_string_lossy().into_owned(), content);
    }
    Ok(())
}

fn recorded(directory: &Path) -> Result<Answer> {
    let text = |name: &str| fs::read_to_string(directory.join(name));
    if let Ok(output) = text(OUTPUT) {
        return Ok(Answer::Output(output));
    }
    text(ERROR)
        .map(|text| Answer::Error(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
        .with_context(|| format!("{} has neither {OUTPUT} nor {ERROR}", directory.display()))
}

fn write(directory: &Path, answer: &Answer) -> Result<()> {
    let (name, other, text) = match answer {
        Answer::Output(text) => (OUTPUT, ERROR, text.clone()),
        Answer::Error(text) => (ERROR, OUTPUT, format!("{text}\n")),
    };
    if directory.join(other).exists() {
        fs::remove_file(directory.join(other)).context("remove the other outcome")?;
    }
    fs::write(directory.join(name), text).with_context(|| format!("write {name}"))
}

/// Runs cases that were recorded with real kustomize: `name`, `path`, `files`, `reorder`, and `output` or `error`.
pub(super) fn run_suite(file: &Path, filter: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let (mut equal, mut other, mut different) = (0, 0, 0);
    for line in text.lines() {
        let recorded: Value = serde_json::from_str(line).context("a case is one JSON object a line")?;
        let case = suite_case(&recorded);
        if !case.name.contains(filter) {
            continue;
        }
        let theirs = match recorded["output"].as_str() {
            Some(output) => Answer::Output(output.to_owned()),
            None => Answer::Error(recorded["error"].as_str().unwrap_or_default().to_owned()),
        };
        let ours = build(&case);
        match same(&ours, &theirs) {
            Sameness::Equal => equal += 1,
            Sameness::OtherError => {
                other += 1;
                println!("{}: refused with another text", case.name);
            }
            Sameness::Different => {
                different += 1;
                println!("{}: DIFFERENT", case.name);
                if let Answer::Error(error) = &ours {
                    println!("  {error}");
                }
            }
        }
    }
    println!("{equal} equal, {other} refused by both with another text, {different} different");
    if different > 0 {
        bail!("ours differs from real kustomize");
    }
    Ok(())
}

fn suite_case(recorded: &Value) -> Case {
    let text = |name: &str| recorded[name].as_str().unwrap_or_default();
    let relative = |path: &str| path.trim_start_matches("./").trim_start_matches('/').to_owned();
    let files = recorded["files"].as_object().into_iter().flatten();
    Case {
        name: text("name").to_owned(),
        path: if text("path") == "." { String::new() } else { relative(text("path")) },
        files: files
            .map(|(path, content)| (relative(path), content.as_str().unwrap_or_default().into()))
            .collect(),
        reorder: if text("reorder") == "none" {
            kustomize::Reorder::None
        } else {
            kustomize::Reorder::Legacy
        },
        load_restrictor: if text("restrict") == "LoadRestrictionsNone" {
            kustomize::LoadRestrictor::None
        } else {
            kustomize::LoadRestrictor::RootOnly
        },
    }
}
