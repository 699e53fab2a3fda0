use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::gvk::GroupVersionKind;
use crate::schema::Schema;

fn typing() -> Typing<'static> {
    Typing::of(&GroupVersionKind::new("apps", "v1", "Deployment"))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn writer(manager: &str, second: i64) -> Writer<'_> {
    Writer { manager, subresource: "", now: at(second) }
}

fn applied(live: Option<&Value>, object: &Value, manager: &str, second: i64) -> Result<Value, ApplyError> {
    apply(live, object, writer(manager, second), OnConflict::Fail, typing())
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "n"}, "spec": spec})
}

fn with_containers(containers: Value) -> Value {
    deployment(json!({"template": {"spec": {"containers": containers}}}))
}

#[test]
fn the_first_apply_owns_what_it_sends() {
    let object = deployment(json!({"replicas": 3, "template": {"spec": {
        "nodeSelector": {"disk": "ssd"},
        "containers": [{"name": "web", "image": "a", "ports": [{"containerPort": 80}]}]}}}));
    let result = applied(None, &object, "argocd", 0).unwrap();
    assert_eq!(
        result["metadata"]["managedFields"],
        json!([{
            "manager": "argocd", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
                "f:nodeSelector": {},
                "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}},
        }])
    );
    // Applying the same again changes nothing, not even the time.
    assert_eq!(applied(Some(&result), &object, "argocd", 9).unwrap(), result);
}

#[test]
fn what_is_applied_no_more_is_removed_unless_somebody_else_owns_it() {
    let first = deployment(json!({"replicas": 3, "paused": true, "template": {"spec": {"containers": [
        {"name": "web", "image": "a"}, {"name": "side", "image": "s"}]}}}));
    let live = applied(None, &first, "git", 0).unwrap();
    let other = deployment(json!({"replicas": 3}));
    let live = applied(Some(&live), &other, "scaler", 1).unwrap();
    let live =
        applied(Some(&live), &with_containers(json!([{"name": "web", "image": "a"}])), "git", 2).unwrap();
    assert_eq!(
        live["spec"],
        json!({"replicas": 3, "selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {
            "containers": [{"name": "web", "image": "a"}]}}})
    );
    // Owned by nobody but the scaler now.
    let mut nothing = deployment(json!({}));
    nothing.as_object_mut().unwrap().remove("spec");
    let live = applied(Some(&live), &nothing, "scaler", 3).unwrap();
    assert_eq!(live["spec"].get("replicas"), None);
    assert_eq!(manager_names(&live), [("git".to_owned(), Operation::Apply, String::new())]);
}

#[test]
fn conflicts_name_the_manager_and_the_field() {
    let live = applied(None, &deployment(json!({"replicas": 3})), "git", 0).unwrap();
    let error = applied(Some(&live), &deployment(json!({"replicas": 5})), "scaler", 1).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"git\": .spec.replicas");

    let mut edited = live.clone();
    edited["spec"]["replicas"] = json!(4);
    edited["spec"]["paused"] = json!(true);
    update_managed_fields(Some(&live), &mut edited, writer("kubectl-edit", 60), typing()).unwrap();
    let wanted = deployment(json!({"replicas": 3, "paused": false}));
    let error = applied(Some(&edited), &wanted, "git", 61).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl-edit\" using apps/v1:\n\
         - .spec.paused\n- .spec.replicas"
    );
    // Forcing takes both fields over, and the editor owns nothing any more.
    let forced = apply(Some(&edited), &wanted, writer("git", 62), OnConflict::Force, typing()).unwrap();
    assert_eq!((&forced["spec"]["replicas"], &forced["spec"]["paused"]), (&json!(3), &json!(false)));
    assert_eq!(manager_names(&forced), [("git".to_owned(), Operation::Apply, String::new())]);
    // The same value is no conflict, and is owned by both.
    let shared = applied(Some(&live), &deployment(json!({"replicas": 3})), "scaler", 1).unwrap();
    assert!(owned_by(&shared, "git").paths().contains(&".spec.replicas".to_owned()));
    assert!(owned_by(&shared, "scaler").paths().contains(&".spec.replicas".to_owned()));
}

#[test]
fn plain_writes_own_what_they_change() {
    let mut created = with_containers(json!([{"name": "web", "image": "a"}]));
    created["metadata"]["labels"] = json!({"app": "web"});
    form::canonical(&mut created);
    update_managed_fields(None, &mut created, writer("kubectl-create", 0), typing()).unwrap();
    assert_eq!(
        created["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:resources": {}}}}}}})
    );
    // A write of nothing changes nothing; a status write is an entry of its own.
    let mut same = created.clone();
    update_managed_fields(Some(&created), &mut same, writer("kubectl-create", 50), typing()).unwrap();
    assert_eq!(same, created);
    let mut status = created.clone();
    status["status"] = json!({"replicas": 1});
    let controller = Writer { manager: "controller", subresource: "status", now: at(1) };
    update_managed_fields(Some(&created), &mut status, controller, typing()).unwrap();
    let entry = &status["metadata"]["managedFields"][1];
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    // An update that sends no managed fields keeps them; one empty entry resets them.
    let mut naive = status.clone();
    naive["metadata"].as_object_mut().unwrap().remove("managedFields");
    update_managed_fields(Some(&status), &mut naive, writer("old-client", 2), typing()).unwrap();
    assert_eq!(naive, status);
    naive["metadata"]["managedFields"] = json!([{}]);
    update_managed_fields(Some(&status), &mut naive, writer("old-client", 2), typing()).unwrap();
    assert_eq!(naive["metadata"].get("managedFields"), None);
}

#[test]
fn objects_from_before_ownership_belong_to_nobody_in_particular() {
    let live = deployment(json!({"replicas": 3, "paused": true}));
    let error = applied(Some(&live), &deployment(json!({"replicas": 4})), "git", 0).unwrap_err();
    assert!(error.to_string().contains("\"before-first-apply\""), "{error}");
    let result = apply(
        Some(&live),
        &deployment(json!({"replicas": 4})),
        writer("git", 0),
        OnConflict::Force,
        typing(),
    );
    assert_eq!(result.unwrap()["spec"], json!({"replicas": 4, "paused": true}));
}

#[test]
fn items_keep_their_order_and_atomic_lists_are_replaced() {
    let first = with_containers(json!([{"name": "b", "image": "b"}]));
    let live = applied(
        None,
        &with_containers(json!([{"name": "a"}, {"name": "b", "image": "b"}, {"name": "c"}])),
        "one",
        0,
    )
    .unwrap();
    let live = applied(Some(&live), &first, "two", 1).unwrap();
    let names: Vec<&str> = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    let args = |args: Value| with_containers(json!([{"name": "a", "args": args}]));
    let live = applied(None, &args(json!(["x", "y"])), "one", 0).unwrap();
    let live = applied(Some(&live), &args(json!(["z"])), "one", 1).unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["args"], json!(["z"]));
}

#[test]
fn malformed_applies_are_refused() {
    let no_key = with_containers(json!([{"image": "a"}]));
    assert!(matches!(applied(None, &no_key, "m", 0), Err(ApplyError::Walk(_))));
    let twice = with_containers(json!([{"name": "a"}, {"name": "a"}]));
    assert!(matches!(applied(None, &twice, "m", 0), Err(ApplyError::Walk(_))));
    let mut managed = deployment(json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert_eq!(applied(None, &managed, "m", 0), Err(ApplyError::ManagedFieldsSet));
}

#[test]
fn bookkeeping_stays_the_servers() {
    let mut live = applied(None, &deployment(json!({"replicas": 1})), "m", 0).unwrap();
    live["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["generation"] = json!(4);
    let mut manifest = deployment(json!({"replicas": 1}));
    manifest["metadata"]["creationTimestamp"] = json!(null);
    let mut again = applied(Some(&live), &manifest, "m", 1).unwrap();
    keep_times(&live, &mut again);
    assert_eq!(again, live);
}

#[test]
fn custom_lists_merge_as_their_schema_says() {
    let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "integer"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "plain": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}))
    .unwrap();
    let custom =
        |spec: Value| json!({"apiVersion": "a.b/v1", "kind": "C", "metadata": {"name": "c"}, "spec": spec});
    let run = |live: Option<&Value>, spec: Value, manager: &str| {
        apply(live, &custom(spec), writer(manager, 0), OnConflict::Fail, Typing::custom(&schema)).unwrap()
    };
    let live = run(
        None,
        json!({"rules": [{"name": "a", "v": 1}], "tags": ["x"], "plain": ["p"], "free": {"k": {"l": 1}}}),
        "one",
    );
    let live = run(Some(&live), json!({"rules": [{"name": "b"}], "tags": ["y"], "free": {"m": [1]}}), "two");
    assert_eq!(
        live["spec"],
        json!({"rules": [{"name": "a", "v": 1}, {"name": "b"}], "tags": ["x", "y"], "plain": ["p"],
            "free": {"k": {"l": 1}, "m": [1]}})
    );
    let live = run(Some(&live), json!({"tags": ["x"]}), "one");
    assert_eq!(live["spec"], json!({"rules": [{"name": "b"}], "tags": ["x", "y"], "free": {"m": [1]}}));
}

#[test]
fn many_updaters_are_folded_together() {
    let mut live = deployment(json!({"replicas": 0}));
    update_managed_fields(None, &mut live, writer("creator", 0), typing()).unwrap();
    for index in 0..15 {
        let mut next = live.clone();
        crate::meta::set_label(&mut next, &format!("l{index}"), Some("x"));
        update_managed_fields(Some(&live), &mut next, writer(&format!("m{index}"), index + 1), typing())
            .unwrap();
        live = next;
    }
    let names: Vec<String> = manager_names(&live).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names[0], "ancient-changes");
    assert_eq!(names[1..], (6..15).map(|index| format!("m{index}")).collect::<Vec<_>>());
    assert_eq!(names.len(), MAX);
    let folded = owned_by(&live, "ancient-changes").paths();
    let labels: Vec<_> = folded.iter().filter(|path| path.contains(".labels.")).cloned().collect();
    assert_eq!(labels, (0..6).map(|index| format!(".metadata.labels.l{index}")).collect::<Vec<_>>());
    assert!(folded.contains(&".spec.replicas".to_owned()), "the creator's: {folded:?}");
}

const MAX: usize = 10;

fn spec() -> impl Strategy<Value = Value> {
    let containers = prop::collection::btree_map("[a-c]", ("[x-z]", prop::option::of("[0-9]")), 0..3);
    let labels = prop::collection::btree_map("[a-c]", "[0-9]", 0..3);
    (prop::option::of(0..5), labels, containers).prop_map(|(replicas, labels, containers)| {
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, dir))| match dir {
                Some(dir) => json!({"name": name, "image": image, "workingDir": dir}),
                None => json!({"name": name, "image": image}),
            })
            .collect();
        let mut object = with_containers(json!(containers));
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = json!(replicas);
        }
        object["metadata"]["labels"] = json!(labels);
        object
    })
}

proptest! {
    #[test]
    fn a_forced_apply_makes_every_field_true_and_is_idempotent(specs in prop::collection::vec((spec(), 0..3usize), 1..6)) {
        let mut live: Option<Value> = None;
        for (index, (object, manager)) in specs.iter().enumerate() {
            let name = ["one", "two", "three"][*manager];
            let second = i64::try_from(index).unwrap();
            let next = apply(live.as_ref(), object, writer(name, second), OnConflict::Force, typing()).unwrap();
            let set = walk::field_set(object, typing()).unwrap();
            let found = walk::field_set(&without_managed(&next), typing()).unwrap();
            let missing = set.difference(&found);
            // An empty map or list is also true of one that holds other managers' entries.
            let empty = [".metadata.labels", ".spec.template.spec.containers"];
            let missing: Vec<String> =
                missing.paths().into_iter().filter(|path| !empty.contains(&path.as_str())).collect();
            prop_assert!(missing.is_empty(), "{:?} is not in {}", missing, next);
            let again = apply(Some(&next), object, writer(name, second + 1), OnConflict::Fail, typing()).unwrap();
            prop_assert_eq!(&again, &next);
            live = Some(next);
        }
    }

    #[test]
    fn field_sets_survive_their_written_form(object in spec()) {
        let set = walk::field_set(&object, typing()).unwrap();
        prop_assert_eq!(FieldSet::from_v1(&set.to_v1()), set);
    }
}
