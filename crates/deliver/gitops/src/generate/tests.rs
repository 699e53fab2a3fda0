use std::path::Path;

use serde_json::json;

use charts::Charts;
use git::Repositories;

use super::*;

const URL: &str = "https://git.example.org/team/platform.git";

/// A repository of the test's own files (a directory without Git, which is served as it is saved).
struct Files {
    directory: tempfile::TempDir,
    cache: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap(), cache: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, content)| this.write(path, content));
        this
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn repositories(path: &Path, cache: &Path) -> Places {
    let config = git::Config { mappings: vec![git::Mapping::new(URL, path)], ..git::Config::new(cache) };
    let charts = Charts::new(charts::Config::new(cache.join("charts")));
    Places { repositories: Repositories::new(config).unwrap(), charts, secrets: None }
}

fn request(sources: Value) -> Request {
    let sources = sources.as_array().unwrap().iter().map(|source| {
        let mut source = source.clone();
        source["repoURL"] = URL.into();
        Source(source)
    });
    Request {
        name: "shop".to_owned(),
        instance: "shop".to_owned(),
        project: "default".to_owned(),
        destination_namespace: "shop".to_owned(),
        sources: sources.collect(),
        freshness: Freshness::Recent,
        refetch: false,
        kube_version: "v1.34.0".to_owned(),
        api_versions: Arc::default(),
        seed: None,
        permitted: None,
    }
}

async fn run(repositories: &Places, request: Request) -> Result<Generated, String> {
    let renderers = Semaphore::new(1);
    let generated = generate(repositories, &renderers, Arc::default(), request, None).await;
    generated.map_err(|failure| failure.message)
}

async fn names(files: &Files, source: Value) -> Vec<String> {
    let repositories = repositories(files.directory.path(), files.cache.path());
    let generated = run(&repositories, request(json!([source]))).await.unwrap();
    let manifests = generated.manifests.unwrap();
    manifests.iter().map(|manifest| manifest["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

#[tokio::test]
async fn directories_are_filtered() {
    let files = Files::new(&[
        ("d/a.yaml", &format!("{}---\n{}", map("a1"), map("a2"))),
        (
            "d/b.json",
            r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}]}"#,
        ),
        ("d/env/dev/c.yml", &map("c")),
        ("d/env/prod/d.yaml", &map("d")),
        ("d/values.yaml", "replicas: 1\n"),
        ("d/skipped.yaml", &format!("# +argocd:skip-file-rendering\n{}", map("skipped"))),
        ("d/notes.txt", "kind: nothing\n"),
    ]);
    let with = |directory: Value| json!({"path": "d", "directory": directory});
    assert_eq!(names(&files, json!({"path": "d"})).await, ["a1", "a2", "b"]);
    assert_eq!(names(&files, with(json!({"recurse": true}))).await, ["a1", "a2", "b", "c", "d"]);
    let included = json!({"recurse": true, "include": "{a,env/*}.{yaml,yml}", "exclude": "*prod*"});
    assert_eq!(names(&files, with(included)).await, ["a1", "a2", "c"]);
}

#[tokio::test]
async fn values_win_in_order() {
    let files = Files::new(&[
        ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
        (
            "c/values.yaml",
            "chart: chart\nfile: chart\nobject: chart\nparameter: chart\nfromFile: chart\ngone: chart\n",
        ),
        (
            "c/templates/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  all: {{ .Values | toJson | quote }}\n",
        ),
        ("values/dev.yaml", "file: file\nobject: file\ngone: null\n"),
        ("note.txt", "a,b"),
        (
            "c/.argocd-source-shop.yaml",
            "path: elsewhere\nhelm:\n  parameters:\n  - {name: tag, value: \"7\", forcestring: true}\n",
        ),
    ]);
    let source = json!({"path": "c", "helm": {
        "valueFiles": ["../values/dev.yaml", "/values/dev.yaml", "missing.yaml"],
        "ignoreMissingValueFiles": true,
        "values": "object: text\n",
        "valuesObject": {"object": "object", "parameter": "object"},
        "fileParameters": [{"name": "fromFile", "path": "../note.txt"}],
        "parameters": [{"name": "ignored", "value": "replaced by the override"}],
    }});
    let repositories = repositories(files.directory.path(), files.cache.path());
    let generated = run(&repositories, request(json!([source]))).await.unwrap();
    assert_eq!(generated.types, [SourceType::Helm]);
    let manifests = generated.manifests.unwrap();
    let all: Value = serde_json::from_str(manifests[0]["data"]["all"].as_str().unwrap()).unwrap();
    assert_eq!(
        all,
        json!({"chart": "chart", "file": "file", "object": "object", "parameter": "object", "fromFile": "a,b", "tag": "7"})
    );
    let missing = json!({"path": "c", "helm": {"valueFiles": ["missing.yaml"]}});
    let error = run(&repositories, request(json!([missing]))).await.unwrap_err();
    assert!(error.ends_with("open missing.yaml: no such file or directory"), "{error}");
    let outside = json!({"path": "c", "helm": {"valueFiles": ["../../../etc/passwd"]}});
    let error = run(&repositories, request(json!([outside]))).await.unwrap_err();
    assert!(error.contains("outside the repository"), "{error}");
}

#[tokio::test]
async fn another_source_may_bring_the_values() {
    let files = Files::new(&[
        ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
        ("c/templates/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.name }}}\n"),
        ("values/x.yaml", "name: referenced\n"),
    ]);
    let repositories = repositories(files.directory.path(), files.cache.path());
    let sources = |reference: &str| json!([{"path": "c", "helm": {"valueFiles": [format!("${reference}/values/x.yaml")]}}, {"ref": "other"}]);
    let generated = run(&repositories, request(sources("other"))).await.unwrap();
    assert_eq!(generated.manifests.unwrap()[0]["metadata"]["name"], "referenced");
    assert_eq!(generated.revisions.len(), 2);
    let error = run(&repositories, request(sources("unknown"))).await.unwrap_err();
    assert!(error.contains("source referenced \"unknown\""), "{error}");
}

#[tokio::test]
async fn a_rendering_holds_until_something_it_read_changes() {
    let files = Files::new(&[("d/a.yaml", &map("a")), ("other/b.yaml", &map("b"))]);
    let repositories = repositories(files.directory.path(), files.cache.path());
    let renderers = Semaphore::new(1);
    let again = |earlier| {
        let request = request(json!([{"path": "d"}]));
        generate(&repositories, &renderers, Arc::default(), request, earlier)
    };
    let first = again(None).await.unwrap();
    let earlier = Some(Earlier { record: Arc::clone(&first.record), outcome: Ok(first.types.clone()) });
    files.write("other/b.yaml", &map("changed"));
    let second = again(earlier.clone()).await.unwrap();
    assert!(second.manifests.is_none());
    assert_ne!(second.revisions, first.revisions);
    files.write("d/.argocd-source-shop.yaml", "directory: {recurse: true}\n");
    assert!(again(earlier.clone()).await.unwrap().manifests.is_some(), "an override that appeared");
    std::fs::remove_file(files.directory.path().join("d/.argocd-source-shop.yaml")).unwrap();
    files.write("d/c.yaml", &map("c"));
    assert!(again(earlier).await.unwrap().manifests.is_some(), "a file that appeared");
}

#[tokio::test]
async fn checkmate_renders_as_helm_does() {
    let cache = tempfile::tempdir().unwrap();
    let repositories = repositories(&test_kit::shared("repos/checkmate-kubernetes"), cache.path());
    for name in ["gateway", "user", "community", "study", "store", "eureka"] {
        let source = json!({"path": format!("charts/{name}"), "helm": {"valueFiles": [format!("../../values/dev/{name}.yaml")]}});
        let mut request = request(json!([source]));
        (request.name, request.instance, request.destination_namespace) =
            (name.into(), name.into(), name.into());
        let mut manifests = run(&repositories, request).await.unwrap().manifests.unwrap();
        // The recorded output was made without tests, which a sync drops.
        manifests.retain(|manifest| manifest["metadata"]["annotations"]["helm.sh/hook"] != "test");
        let expected =
            std::fs::read_to_string(test_kit::shared(&format!("repos/expected/helm/{name}.yaml"))).unwrap();
        let sorted = |mut list: Vec<Value>| {
            list.sort_by_key(ToString::to_string);
            list
        };
        assert_eq!(sorted(manifests), sorted(yaml::documents(&expected).unwrap()), "{name}");
    }
}

#[tokio::test]
async fn a_kustomization_takes_bases_from_other_repositories_and_notices_their_changes() {
    const BASE: &str = "https://github.com/org/base";
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let base =
        Files::new(&[("config/kustomization.yaml", "resources: [a.yaml]"), ("config/a.yaml", &map("a"))]);
    let own = Files::new(&[(
        "app/kustomization.yaml",
        "namePrefix: own-\nresources: ['github.com/org/base//config?ref=main']\nhelmCharts: [{name: web}]",
    )]);
    own.write("app/charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    own.write("app/charts/web/values.yaml", "{}\n");
    own.write(
        "app/charts/web/templates/a.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: {{ .Release.Name }}}\n",
    );
    let repositories = repositories(own.directory.path(), own.cache.path());
    repositories.repositories.map(git::Mapping::new(BASE, base.directory.path())).unwrap();
    let asked = || request(json!([{"path": "app"}]));
    let renderers = Semaphore::new(1);
    let again = async |earlier: Option<&Generated>| {
        let earlier = earlier
            .map(|found| Earlier { record: Arc::clone(&found.record), outcome: Ok(found.types.clone()) });
        generate(&repositories, &renderers, Arc::default(), asked(), earlier).await.unwrap()
    };
    let found = |generated: &Generated| -> Vec<String> {
        let manifests = generated.manifests.as_ref().expect("rendered");
        manifests.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = again(None).await;
    assert_eq!(found(&first), ["own-a", "own-release-name"]);
    assert!(first.record.charts, "a chart among the resources depends on what the cluster serves");
    assert!(again(Some(&first)).await.manifests.is_none(), "nothing changed");
    base.write("config/a.yaml", &map("b"));
    let limit = std::time::Duration::from_secs(10);
    test_kit::eventually_async("the change is seen", limit, || async {
        let next = again(Some(&first)).await;
        if next.manifests.is_none() {
            return Err("still holds");
        }
        assert_eq!(found(&next), ["own-b", "own-release-name"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_kustomizations_may_not_fetch_is_refused() {
    for (resource, wanted) in [
        ("file:///etc//", "a local path that was not given on the command line is not supported"),
        ("git@github.com:org/repo.git//a", "fetching over ssh is not supported"),
        ("http://example.org/a.yaml", "plain http is refused"),
    ] {
        let file = format!("resources: ['{resource}']");
        let files = Files::new(&[("app/kustomization.yaml", &file)]);
        let repositories = repositories(files.directory.path(), files.cache.path());
        let message = run(&repositories, request(json!([{"path": "app"}]))).await.unwrap_err();
        assert!(message.contains(wanted), "{resource}: {message}");
    }
}
