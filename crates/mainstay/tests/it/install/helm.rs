//! The chart, by real Helm.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use test_kit::find_program;

fn mainstay(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_mainstay")).args(arguments).output().expect("start mainstay");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn by_name(text: &str) -> BTreeMap<String, Value> {
    let objects = yaml::documents(text).expect("YAML");
    let name = |object: &Value| {
        let meta = &object["metadata"];
        format!("{} {} {}", object["kind"], meta["namespace"], meta["name"])
    };
    objects.into_iter().map(|object| (name(&object), object)).collect()
}

fn helm(chart: &Path, flags: &[&str]) -> String {
    let output = Command::new(find_program("helm"))
        .args(["template", "mainstay"])
        .arg(chart)
        .args(["--namespace", "mainstay", "--include-crds"])
        .args(flags)
        .output()
        .expect("start helm");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn helm_renders_the_manifests() {
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("chart");
    mainstay(&["install", "--chart", chart.to_str().unwrap()]);
    let lint = Command::new(find_program("helm"))
        .arg("lint")
        .arg(&chart)
        .args(["--strict", "--set", "image=localhost/mainstay:1"])
        .output()
        .expect("start helm");
    assert!(
        lint.status.success(),
        "{}{}",
        String::from_utf8_lossy(&lint.stdout),
        String::from_utf8_lossy(&lint.stderr)
    );
    let cases: [(&[&str], &[&str]); 5] = [
        (&[], &[]),
        (
            &["--scope", "namespaces=shop,web", "--replicas", "3"],
            &["--set", "namespaces={shop,web},replicas=3"],
        ),
        (
            &["--deploy-role", "edit", "--no-network-policy", "--log", "info,gitops=debug"],
            &["--set", r"deployRole=edit,networkPolicy=false,log=info\,gitops=debug"],
        ),
        (&["--no-webhooks"], &["--set", "webhooks=false"]),
        (&["--pull-secret", "registry"], &["--set", "imagePullSecrets[0].name=registry"]),
    ];
    for (typed, set) in cases {
        let mut expected =
            by_name(&mainstay(&[&["install", "--image", "localhost/mainstay:1"], typed].concat()));
        expected.remove(r#""Namespace" null "mainstay""#).expect("the namespace, which Helm makes");
        let rendered = by_name(&helm(&chart, &[&["--set", "image=localhost/mainstay:1"], set].concat()));
        assert_eq!(rendered, expected, "{typed:?}");
    }
}
