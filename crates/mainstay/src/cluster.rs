//! `mainstay cluster`: the objects of the embedded cluster as a file, and back.
//!
//! A backup holds objects and nothing else: images, volumes and the cluster's own keys stay where they are, so that a
//! restored cluster has an authority of its own, which its controllers publish anew.
#![expect(clippy::print_stdout, reason = "it tells what was written")]

use std::path::Path;

use anyhow::{Context, Result};

use crate::data_dir::DataDir;

pub(crate) fn backup(data: &DataDir, to: &Path) -> Result<()> {
    let saved = store::backup(&data.store(), to).with_context(|| format!("back up to {}", to.display()))?;
    println!("{} objects at revision {} are in {}", saved.objects, saved.revision, to.display());
    Ok(())
}

pub(crate) fn restore(from: &Path, data: &DataDir) -> Result<()> {
    let _held = data.hold()?;
    let made = store::restore(from, &data.store()).with_context(|| format!("restore {}", from.display()))?;
    println!("{} objects at revision {} were restored from {}", made.objects, made.revision, from.display());
    Ok(())
}
