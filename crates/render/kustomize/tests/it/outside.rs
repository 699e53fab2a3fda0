//! Remote bases, files behind URLs, and charts: through a remote that answers from memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kustomize::{ChartReference, FetchError, Options, Remote, Repository, Settings, build_with, to_yaml};
use tree::{MemoryTree, Tree, TreePath};

/// Repositories and files by URL, and what was asked for.
#[derive(Default)]
struct Shelf {
    repositories: BTreeMap<String, Arc<dyn Tree>>,
    files: BTreeMap<String, Bytes>,
    charts: BTreeMap<String, helm::Chart>,
    asked: Mutex<Vec<String>>,
}

impl Shelf {
    fn note(&self, what: String) {
        self.asked.lock().expect("nobody panics").push(what);
    }
}

impl Remote for Shelf {
    fn repository(&self, repository: &Repository) -> Result<Arc<dyn Tree>, FetchError> {
        self.note(format!("{} {}", repository.url, repository.reference));
        self.repositories.get(&repository.url).cloned().ok_or_else(|| "no such repository".into())
    }

    fn file(&self, url: &str) -> Result<Option<Bytes>, FetchError> {
        self.note(url.to_owned());
        Ok(self.files.get(url).cloned())
    }

    fn chart(&self, chart: &ChartReference) -> Result<helm::Chart, FetchError> {
        self.note(format!("{} {} {}", chart.repository, chart.name, chart.version));
        self.charts.get(&chart.name).cloned().ok_or_else(|| "no such chart".into())
    }
}

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for (path, text) in files {
        tree.insert(TreePath::parse(path).expect("a path"), (*text).to_owned());
    }
    tree
}

fn build(files: &[(&str, &str)], shelf: &Shelf) -> Result<String, String> {
    let settings =
        Settings { remote: Some(shelf), helm: Some(helm::Options::default()), ..Settings::default() };
    build_with(&tree(files), "app", &Options::default(), &settings).map(|objects| to_yaml(&objects)).map_err(
        |error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        },
    )
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
const REPOSITORY: &str = "https://github.com/org/repo";

fn with_repository(files: &[(&str, &str)]) -> Shelf {
    let mut shelf = Shelf::default();
    shelf.repositories.insert(REPOSITORY.to_owned(), Arc::new(tree(files)));
    shelf
}

#[test]
fn a_remote_base_is_built_from_its_own_tree_and_its_origin_noted() {
    let shelf = with_repository(&[
        ("base/kustomization.yaml", "resources: [a.yaml, ../other]\nnamePrefix: base-"),
        ("base/a.yaml", MAP),
        ("other/kustomization.yaml", "configMapGenerator: [{name: b, literals: [x=1]}]"),
    ]);
    let file = "resources: ['github.com/org/repo//base?ref=v1.2']\nbuildMetadata: [originAnnotations]";
    let built = build(&[("app/kustomization.yaml", file)], &shelf).unwrap();
    let origin = "    config.kubernetes.io/origin: |\n      path: base/a.yaml\n      \
                  repo: https://github.com/org/repo\n      ref: v1.2\n";
    assert!(built.contains(origin), "{built}");
    assert!(built.contains("name: base-b-"), "{built}");
    assert_eq!(*shelf.asked.lock().unwrap(), ["https://github.com/org/repo v1.2"]);
}

#[test]
fn a_remote_component_and_a_remote_start_work_too() {
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c";
    let shelf = with_repository(&[
        ("c/kustomization.yaml", component),
        ("kustomization.yaml", "resources: [a.yaml]"),
        ("a.yaml", MAP),
    ]);
    let file = "resources: [a.yaml]\ncomponents: ['https://github.com/org/repo/c']";
    let built = build(&[("app/kustomization.yaml", file), ("app/a.yaml", MAP)], &shelf).unwrap();
    assert!(built.contains("name: a-c"), "{built}");

    let settings = Settings { remote: Some(&shelf), ..Settings::default() };
    let objects = build_with(&tree(&[]), "https://github.com/org/repo", &Options::default(), &settings);
    assert_eq!(objects.unwrap()[0]["metadata"]["name"], "a");
}

#[test]
fn files_behind_urls_are_resources_and_patches() {
    let mut shelf = Shelf::default();
    shelf.files.insert("https://example.org/a.yaml".to_owned(), MAP.into());
    let patch = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n";
    shelf.files.insert("https://example.org/patch.yaml".to_owned(), patch.into());
    let file =
        "resources: ['https://example.org/a.yaml']\npatches: [{path: 'https://example.org/patch.yaml'}]";
    let built = build(&[("app/kustomization.yaml", file)], &shelf).unwrap();
    assert!(built.contains("data:\n  x: \"y\""), "{built}");

    let text = build(&[("app/kustomization.yaml", "resources: ['https://example.org/b.yaml']")], &shelf);
    assert!(text.unwrap_err().contains("HTTP Error"));
}

#[test]
fn what_was_fetched_stays_in_its_repository() {
    let check = |inner: &str, wanted: &str| {
        let shelf = with_repository(&[
            ("base/kustomization.yaml", inner),
            ("secret.yaml", MAP),
            ("kustomization.yaml", "resources: [secret.yaml]"),
        ]);
        let file = "resources: ['github.com/org/repo//base']";
        let settings = Settings {
            remote: Some(&shelf),
            load_restrictor: kustomize::LoadRestrictor::None,
            ..Settings::default()
        };
        let files = tree(&[("app/kustomization.yaml", file), ("other/kustomization.yaml", "namePrefix: a")]);
        let error = build_with(&files, "app", &Options::default(), &settings).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        assert!(text.contains(wanted), "{inner}: {text}");
    };
    check("resources: [../secret.yaml]", "is not in or below '/base'");
    check("resources: [../../other]", "security; bases in kustomizations found in cloned git repos");
    check("resources: [/secret.yaml]", "is not in or below '/base'");
    check("resources: ['github.com/org/repo']", "cycle detected: URI 'github.com/org/repo'");
    check("resources: [..]", "cycle detected: candidate root '/' contains visited root '/base'");
}

const CHART: &[(&str, &str)] = &[
    ("app/charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    ("app/charts/web/values.yaml", "size: 1\nnested: {a: 1, b: 2}\n"),
    ("app/charts/web/crds/crd.yaml", "apiVersion: v1\nkind: Crd\nmetadata: {name: crd}\n"),
    (
        "app/charts/web/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}\n\
         data:\n  values: {{ .Values | toJson | quote }}\n  kube: {{ .Capabilities.KubeVersion.Version }}\n",
    ),
    (
        "app/charts/web/templates/hook.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: pre-install}\n",
    ),
];

fn with_chart(file: &str, more: &[(&str, &str)]) -> Result<String, String> {
    let mut files = CHART.to_vec();
    files.push(("app/kustomization.yaml", file));
    files.extend_from_slice(more);
    build(&files, &Shelf::default())
}

#[test]
fn a_local_chart_is_rendered_with_its_values() {
    let check = |chart: &str, wanted: &str| {
        let built = with_chart(&format!("helmCharts:\n- {{name: web, {chart}}}"), &[]).unwrap();
        assert!(built.contains(wanted), "{chart}: {built}");
    };
    let values = |json: &str| format!("values: '{json}'");
    check("releaseName: x", "name: x\n  namespace: default");
    check("nameTemplate: 'web-{{ upper \"a\" | lower }}'", "name: web-a\n  namespace: default");
    check("namespace: team", "name: release-name\n  namespace: team");
    check("releaseName: x, kubeVersion: v1.30.0", "kube: v1.30.0");
    check("valuesInline: {nested: {a: 5}}", &values(r#"{"nested":{"a":5,"b":2},"size":1}"#));
    check(
        "valuesMerge: merge, valuesInline: {size: 7, c: 3}",
        &values(r#"{"c":3,"nested":{"a":1,"b":2},"size":1}"#),
    );
    check("includeCRDs: true", "kind: Crd");
    check("version: 9.9.9", "name: hook");
    let without = with_chart("helmCharts: [{name: web, skipHooks: true}]", &[]).unwrap();
    assert!(!without.contains("hook") && !without.contains("Crd"), "{without}");
}

#[test]
fn namespaces_and_transformers_treat_charts_as_kustomize_does() {
    let file = "namespace: team\nnamePrefix: p-\nhelmCharts: [{name: web}]";
    let built = with_chart(file, &[]).unwrap();
    assert!(built.contains("name: p-release-name\n  namespace: team"), "{built}");
    assert!(built.contains("name: p-hook\n"), "{built}");
    let file = "generators: [chart.yaml]";
    let config = "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: n}\nname: web\n\
                  releaseName: z\nadditionalValuesFiles: [more.yaml]\n";
    let built = with_chart(file, &[("app/chart.yaml", config), ("app/more.yaml", "size: 44")]).unwrap();
    assert!(built.contains("name: z") && built.contains("\"size\":44"), "{built}");
}

#[test]
fn a_chart_that_is_not_there_is_fetched() {
    let mut shelf = Shelf::default();
    let files: Vec<(&str, &str)> =
        CHART.iter().map(|(path, text)| (path.trim_start_matches("app/charts/web/"), *text)).collect();
    shelf.charts.insert("web".to_owned(), helm::load(&tree(&files), "").expect("a chart"));
    let file =
        "helmCharts: [{name: web, repo: 'https://charts.example.org', version: 1.0.0, releaseName: r}]";
    let built = build(&[("app/kustomization.yaml", file)], &shelf).unwrap();
    assert!(built.contains("name: r"), "{built}");
    assert_eq!(*shelf.asked.lock().unwrap(), ["https://charts.example.org web 1.0.0"]);
}

#[test]
fn wrong_charts_are_refused() {
    for (chart, wanted) in [
        ("{releaseName: a}", "chart name cannot be empty"),
        ("{name: nope}", "no repo specified for pull, no chart found at ''"),
        ("{name: web, valuesMerge: x}", "valuesMerge must be one of [merge override replace]"),
        ("{name: web, valuesFile: ../v.yaml}", "is not in or below '/app'"),
        ("{name: web, additionalValuesFiles: [x.yaml]}", "could not load additionalValuesFile"),
        ("{name: web, releaseName: '-x'}", "releaseName must not start with '-'"),
        (
            "{name: web, releaseName: r, nameTemplate: x}",
            "cannot set --name-template and also specify a name",
        ),
        ("{name: web, nameTemplate: '{{ nope }}'}", "function \"nope\" not defined"),
        ("{name: web, nameTemplate: '{{ env \"HOME\" }}'}", "function \"env\" not defined"),
        ("{name: a, repo: 'https://charts.example.org'}", "no such chart"),
    ] {
        let text = with_chart(&format!("helmCharts: [{chart}]"), &[("v.yaml", "")]).unwrap_err();
        assert!(text.contains(wanted), "{chart}: {text}");
    }
}
