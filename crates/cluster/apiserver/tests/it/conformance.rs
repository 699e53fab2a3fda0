//! One suite of requests, answered the same by the real kube-apiserver and by ours.
//!
//! The cases are text files under `tests/conformance`; the answers of the real server are recorded beside them, so
//! that every test run compares with it. With `MAINSTAY_REFERENCE` set to a kubeconfig (`cargo xtask conformance api`
//! does), the real server is asked again and its recording checked, or made anew if `MAINSTAY_RECORD` is set. What is
//! allowed to differ is listed, with the reason, in `docs/api-differences.md`, and nothing else is.

mod cases;
pub(crate) mod compare;
mod normal;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::server::Server;
use cases::File;
use compare::{Allowed, Difference};
use run::Target;

/// Answers by case, one list per case with an entry for each of its requests.
type Answers = BTreeMap<String, Vec<Value>>;

/// Cases of `docs/api-differences.md` that are not of this suite.
const TOURS: [&str; 2] = ["kubectl/", "helm/"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn recording(file: &File) -> PathBuf {
    directory().join("recorded").join(format!("{}.json", file.name))
}

async fn all(target: &Target, file: &File) -> Answers {
    let mut answers = Answers::new();
    for case in &file.cases {
        answers.insert(case.name.clone(), run::case(target, case).await);
    }
    answers
}

/// What the real server was recorded to answer to a file.
fn recorded(file: &File) -> Answers {
    let path = recording(file);
    let text =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Asks the real server, and keeps what it answers if that is wanted.
async fn live(target: &Target, file: &File) -> Answers {
    let found = all(target, file).await;
    if std::env::var_os("MAINSTAY_RECORD").is_some() {
        let path = recording(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    found
}

/// Where `found` is not what was `wanted`, but for what is allowed to differ.
fn unlisted(allowed: &mut Allowed, case: &str, wanted: &[Value], found: &[Value]) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare::differences(&Value::from(wanted), &Value::from(found), "", &mut differences);
    differences.retain(|found| !allowed.covers(case, found));
    differences
}

async fn real() -> Option<Target> {
    let path = std::env::var_os("MAINSTAY_REFERENCE")?;
    let config = kube::config::Kubeconfig::read_from(path).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
    Some(run::remote(&config))
}

#[tokio::test]
async fn the_same_requests_have_the_same_answers() {
    let files = cases::read(&directory());
    let wanted = std::env::var_os("MAINSTAY_CASES").map(|only| only.into_string().unwrap());
    let real = real().await;
    let server = Server::start().await;
    let ours = run::ours(server.api.service(apiserver::User::admin()));
    let mut allowed = Allowed::read(&directory().join("../../../../../docs/api-differences.md"), |case| {
        !TOURS.iter().any(|tour| case.starts_with(tour))
    });
    let (mut count, mut same, mut changed) = (0, 0, Vec::new());
    let mut report = String::new();
    for file in
        files.iter().filter(|file| wanted.as_ref().is_none_or(|only| file.name.contains(only.as_str())))
    {
        let expected = match &real {
            Some(real) => live(real, file).await,
            None => recorded(file),
        };
        let kept = recorded(file);
        let found = all(&ours, file).await;
        for case in &file.cases {
            count += 1;
            let name = format!("{}/{}", file.name, case.name);
            let answers = |of: &Answers| {
                of.get(&case.name).cloned().unwrap_or_else(|| panic!("{name} has no recorded answer"))
            };
            let wanted = answers(&expected);
            let moved = unlisted(&mut allowed, &name, &answers(&kept), &wanted);
            changed.extend(moved.into_iter().map(|difference| (name.clone(), difference)));
            let unlisted = unlisted(&mut allowed, &name, &wanted, &found[&case.name]);
            if unlisted.is_empty() {
                same += 1;
                continue;
            }
            report.push_str(&format!("\n{name}\n"));
            for difference in unlisted {
                let step =
                    difference.place.split('/').nth(1).and_then(|at| at.parse::<usize>().ok()).unwrap_or(0);
                let request = case.steps.get(step).map_or("", |step| step.line.as_str());
                report.push_str(&format!(
                    "  {} [{request}]\n    real {}\n    ours {}\n",
                    difference.place, difference.wanted, difference.found
                ));
            }
        }
    }
    println!("{same} of {count} cases answered the same, listed differences left out");
    if let Some(path) = std::env::var_os("MAINSTAY_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    assert!(report.is_empty(), "answers differ:{report}");
    assert!(changed.is_empty(), "the real server changed its mind, record it again: {changed:#?}");
    if wanted.is_none() {
        assert!(count >= 200, "the suite has {count} cases");
        let unused = allowed.unused();
        assert!(unused.is_empty(), "listed as different, yet the same: {unused:#?}");
    }
}
