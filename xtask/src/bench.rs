//! Benchmarks: ours beside the peer's, in one run on one machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::kube::Reference;
use crate::{process, tools};

/// The benchmarks by name, with the crate that holds each.
const BENCHMARKS: [(&str, &str); 4] =
    [("api", "apiserver"), ("gitops", "mainstay"), ("render", "helm"), ("up", "mainstay")];

/// Runs a benchmark by its name.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let names = BENCHMARKS.map(|(name, _)| name).join(", ");
    let Some(wanted) = arguments.first() else { bail!("name a benchmark: {names}") };
    let Some((name, package)) = BENCHMARKS.into_iter().find(|(name, _)| name == wanted) else {
        bail!("no benchmark {wanted:?}; there are: {names}");
    };
    match name {
        "render" => return render(root),
        "api" => return api(root, &arguments[1..]),
        _ => {}
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

/// Ours beside the real kube-apiserver with etcd, both idle while the other is asked.
fn api(root: &Path, arguments: &[String]) -> Result<()> {
    let reference = Reference::start(root)?;
    let mut command = Command::new("cargo");
    command.current_dir(root).envs(reference.environment()).args([
        "bench",
        "--package",
        "apiserver",
        "--bench",
        "api",
        "--",
    ]);
    process::run(command.args(arguments))
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
