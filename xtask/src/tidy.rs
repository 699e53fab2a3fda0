//! Checks of the tree that no other tool makes: layers, sizes, module headers, words that mark unfinished work.

mod layers;
mod texts;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// One thing to mend, with the place it is in.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    problem: String,
}

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut findings = layers::check(&metadata(root)?)?;
    for path in tracked(root)? {
        findings.extend(texts::check(root, &path)?);
    }
    for finding in &findings {
        println!("{}: {}", finding.place, finding.problem);
    }
    if findings.is_empty() {
        println!("tidy: nothing to mend");
        return Ok(());
    }
    bail!("{} findings", findings.len())
}

fn metadata(root: &Path) -> Result<serde_json::Value> {
    let text = process::output(Command::new("cargo").current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--no-deps",
    ]))?;
    Ok(serde_json::from_str(&text)?)
}

/// The files Git knows or would add: what is ignored is not ours to judge.
fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let text = process::output(Command::new("git").current_dir(root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<PathBuf> =
        text.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}
