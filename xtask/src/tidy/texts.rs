//! What a source file must and must not contain.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;

/// Lines a Rust file may have before it must be split (ARCHITECTURE.md, "Files").
const MOST_LINES: usize = 800;

/// Marks of unfinished work, spelled in halves so that this file does not find itself.
const UNFINISHED: [(&str, &str); 6] = [
    ("todo", "!("),
    ("unimplemented", "!("),
    ("#[ig", "nore"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("in a re", "al "),
];

pub(super) fn check(root: &Path, path: &Path) -> Result<Vec<Finding>> {
    let full = root.join(path);
    let bytes = fs::read(&full).with_context(|| format!("read {}", full.display()))?;
    let Ok(text) = String::from_utf8(bytes) else { return Ok(Vec::new()) };
    let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let mut findings = Vec::new();
    if matches!(kind, "rs" | "toml" | "md" | "sh") {
        findings.extend(whitespace(path, &text));
    }
    if kind == "rs" {
        findings.extend(rust(path, &text));
    }
    Ok(findings)
}

fn finding(path: &Path, line: usize, problem: impl Into<String>) -> Finding {
    Finding { place: format!("{}:{line}", path.display()), problem: problem.into() }
}

fn whitespace(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with([' ', '\t']))
        .map(|(index, _)| finding(path, index + 1, "trailing white space"))
        .collect();
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(finding(path, text.lines().count(), "the last line has no end"));
    }
    findings
}

fn rust(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        findings.push(finding(path, lines, format!("{lines} lines; split files at {MOST_LINES}")));
    }
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        findings.push(finding(path, 1, "modules are foo.rs beside foo/, never mod.rs"));
    }
    if needs_header(path) && !text.trim_start().starts_with("//!") {
        findings.push(finding(path, 1, "a module opens with what it owns (//!)"));
    }
    for (index, line) in text.lines().enumerate() {
        for (first, second) in UNFINISHED {
            if line.contains(&format!("{first}{second}")) {
                findings.push(finding(path, index + 1, format!("unfinished: {first}{second}")));
            }
        }
    }
    findings
}

/// Tests explain themselves by their names; every other module says what it owns.
fn needs_header(path: &Path) -> bool {
    !path
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "build.rs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let path = Path::new(path);
        let mut findings = whitespace(path, text);
        findings.extend(rust(path, text));
        findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.problem)).collect()
    }

    #[test]
    fn a_clean_module_has_no_findings() {
        assert_eq!(problems("crates/a/src/b.rs", "//! Owns b.\n\nfn b() {}\n"), [""; 0]);
    }

    #[test]
    fn finds_each_kind_of_problem() {
        assert_eq!(
            problems("crates/a/src/b.rs", "fn b() {}\n"),
            ["crates/a/src/b.rs:1: a module opens with what it owns (//!)"]
        );
        assert_eq!(
            problems("crates/a/src/b/mod.rs", "//! B. \n"),
            [
                "crates/a/src/b/mod.rs:1: trailing white space",
                "crates/a/src/b/mod.rs:1: modules are foo.rs beside foo/, never mod.rs",
            ]
        );
        let unfinished = format!("//! B.\nfn b() {{ {}{}) }}\n", "todo", "!(");
        let found = format!("crates/a/src/b.rs:2: unfinished: {}{}", "todo", "!(");
        assert_eq!(problems("crates/a/src/b.rs", &unfinished), [found]);
        let long = format!("//! B.\n{}", "\n".repeat(MOST_LINES));
        assert_eq!(
            problems("crates/a/src/b.rs", &long),
            ["crates/a/src/b.rs:801: 801 lines; split files at 800"]
        );
    }

    #[test]
    fn tests_need_no_header() {
        assert_eq!(problems("crates/a/tests/it/main.rs", "mod x;\n"), [""; 0]);
    }
}
