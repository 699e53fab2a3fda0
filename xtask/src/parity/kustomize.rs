//! Our kustomize beside the real one.
//!
//! The real one is its library at a fixed version, built from `xtask/reference/kustomize` with Go: one process
//! answers any number of cases from memory, where `kubectl kustomize` would take 50 ms for each. It is newer than the
//! one in kubectl (5.8.2 against 5.7.1) because that is what its own test suite speaks of.

mod cases;
mod overlays;
mod reference;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tree::{MemoryTree, TreePath};

use reference::{Answer, Reference};

/// A kustomization with its files.
pub(crate) struct Case {
    name: String,
    /// The directory to build.
    path: String,
    files: BTreeMap<String, Vec<u8>>,
    reorder: kustomize::Reorder,
    load_restrictor: kustomize::LoadRestrictor,
}

/// `parity kustomize [--record] [FILTER]`, or `--suite FILE` for cases recorded elsewhere, one JSON object a line.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut filter = "";
    let mut record = false;
    let mut suite = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--record" => record = true,
            "--suite" => suite = Some(rest.next().context("--suite needs a file")?),
            other if other.starts_with('-') => bail!("parity kustomize: no flag {other}"),
            other => filter = other,
        }
    }
    if let Some(file) = suite {
        return cases::run_suite(Path::new(file), filter);
    }
    let mut reference = Reference::start(root)?;
    cases::run_own(root, &mut reference, filter, record)
}

/// Generates `count` kustomizations from `seed` on and compares them; stops at the tenth difference.
pub(crate) fn soak(root: &Path, count: u64, seed: u64) -> Result<()> {
    let mut reference = Reference::start(root)?;
    let (mut wrong, mut built) = (0_u64, 0_u64);
    let mut refusals: BTreeMap<String, u64> = BTreeMap::new();
    for number in seed..seed + count {
        let case = overlays::generate(number);
        let theirs = reference.build(&case)?;
        let ours = build(&case);
        match &theirs {
            Answer::Output(_) => built += 1,
            Answer::Error(text) => {
                let reason: String = text.rsplit(": ").next().unwrap_or_default().chars().take(60).collect();
                *refusals.entry(reason).or_default() += 1;
            }
        }
        if same(&ours, &theirs) == Sameness::Different {
            wrong += 1;
            println!("== seed {number}");
            for (path, content) in &case.files {
                println!("--- {path}\n{}", String::from_utf8_lossy(content));
            }
            println!("--- theirs\n{}--- ours\n{}", theirs.text(), ours.text());
        }
        if wrong == 10 {
            bail!("stopped at seed {number}: ten differences");
        }
        if number % 1000 == 999 {
            println!("{} cases, {wrong} differ", number + 1 - seed);
        }
    }
    println!(
        "{count} kustomizations from seed {seed}: {built} built by both, {} refused by both, {wrong} differ",
        count - built - wrong.min(count - built)
    );
    let mut refusals: Vec<_> = refusals.into_iter().map(|(reason, count)| (count, reason)).collect();
    refusals.sort_by(|a, b| b.cmp(a));
    for (count, reason) in refusals.iter().take(10) {
        println!("{count:>7} refused: {reason}");
    }
    if wrong > 0 {
        bail!("{wrong} of {count} kustomizations differ");
    }
    Ok(())
}

/// How two answers compare. Texts of errors may differ where Go prints its own internals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sameness {
    Equal,
    OtherError,
    Different,
}

fn same(ours: &Answer, theirs: &Answer) -> Sameness {
    // Contents of nodes are printed in the style they were written in, which ours does not keep.
    let words = |text: &str| {
        let text = text.split("node contents:").next().unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    match (ours, theirs) {
        (Answer::Output(ours), Answer::Output(theirs)) if ours == theirs => Sameness::Equal,
        // Ours may say more: which object it is about.
        (Answer::Error(ours), Answer::Error(theirs)) if words(ours).contains(&words(theirs)) => {
            Sameness::Equal
        }
        (Answer::Error(_), Answer::Error(_)) => Sameness::OtherError,
        _ => Sameness::Different,
    }
}

fn build(case: &Case) -> Answer {
    let mut tree = MemoryTree::new();
    for (path, content) in &case.files {
        if let Ok(path) = TreePath::parse(path) {
            tree.insert(path, content.clone());
        }
    }
    let settings = kustomize::Settings {
        reorder: case.reorder,
        load_restrictor: case.load_restrictor,
        ..kustomize::Settings::default()
    };
    let options = kustomize::Options::default();
    match kustomize::build_with(&tree, &case.path, &options, &settings) {
        Ok(objects) => Answer::Output(kustomize::to_yaml(&objects)),
        Err(error) => Answer::Error(format!("{:#}", anyhow::Error::new(error))),
    }
}
