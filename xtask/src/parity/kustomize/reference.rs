//! The process that builds with real kustomize.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Case;
use crate::process;

/// What a build gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Output(String),
    Error(String),
}

impl Answer {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Output(text) => text.clone(),
            Self::Error(text) => format!("error: {text}\n"),
        }
    }
}

pub(super) struct Reference {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What the library calls itself where it is not built as a release.
const DEVELOPMENT: &str = "kustomize-(devel)";
const RELEASE: &str = "kustomize-v5.8.2";

impl Reference {
    /// Builds the program, if that was not done yet, and starts it.
    pub(super) fn start(root: &Path) -> Result<Self> {
        let program = build(root)?;
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let input = child.stdin.take().context("the reference has no input")?;
        let output = BufReader::new(child.stdout.take().context("the reference has no output")?);
        Ok(Self { child, input, output })
    }

    pub(super) fn build(&mut self, case: &Case) -> Result<Answer> {
        let reorder = if case.reorder == kustomize::Reorder::None { "none" } else { "legacy" };
        let restrict = if case.load_restrictor == kustomize::LoadRestrictor::None { "none" } else { "root" };
        let files: Map<String, Value> = case
            .files
            .iter()
            .map(|(path, content)| (path.clone(), STANDARD.encode(content).into()))
            .collect();
        let asked = json!({
            "path": case.path,
            "files": files,
            "flags": {"reorder": reorder, "load_restrictor": restrict},
        });
        writeln!(self.input, "{asked}").context("ask the reference")?;
        let mut line = String::new();
        if self.output.read_line(&mut line).context("read the reference's answer")? == 0 {
            bail!("the reference ended while it built {}", case.name);
        }
        let answer: Value = serde_json::from_str(&line).context("read the reference's answer")?;
        Ok(match answer["output"].as_str() {
            Some(output) => Answer::Output(output.replace(DEVELOPMENT, RELEASE)),
            None => Answer::Error(without_addresses(answer["error"].as_str().unwrap_or_default())),
        })
    }
}

/// Go prints where in memory a generator lies, which is another place every time.
fn without_addresses(error: &str) -> String {
    let Some((before, after)) = error.split_once(" &{0x") else { return error.to_owned() };
    after.split_once('}').map_or_else(|| error.to_owned(), |(_, rest)| format!("{before}{rest}"))
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It has nothing to lose, and would only wait for its input to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn build(root: &Path) -> Result<PathBuf> {
    if !process::exists("go") {
        bail!("the comparison needs Go: install golang 1.26 or newer");
    }
    let program = root.join("target/tools/kustomize-reference");
    process::run(
        Command::new("go")
            .current_dir(root.join("xtask/reference/kustomize"))
            .env("CGO_ENABLED", "0")
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&program)
            .arg("."),
    )?;
    Ok(program)
}
