//! The objects of the embedded cluster as a file, and back.
//!
//! A backup holds objects and nothing else: images, volumes and the cluster's own keys stay where they are, so that a
//! restored cluster has an authority of its own, which its controllers publish anew.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cli::Connect;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::remote::output::say;

pub(super) fn save(from: &Connect, environment: &Environment, file: &Path) -> Result<()> {
    only_embedded(from)?;
    let data = DataDir::open(&environment.data_dir(&from.data)?)?;
    let saved =
        store::backup(&data.store(), file).with_context(|| format!("back up to {}", file.display()))?;
    say(&format!("{} objects at revision {} are in {}\n", saved.objects, saved.revision, file.display()))
}

pub(super) fn restore(to: &Connect, environment: &Environment, file: &Path) -> Result<()> {
    only_embedded(to)?;
    let data = DataDir::create(&environment.data_dir(&to.data)?, environment.caller)?;
    let _held = data.hold()?;
    let made = store::restore(file, &data.store()).with_context(|| format!("restore {}", file.display()))?;
    let (objects, revision) = (made.objects, made.revision);
    say(&format!("{objects} objects at revision {revision} were restored from {}\n", file.display()))
}

/// The file is made of a data directory, whatever cluster a kubeconfig leads to.
fn only_embedded(asked: &Connect) -> Result<()> {
    if asked.kubeconfig.is_some() || asked.context.is_some() {
        bail!(
            "only the embedded cluster is saved and restored here: name it by --data-dir, not by a kubeconfig"
        );
    }
    Ok(())
}
