//! Benchmarks: ours beside the peer's, in one run on one machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, tools};

/// The benchmarks by name, with the crate that holds each.
const BENCHMARKS: [(&str, &str); 3] = [("gitops", "mainstay"), ("render", "helm"), ("up", "mainstay")];

/// Runs a benchmark by its name.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let names = BENCHMARKS.map(|(name, _)| name).join(", ");
    let Some(wanted) = arguments.first() else { bail!("name a benchmark: {names}") };
    let Some((name, package)) = BENCHMARKS.into_iter().find(|(name, _)| name == wanted) else {
        bail!("no benchmark {wanted:?}; there are: {names}");
    };
    if name == "render" {
        return render(root);
    }
    tools::ensure(root)?;
    process::run(Command::new("cargo").current_dir(root).args([
        "bench",
        "--package",
        package,
        "--bench",
        name,
    ]))
}

/// Both sides get the same core: they take turns, so neither disturbs the other.
fn render(root: &Path) -> Result<()> {
    let peer = tools::helm_peer(root)?;
    process::run(
        Command::new("taskset")
            .current_dir(root)
            .args(["--cpu-list", "0", "cargo", "bench", "--package", "helm", "--bench", "render", "--"])
            .arg(peer),
    )
}
