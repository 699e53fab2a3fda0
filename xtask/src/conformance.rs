//! Suites that run against the real server and ours: what the API answers, and what the GitOps controllers do on it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::kube::Reference;
use crate::{process, tools};

/// `cargo xtask conformance api [--record] [FILE]` and `cargo xtask conformance gitops [NAME]`
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut record, mut only) = (false, None);
    let mut arguments = arguments.iter();
    let (package, suite) = match arguments.next().map(String::as_str) {
        Some("api") => ("apiserver", "conformance::"),
        Some("gitops") => ("gitops", "behaviour::"),
        _ => bail!("name a suite: api or gitops"),
    };
    for argument in arguments {
        match argument.as_str() {
            "--record" if package == "apiserver" => record = true,
            flag if flag.starts_with('-') => bail!("`cargo xtask conformance api` has no flag {flag:?}"),
            file => only = Some(file.to_owned()),
        }
    }
    let tools = tools::ensure(root)?;
    let reference = Reference::start(root)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))
        .context("join the directories of PATH")?;
    let mut command = Command::new("cargo");
    command.current_dir(root).env("PATH", path).envs(reference.environment()).args([
        "test",
        "--package",
        package,
        "--test",
        "it",
        suite,
        "--",
        "--nocapture",
    ]);
    if record {
        command.env("MAINSTAY_RECORD", "1");
    }
    if let Some(file) = only {
        command.env("MAINSTAY_CASES", file);
    }
    process::run(&mut command)
}
