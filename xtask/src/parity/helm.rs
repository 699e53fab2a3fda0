//! Charts beside Helm.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, tools};

/// Charts: with what is recorded in `shared/charts`, or with Helm itself (`--live`), there also on other charts
/// (`--charts DIR`) and on generated ones (`--generated COUNT [SEED]`).
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "helm",
        "--example",
        "parity",
        "--",
    ]);
    match arguments.split_first() {
        None => {}
        Some((flag, rest)) if flag == "--live" => {
            command.arg("--live").arg(tools::helm_peer(root)?).args(rest);
        }
        Some((flag, _)) => {
            bail!("{flag:?} is not known; `--live [--charts DIR… | --generated COUNT [SEED]]` is")
        }
    }
    process::run(&mut command)
}
