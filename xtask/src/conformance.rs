//! Suites that run against the real server and ours: what the API answers, and what the GitOps controllers do on it.

mod permissions;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::kube::{Audit, Reference};
use crate::{process, tools};

/// The suites by name, each with the crate and the tests that it is; each group of them gets a server of its own.
const SUITES: [(&str, &str, &str); 6] = [
    ("api", "apiserver", "conformance::"),
    ("clients", "apiserver", "clients::"),
    ("gitops", "gitops", "behaviour:: checkmate:: roots:: codedang::"),
    ("helm", "apiserver", "tours::helm_does_the_same"),
    ("install", "mainstay", "install::"),
    ("kubectl", "apiserver", "tours::kubectl_prints_the_same"),
];
/// The suites without a recording: they say themselves whether all went well.
const UNRECORDED: [&str; 3] = ["clients", "gitops", "install"];

/// Tests that need a second cluster.
const TWO_CLUSTERS: [&str; 1] = ["codedang::"];

/// `cargo xtask conformance SUITE [--record] [FILE]`
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut record, mut only) = (false, None);
    let (name, arguments) =
        arguments.split_first().map_or(("", arguments), |(name, rest)| (name.as_str(), rest));
    let Some((_, package, test)) = SUITES.iter().find(|(suite, ..)| *suite == name) else {
        bail!("name a suite: {}", SUITES.map(|(suite, ..)| suite).join(", "));
    };
    for argument in arguments {
        match argument.as_str() {
            "--record" if !UNRECORDED.contains(&name) => record = true,
            flag if flag.starts_with('-') => bail!("`cargo xtask conformance {name}` has no flag {flag:?}"),
            file => only = Some(file.to_owned()),
        }
    }
    let tools = tools::ensure(root)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))
        .context("join the directories of PATH")?;
    // Some cases, where only they are asked for.
    let tests = test.split(' ').take(if only.is_some() { 1 } else { usize::MAX });
    for test in tests {
        // The clients are tried on ours alone.
        let audit = if name == "install" { Audit::On } else { Audit::Off };
        let reference = (name != "clients").then(|| Reference::start_with(root, audit)).transpose()?;
        let second = TWO_CLUSTERS.contains(&test).then(|| Reference::start(root)).transpose()?;
        let mut command = Command::new("cargo");
        command
            .current_dir(root)
            .env("PATH", &path)
            .envs(reference.iter().flat_map(Reference::environment))
            .envs(second.iter().map(|second| ("MAINSTAY_REFERENCE_SECOND", second.kubeconfig())))
            .args(["test", "--package", package, "--test", "it", test, "--", "--nocapture"]);
        if record {
            command.env("MAINSTAY_RECORD", "1");
        }
        if let Some(file) = &only {
            command.env("MAINSTAY_CASES", file);
        }
        process::run(&mut command)?;
        if let Some(log) = reference.as_ref().and_then(Reference::audit) {
            permissions::all_used(root, &log)?;
        }
    }
    Ok(())
}
