use std::sync::Arc;

use serde_json::json;
use tree::{MemoryTree, TreePath};

use super::*;

fn set(spec: Value) -> Value {
    let mut spec = spec;
    if spec["template"].is_null() {
        spec["template"] = json!({
            "metadata": {"name": "{{name}}"},
            "spec": {"project": "default", "source": {"repoURL": "https://r", "path": "{{name}}"}},
        });
    }
    json!({"metadata": {"name": "set", "namespace": "argocd", "uid": "u"}, "spec": spec})
}

fn tree(files: &[(&str, &str)]) -> Answer {
    let mut tree = MemoryTree::new();
    for (path, content) in files {
        tree.insert(TreePath::parse(path).unwrap(), (*content).to_owned());
    }
    Answer::Repository(Arc::new(tree))
}

/// The Applications, every question about a repository answered with these files.
fn generated(set: &Value, known: Known, files: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
    let mut known = known;
    for _ in 0..5 {
        match generate(set, &known)? {
            Outcome::Generated(generated) => return Ok(generated.applications),
            Outcome::Asks(questions) => {
                for question in questions {
                    known.answers.insert(question, Ok(tree(files)));
                }
            }
        }
    }
    panic!("it asks for ever")
}

/// The names of the Applications.
fn names(spec: Value, files: &[(&str, &str)]) -> Vec<String> {
    let applications = generated(&set(spec), Known::default(), files).unwrap();
    applications.iter().map(|application| meta::name(application).to_owned()).collect()
}

fn error(spec: Value) -> String {
    generated(&set(spec), Known::default(), &[]).unwrap_err().message
}

/// A set whose Applications are named after parameters, in Go's templates.
fn go(generators: Value, name: &str) -> Value {
    json!({
        "goTemplate": true,
        "goTemplateOptions": ["missingkey=error"],
        "generators": generators,
        "template": {"metadata": {"name": name}, "spec": {"project": "default"}},
    })
}

fn simple(generators: Value, name: &str) -> Value {
    json!({"generators": generators, "template": {"metadata": {"name": name}, "spec": {"project": "default"}}})
}

const FILES: [(&str, &str); 7] = [
    ("apps/One/Chart.yaml", "x"),
    ("apps/two/deep/file", "x"),
    ("apps/.hidden/file", "x"),
    ("clusters/a/config.yaml", "name: first\nsize: 1000000\nnested: {list: [x, z]}\n"),
    ("clusters/b/config.json", "[{\"name\": \"second\"}, {\"name\": \"third\"}]"),
    ("clusters/c/other.yaml", "name: other\n"),
    ("README.md", "x"),
];

#[test]
fn lists() {
    let elements = json!([{"list": {"elements": [{"name": "a", "values": {"x": "1"}}, {"name": "b"}]}}]);
    assert_eq!(names(simple(elements.clone(), "{{ name }}-{{values.x}}"), &[]), ["a-1", "b-{{values.x}}"]);
    assert_eq!(names(simple(json!([{"list": {"elementsYaml": "- name: z"}}]), "{{name}}"), &[]), ["z"]);
    assert!(
        error(simple(json!([{"list": {"elements": [{"n": 1}]}}]), "x"))
            .contains("error parsing value as string")
    );
    assert_eq!(
        names(
            go(json!([{"list": {"elements": [{"n": 1, "m": {"k": [1, 2]}}]}}]), "{{.n}}-{{index .m.k 1}}"),
            &[]
        ),
        ["1-2"]
    );
}

#[test]
fn a_missing_key_is_an_error_and_generates_nothing() {
    let failure = generated(
        &set(go(json!([{"list": {"elements": [{"env": "stage"}]}}]), "{{.env}}-{{.branch}}")),
        Known::default(),
        &[],
    )
    .unwrap_err();
    assert_eq!(failure.reason.as_str(), "RenderTemplateParamsError");
    assert_eq!(
        failure.message,
        "failed to execute go template {{.env}}-{{.branch}}: template: :1:11: executing \"\" at <.branch>: map has no entry for key \"branch\""
    );
}

#[test]
fn clusters_are_selected() {
    let cluster = |name: &str, env: &str| Cluster {
        name: name.to_owned(),
        server: format!("https://{name}"),
        labels: BTreeMap::from([("env".to_owned(), env.to_owned())]),
        ..Cluster::default()
    };
    let known =
        || Known { clusters: vec![cluster("West", "prod"), cluster("east", "stage")], ..Known::default() };
    let names = |spec: Value| -> Vec<String> {
        let applications = generated(&set(spec), known(), &[]).unwrap();
        applications.iter().map(|application| meta::name(application).to_owned()).collect()
    };
    let all = json!([{"clusters": {"values": {"v": "{{name}}!"}}}]);
    assert_eq!(
        names(simple(all, "{{nameNormalized}} {{server}} {{metadata.labels.env}} {{values.v}}")),
        [
            "west https://West prod West!",
            "east https://east stage east!",
            "in-cluster https://kubernetes.default.svc {{metadata.labels.env}} in-cluster!"
        ]
    );
    let selected = json!([{"clusters": {"selector": {"matchLabels": {"env": "stage"}}}}]);
    assert_eq!(names(go(selected, "{{.name}}-{{.metadata.labels.env}}")), ["east-stage"]);
    let flat = json!([{"clusters": {"flatList": true}}]);
    assert_eq!(names(go(flat, "{{range .clusters}}{{.name}} {{end}}")), ["West east in-cluster "]);
}

#[test]
fn directories() {
    let git = |directories: Value| json!([{"git": {"repoURL": "https://r", "revision": "HEAD", "directories": directories}}]);
    let flat = "{{path}}|{{path.basename}}|{{path.basenameNormalized}}|{{path[0]}}";
    assert_eq!(
        names(simple(git(json!([{"path": "apps/*"}])), flat), &FILES),
        ["apps/One|One|one|apps", "apps/two|two|two|apps"]
    );
    let but = json!([{"path": "apps/two", "exclude": true}, {"path": "apps/*"}]);
    assert_eq!(names(go(git(but), "{{.path.path}} {{index .path.segments 1}}"), &FILES), ["apps/One One"]);
    assert_eq!(names(go(git(json!([{"path": "apps/**"}])), "{{.path.basename}}"), &FILES), ["One", "two"]);
    let mut prefixed = git(json!([{"path": "apps/O*"}]));
    prefixed[0]["git"]["pathParamPrefix"] = "my".into();
    assert_eq!(names(go(prefixed.clone(), "{{.my.path.basename}}"), &FILES), ["One"]);
    assert_eq!(names(simple(prefixed, "{{my.path.basename}}"), &FILES), ["One"]);
}

#[test]
fn files() {
    let git = |files: Value| json!([{"git": {"repoURL": "https://r", "files": files, "values": {"dir": "{{.path.basename}}"}}}]);
    assert_eq!(
        names(
            go(git(json!([{"path": "clusters/*/config.*"}])), "{{.name}} {{.values.dir}} {{.path.filename}}"),
            &FILES
        ),
        ["first a config.yaml", "second b config.json", "third b config.json"]
    );
    let but = json!([{"path": "clusters"}, {"path": "clusters/**/other.yaml", "exclude": true}]);
    assert_eq!(names(go(git(but), "{{.name}}"), &FILES), ["first", "second", "third"]);
    let plain = json!([{"git": {"repoURL": "https://r", "files": [{"path": "clusters/a/*"}]}}]);
    assert_eq!(
        names(simple(plain, "{{name}} {{size}} {{nested.list.1}} {{path.filenameNormalized}}"), &FILES),
        ["first 1e+06 z config.yaml"]
    );
}

#[test]
fn a_matrix_combines_and_fills_its_second_generator() {
    let matrix = json!([{"matrix": {"generators": [
        {"list": {"elements": [{"dir": "apps", "name": "outer"}, {"dir": "clusters"}]}},
        {"git": {"repoURL": "https://r", "directories": [{"path": "{{.dir}}/*"}], "values": {"own": "{{.path.basename}}"}}},
    ]}}]);
    assert_eq!(
        names(go(matrix, "{{.dir}}-{{.path.basename}}-{{.values.own}}"), &FILES),
        ["apps-One-One", "apps-two-two", "clusters-a-a", "clusters-b-b", "clusters-c-c"]
    );
    let both = |second: Value| json!([{"matrix": {"generators": [{"list": {"elements": [{"a": "1"}]}}, {"list": {"elements": [second]}}]}}]);
    assert_eq!(names(go(both(json!({"a": "2", "b": "3"})), "{{.a}}{{.b}}"), &[]), ["13"], "the first wins");
    assert!(
        error(simple(both(json!({"a": "2"})), "x"))
            .contains("found duplicate key a with different value, a: 1 ,b: 2")
    );
    assert!(error(simple(json!([{"matrix": {"generators": []}}]), "x")).contains("less than two generators"));
}

#[test]
fn a_merge_changes_what_has_the_same_keys() {
    let merge = |keys: Value| {
        json!([{"merge": {"mergeKeys": keys, "generators": [
            {"list": {"elements": [{"env": "a", "size": "1"}, {"env": "b", "size": "1"}]}},
            {"list": {"elements": [{"env": "b", "size": "2"}, {"env": "c", "size": "3"}]}},
        ]}}])
    };
    assert_eq!(names(simple(merge(json!(["env"])), "{{env}}{{size}}"), &[]), ["a1", "b2"]);
    assert!(error(simple(merge(json!([])), "x")).contains("no merge keys"));
    assert!(error(simple(merge(json!(["other"])), "x")).contains("Duplicate key was {\"other\":null}"));
}

#[test]
fn pull_requests_are_filtered() {
    let pull = |number, branch: &str| PullRequest {
        number,
        branch: branch.to_owned(),
        head_sha: "0123456789abcdef".to_owned(),
        labels: vec!["preview".to_owned()],
        ..PullRequest::default()
    };
    let generators = json!([{"pullRequest": {"github": {"owner": "o", "repo": "r"}, "requeueAfterSeconds": 10, "filters": [{"branchMatch": "^feat"}]}}]);
    let set = set(go(generators, "{{.number}}-{{.branch_slug}}-{{.head_short_sha}}-{{index .labels 0}}"));
    let Outcome::Asks(questions) = generate(&set, &Known::default()).unwrap() else {
        panic!("it knows already")
    };
    let question = questions.into_iter().next().unwrap();
    let Question::PullRequests { generator } = &question else { panic!("{question:?}") };
    assert_eq!(generator, r#"{"github":{"owner":"o","repo":"r"}}"#);
    let answer = Answer::PullRequests(vec![pull(1, "feat/Some_Thing"), pull(2, "main")]);
    let known = Known { answers: BTreeMap::from([(question, Ok(answer))]), ..Known::default() };
    let Outcome::Generated(generated) = generate(&set, &known).unwrap() else { panic!("it asks again") };
    assert_eq!(meta::name(&generated.applications[0]), "1-feat-some-thing-01234567-preview");
    assert_eq!((generated.applications.len(), generated.again), (1, Some(Duration::from_secs(10))));
}

#[test]
fn a_selector_looks_at_flattened_parameters() {
    let generators = json!([{
        "list": {"elements": [{"name": "a", "m": {"url": "https://x:1/"}}, {"name": "b"}]},
        "selector": {"matchLabels": {"m.url": "https://x:1/"}},
    }]);
    assert_eq!(names(go(generators, "{{.name}}"), &[]), ["a"]);
    let generators = json!([{
        "list": {"elements": [{"name": "a"}, {"name": "b"}]},
        "selector": {"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["a"]}]},
    }]);
    assert_eq!(names(go(generators, "{{.name}}"), &[]), ["b"]);
}

#[test]
fn what_is_not_supported_fails_as_a_whole() {
    let list = json!({"list": {"elements": [{"name": "a"}]}});
    for kind in ["scmProvider", "clusterDecisionResource", "plugin"] {
        let message = error(simple(json!([list, {kind: {}}]), "x"));
        assert_eq!(message, format!("spec.generators[1].{kind}: this generator is not supported"));
    }
    let gitlab = json!([{"pullRequest": {"gitlab": {"project": "p"}}}]);
    assert!(error(simple(gitlab, "x")).contains("spec.generators[0].pullRequest.gitlab"));
    assert!(error(simple(json!([{"nonsense": {}}]), "x")).contains("no such generator"));
    assert!(error(simple(json!([{"list": {}, "git": {}}]), "x")).contains("one kind"));
}

#[test]
fn templates_are_merged_filled_and_patched() {
    let spec = json!({
        "goTemplate": true,
        "generators": [
            {"list": {"elements": [{"env": "stage"}], "template": {"metadata": {}, "spec": {"destination": {"name": "own"}}}}},
            {"list": {"elements": [{"env": "prod"}]}},
        ],
        "template": {
            "metadata": {"name": "{{.env}}", "labels": {"{{.env}}": "yes"}, "namespace": "elsewhere"},
            "spec": {"project": "default", "destination": {"name": "set", "namespace": "shop"}},
        },
        "templatePatch": "{{ if eq .env \"prod\" }}\nmetadata: {annotations: {a: '{{ .env }}'}, finalizers: [more]}\nspec: {project: other, syncPolicy: {automated: {}}}\n{{ end }}",
    });
    let applications = generated(&set(spec), Known::default(), &[]).unwrap();
    let [stage, prod] = &applications[..] else { panic!("{applications:?}") };
    assert_eq!(stage["spec"]["destination"], json!({"name": "own", "namespace": "shop"}));
    assert_eq!(
        stage["metadata"],
        json!({
            "name": "stage", "namespace": "argocd", "labels": {"stage": "yes"},
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        })
    );
    assert_eq!(prod["metadata"]["annotations"], json!({"a": "prod"}));
    assert_eq!(prod["metadata"]["finalizers"], json!(["resources-finalizer.argocd.argoproj.io", "more"]));
    assert_eq!(prod["spec"]["project"], "default");
    assert_eq!(prod["spec"]["syncPolicy"], json!({"automated": {}}));
}

#[test]
fn resources_may_be_preserved() {
    let mut spec = simple(json!([{"list": {"elements": [{"name": "a"}]}}]), "{{name}}");
    spec["syncPolicy"] = json!({"preserveResourcesOnDeletion": true});
    let applications = generated(&set(spec), Known::default(), &[]).unwrap();
    assert!(applications[0]["metadata"]["finalizers"].is_null());
}

#[test]
fn an_update_keeps_what_is_others() {
    let set = set(json!({
        "preservedFields": {"annotations": ["mine"]},
        "ignoreApplicationDifferences": [{"jsonPointers": ["/spec/source/kustomize/images"]}, {"name": "other", "jsonPointers": ["/spec/project"]}],
    }));
    let generated = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "a", "namespace": "argocd", "labels": {"new": "1"}, "finalizers": ["f"]},
        "spec": {"project": "default", "source": {"path": "new"}},
    });
    let live = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {
            "name": "a", "namespace": "argocd", "uid": "x", "labels": {"old": "1"},
            "annotations": {"mine": "1", "foreign": "1", "argocd.argoproj.io/refresh": "hard"},
            "finalizers": ["post-delete-finalizer.argocd.argoproj.io/cleanup", "gone"],
        },
        "spec": {"project": "edited", "source": {"path": "old", "kustomize": {"images": ["i:2"]}}},
        "status": {"sync": {}},
    });
    let new = update::updated(&set, &generated, &live).unwrap();
    assert_eq!(
        new["spec"],
        json!({"project": "default", "source": {"path": "new", "kustomize": {"images": ["i:2"]}}})
    );
    assert_eq!(new["metadata"]["annotations"], json!({"mine": "1", "argocd.argoproj.io/refresh": "hard"}));
    assert_eq!(new["metadata"]["labels"], json!({"new": "1"}));
    assert_eq!(
        new["metadata"]["finalizers"],
        json!(["f", "post-delete-finalizer.argocd.argoproj.io/cleanup"])
    );
    assert_eq!(new["status"], live["status"]);
    assert!(update::owns(&set, &new));
    assert_eq!(update::updated(&set, &generated, &new).unwrap(), new, "nothing more to do");
    let mut foreign = live;
    foreign["metadata"]["ownerReferences"] = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "b", "uid": "y", "controller": true}]);
    let refused = update::updated(&set, &generated, &foreign).unwrap_err();
    assert_eq!(refused, "Object argocd/a is already owned by another ApplicationSet controller b");
}

#[test]
fn the_status_says_what_happened_once() {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let fine = status::Report { generated: true, ..status::Report::default() };
    let application = json!({"metadata": {"name": "a", "namespace": "argocd"}, "status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}});
    let first = status::build(&Value::Null, &fine, Some(std::slice::from_ref(&application)), at(0));
    assert_eq!(first["resources"][0]["status"], "Synced");
    assert_eq!(first["resourcesCount"], 1);
    let types: Vec<_> =
        first["conditions"].as_array().unwrap().iter().map(|c| (&c["type"], &c["status"])).collect();
    assert_eq!(
        json!(types),
        json!([["ErrorOccurred", "False"], ["ParametersGenerated", "True"], ["ResourcesUpToDate", "True"]])
    );
    assert_eq!(status::build(&first, &fine, Some(&[application]), at(9)), first);
    let broken =
        status::Report { error: Some(("R".to_owned(), "m".to_owned())), ..status::Report::default() };
    let second = status::build(&first, &broken, None, at(9));
    assert_eq!(
        second["conditions"][0],
        json!({"type": "ErrorOccurred", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "1970-01-01T00:00:09Z"})
    );
    assert_eq!(second["resources"], first["resources"]);
}
