//! One directory per feature below `tests/cases`: files, and in `expected.yaml` what `kustomize build` printed.
//!
//! `cargo xtask parity kustomize --record` records it with kustomize 5.8; a case whose build real kustomize refuses
//! has an `expected.error` instead, with a text our error must contain.

use std::path::{Path, PathBuf};

use kustomize::{Options, build, to_yaml};

use crate::disk::Disk;

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Without line ends, which Go's errors have in odd places.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether our error has kustomize's text; ours may name the object besides, and the contents of a node that Go
/// prints in the style they were written in are left aside.
fn says(ours: &str, theirs: &str) -> bool {
    let theirs = theirs.split("node contents:").next().unwrap_or_default();
    words(ours).contains(&words(theirs))
}

#[test]
fn every_case_is_built_as_recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(&root).expect("the cases").flatten().map(|entry| entry.path()).collect();
    cases.sort();
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case.file_name().expect("a name").to_string_lossy();
        let tree = Disk(case.clone());
        let start = if case.join("kustomization.yaml").exists() { "" } else { "overlay" };
        let built = build(&tree, start, &Options::default());
        match (std::fs::read_to_string(case.join("expected.yaml")), built) {
            (Ok(theirs), Ok(objects)) if to_yaml(&objects) == theirs => {}
            (Ok(theirs), Ok(objects)) => {
                wrong.push(format!("== {name}\n{}\n-- instead of\n{theirs}", to_yaml(&objects)));
            }
            (Ok(_), Err(error)) => wrong.push(format!("== {name}: {}", chain(&error))),
            (Err(_), result) => {
                let wanted = std::fs::read_to_string(case.join("expected.error"))
                    .expect("an expected.yaml or expected.error");
                match result {
                    Err(error) if says(&chain(&error), &wanted) => {}
                    Err(error) => wrong.push(format!("== {name}: {} instead of {wanted}", chain(&error))),
                    Ok(_) => wrong.push(format!("== {name}: builds, instead of {wanted}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 20, "the cases are there");
}
