use std::collections::BTreeMap;

use serde_json::json;
use tree::{MemoryTree, TreePath};

use super::*;

fn parts() -> Parts {
    let rule = |resource: &str| json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
    Parts {
        version: "0.1.0".to_owned(),
        definitions: vec![json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "applications.argoproj.io", "labels": {"app.kubernetes.io/part-of": "argocd"}},
            "spec": {"names": {"plural": "applications"}},
        })],
        rules: Rules {
            applications: rule("applications"),
            cluster: rule("cluster"),
            argo_cd: rule("argocd"),
            rollouts: rule("rollouts"),
            deploy: rule("deploy"),
            deploy_namespaced: rule("deploy-namespaced"),
        },
    }
}

fn named() -> Settings {
    Settings { image: "registry.example.org/mainstay:1".to_owned(), ..Settings::default() }
}

/// By kind, namespace and name, so that the order does not matter.
fn sorted(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let key = |object: &Value| {
        let meta = &object["metadata"];
        format!("{} {}/{}", object["kind"], meta["namespace"], meta["name"])
    };
    let count = objects.len();
    let sorted: BTreeMap<String, Value> = objects.into_iter().map(|object| (key(&object), object)).collect();
    assert_eq!(sorted.len(), count, "no object is there twice");
    sorted
}

fn rendered(files: &BTreeMap<String, String>, namespace: &str, values: Value) -> Result<Vec<Value>, String> {
    let mut tree = MemoryTree::new();
    for (path, text) in files {
        tree.insert(TreePath::parse(&format!("mainstay/{path}")).unwrap(), text.clone());
    }
    let chart = helm::load(&tree, "mainstay").unwrap();
    let options = helm::Options {
        release_name: NAME.to_owned(),
        namespace: namespace.to_owned(),
        include_crds: true,
        values: vec![values],
        ..helm::Options::default()
    };
    let rendered = helm::render(&chart, &options).map_err(|error| error.to_string())?;
    let all = rendered.crds.iter().chain(&rendered.manifests);
    Ok(all.flat_map(|manifest| yaml::documents(&manifest.text).unwrap()).collect())
}

fn settings_of(settings: &[(&str, Value)]) -> Settings {
    let mut all = named();
    for (name, value) in settings {
        match *name {
            "namespaces" => all.namespaces = serde_json::from_value(value.clone()).unwrap(),
            "deployRole" => all.deploy_role = value.as_str().unwrap().to_owned(),
            "rollouts" => all.rollouts = value == true,
            "webhooks" => all.webhooks = value == true,
            "networkPolicy" => all.network_policy = value == true,
            "applicationsNamespace" => all.applications_namespace = value.as_str().unwrap().to_owned(),
            "replicas" => all.replicas = u32::try_from(value.as_u64().unwrap()).unwrap(),
            "tolerations" => all.tolerations = value.clone(),
            "nodeSelector" => all.node_selector = value.clone(),
            "resources" => all.resources = value.clone(),
            other => panic!("{other}"),
        }
    }
    all
}

#[test]
fn the_chart_renders_to_the_manifests() {
    let cases: [&[(&str, Value)]; 9] = [
        &[],
        &[("namespaces", json!(["shop", "web"]))],
        &[("namespaces", json!(["shop"])), ("deployRole", json!("edit"))],
        &[("deployRole", json!("platform: all \"of\" it")), ("replicas", json!(3))],
        &[("rollouts", json!(true)), ("networkPolicy", json!(false)), ("resources", json!({}))],
        &[("webhooks", json!(false))],
        &[("webhooks", json!(true)), ("networkPolicy", json!(false))],
        &[("applicationsNamespace", json!("mainstay"))],
        &[
            ("tolerations", json!([{"key": "a", "operator": "Exists"}])),
            ("nodeSelector", json!({"disk": "ssd", "yes": "no"})),
        ],
    ];
    let parts = parts();
    let plain = chart(&parts, &Settings::default());
    for case in cases {
        let settings = settings_of(case);
        let mut expected = sorted(manifests(&parts, &settings));
        expected.remove(r#""Namespace" null/"mainstay""#).expect("the namespace of the release");
        // Told when the chart was made, and told when it is rendered.
        let own = rendered(&chart(&parts, &settings), &settings.namespace, json!({})).unwrap();
        assert_eq!(sorted(own), expected, "{case:?}");
        let mut values: Value =
            case.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if values.is_null() {
            values = json!({});
        }
        values["image"] = settings.image.clone().into();
        // Helm merges maps: what the default has is taken away one by one.
        if values["resources"] == json!({}) {
            values["resources"] = json!({"requests": null, "limits": null});
        }
        let told = rendered(&plain, &settings.namespace, values).unwrap();
        assert_eq!(sorted(told), expected, "{case:?}");
    }
}

#[test]
fn what_the_chart_cannot_use_is_refused() {
    let files = chart(&parts(), &Settings::default());
    let refused = |values: Value| rendered(&files, "mainstay", values).unwrap_err();
    assert!(refused(json!({})).contains("name the image"));
    let mut error = refused(json!({"image": "a:1", "replica": 3}));
    assert!(error.contains("replica"), "{error}");
    error = refused(json!({"image": "a:1", "namespaces": ["a\nb"]}));
    assert!(error.contains("namespaces"), "{error}");
}

#[test]
fn the_workload_asks_for_nothing_special() {
    let all = manifests(&parts(), &named());
    let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["image"], "registry.example.org/mainstay:1");
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert!(pod.get("tolerations").is_none(), "what is empty is left out");
}

#[test]
fn a_list_of_namespaces_leaves_no_right_elsewhere() {
    let settings = Settings { namespaces: vec!["shop".to_owned(), "web".to_owned()], ..named() };
    for object in manifests(&parts(), &settings) {
        let resources = || object["rules"].as_array().into_iter().flatten().map(|rule| &rule["resources"][0]);
        match object["kind"].as_str().unwrap() {
            "ClusterRole" => {
                let of: Vec<&Value> = resources().collect();
                assert_eq!(of, ["cluster", "namespaces"]);
                assert_eq!(object["rules"][1]["resourceNames"], json!(["shop", "web"]));
            }
            "Role" if resources().any(|resource| resource == "deploy-namespaced") => {
                assert!(["shop", "web"].contains(&object["metadata"]["namespace"].as_str().unwrap()));
            }
            _ => assert!(resources().all(|resource| resource != "deploy"), "{object}"),
        }
    }
}

#[test]
fn webhooks_are_taken_unless_told_otherwise() {
    let named_so = |settings: &Settings| {
        let all = manifests(&parts(), settings);
        let names = all.iter().filter(|object| object["metadata"]["name"] == "mainstay-webhooks");
        let mut kinds: Vec<String> =
            names.map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
        let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let words = arguments.as_array().unwrap().iter().filter_map(Value::as_str);
        kinds.extend(words.filter(|word| word.contains("webhooks")).map(str::to_owned));
        kinds
    };
    assert_eq!(named_so(&named()), ["Service", "NetworkPolicy", "--webhooks=0.0.0.0:8090"]);
    let closed = Settings { webhooks: false, ..named() };
    assert_eq!(named_so(&closed), [""; 0]);
}
