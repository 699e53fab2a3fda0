use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::gvk::GroupVersionKind;

fn deployment() -> GroupVersionKind {
    GroupVersionKind::new("apps", "v1", "Deployment")
}

fn strategic_on(gvk: &GroupVersionKind, mut target: Value, patch: &Value) -> Value {
    strategic(&mut target, patch, gvk).unwrap();
    target
}

fn pod(target: Value, patch: &Value) -> Value {
    strategic_on(&GroupVersionKind::new("", "v1", "Pod"), target, patch)
}

/// A kubelet says that its list of addresses is the whole list before there is any.
#[test]
fn a_list_that_replaces_nothing_is_taken_without_its_directive() {
    let patch = json!({"status": {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.5"}]}});
    assert_eq!(pod(json!({}), &patch)["status"]["podIPs"], json!([{"ip": "10.0.0.5"}]));
    let empty = json!({"status": {"podIPs": [{"$patch": "replace"}]}});
    assert_eq!(pod(json!({"status": {}}), &empty)["status"]["podIPs"], json!([]));
}

mod json_patches {
    use super::*;

    fn patched(mut target: Value, operations: &Value) -> Result<Value, PatchError> {
        let before = target.clone();
        let result = json_patch(&mut target, operations);
        if result.is_err() {
            assert_eq!(target, before, "a failed patch changed its target");
        }
        result.map(|()| target)
    }

    /// The examples of RFC 6902, appendix A.
    #[test]
    fn examples_of_the_rfc() {
        for (target, operations, result) in [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"baz": "qux", "foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                json!({"foo": ["bar", "qux", "baz"]}),
            ),
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "remove", "path": "/baz"}]),
                json!({"foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": ["bar", "baz"]}),
            ),
            (
                json!({"baz": "qux"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                json!({"baz": "boo"}),
            ),
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
            ),
            (
                json!({"foo": ["all", "grass", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                json!({"foo": ["all", "cows", "eat", "grass"]}),
            ),
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/child", "value": {"grandchild": {}}}]),
                json!({"foo": "bar", "child": {"grandchild": {}}}),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
                json!({"foo": ["bar", ["abc"]]}),
            ),
            (
                json!({"/": 9, "~1": 10}),
                json!([{"op": "test", "path": "/~01", "value": 10}]),
                json!({"/": 9, "~1": 10}),
            ),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
            // Fields of an object need not be there to be removed or replaced.
            (json!({"a": 1}), json!([{"op": "remove", "path": "/b"}]), json!({"a": 1})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 2}}]), json!({"b": 2})),
            (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]})),
        ] {
            assert_eq!(patched(target, &operations).unwrap(), result, "{operations}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        for operations in [
            json!([{"op": "add", "path": "/a/b/c", "value": 1}]),
            json!([{"op": "remove", "path": "/missing/field"}]),
            json!([{"op": "replace", "path": "/list/9", "value": 1}]),
            json!([{"op": "add", "path": "/list/9", "value": 1}]),
            json!([{"op": "add", "path": "/list/01", "value": 1}]),
            json!([{"op": "test", "path": "/x", "value": "1"}]),
            json!([{"op": "add", "path": "/y", "value": 1}, {"op": "test", "path": "/x", "value": 2}]),
            json!([{"op": "move", "from": "/map", "path": "/map/in"}]),
            json!([{"op": "bogus", "path": "/x"}]),
            json!([{"op": "add", "path": "x", "value": 1}]),
            json!([{"op": "add", "path": "/x"}]),
            json!({"op": "add"}),
        ] {
            assert!(patched(json!({"x": 1, "list": [1], "map": {}}), &operations).is_err(), "{operations}");
        }
    }

    #[test]
    fn copies_cannot_grow_an_object_without_bound() {
        let operations: Vec<Value> =
            (0..64).map(|index| json!({"op": "copy", "from": "", "path": format!("/c{index}")})).collect();
        let result = patched(json!({"a": "x".repeat(100)}), &Value::Array(operations));
        assert!(matches!(result, Err(PatchError::TooLarge(..))));
    }
}

/// The test cases of RFC 7386, appendix A.
#[test]
fn merge_patch_examples_of_the_rfc() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let mut merged = target;
        merge(&mut merged, &patch);
        assert_eq!(merged, result, "{patch}");
    }
}

#[test]
fn strategic_merges_by_key_and_keeps_the_servers_items() {
    let merged = pod(
        json!({"spec": {"containers": [{"name": "side", "image": "s"}, {"name": "web", "image": "a", "env": [{"name": "X", "value": "1"}]}]}}),
        &json!({"spec": {"containers": [{"name": "web", "image": "b", "env": [{"name": "Y", "value": "2"}]}, {"name": "new", "image": "n"}]}}),
    );
    assert_eq!(
        merged,
        json!({"spec": {"containers": [
            {"name": "side", "image": "s"},
            {"name": "web", "image": "b", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
            {"name": "new", "image": "n"},
        ]}})
    );
}

#[test]
fn strategic_directives() {
    let target = || {
        json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "volumes": [{"name": "v", "emptyDir": {}}],
                "tolerations": [{"key": "k"}]}})
    };
    let spec = |patch: Value| pod(target(), &json!({ "spec": patch }))["spec"].clone();
    let metadata = |patch: Value| pod(target(), &json!({ "metadata": patch }))["metadata"].clone();
    assert_eq!(
        spec(json!({"containers": [{"name": "a", "$patch": "delete"}]}))["containers"],
        json!([{"name": "b"}])
    );
    assert_eq!(
        spec(json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}))["containers"],
        json!([{"name": "c"}])
    );
    assert_eq!(metadata(json!({"labels": {"$patch": "replace", "z": "3"}}))["labels"], json!({"z": "3"}));
    assert_eq!(metadata(json!({"labels": {"$patch": "delete"}}))["labels"], json!({}));
    assert_eq!(metadata(json!({"labels": {"$patch": "merge", "x": null}}))["labels"], json!({"y": "2"}));
    assert_eq!(metadata(json!({"finalizers": ["c", "a"]}))["finalizers"], json!(["c", "a", "b"]));
    assert_eq!(
        metadata(
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]})
        )["finalizers"],
        json!(["c", "b"])
    );
    assert_eq!(
        spec(
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]})
        )["volumes"],
        json!([{"name": "v", "configMap": {"name": "c"}}])
    );
    assert_eq!(
        spec(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}))["containers"],
        json!([{"name": "b"}, {"name": "a"}])
    );
    // Lists without a merge key are replaced; null removes; an absent list takes the patch without directives.
    assert_eq!(spec(json!({"tolerations": [{"key": "n"}]}))["tolerations"], json!([{"key": "n"}]));
    assert_eq!(spec(json!({"volumes": null})).get("volumes"), None);
    assert_eq!(
        spec(json!({"initContainers": [{"name": "i", "image": null}, {"name": "j", "$patch": "delete"}]}))["initContainers"],
        json!([{"name": "i"}])
    );
}

#[test]
fn strategic_refuses_what_it_cannot_place() {
    let refused = |patch: Value, gvk: &GroupVersionKind| {
        let mut target = json!({"spec": {"containers": [{"name": "a"}]}});
        strategic(&mut target, &patch, gvk).unwrap_err()
    };
    let pod = GroupVersionKind::new("", "v1", "Pod");
    assert!(matches!(refused(json!({"spec": {"$patch": "bogus"}}), &pod), PatchError::Unmergeable(_)));
    let secret = refused(json!({"spec": {"containers": [{"image": "hunter2"}]}}), &pod).to_string();
    assert!(secret.contains("does not contain declared merge key: name") && !secret.contains("hunter2"));
    assert!(matches!(
        refused(json!({"spec": {"$retainKeys": ["b"], "a": 1}}), &pod),
        PatchError::Malformed(_)
    ));
    let custom = GroupVersionKind::new("argoproj.io", "v1alpha1", "Rollout");
    assert!(matches!(refused(json!({}), &custom), PatchError::NoStrategy(_)));
}

fn live() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "1", "labels": {"team": "x", "added": "by-others"}},
        "spec": {"replicas": 7, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "containers": [{"name": "web", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "resources": {"limits": {"cpu": "500m"}}, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                    {"name": "sidecar", "image": "injected:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30}}},
    })
}

fn desired() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "creationTimestamp": null, "labels": {"team": "x"}},
        "spec": {"strategy": {"type": "RollingUpdate"}, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"creationTimestamp": null, "labels": {"app": "web"}}, "spec": {
                "containers": [{"name": "web", "image": "web:1", "resources": {"limits": {"cpu": 0.5}},
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}}},
    })
}

#[test]
fn three_way_of_an_unchanged_manifest_is_empty() {
    // Defaults, others' labels, sidecars and replicas, nulls and differently written quantities are no change.
    assert_eq!(three_way(Some(&desired()), &desired(), &live(), &deployment()).unwrap(), json!({}));
    assert_eq!(three_way(None, &desired(), &live(), &deployment()).unwrap(), json!({}));
}

#[test]
fn three_way_sends_changes_and_removes_only_what_was_applied() {
    let mut modified = desired();
    modified["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    modified["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "9"}]);
    modified["metadata"]["labels"] = json!({"new": "label"});
    let patch = three_way(Some(&desired()), &modified, &live(), &deployment()).unwrap();
    assert_eq!(
        patch,
        json!({
            "metadata": {"labels": {"team": null, "new": "label"}},
            "spec": {"strategy": {"$retainKeys": ["type"]}, "template": {"spec": {
                "$setElementOrder/containers": [{"name": "web"}],
                "containers": [{"name": "web", "image": "web:2",
                    "$setElementOrder/env": [{"name": "A"}],
                    "env": [{"name": "A", "value": "9"}, {"name": "B", "$patch": "delete"}]}]}}},
        })
    );
    let result = strategic_on(&deployment(), live(), &patch);
    assert_eq!(result["metadata"]["labels"], json!({"added": "by-others", "new": "label"}));
    assert_eq!(result["spec"]["replicas"], 7);
    let containers = result["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2);
    assert_eq!(containers[0]["env"], json!([{"name": "A", "value": "9"}]));
}

#[test]
fn three_way_switches_a_volumes_source_and_a_strategys_type() {
    let mut current = live();
    current["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let mut modified = desired();
    modified["spec"]["strategy"] = json!({"type": "Recreate"});
    modified["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "c"}}]);
    let patch = three_way(None, &modified, &current, &deployment()).unwrap();
    let result = strategic_on(&deployment(), current, &patch);
    assert_eq!(result["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(
        result["spec"]["template"]["spec"]["volumes"],
        json!([{"name": "v", "configMap": {"name": "c"}}])
    );
}

#[test]
fn three_way_tells_ports_apart_by_number_and_protocol() {
    let dns = |image: &str, name: &str| {
        json!({"spec": {"containers": [{"name": "dns", "image": image, "ports": [
            {"containerPort": 53, "protocol": "TCP", "name": name}, {"containerPort": 53, "protocol": "UDP", "name": "udp"}]}]}})
    };
    let pod_gvk = GroupVersionKind::new("", "v1", "Pod");
    let patch = three_way(None, &dns("b", "tcp"), &dns("a", "tcp"), &pod_gvk).unwrap();
    assert_eq!(patch["spec"]["containers"], json!([{"name": "dns", "image": "b"}]));
    let patch = three_way(None, &dns("a", "new"), &dns("a", "tcp"), &pod_gvk).unwrap();
    assert_eq!(pod(dns("a", "tcp"), &patch), dns("a", "new"));
}

/// Lists come from requests: twice the items must not take four times as long.
#[test]
fn large_lists_are_merged_in_reasonable_time() {
    let containers = |image: &str| -> Value {
        (0..40_000).map(|index| json!({"name": format!("c{index}"), "image": image})).collect()
    };
    let object = |image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers(image)},
        "metadata": {"finalizers": (0..40_000).map(|index| format!("f{index}")).collect::<Vec<_>>()}})
    };
    let gvk = GroupVersionKind::new("", "v1", "Pod");
    let started = std::time::Instant::now();
    let patch = three_way(Some(&object("a")), &object("b"), &object("a"), &gvk).unwrap();
    assert_eq!(pod(object("a"), &patch), object("b"));
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let writer = crate::apply::Writer { manager: "m", subresource: "", now };
    let typing = crate::typing::Typing::of(&gvk);
    let applied = crate::apply::apply(
        Some(&object("a")),
        &object("b"),
        writer,
        crate::apply::OnConflict::Force,
        typing,
    );
    assert_eq!(applied.unwrap()["spec"], object("b")["spec"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "took {:?}", started.elapsed());
}

/// T-18: Secrets that Git holds empty and something in the cluster fills.
#[test]
fn three_way_leaves_data_that_others_filled() {
    let secret = GroupVersionKind::new("", "v1", "Secret");
    let in_git = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let mut filled = in_git.clone();
    filled["data"] = json!({"password": "eA=="});
    assert_eq!(three_way(Some(&in_git), &in_git, &filled, &secret).unwrap(), json!({}));
    // T-17: an explicit null neither sends anything nor fails.
    let mut nulls = in_git.clone();
    nulls["stringData"] = json!(null);
    assert_eq!(three_way(Some(&nulls), &nulls, &filled, &secret).unwrap(), json!({}));
}

#[test]
fn three_way_of_a_custom_resource_is_a_merge_patch() {
    let rollout = GroupVersionKind::new("argoproj.io", "v1alpha1", "Rollout");
    let original = json!({"spec": {"steps": [1, 2], "gone": {"a": 1}, "note": null}});
    let modified = json!({"spec": {"steps": [1, 3], "note": null}, "status": {"x": null}});
    let current =
        json!({"spec": {"steps": [1, 2], "gone": {"a": 1, "b": 2}, "note": "set by others", "replicas": 3}});
    assert_eq!(
        three_way(Some(&original), &modified, &current, &rollout).unwrap(),
        json!({"spec": {"steps": [1, 3], "gone": null}, "status": {}})
    );
    assert_eq!(
        three_way(
            Some(&modified),
            &modified,
            &{
                let mut c = current;
                merge(&mut c, &json!({"spec": {"steps": [1, 3]}, "status": {}}));
                c
            },
            &rollout
        )
        .unwrap(),
        json!({})
    );
}

fn container() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let env = prop::collection::btree_map("[A-D]", "[0-9]", 0..4);
    (name, "[a-c]:[1-3]", env).prop_map(|(name, image, env)| {
        let env: Vec<Value> =
            env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({"name": name, "image": image, "env": env})
    })
}

fn manifest() -> impl Strategy<Value = Value> {
    let containers = prop::collection::vec(container(), 0..4).prop_map(|mut containers| {
        let mut seen = std::collections::BTreeSet::new();
        containers.retain(|container| seen.insert(container["name"].to_string()));
        containers
    });
    let labels = prop::collection::btree_map("[a-d]", "[0-9]", 0..4);
    (labels, containers, prop::option::of(1..9)).prop_map(|(labels, containers, replicas)| {
        json!({"metadata": {"labels": labels}, "spec": {"replicas": replicas,
            "template": {"spec": {"containers": containers}}}})
    })
}

/// Whether everything `wanted` says is true in `found`; list items are found by name.
fn holds(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Null, _) => true,
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(key, value)| match found.get(key) {
                Some(found) => holds(value, found),
                None => value.is_null() || value == &json!({}) || value == &json!([]),
            })
        }
        (Value::Array(wanted), Value::Array(found)) => wanted
            .iter()
            .all(|item| found.iter().any(|other| other["name"] == item["name"] && holds(item, other))),
        _ => wanted == found,
    }
}

proptest! {
    #[test]
    fn a_three_way_patch_makes_the_manifest_true(original in manifest(), modified in manifest(), current in manifest()) {
        let patch = three_way(Some(&original), &modified, &current, &deployment()).unwrap();
        let mut result = current.clone();
        strategic(&mut result, &patch, &deployment()).unwrap();
        prop_assert!(holds(&modified, &result), "patch {} of {} left {}", patch, current, result);
        // And a second one has nothing left to do.
        prop_assert_eq!(three_way(Some(&modified), &modified, &result, &deployment()).unwrap(), json!({}));
    }

    #[test]
    fn a_merge_diff_turns_one_object_into_the_other(a in manifest(), b in manifest()) {
        let (mut a, mut b) = (a, b);
        // A merge patch cannot express a null.
        for value in [&mut a, &mut b] {
            if value["spec"]["replicas"].is_null() {
                value["spec"]["replicas"] = json!(1);
            }
        }
        let patch = merge_diff(&a, &b);
        merge(&mut a, &patch);
        prop_assert_eq!(a, b);
    }
}
