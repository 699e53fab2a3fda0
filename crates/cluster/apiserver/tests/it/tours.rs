//! Recorded tours of real clients, with the same output from the real kube-apiserver and from ours.
//!
//! The scripts are text files under `tests/tours`; what the clients printed against the real server is recorded beside
//! them, so that every test run compares with it. With `MAINSTAY_REFERENCE` set to a kubeconfig (`cargo xtask
//! conformance kubectl` and `helm` do), the real server is asked again. What is allowed to differ is listed, with the
//! reason, in `docs/api-differences.md`, and nothing else is.

mod mask;
mod run;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::conformance::compare::{self, Allowed};
use crate::server::Server;

/// Answers by case, one list per case with an entry for each of its commands.
type Answers = BTreeMap<String, Vec<Value>>;

fn directory(suite: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tours").join(suite)
}

/// The recording, from the real server if it is there, which must not have changed its mind.
fn reference(suite: &str, name: &str, cases: &[script::Case]) -> Answers {
    let path = directory(suite).join("recorded").join(format!("{name}.json"));
    let read = || -> Answers {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    };
    let Some(kubeconfig) = std::env::var_os("MAINSTAY_REFERENCE") else { return read() };
    let found = run::all(Path::new(&kubeconfig), cases);
    if std::env::var_os("MAINSTAY_RECORD").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
        return found;
    }
    let mut changed = Vec::new();
    for (case, answers) in read() {
        let now = found.get(&case).cloned().unwrap_or_default();
        compare::differences(&Value::from(answers), &Value::from(now), &case, &mut changed);
    }
    assert!(changed.is_empty(), "{} is out of date, record it again: {changed:#?}", path.display());
    found
}

/// What came of a suite.
struct Outcome {
    commands: usize,
    same: usize,
    /// Whether all of its files were run.
    whole: bool,
}

/// Runs a suite against both.
async fn tour(suite: &'static str) -> Outcome {
    let server = Server::start().await;
    let listening = server.listen().await;
    tokio::task::spawn_blocking(move || compared(suite, listening.kubeconfig())).await.unwrap()
}

fn compared(suite: &str, kubeconfig: &Path) -> Outcome {
    let wanted = std::env::var_os("MAINSTAY_CASES").map(|only| only.into_string().unwrap());
    let differences = directory(suite).join("../../../../../../docs/api-differences.md");
    let mut allowed = Allowed::read(&differences, |case| case.starts_with(&format!("{suite}/")));
    let (mut commands, mut same) = (0, 0);
    let mut report = String::new();
    for (file, cases) in script::read(&directory(suite)) {
        if wanted.as_ref().is_some_and(|only| !file.contains(only.as_str())) {
            continue;
        }
        let expected = reference(suite, &file, &cases);
        let found = run::all(kubeconfig, &cases);
        for case in &cases {
            let name = format!("{suite}/{}", case.name);
            let wanted = expected.get(&case.name).unwrap_or_else(|| panic!("{name} has no recorded answer"));
            for (at, step) in case.steps.iter().enumerate() {
                commands += 1;
                let mut differences = Vec::new();
                compare::differences(
                    wanted.get(at).unwrap_or(&Value::Null),
                    &found[&case.name][at],
                    &format!("/{at}"),
                    &mut differences,
                );
                differences.retain(|found| !allowed.covers(&name, found));
                same += usize::from(differences.is_empty());
                for difference in differences {
                    report.push_str(&format!(
                        "{name} {} [{}]\n    real {}\n    ours {}\n",
                        difference.place, step.line, difference.wanted, difference.found
                    ));
                }
            }
        }
    }
    if let Some(path) = std::env::var_os("MAINSTAY_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    assert!(report.is_empty(), "answers differ:\n{report}");
    let whole = wanted.is_none();
    if whole {
        let unused = allowed.unused();
        assert!(unused.is_empty(), "listed as different, yet the same: {unused:#?}");
    }
    Outcome { commands, same, whole }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_prints_the_same() {
    let Outcome { commands, same, whole } = tour("kubectl").await;
    println!("{same} of {commands} commands printed the same, listed differences left out");
    assert!(commands >= 60 || !whole, "the tour has {commands} commands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_does_the_same() {
    let Outcome { commands, same, .. } = tour("helm").await;
    println!("{same} of {commands} commands printed the same, listed differences left out");
}
