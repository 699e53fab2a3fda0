use super::*;

fn deployment(replicas: i64, surge: Value, unavailable: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "a", "uid": "d", "generation": 2 },
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 600,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "image": "2" } },
        },
        "status": {},
    })
}

fn set(name: &str, replicas: i64, available: i64, created: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "a", "uid": name, "creationTimestamp": created },
        "spec": { "replicas": replicas },
        "status": { "replicas": replicas, "availableReplicas": available, "readyReplicas": available },
    })
}

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-01T00:10:00Z";

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// Runs an update where pods become available between passes; yields (new, old) after each step.
fn simulate(deployment: &Value, mut new: Value, mut old: Value) -> Vec<(i64, i64)> {
    let mut seen = vec![(replicas(&new), replicas(&old))];
    for _ in 0..100 {
        if let Some(size) = rolling::scale_new(deployment, &new, std::slice::from_ref(&old)) {
            new["spec"]["replicas"] = json!(size);
        } else {
            match rolling::scale_old(deployment, &new, std::slice::from_ref(&old)).as_slice() {
                [] => return seen,
                [(0, size)] => old["spec"]["replicas"] = json!(size),
                other => panic!("{other:?}"),
            }
        }
        for set in [&mut new, &mut old] {
            set["status"]["availableReplicas"] = set["spec"]["replicas"].clone();
        }
        seen.push((replicas(&new), replicas(&old)));
    }
    panic!("the update does not end: {seen:?}");
}

#[test]
fn fenceposts_round_and_never_block() {
    let posts = |n, s, u| sets::fenceposts(&deployment(n, s, u));
    assert_eq!(posts(10, json!("25%"), json!("25%")), (3, 2));
    assert_eq!(posts(1, json!("25%"), json!("25%")), (1, 0));
    assert_eq!(posts(3, json!(0), json!("25%")), (0, 1));
    assert_eq!(posts(3, json!(0), json!(0)), (0, 1));
}

#[test]
fn rolling_updates_keep_to_their_limits() {
    let d = deployment(10, json!("25%"), json!("25%"));
    let steps = simulate(&d, set("new", 0, 0, LATE), set("old", 10, 10, EARLY));
    assert_eq!(steps, [(0, 10), (3, 10), (3, 5), (8, 5), (8, 0), (10, 0)]);
    for (new, old) in &steps {
        assert!(new + old <= 13 && new + old >= 8, "{steps:?}");
    }
    let one = deployment(1, json!("25%"), json!("25%"));
    assert_eq!(simulate(&one, set("new", 0, 0, LATE), set("old", 1, 1, EARLY)), [(0, 1), (1, 1), (1, 0)]);
    let no_surge = deployment(3, json!(0), json!(1));
    assert_eq!(
        simulate(&no_surge, set("new", 0, 0, LATE), set("old", 3, 3, EARLY)),
        [(0, 3), (0, 2), (1, 2), (1, 1), (2, 1), (2, 0), (3, 0)]
    );
}

proptest::proptest! {
    #[test]
    fn every_update_ends_within_its_limits(n in 0i64..40, surge in 0i64..60, unavailable in 0i64..60, percent: bool, old in 0i64..40) {
        let value = |amount: i64| if percent { json!(format!("{amount}%")) } else { json!(amount) };
        let d = deployment(n, value(surge), value(unavailable));
        let (surge, unavailable) = sets::fenceposts(&d);
        let steps = simulate(&d, set("new", 0, 0, LATE), set("old", old, old, EARLY));
        proptest::prop_assert_eq!(steps.last(), Some(&(n, 0)));
        for (new, old_now) in &steps {
            proptest::prop_assert!(new + old_now <= (n + surge).max(old), "{:?}", steps);
            proptest::prop_assert!(new + old_now >= (n - unavailable).min(old), "{:?}", steps);
        }
    }

    #[test]
    fn proportional_scaling_reaches_the_wanted_total(n in 0i64..50, a in 1i64..30, b in 1i64..30) {
        let mut d = deployment(n, json!(2), json!(0));
        d["status"]["replicas"] = json!(a + b);
        let mut active = [set("a", a, a, EARLY), set("b", b, b, LATE)];
        for set in &mut active {
            sets::annotate_replicas(set, a + b - 2, a + b);
        }
        let sizes = rolling::proportional(&d, &active);
        proptest::prop_assert!(sizes.iter().all(|(_, size)| *size >= 0));
        let total: i64 = sizes.iter().map(|(_, size)| size).sum();
        proptest::prop_assert_eq!(total, if n == 0 { 0 } else { n + 2 }, "{:?}", sizes);
    }
}

#[test]
fn a_bad_new_version_leaves_the_old_one_serving() {
    let d = deployment(4, json!(1), json!(1));
    let (new, old) = (set("new", 1, 0, LATE), set("old", 4, 4, EARLY));
    assert_eq!(rolling::scale_old(&d, &new, std::slice::from_ref(&old)), [(0, 3)]);
    let (new, old) = (set("new", 2, 0, LATE), set("old", 3, 3, EARLY));
    assert_eq!(rolling::scale_new(&d, &new, std::slice::from_ref(&old)), None);
    assert_eq!(rolling::scale_old(&d, &new, std::slice::from_ref(&old)), []);
}

#[test]
fn unhealthy_old_pods_go_first_and_oldest_sets_first() {
    let d = deployment(4, json!(2), json!(0));
    let new = set("new", 2, 2, LATE);
    let old = [set("b", 2, 2, "2026-01-01T00:05:00Z"), set("a", 2, 0, EARLY)];
    assert_eq!(rolling::scale_old(&d, &new, &old), [(1, 0)]);
}

#[test]
fn scaling_during_an_update_is_proportional() {
    let mut d = deployment(15, json!(3), json!(2));
    d["status"]["replicas"] = json!(13);
    let annotated = |mut set: Value| {
        sets::annotate_replicas(&mut set, 10, 13);
        set
    };
    let active = [annotated(set("old", 8, 8, EARLY)), annotated(set("new", 5, 0, LATE))];
    let mut sizes = rolling::proportional(&d, &active);
    sizes.sort();
    assert_eq!(sizes, [("new".to_owned(), 7), ("old".to_owned(), 11)]);
    d["spec"]["replicas"] = json!(5);
    let mut sizes = rolling::proportional(&d, &active);
    sizes.sort();
    assert_eq!(sizes, [("new".to_owned(), 3), ("old".to_owned(), 5)]);
    d["spec"]["replicas"] = json!(0);
    assert!(rolling::proportional(&d, &active).iter().all(|(_, size)| *size == 0));
}

#[test]
fn revisions_move_on_and_remember() {
    let mut d = deployment(1, json!(1), json!(0));
    d["metadata"]["annotations"] = json!({ "kubernetes.io/change-cause": "why", REVISION: "7",
        "kubectl.kubernetes.io/last-applied-configuration": "{}" });
    let mut set = set("s", 1, 1, EARLY);
    assert!(sets::annotate_revision(&d, &mut set, 1, false));
    assert_eq!(set["metadata"]["annotations"], json!({ "kubernetes.io/change-cause": "why", REVISION: "1" }));
    assert!(!sets::annotate_revision(&d, &mut set, 1, true));
    assert!(sets::annotate_revision(&d, &mut set, 4, true));
    assert!(sets::annotate_revision(&d, &mut set, 6, true));
    assert_eq!(meta::annotation(&set, sets::REVISION_HISTORY), Some("1,4"));
    assert_eq!(meta::annotation(&set, REVISION), Some("6"));
}

#[test]
fn status_follows_an_update_to_its_end() {
    let mut d = deployment(2, json!(1), json!(0));
    let (new, old) = (set("web-new", 1, 0, LATE), set("web-old", 2, 2, EARLY));
    let status = status::rollout(&d, Some(&new), std::slice::from_ref(&old), now());
    assert_eq!(status["replicas"], 3);
    assert_eq!(status["updatedReplicas"], 1);
    assert_eq!(status["unavailableReplicas"], 1);
    assert!(conditions::is_true(&status, "Available"));
    assert_eq!(conditions::find(&status, "Progressing").unwrap()["reason"], "ReplicaSetUpdated");
    d["status"] = status;

    let late = now() + jiff::SignedDuration::from_secs(601);
    let status = status::rollout(&d, Some(&new), std::slice::from_ref(&old), late);
    let progressing = conditions::find(&status, "Progressing").unwrap();
    assert_eq!(progressing["reason"], "ProgressDeadlineExceeded");
    assert_eq!(progressing["message"], "ReplicaSet \"web-new\" has timed out progressing.");
    assert_eq!(progressing["status"], "False");

    let new = set("web-new", 2, 2, LATE);
    let old = set("web-old", 0, 0, EARLY);
    let status = status::rollout(&d, Some(&new), std::slice::from_ref(&old), now());
    let progressing = conditions::find(&status, "Progressing").unwrap();
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(progressing["message"], "ReplicaSet \"web-new\" has successfully progressed.");
    d["status"] = status.clone();
    assert!(status::is_complete(&d, &status));
    assert_eq!(status::until_timeout(&d, now()), None);
    // Losing a pod later is no new update and never times out.
    let new = set("web-new", 2, 1, LATE);
    let later = status::rollout(&d, Some(&new), &[], late);
    assert_eq!(conditions::find(&later, "Progressing").unwrap()["reason"], "NewReplicaSetAvailable");
    assert!(!conditions::is_true(&later, "Available"));
}

#[test]
fn trouble_of_a_set_shows_on_the_deployment() {
    let d = deployment(1, json!(1), json!(0));
    let mut new = set("web-new", 1, 0, LATE);
    new["status"]["conditions"] =
        json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota" }]);
    let status = status::rollout(&d, Some(&new), &[], now());
    assert_eq!(conditions::find(&status, "ReplicaFailure").unwrap()["message"], "quota");
}

#[test]
fn history_keeps_its_limit_and_what_still_runs() {
    let mut d = deployment(1, json!(1), json!(0));
    d["spec"]["revisionHistoryLimit"] = json!(1);
    let old: Vec<Value> = (1..=4)
        .map(|n| {
            let mut set = set(&format!("r{n}"), i64::from(n == 2), 0, EARLY);
            meta::set_annotation(&mut set, REVISION, Some(&n.to_string()));
            set
        })
        .collect();
    let names: Vec<String> = superfluous(&d, &old).into_iter().map(|key| key.name).collect();
    assert_eq!(names, ["r1", "r3"]);
}

#[test]
fn the_new_set_is_found_by_its_template() {
    let d = deployment(1, json!(1), json!(0));
    let with = |name: &str, image: &str, created: &str| {
        let mut set = set(name, 1, 1, created);
        set["spec"]["template"] = json!({ "metadata": { "labels": { "app": "web", HASH_LABEL: "x" } },
            "spec": { "image": image } });
        set
    };
    let (new, old) =
        sets::split(&d, vec![with("c", "2", LATE), with("b", "1", EARLY), with("a", "2", EARLY)]);
    assert_eq!(new.map(|set| meta::name(&set).to_owned()).as_deref(), Some("a"));
    assert_eq!(old.iter().map(meta::name).collect::<Vec<_>>(), ["b", "c"]);
}
