//! The one test command.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{process, tools};

/// Runs the tests of the whole workspace, or what `arguments` name.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(root).env("PATH", tools::path(root)?).arg("test");
    if !arguments.iter().any(|argument| argument == "-p" || argument == "--package") {
        // Whoever waits for minutes wants to know of every failure.
        command.args(["--workspace", "--no-fail-fast"]);
    }
    process::run(command.args(arguments))
}
