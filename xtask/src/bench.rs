//! Benchmarks: ours beside the peer's, in one run on one machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, tools};

/// The benchmarks by name, with the crate that holds each.
const BENCHMARKS: [(&str, &str); 1] = [("up", "mainstay")];

/// Runs a benchmark by its name.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let names = BENCHMARKS.map(|(name, _)| name).join(", ");
    let Some(wanted) = arguments.first() else { bail!("name a benchmark: {names}") };
    let Some((name, package)) = BENCHMARKS.into_iter().find(|(name, _)| name == wanted) else {
        bail!("no benchmark {wanted:?}; there are: {names}");
    };
    tools::ensure(root)?;
    process::run(Command::new("cargo").current_dir(root).args([
        "bench",
        "--package",
        package,
        "--bench",
        name,
    ]))
}
