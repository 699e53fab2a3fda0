use super::*;

fn set(steps: Value, status: &[Value]) -> Value {
    json!({
        "metadata": {"name": "set", "namespace": "argocd", "uid": "1"},
        "spec": {"strategy": {"type": "RollingSync", "rollingSync": {"steps": steps}}},
        "status": {"applicationStatus": status},
    })
}

fn step(env: &str) -> Value {
    json!({"matchExpressions": [{"key": "env", "operator": "In", "values": [env]}]})
}

fn application(name: &str, env: &str, sync: &str, health: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "argocd", "labels": {"env": env},
            "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "set",
                "uid": "1", "controller": true}]},
        "spec": {"syncPolicy": {"automated": {"prune": true, "enabled": false}}},
        "status": {"sync": {"status": sync, "revision": "abc"}, "health": {"status": health},
            "reconciledAt": "1970-01-01T00:01:00Z"},
    })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Name, step and status of each, and who is due.
fn look(set: &Value, current: &[Value]) -> (Vec<String>, Vec<String>) {
    let rollout = advance(set, current, current, at(100)).unwrap();
    let text = |status: &Value, field: &str| status[field].as_str().unwrap().to_owned();
    let statuses = rollout.statuses.iter().map(|status| {
        format!("{} {} {}", text(status, "application"), text(status, "step"), text(status, "status"))
    });
    (statuses.collect(), rollout.due.into_iter().collect())
}

fn known(name: &str, status: &str, since: i64) -> Value {
    json!({"application": name, "status": status, "step": "1", "message": "", "targetRevisions": ["abc"],
        "lastTransitionTime": meta::format_time(at(since))})
}

#[test]
fn steps_follow_one_another() {
    let steps = json!([step("dev"), step("prod")]);
    let waiting = [
        application("a", "dev", "OutOfSync", "Missing"),
        application("b", "prod", "OutOfSync", "Missing"),
        application("c", "other", "OutOfSync", "Missing"),
    ];
    let (statuses, due) = look(&set(steps.clone(), &[]), &waiting);
    assert_eq!(statuses, ["a 1 Pending", "b 2 Waiting", "c -1 Waiting"]);
    assert_eq!(due, ["a"]);
    let first = [application("a", "dev", "Synced", "Healthy"), waiting[1].clone(), waiting[2].clone()];
    let before = [known("a", "Progressing", 50), known("b", "Waiting", 50), known("c", "Waiting", 50)];
    let (statuses, due) = look(&set(steps.clone(), &before), &first);
    assert_eq!(statuses, ["a 1 Healthy", "b 2 Pending", "c -1 Waiting"]);
    assert_eq!(due, ["b"]);
    // Generated, but not there yet: the next step waits for it.
    let missing = advance(&set(steps, &before), &first[1..], &first, at(100)).unwrap();
    assert!(missing.due.is_empty(), "{missing:?}");
}

#[test]
fn a_sync_that_began_is_told_from_those_before() {
    let steps = json!([step("dev")]);
    let with = |started: i64, username: &str| {
        let mut one = application("a", "dev", "OutOfSync", "Progressing");
        one["status"]["operationState"] = json!({"phase": "Running", "startedAt": meta::format_time(at(started)),
            "operation": {"initiatedBy": {"username": username}}});
        look(&set(steps.clone(), &[known("a", "Pending", 50)]), &[one]).0.remove(0)
    };
    assert_eq!(with(49, USERNAME), "a 1 Pending");
    assert_eq!(with(50, "somebody"), "a 1 Pending");
    assert_eq!(with(50, USERNAME), "a 1 Progressing");
    assert_eq!(with(51, "somebody"), "a 1 Progressing");
    let mut broken = application("a", "dev", "Unknown", "Unknown");
    broken["status"]["conditions"] = json!([{"type": "InvalidSpecError"}]);
    let (statuses, _) = look(&set(steps, &[known("a", "Pending", 50)]), &[broken]);
    assert_eq!(statuses, ["a 1 Progressing"]);
}

#[test]
fn what_changes_begins_anew() {
    let steps = json!([step("dev")]);
    let mut moved = application("a", "dev", "OutOfSync", "Healthy");
    moved["status"]["sync"]["revision"] = "def".into();
    let rollout =
        advance(&set(steps.clone(), &[known("a", "Healthy", 50)]), &[moved.clone()], &[moved], at(100))
            .unwrap();
    assert_eq!(rollout.statuses[0]["status"], "Pending");
    assert_eq!(rollout.statuses[0]["targetRevisions"], json!(["def"]));
    let live = application("a", "dev", "Synced", "Healthy");
    let mut desired = live.clone();
    desired["spec"]["source"] = json!({"path": "other"});
    desired["spec"]["syncPolicy"]["automated"] = json!({"prune": true});
    let before = [known("a", "Healthy", 50)];
    let rollout =
        advance(&set(steps.clone(), &before), std::slice::from_ref(&live), &[desired.clone()], at(100))
            .unwrap();
    assert!(rollout.statuses[0]["message"].as_str().unwrap().contains("synced"), "{rollout:?}");
    // Only that it does not sync by itself is no change.
    desired["spec"].as_object_mut().unwrap().remove("source");
    let rollout = advance(&set(steps, &before), &[live], &[desired], at(100)).unwrap();
    assert_eq!(rollout.statuses[0]["lastTransitionTime"], before[0]["lastTransitionTime"]);
}

#[test]
fn a_step_updates_so_many_at_a_time() {
    let many: Vec<Value> =
        (0..5).map(|index| application(&format!("a{index}"), "dev", "OutOfSync", "Missing")).collect();
    let due = |limit: Value| {
        let mut step = step("dev");
        step["maxUpdate"] = limit;
        advance(&set(json!([step]), &[]), &many, &many, at(100)).unwrap().due.len()
    };
    assert_eq!(due(json!(null)), 5);
    assert_eq!(due(json!(2)), 2);
    assert_eq!(due(json!(0)), 0);
    assert_eq!(due(json!("50%")), 2);
    assert_eq!(due(json!("1%")), 1);
    assert_eq!(due(json!("0%")), 0);
    let mut wrong = step("dev");
    wrong["maxUpdate"] = "two".into();
    let rollout = advance(&set(json!([wrong]), &[]), &many, &many, at(100)).unwrap();
    assert!(format!("{rollout:?}").contains("Step 1 has an invalid maxUpdate value: two"), "{rollout:?}");
}

#[test]
fn what_is_wrong_with_steps_is_told() {
    let one = [application("a", "dev", "OutOfSync", "Missing")];
    let said = |steps: Value| format!("{:?}", advance(&set(steps, &[]), &one, &one, at(100)).unwrap().said);
    assert!(
        said(json!([step("dev"), step("dev")]))
            .contains("Application 'a' is selected by multiple steps: (1-2)")
    );
    assert!(
        said(json!([step("dev"), step("prod")]))
            .contains("Steps [2] have no applications matching their criteria")
    );
    assert!(said(json!([{}])).contains("Rolling Sync Configured correctly"));
    assert!(advance(&set(json!([]), &[]), &one, &one, at(100)).is_err());
}

#[test]
fn generated_applications_are_settled() {
    let mut one = application("a", "dev", "OutOfSync", "Missing");
    one["spec"]["syncPolicy"] =
        json!({"automated": {"prune": true}, "syncOptions": ["CreateNamespace=true"]});
    let rollout = advance(&set(json!([{}]), &[]), &[one.clone()], &[one.clone()], at(100)).unwrap();
    settle(&mut one, &rollout);
    assert_eq!(one["spec"]["syncPolicy"]["automated"], json!({"prune": true, "enabled": false}));
    assert_eq!(one["operation"]["sync"], json!({"prune": true, "syncOptions": ["CreateNamespace=true"]}));
    assert_eq!(one["operation"]["retry"], json!({"limit": 5}));
}

#[test]
fn the_last_step_is_deleted_first() {
    let current = [
        application("a", "dev", "Synced", "Healthy"),
        application("b", "prod", "Synced", "Healthy"),
        application("c", "none", "Synced", "Healthy"),
    ];
    let mut set = set(json!([step("dev"), step("prod")]), &[]);
    assert!(!deletes_in_reverse(&set));
    set["spec"]["strategy"]["deletionOrder"] = "reverse".into();
    assert!(deletes_in_reverse(&set));
    let names = |current: &[Value]| -> Vec<String> {
        next_to_delete(&set, current).into_iter().map(|one| meta::name(one).to_owned()).collect()
    };
    assert_eq!(names(&current), ["b"]);
    assert_eq!(names(&[current[0].clone(), current[2].clone()]), ["a"]);
    assert!(names(&current[2..]).is_empty());
}
