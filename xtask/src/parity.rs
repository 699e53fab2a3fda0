//! Comparisons with the tools whose output ours must equal.

pub(crate) mod helm;
pub(crate) mod kustomize;

use std::path::Path;

use anyhow::{Result, bail};

/// Runs a comparison by its name; it fails if anything differs.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    match arguments.split_first() {
        Some((name, rest)) if name == "helm" => helm::run(root, rest),
        Some((name, rest)) if name == "kustomize" => kustomize::run(root, rest),
        _ => bail!("name what to compare: helm, kustomize"),
    }
}
