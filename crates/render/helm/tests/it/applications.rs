//! The charts of `shared/repos`, as Argo CD renders them.

use helm::{Options, Set, SetKind};
use serde_json::Value;

use crate::shared;

const REPOSITORY: &str = "repos/checkmate-kubernetes";

/// The parameters that Argo CD keeps beside a chart.
fn parameters(name: &str) -> Vec<Set> {
    let text = shared::text(&format!("{REPOSITORY}/charts/{name}/.argocd-source-{name}.yaml"));
    let source = yaml::from_str(&text).unwrap();
    let parameters = source["helm"]["parameters"].as_array().unwrap();
    let set = |parameter: &Value| Set {
        kind: if parameter["forcestring"] == true { SetKind::String } else { SetKind::Value },
        expr: format!("{}={}", parameter["name"].as_str().unwrap(), parameter["value"].as_str().unwrap()),
    };
    parameters.iter().map(set).collect()
}

fn documents(text: &str) -> Vec<Value> {
    let mut documents = yaml::documents(text).unwrap();
    documents.sort_by_key(|document| {
        format!("{}/{}/{}", document["kind"], document["metadata"]["namespace"], document["metadata"]["name"])
    });
    documents
}

fn render(name: &str, set: Vec<Set>, namespace: &str) -> helm::Rendered {
    let files = shared::tree(&shared::path(REPOSITORY));
    let chart = helm::load(&files, &format!("charts/{name}")).unwrap();
    let values = yaml::from_str(&shared::text(&format!("{REPOSITORY}/values/dev/{name}.yaml"))).unwrap();
    let options = Options {
        release_name: name.to_owned(),
        namespace: namespace.to_owned(),
        values: vec![values],
        set,
        kube_version: "v1.36.0".to_owned(),
        ..Options::default()
    };
    helm::render(&chart, &options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn check(name: &str, rendered: &helm::Rendered) {
    let expected = documents(&shared::text(&format!("repos/expected/helm/{name}.yaml")));
    let found = documents(&shared::manifest(&rendered.manifests));
    let names = |list: &[Value]| -> Vec<String> {
        list.iter().map(|one| format!("{}/{}", one["kind"], one["metadata"]["name"])).collect()
    };
    assert_eq!(names(&expected), names(&found), "{name}");
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found, "{name}");
    }
}

#[test]
fn application_charts_render_as_recorded() {
    for name in ["gateway", "community", "study", "user", "store", "eureka"] {
        check(name, &render(name, parameters(name), "checkmate"));
    }
}

#[test]
fn the_monitoring_umbrella_renders_as_recorded() {
    check("monitoring", &render("monitoring", Vec::new(), "monitoring"));
}
