use serde_json::json;

use super::*;

/// Whether the live object differs, under these rules.
fn differs_with(rules: &Value, target: &Value, live: &Value, method: Method) -> bool {
    let (before_target, before_live) = (target.clone(), live.clone());
    let result = compare(target, live, &IgnoreRules::parse(rules).unwrap(), method);
    assert_eq!((target, live), (&before_target, &before_live));
    result.modified
}

fn differs(target: &Value, live: &Value) -> bool {
    differs_with(&json!([]), target, live, Method::ClientSide)
}

/// What the API server would hold after a client-side apply: the manifest, its record and the server's own fields.
fn applied_by_us(target: &Value) -> Value {
    let mut live = target.clone();
    meta::set_annotation(&mut live, LAST_APPLIED, Some(&target.to_string()));
    meta::set(&mut live, "resourceVersion", json!("5"));
    meta::set(&mut live, "uid", json!("u"));
    meta::set(&mut live, "generation", json!(2));
    objects::defaults::apply(&mut live);
    live
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1",
                "resources": {"limits": {"cpu": "1000m", "memory": "1.5Gi"}}}]}}}})
}

#[test]
fn defaults_quantities_and_status_are_no_difference() {
    let target = deployment();
    let mut live = applied_by_us(&target);
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
        json!({"cpu": "1", "memory": "1536Mi"});
    live["status"] = json!({"replicas": 1});
    assert!(!differs(&target, &live));
    let mut numeric = target.clone();
    numeric["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!(1);
    assert!(!differs(&numeric, &live));
    let mut nulls = target.clone();
    nulls["metadata"]["creationTimestamp"] = Value::Null;
    nulls["status"] = json!({});
    nulls["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
    assert!(!differs(&nulls, &live));
}

#[test]
fn what_git_says_and_what_it_stopped_saying_are_differences() {
    let target = deployment();
    let live = applied_by_us(&target);
    let mut image = live.clone();
    image["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    assert!(differs(&target, &image));

    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(5);
    assert!(!differs(&target, &scaled), "Git says nothing of replicas");

    let mut with_label = target.clone();
    with_label["metadata"]["labels"] = json!({"tier": "front"});
    let live_with_label = applied_by_us(&with_label);
    assert!(differs(&target, &live_with_label), "the record shows that it was ours");
    let mut foreign = live.clone();
    foreign["metadata"]["labels"] = json!({"tier": "front"});
    foreign["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("3");
    assert!(!differs(&target, &foreign), "nobody recorded it: it is another's");

    let mut sidecar = live.clone();
    sidecar["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "proxy", "image": "proxy"}));
    assert!(!differs(&target, &sidecar));
}

#[test]
fn secrets_are_compared_in_their_stored_form() {
    let target = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
        "stringData": {"password": "hunter2"}});
    let mut live = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop",
        "annotations": {LAST_APPLIED: target.to_string()}}, "type": "Opaque", "data": {"password": "aHVudGVyMg=="}});
    assert!(!differs(&target, &live));
    live["data"]["password"] = json!("b3RoZXI=");
    assert!(differs(&target, &live));

    // A Secret that is empty in Git and filled by a controller (T-18), and one with `stringData:` (T-17).
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
        "stringData": null});
    let mut filled = applied_by_us(&empty);
    filled["data"] = json!({"password": "aHVudGVyMg=="});
    filled["type"] = json!("Opaque");
    assert!(!differs(&empty, &filled));
}

#[test]
fn controllers_fill_what_is_theirs() {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "view-all"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"view": "true"}}]}, "rules": []});
    let mut live = applied_by_us(&role);
    live["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    assert!(!differs(&role, &live));

    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"}, "webhooks": [{"name": "a.example.org", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"caBundle": "", "service": {"name": "w", "namespace": "shop"}}}]});
    let mut live = applied_by_us(&webhook);
    live["webhooks"][0]["clientConfig"]["caBundle"] = json!("c29tZXRoaW5n");
    assert!(!differs(&webhook, &live));
}

#[test]
fn a_list_that_the_server_writes_as_null_is_an_empty_one() {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "reader", "namespace": "shop"}, "rules": []});
    let mut live = applied_by_us(&role);
    live["rules"] = Value::Null;
    for method in [Method::ClientSide, Method::ServerSide] {
        assert!(!differs_with(&json!([]), &role, &live, method), "{method:?}");
    }
    live["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    assert!(differs(&role, &live));
}

#[test]
fn a_flag_that_is_not_set_may_be_written() {
    let mut target = deployment();
    let container = "/spec/template/spec/containers/0";
    target.pointer_mut(container).unwrap()["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data", "readOnly": false}]);
    let mut live = applied_by_us(&target);
    live.pointer_mut(container).unwrap()["volumeMounts"][0].as_object_mut().unwrap().remove("readOnly");
    assert!(!differs(&target, &live));
    target.pointer_mut(container).unwrap()["volumeMounts"][0]["readOnly"] = json!(true);
    assert!(differs(&target, &live));
    // Not said is something else than no here.
    let mut token = deployment();
    token["spec"]["template"]["spec"]["automountServiceAccountToken"] = json!(false);
    assert!(differs(&token, &applied_by_us(&deployment())));
}

#[test]
fn a_definition_may_say_what_only_older_servers_kept() {
    let target = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "profiles.e.org"}, "spec": {"group": "e.org", "scope": "Namespaced", "preserveUnknownFields": false,
            "names": {"kind": "Profile", "plural": "profiles"}, "versions": [{"name": "v1", "served": true, "storage": true}]}});
    let mut live = applied_by_us(&target);
    live["spec"].as_object_mut().unwrap().remove("preserveUnknownFields");
    assert!(!differs(&target, &live));
    let mut scope = target.clone();
    scope["spec"]["scope"] = json!("Cluster");
    assert!(differs(&scope, &live));
}

#[test]
fn custom_resources_are_plain_json() {
    let target = json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "shop"},
        "spec": {"list": [{"name": "a"}], "map": {"x": 1}, "nothing": null, "whole": 2}});
    let mut live = applied_by_us(&target);
    live["spec"].as_object_mut().unwrap().remove("nothing");
    live["spec"]["whole"] = json!(2.0);
    live["spec"]["map"]["defaulted"] = json!(true);
    assert!(!differs(&target, &live));
    live["spec"]["list"][0]["extra"] = json!(1);
    assert!(differs(&target, &live), "a list of a custom resource is one value");
}

#[test]
fn server_side_apply_takes_back_what_it_gave() {
    let target = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"},
        "data": {"a": "1"}});
    let mut live = target.clone();
    live["data"]["b"] = json!("2");
    live["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}}}]);
    let rules = json!([]);
    assert!(differs_with(&rules, &target, &live, Method::ServerSide));
    live["metadata"]["managedFields"][0]["fieldsV1"] = json!({"f:data": {"f:a": {}}});
    assert!(!differs_with(&rules, &target, &live, Method::ServerSide));
    live["data"]["a"] = json!("changed");
    assert!(differs_with(&rules, &target, &live, Method::ServerSide));
}

#[test]
fn ignored_fields_are_neither_compared_nor_applied() {
    let target = deployment();
    let mut live = applied_by_us(&target);
    live["spec"]["replicas"] = json!(7);
    live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:injected");
    live["metadata"]["managedFields"] = json!([{"manager": "injector", "operation": "Update",
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}}}}]);
    let mut with_replicas = target;
    with_replicas["spec"]["replicas"] = json!(1);
    for rule in [
        json!({"jqPathExpressions": [".spec.replicas", ".spec.template.spec.containers[] | select(.name==\"web\").image"]}),
        json!({"jsonPointers": ["/spec/replicas", "/spec/template/spec/containers/0/image"]}),
        json!({"jsonPointers": ["/spec/replicas"], "managedFieldsManagers": ["injector"]}),
    ] {
        let mut rule = rule;
        rule["group"] = json!("apps");
        rule["kind"] = json!("Deployment");
        let rules = json!([rule]);
        assert!(!differs_with(&rules, &with_replicas, &live, Method::ClientSide), "{rule}");
        assert!(!differs_with(&rules, &with_replicas, &live, Method::ServerSide), "{rule}");
        let respected = respecting_ignored(&with_replicas, &live, &IgnoreRules::parse(&rules).unwrap());
        assert_eq!(respected["spec"]["replicas"], 7);
        assert_eq!(respected["spec"]["template"]["spec"]["containers"][0]["image"], "web:injected");
        rule["namespace"] = json!("elsewhere");
        assert!(differs_with(&json!([rule]), &with_replicas, &live, Method::ClientSide));
    }
}

#[test]
fn unusable_rules_say_why() {
    let error = |rule: Value| IgnoreRules::parse(&json!([rule])).unwrap_err().to_string();
    assert_eq!(error(json!({"jsonPointers": ["spec"]})), "ignoreDifferences: \"spec\" is not a JSON pointer");
    assert_eq!(
        error(json!({"jqPathExpressions": ["reduce .[] as $x (0; .)"]})),
        "ignoreDifferences: jq expression \"reduce .[] as $x (0; .)\": reduce or foreach is not supported yet"
    );
}
