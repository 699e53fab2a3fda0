//! The one test command.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, tools};

/// Runs the tests of the whole workspace, or what `arguments` name.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let tools = tools::ensure(root)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))
        .context("join the directories of PATH")?;
    let mut command = Command::new("cargo");
    command.current_dir(root).env("PATH", path).arg("test");
    if !arguments.iter().any(|argument| argument == "-p" || argument == "--package") {
        command.arg("--workspace");
    }
    process::run(command.args(arguments))
}
